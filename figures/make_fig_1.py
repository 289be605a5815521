"""Draws fig_1.png: one step of the world model, with tensor shapes read from the pretrained model.

python figures/make_fig_1.py
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sd"))
from dream.models.checkpoints import load_autoencoder_part, load_unet  # noqa: E402
from dream.models.flow import PIXEL_UNSHUFFLE  # noqa: E402

SIZE = (1640, 760)
PAPER, INK, GREY = "#fcfbf7", "#22242c", "#6b7080"
GAME, LATENT, NETWORK, NOISE = "#ffd9b8", "#cfe3ff", "#d9f0cf", "#eadcff"
TITLE, TEXT, SMALL = (ImageFont.load_default(size=size) for size in (24, 20, 17))


def box(
    draw: ImageDraw.ImageDraw, x: int, y: int, w: int, h: int, colour: str, title: str, *lines: str
) -> None:
    draw.rounded_rectangle((x, y, x + w, y + h), radius=14, fill=colour, outline=INK, width=2)
    draw.text((x + w / 2, y + 24), title, INK, TITLE, anchor="mm")
    for i, line in enumerate(lines):
        draw.text((x + w / 2, y + 54 + 24 * i), line, INK, SMALL, anchor="mm")


def arrow(draw: ImageDraw.ImageDraw, *points: tuple[int, int]) -> None:
    """A line through the points, with a head at the last one."""
    draw.line(points, INK, 3, joint="curve")
    (x0, y0), (x, y) = points[-2:]
    dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
    side = (-dy * 7, dx * 7)
    back = (x - dx * 14, y - dy * 14)
    head = [(x, y), (back[0] + side[0], back[1] + side[1]), (back[0] - side[0], back[1] - side[1])]
    draw.polygon(head, INK)


def main() -> None:
    pretrained = HERE.parent / "sd" / "pretrained"
    decoder = load_autoencoder_part(pretrained / "decoder.pt", "decoder")
    unet, game, _ = load_unet(pretrained / "model.pt")
    C, h, w = decoder.config.latent_shape
    H, W = decoder.config.height, decoder.config.width
    L, widths = unet.config.context, unet.config.channels
    weights = sum(p.numel() for p in unet.parameters()) / 1e6
    picture = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((40, 24), "One step of the world model", INK, ImageFont.load_default(size=32))
    draw.text((40, 66), "shapes without the batch axis B; axis letters: sd/NOTES.md", GREY, SMALL)

    box(draw, 40, 130, 300, 110, LATENT, "context", f"the last {L} latents", f"({L}, {C}, {h}, {w})")
    box(draw, 40, 420, 300, 84, NOISE, "noise", f"({C}, {h}, {w}), timestep t")
    lines = f"the last {L}, of {len(game.action_names)}", f"({L},)  the newest: your keys"
    box(draw, 40, 534, 300, 110, GAME, "actions", *lines)
    flow = sum(p.numel() for p in unet.flow.parameters()) / 1e6
    lines = "how each pixel moves", f"(2, {h}, {w}), pixels", f"{flow:.1f} M weights"
    box(draw, 430, 118, 250, 134, NETWORK, "flow", *lines)
    box(draw, 770, 118, 260, 134, LATENT, "warped last frame", "decoded, warped along", "the flow,",
        f"encoded: ({C}, {h}, {w})")  # fmt: skip
    unshuffled = f"({(L + 2) * C * PIXEL_UNSHUFFLE**2}, {h // PIXEL_UNSHUFFLE}, {w // PIXEL_UNSHUFFLE})"
    lines = (
        f"({(L + 2) * C}, {h}, {w})",
        f"pixel-unshuffled {PIXEL_UNSHUFFLE} x {PIXEL_UNSHUFFLE}",
        unshuffled,
    )
    box(draw, 430, 310, 250, 136, LATENT, "concatenated", *lines)
    box(
        draw,
        430,
        534,
        250,
        110,
        NETWORK,
        "embedding",
        "actions, t, context noise",
        f"({unet.config.embedding},)",
    )
    stages = [
        f"{width} ch at {h // PIXEL_UNSHUFFLE >> i} x {w // PIXEL_UNSHUFFLE >> i}"
        for i, width in enumerate(widths)
    ]
    lines = *stages, f"{weights - flow:.1f} M weights", "predicts the residual"
    box(draw, 770, 300, 260, 160, NETWORK, "U-Net", *lines)
    lines = "warped + residual", f"({C}, {h}, {w})", "one step, or a few"
    box(draw, 1120, 310, 210, 136, LATENT, "next latent", *lines)
    box(draw, 1390, 310, 210, 136, NETWORK, "decoder", f"({C}, {h}, {w})", "to", f"(3, {H}, {W})")
    box(draw, 1390, 534, 210, 110, GAME, "the window", f"{W} x {H}, RGB", f"{game.fps:g} frames a second")

    arrow(draw, (340, 185), (430, 185))
    arrow(draw, (680, 185), (770, 185))
    arrow(draw, (385, 185), (385, 350), (430, 350))
    arrow(draw, (340, 462), (385, 462), (385, 412), (430, 412))
    arrow(draw, (340, 589), (430, 589))
    arrow(draw, (385, 589), (385, 490), (405, 490), (405, 215), (430, 215))
    arrow(draw, (830, 252), (830, 276), (555, 276), (555, 310))
    arrow(draw, (1030, 185), (1225, 185), (1225, 310))
    arrow(draw, (680, 378), (770, 378))
    arrow(draw, (680, 589), (900, 589), (900, 460))
    draw.text((700, 564), "adaptive group norm", GREY, SMALL)
    arrow(draw, (1030, 378), (1120, 378))
    arrow(draw, (1330, 378), (1390, 378))
    arrow(draw, (1495, 446), (1495, 534))
    arrow(draw, (1225, 446), (1225, 700), (20, 700), (20, 185), (40, 185))
    draw.text(
        (640, 720), "the new latent enters the context; the oldest one leaves it", GREY, TEXT, anchor="mm"
    )
    picture.quantize(256, dither=Image.Dither.NONE).save(HERE / "fig_1.png", optimize=True)
    print(HERE / "fig_1.png")


if __name__ == "__main__":
    main()
