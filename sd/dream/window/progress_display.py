"""Shows how far the training of a game has come: a bar on the terminal; every minute a picture, in a file and, if there
is a display, in a window."""

import time
from collections.abc import Sequence

from dream.common.errors import shorten
from dream.common.progress import progress_bar
from dream.pipeline.progress import previews, summary
from dream.pipeline.run_state import RunState
from dream.pipeline.stages import Folder
from dream.window.display import has_display

PREVIEW_SECONDS = 60.0


class ProgressDisplay:
    """`with ProgressDisplay(folder, state) as display: ... display.update(title, lines)`, some times a second."""

    def __init__(self, folder: Folder, state: RunState) -> None:
        self.folder, self.state = folder, state
        self.next_preview, self.window = 0.0, None

    def __enter__(self) -> "ProgressDisplay":
        bar_format = "{percentage:3.0f}%|{bar:10}| {desc}"
        self.bar = progress_bar(total=self.state.max_minutes, bar_format=bar_format)
        try:
            from dream.window import progress_picture, progress_window
        except (ImportError, OSError) as problem:  # or a library that pygame needs is missing
            self.picture = None
            self.write(f"note: no previews, pygame cannot be imported: {shorten(problem, 150)}")
            return self
        self.picture = progress_picture
        if has_display():
            self.window = progress_window.ProgressWindow.open(f"{self.folder.source.name}: training")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        if self.window:
            self.window.close()

    def write(self, line: str) -> None:
        """Prints a line above the bar."""
        self.bar.write(line)

    def update(self, title: str, lines: Sequence[str] = ()) -> None:
        """Prints the lines, redraws the bar, answers the window's events; every minute `show`. `title`: the stage's."""
        for line in lines:
            self.write(line)
        self.redraw_bar(title)
        if self.window:
            self.window.update()
        if time.monotonic() >= self.next_preview:
            self.next_preview = time.monotonic() + PREVIEW_SECONDS
            self.show(title)

    def redraw_bar(self, title: str) -> None:
        elapsed, total = self.state.elapsed_s / 60, self.state.max_minutes
        parts = (f"{elapsed:.0f} of {total:g} min", title, summary(self.folder))
        self.bar.set_description_str(", ".join(filter(None, parts)), refresh=False)
        self.bar.update(min(elapsed, total) - self.bar.n)

    def show(self, title: str) -> None:
        """Writes preview.png, and shows it in the window."""
        if self.picture is None:
            return
        state, folder = self.state, self.folder
        elapsed = state.elapsed_s / 60
        left = max(0.0, state.max_minutes - elapsed)
        line = ", ".join(filter(None, (f"{elapsed:.0f} minutes, {left:.0f} left: {title}", summary(folder))))
        pictures = previews(folder, state.action_names(folder.recording))
        surface = self.picture.draw_progress(folder.source.name, line, elapsed / state.max_minutes, pictures)
        self.picture.save_progress(surface, folder.path / "preview.png")
        if self.window:
            self.window.show(surface)
