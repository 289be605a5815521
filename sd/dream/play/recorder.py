"""Records a play session to a video of the visible frames, to an .npz of the generated frames, or to both."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dream.common.errors import InputError
from dream.common.video import VideoFile
from dream.play.recording import SessionRecorder
from dream.play.session import PlaySession


class Recorder:
    """The recordings of a session: at most one video and one .npz at a time."""

    def __init__(self, session: PlaySession, fps: float) -> None:
        """`fps`: frames per second of the videos."""
        self.session, self.fps = session, fps
        self.video: VideoFile | None = None

    def active(self) -> list[VideoFile | SessionRecorder]:
        """The recordings in progress."""
        return [recording for recording in (self.video, self.session.recording) if recording]

    def active_for(self, suffix: str) -> VideoFile | SessionRecorder | None:
        """The recording in progress of the kind of `suffix`: ".npz", or a video."""
        return self.session.recording if suffix == ".npz" else self.video

    def start(
        self,
        path: Path,
        visible_frames: Callable[[], Sequence[np.ndarray]] | None = None,
        num_frames: int | None = None,
    ) -> None:
        """Starts an .npz or a video, by the suffix of `path`. `visible_frames` returns the frames of the video, each
        uint8 (H, W, 3); by default the real game's, if there is one, and the generated one. `num_frames`: how many the
        video will have, if it is known. Raises InputError if the file cannot be opened or there is no room
        for it."""
        if path.suffix.lower() == ".npz":
            self.session.start_recording(SessionRecorder(path))
        else:
            self.visible_frames = visible_frames or self.all_frames
            self.video = VideoFile(path, self.fps, self.video_frame().shape[:2], num_frames=num_frames)

    def all_frames(self) -> list[np.ndarray]:
        real = self.session.real
        return [*([real.frame_u8] if real else []), self.session.frame_u8]

    def video_frame(self) -> np.ndarray:
        """Returns the visible frames side by side, uint8 (H, W, 3), all in the size of the generated one."""
        H, W, _ = self.session.frame_u8.shape
        return np.hstack([resize_nearest(frame_u8, H, W) for frame_u8 in self.visible_frames()])

    def write(self) -> None:
        """Appends a frame to the video; call it after each step. The .npz is written by the session's step itself."""
        if self.video:
            self.video.write(self.video_frame())

    def stop(self, recording: VideoFile | SessionRecorder) -> str:
        """Ends a recording; returns a message for the user. Raises OSError if the file cannot be written, DiskFull if
        it is not complete."""
        if recording is self.video:
            self.video = None
            recording.close()
        else:
            self.session.stop_recording()
        return f"saved {recording.path}" if recording.num_frames else "nothing was recorded"


def write_clip(path: Path, frames: Sequence[np.ndarray], fps: float) -> str:
    """Writes frames, each uint8 (H, W, 3), to a GIF; returns a message for the user."""
    try:
        with VideoFile(path, fps, frames[0].shape[:2]) as video:
            for frame_u8 in frames:
                video.write(frame_u8)
    except (OSError, InputError) as problem:
        return f"not saved: {problem}"
    return f"saved {path}"


def resize_nearest(frame_u8: np.ndarray, height: int, width: int) -> np.ndarray:
    """The frame, uint8 (H, W, 3), in another size."""
    H, W, _ = frame_u8.shape
    if (height, width) == (H, W):
        return frame_u8
    return frame_u8[np.arange(height) * H // height][:, np.arange(width) * W // width]
