"""Makes web.png, a picture of the web page: on a wide screen with what the model sees, and on a phone.

python sd/export_web.py --output-dir output/site
python figures/make_web.py output/site         # needs Selenium, Chromium and its driver
"""

import io
import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "sd"), str(HERE.parent / "tests")]

from web_helpers import Browser, Server  # noqa: E402

FRAMES, HEIGHT, GAP = 14, 600, 10
DRIVE = """(page.session.start = 1, page.isWaiting = false, page.controls.gas = true,
    page.controls.holders.set("picture", "left"), page.restart())"""
FREEZE = """(page.limiter.wait = () => new Promise(() => {}), page.times.reset(), page.drive.bestS = 0, page.draw())"""


def take_picture(url: str, size: tuple[int, int], touch: bool) -> Image.Image:
    """The page after FRAMES frames to the left, scaled to HEIGHT."""
    browser = Browser(size, touch)
    try:
        browser.open(url)
        if not touch:
            browser.run("page.toggleSeen()")
        browser.run(DRIVE)
        browser.wait(f"page.session.start === 1 && page.session.state.numFrames >= {FRAMES}")
        browser.run(FREEZE)
        picture = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    finally:
        browser.close()
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)


def main() -> None:
    server = Server(Path(sys.argv[1]))
    pictures = [take_picture(server.url, (1280, 720), False), take_picture(server.url, (320, 640), True)]
    server.close()
    web = Image.new("RGB", (sum(picture.width for picture in pictures) + GAP, HEIGHT), "white")
    web.paste(pictures[0], (0, 0))
    web.paste(pictures[1], (pictures[0].width + GAP, 0))
    web.quantize(128, dither=Image.Dither.NONE).save(HERE / "web.png", optimize=True)


if __name__ == "__main__":
    main()
