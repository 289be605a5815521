"""What a ride is recorded to: a video of what is in view, an .npz of what was dreamed, or both. No pygame."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dream.common.video import VideoFile
from dream.play.recording import Take
from dream.play.session import Ride


class Recorder:
    def __init__(self, ride: Ride, fps: float) -> None:
        """`fps`: frames a second of the videos."""
        self.ride, self.fps = ride, fps
        self.film: VideoFile | None = None

    def running(self) -> list[VideoFile | Take]:
        return [one for one in (self.film, self.ride.take) if one]

    def of_kind(self, suffix: str) -> VideoFile | Take | None:
        return self.ride.take if suffix == ".npz" else self.film

    def start(self, path: Path, shown: Callable[[], Sequence[np.ndarray]] | None = None) -> None:
        """By the name's ending. `shown`: what is in view, frames uint8 (H, W, 3); else the dream. Raises BadInput."""
        if path.suffix.lower() == ".npz":
            self.ride.record(Take(path))
        else:
            self.shown = shown or (lambda: [self.ride.frame_u8])
            self.film = VideoFile(path, self.fps, self.picture().shape[:2])

    def picture(self) -> np.ndarray:
        """Of a video, uint8 (H, W, 3): what is in view side by side; the dream alone where sizes differ."""
        frames = self.shown()
        alike = all(frame.shape == frames[0].shape for frame in frames)
        return np.hstack(frames) if alike else self.ride.frame_u8

    def write(self) -> None:
        """After a step. The take has had its frame in the step."""
        if self.film:
            self.film.write(self.picture())

    def stop(self, running: VideoFile | Take) -> str:
        """Ends one of them; returns what to say. Raises OSError where it cannot be written."""
        if running is self.film:
            self.film = None
            running.close()
        else:
            self.ride.stop_recording()
        return f"saved {running.path}" if running.num_frames else "nothing was recorded"
