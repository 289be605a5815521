"""Look at a recording: what is in it, and every frame with the action that was chosen on seeing it.

    python sd/inspect_trajectories.py                      # browse sd/data/trajectories.npz in a window
    python sd/inspect_trajectories.py --trajectories path/to/trajectories.npz
    python sd/inspect_trajectories.py --save sheet.png     # a picture instead of a window

In the window: left / right one frame, up / down 100 frames, Page Up / Down one row, Home / End, E next episode start,
Space plays at the recording's own speed, Q or Esc closes.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from dream.errors import BadInput, run_script
from dream.playing import may_have_screen
from dream.trajectories import Trajectories, episode_ids, open_trajectories

SHEET_COLUMNS, SHEET_ROWS = 5, 6
SAMPLED_FRAMES = 64  # frames that are read for the range of values
JUMP_FRAMES = 100
MARGIN, CAPTION_HEIGHT, HEAD_HEIGHT = 14, 26, 66  # pixels
BACKGROUND, TEXT, FAINT, MARK = (24, 26, 32), (232, 234, 238), (146, 152, 164), (255, 190, 60)
HELP = "left/right: step   up/down: 100   PgUp/PgDn: row   E: next episode   space: play   Q: close"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    default = Path(__file__).resolve().parent / "data" / "trajectories.npz"
    parser.add_argument("--trajectories", type=Path, default=default, help="the recording")
    parser.add_argument(
        "--save", type=Path, metavar="FILE.png", help="write a picture sheet instead of opening a window"
    )
    args = parser.parse_args(argv)
    if args.save is not None and args.save.suffix.lower() not in (".png", ".jpg", ".jpeg", ".bmp"):
        parser.error(f"--save {args.save}: name a .png (or .jpg, .bmp) file")
    return args


def main(args: argparse.Namespace) -> None:
    trajectories = open_trajectories(args.trajectories)
    print_summary(args.trajectories, trajectories)
    if args.save is not None:
        save_sheet(trajectories, args.trajectories.name, args.save)
    else:
        browse(trajectories)


def print_summary(path: Path, trajectories: Trajectories) -> None:
    frames, fps = trajectories.frames, trajectories.fps
    N, T = trajectories.num_rows, trajectories.num_steps
    seconds = trajectories.num_frames / fps
    sample = np.stack([frames[divmod(int(i), T)] for i in spread(trajectories.num_frames, SAMPLED_FRAMES)])
    print(f"recording   {path} ({path.stat().st_size / 1e6:.1f} MB)")
    print(f"game        {trajectories.meta.get('game', 'unknown')}")
    print(
        f"frames      {frames.dtype} {frames.shape}: {N} rows x {T} steps = {trajectories.num_frames} frames"
    )
    print(
        f"            {frames.nbytes / 1e6:.1f} MB, values {sample.min()}..{sample.max()} (mean {sample.mean():.1f})"
    )
    print(f"time        {seconds / 60:.1f} minutes at {fps:g} frames a second")

    counts = np.bincount(trajectories.actions.ravel(), minlength=trajectories.num_actions)
    print(f"actions     {trajectories.num_actions}")
    width = max(len(name) for name in trajectories.action_names)
    for i, (name, keys) in enumerate(zip(trajectories.action_names, trajectories.action_keys, strict=True)):
        share = counts[i] / counts.sum()
        held = "+".join(keys) or "no key"
        print(f"  {i:3d} {name:<{width}} {counts[i]:9d} {share:6.1%}  {'#' * round(30 * share):<30} ({held})")

    lengths = np.bincount(episode_ids(trajectories).ravel())
    print(
        f"episodes    {len(lengths)}, of {lengths.min()} to {lengths.max()} frames, median {np.median(lengths):g}",
        end="",
    )
    print(
        f" ({np.median(lengths) / fps:.1f} s), mean {lengths.mean():.1f}; {trajectories.record_envs or N} environments"
    )
    for key, array in trajectories.extras.items():
        print(f"also        {key} {array.dtype} {array.shape}")
    for line in trajectories.assumptions:
        print(f"assumed     {line}")


def spread(total: int, count: int) -> np.ndarray:
    """Up to `count` different indices over 0 .. total - 1, the first and the last among them."""
    return np.unique(np.linspace(0, total - 1, count).round().astype(np.int64))


def sheet_positions(trajectories: Trajectories) -> np.ndarray:
    """Frames from across the recording. In each line of the sheet one of them moves on to the first episode start that
    comes before the next frame shown."""
    positions = spread(trajectories.num_frames, SHEET_COLUMNS * SHEET_ROWS)
    starts = np.flatnonzero(trajectories.episode_starts)
    for first in range(0, len(positions), SHEET_COLUMNS):
        line = positions[first : first + SHEET_COLUMNS + 1]  # a view; the last one belongs to the next line
        coming = starts[(starts >= line[0]) & (starts < line[-1])]
        if len(coming):
            line[np.searchsorted(line, coming[0], side="right") - 1] = coming[0]
    return positions


def save_sheet(trajectories: Trajectories, title: str, path: Path) -> None:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame

    pygame.font.init()  # fonts and pictures need no display
    tile_width, tile_height = tile_size(trajectories, 288)
    cell_width = max(tile_width, 200)  # room for the caption
    positions = sheet_positions(trajectories)
    num_lines = -(-len(positions) // SHEET_COLUMNS)
    line_height = tile_height + CAPTION_HEIGHT + MARGIN
    size = (MARGIN + SHEET_COLUMNS * (cell_width + MARGIN), HEAD_HEIGHT + num_lines * line_height)
    sheet = pygame.Surface(size)
    sheet.fill(BACKGROUND)
    write_text(sheet, title, (MARGIN, 12), 26, TEXT)
    N, T, _, H, W = trajectories.frames.shape
    game = trajectories.meta.get("game", "unknown game")
    facts = f"{game}   {N} rows x {T} steps   {W} x {H}   {trajectories.fps:g} frames/s"
    write_text(sheet, facts, (MARGIN, 40), 18, FAINT)
    for place, position in enumerate(positions):
        line, column = divmod(place, SHEET_COLUMNS)
        corner = (MARGIN + column * (cell_width + MARGIN), HEAD_HEIGHT + line * line_height)
        draw_frame(sheet, trajectories, int(position), (*corner, tile_width, tile_height), cell_width)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        pygame.image.save(sheet, str(path))
    except pygame.error as problem:
        raise BadInput(
            f"--save {path} cannot be written ({problem}): name a .png in a folder you may write"
        ) from None
    print(f"saved       {path} ({size[0]} x {size[1]})")


def browse(trajectories: Trajectories) -> None:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame

    width, height = tile_size(trajectories, 960)
    cell_width = max(width, 520)  # room for the line of help
    size = (cell_width + 2 * MARGIN, height + CAPTION_HEIGHT + 2 * MARGIN + 24)
    try:
        seen = may_have_screen()
        if seen:
            pygame.display.init()
            # Without a display SDL may quietly draw into a window that nobody can see.
            driver = pygame.display.get_driver()
            seen = driver not in ("dummy", "offscreen") or "SDL_VIDEODRIVER" in os.environ
            window = pygame.display.set_mode(size)
    except pygame.error:
        seen = False
    if not seen:
        raise BadInput(
            "there is no display here to open a window on: --save sheet.png writes a picture instead"
        )
    pygame.font.init()
    pygame.key.set_repeat(300, 30)
    clock = pygame.time.Clock()
    T, last = trajectories.num_steps, trajectories.num_frames - 1
    starts = np.flatnonzero(trajectories.episode_starts)
    moves = {
        pygame.K_LEFT: -1,
        pygame.K_RIGHT: 1,
        pygame.K_UP: JUMP_FRAMES,
        pygame.K_DOWN: -JUMP_FRAMES,
        pygame.K_PAGEUP: -T,
        pygame.K_PAGEDOWN: T,
        pygame.K_HOME: -last,
        pygame.K_END: last,
    }
    position, playing, drawn = 0, False, None
    while True:
        for event in pygame.event.get():
            key = event.key if event.type == pygame.KEYDOWN else None
            if event.type == pygame.QUIT or key in (pygame.K_q, pygame.K_ESCAPE):
                pygame.quit()
                return
            if key == pygame.K_SPACE:
                playing = not playing
            elif key == pygame.K_e:
                coming = starts[starts > position]
                position = int(coming[0]) if len(coming) else position
            elif key in moves:
                position = min(max(position + moves[key], 0), last)
        if drawn != (position, playing):
            drawn = (position, playing)
            window.fill(BACKGROUND)
            draw_frame(window, trajectories, position, (MARGIN, MARGIN, width, height), cell_width)
            write_text(window, HELP, (MARGIN, size[1] - MARGIN - 14), 17, FAINT)
            pygame.display.set_caption(f"recording: frame {position} of {last + 1}" + " (playing)" * playing)
            pygame.display.flip()
        clock.tick(trajectories.fps if playing else 30)
        if playing:
            position = min(position + 1, last)
            playing = position < last


def tile_size(trajectories: Trajectories, width: int) -> tuple[int, int]:
    """Width and height in pixels of a picture that fits into `width` x 3/4 `width`: a whole multiple where it is larger
    than the frame."""
    H, W = trajectories.height, trajectories.width
    scale = min(width / W, 0.75 * width / H)
    scale = int(scale) if scale >= 1 else scale
    return max(round(W * scale), 1), max(round(H * scale), 1)


def draw_frame(
    surface, trajectories: Trajectories, position: int, place: tuple[int, int, int, int], caption_width: int
) -> None:
    """One frame at `place` (left, top, width, height); under it where it stands and what was chosen on seeing it."""
    import pygame

    row, t = divmod(position, trajectories.num_steps)
    left, top, width, height = place
    pixels = np.ascontiguousarray(trajectories.frames[row, t].transpose(2, 1, 0))  # C H W -> W H C
    surface.blit(pygame.transform.scale(pygame.surfarray.make_surface(pixels), (width, height)), (left, top))
    action = int(trajectories.actions[row, t])
    text_left = left
    if trajectories.episode_starts[row, t]:
        pygame.draw.rect(surface, MARK, (left - 3, top - 3, width + 6, height + 6), 3)
        text_left += write_text(surface, "START", (left, top + height + 6), 18, MARK) + 8
    write_text(surface, trajectories.action_names[action], (text_left, top + height + 6), 20, TEXT)
    write_text(
        surface, f"row {row}  t {t}", (left + caption_width, top + height + 7), 18, FAINT, align_right=True
    )


def write_text(
    surface, text: str, place: tuple[int, int], size: int, colour, align_right: bool = False
) -> int:
    """Writes one line; returns its width in pixels."""
    import pygame

    picture = pygame.font.Font(None, size).render(text, True, colour)
    left = place[0] - picture.get_width() if align_right else place[0]
    surface.blit(picture, (left, place[1]))
    return picture.get_width()


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
