"""Pictures of environments as RGB: grey, RGBA, floats, boolean planes, lists of frames, sizes that change. NumPy only.

ppo/player/common/pictures.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import colorsys
from typing import Any, List, Optional, Tuple

import numpy as np

from dream.common.errors import InputError

MAX_PLANES = 64
NEARLY_BLACK = 16  # largest value of a picture that shows cell numbers rather than colors


class PictureReader:
    """Converts all pictures of one environment to RGB, uint8 (H, W, 3), of the first one's size.

    What has only one meaning is converted, and `notes` gets one line for each assumption; anything else raises
    InputError. The meaning of float values (0-1 or 0-255) and of four channels is decided once, by the first picture
    that has only one meaning, so that it cannot change from frame to frame.
    """

    def __init__(self, picture_size: Optional[Tuple[int, int]] = None) -> None:
        """`picture_size`: height and width of all results; None: those of the first picture."""
        self.notes: List[str] = []
        self.shape = picture_size
        self.brightest = 0  # largest value of all pictures so far, 0-255
        self._float_max: Optional[int] = None  # 1 or 255: what white is in float pictures
        self._has_planes: Optional[bool] = None  # whether four channels are planes of 0 and 1, not RGBA

    def read(self, picture: Any, is_observation: bool = False) -> np.ndarray:
        """One picture, a list of pictures (the last one counts) or an array (T, H, W, C) of them, as a new array.

        `is_observation`: four channels may then also be four grey frames; they are taken for RGBA only if opaque.
        """
        array = self._channels_last(self._last_frame(picture))
        rgb = self._to_rgb(array, is_observation)
        self.brightest = max(self.brightest, int(rgb.max()))
        self.shape = self.shape or rgb.shape[:2]
        if rgb.shape[:2] != self.shape:
            self.note("assumed: pictures of another size than the first one are resized to it")
            H, W = self.shape
            rows, columns = np.arange(H) * rgb.shape[0] // H, np.arange(W) * rgb.shape[1] // W
            rgb = rgb[rows[:, None], columns]
        return rgb

    def note(self, line: str) -> None:
        """Adds a line to `notes` unless it is there already."""
        if line not in self.notes:
            self.notes.append(line)

    def _last_frame(self, picture: Any) -> np.ndarray:
        if isinstance(picture, (list, tuple)) and len(picture) and to_array(picture[-1]).ndim >= 2:
            self.note("assumed: of a list of frames, the last one is the picture")
            picture = picture[-1]
        array = to_array(picture)
        if array.ndim == 4 and len(array):
            self.note("assumed: of an array of frames, the last one is the picture")
            array = array[-1]
        if array.dtype.kind not in "buif" or array.ndim not in (2, 3) or not array.size:
            described = type(picture).__name__ if array.dtype == object else f"{array.dtype} {array.shape}"
            raise InputError(f"the picture is {described}; expected RGB, uint8 (H, W, 3)")
        return array

    def _channels_last(self, array: np.ndarray) -> np.ndarray:
        """The picture as (H, W, C)."""
        if array.ndim == 2:
            return array[..., None]
        if array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3):
            self.note(f"assumed: a picture of shape {array.shape} has its channels first")
            return array.transpose(1, 2, 0)
        square = array.shape[0] < array.shape[1] == array.shape[2]
        if square and array.shape[2] not in (1, 3, 4) and is_binary(array):
            return array.transpose(1, 2, 0)
        return array

    def _to_rgb(self, array: np.ndarray, is_observation: bool) -> np.ndarray:
        channels = array.shape[2]
        if channels == 4 and self._has_planes is None:
            self._has_planes = has_planes(array)
        # While both are possible, nothing but the fourth plane is set; as RGBA, the picture would be black.
        is_undecided = channels == 4 and self._has_planes is None and array.any()
        if channels not in (1, 3, 4) or (channels == 4 and self._has_planes) or is_undecided:
            return self._color_planes(array)
        values = self._to_uint8(array)
        if channels == 1:
            return np.repeat(values, 3, axis=2)
        if channels == 3:
            return values.copy() if values is array else values
        alpha = values[..., 3:]
        if is_observation and (alpha != 255).any() and array.any():
            raise InputError(
                f"the observation is {array.dtype} {array.shape}: RGBA, or four frames? Expected RGB, uint8 (H, W, 3)"
            )
        self.note("assumed: the fourth channel of the picture is its opacity")
        if not alpha.any():  # a channel that nobody filled
            return values[..., :3].copy()
        return (values[..., :3].astype(np.uint16) * alpha // 255).astype(np.uint8)

    def _to_uint8(self, array: np.ndarray) -> np.ndarray:
        if array.dtype == np.uint8:
            return array
        if array.dtype == bool:
            return array * np.uint8(255)
        low, high = array.min(), array.max()
        is_float = array.dtype.kind == "f"
        if is_float and not (np.isfinite(low) and np.isfinite(high)):
            raise InputError("the picture has values that are not finite (nan or inf); expected 0-1 or 0-255")
        if low < 0 or high > 255:
            raise InputError(f"the picture has values from {low:g} to {high:g}; expected 0-1 or 0-255")
        if not is_float:
            return array.astype(np.uint8)
        if self._float_max is None and high > 0:
            self._float_max = 1 if high <= 1.001 else 255
            self.note(f"assumed: in pictures of floats, white is {self._float_max}")
        if self._float_max == 1:
            if high > 1.01:
                raise InputError(f"the picture has values to {high:g}, and white was 1 in the ones before "
                                 "it: return uint8, 0-255, from render()")  # fmt: skip
            array = array.clip(0, 1) * 255
        return np.rint(array).astype(np.uint8)

    def _color_planes(self, array: np.ndarray) -> np.ndarray:
        """Planes of 0 and 1 (H, W, N): where several are 1, the last one of them gives the color."""
        planes = array.shape[2]
        if not is_binary(array) or planes > MAX_PLANES:
            raise InputError(f"the picture is {array.dtype} {array.shape}; expected RGB, uint8 (H, W, 3)")
        self.note(f"assumed: the picture has {planes} planes of 0 and 1; each gets a color of its own")
        colors = [colorsys.hsv_to_rgb(i / planes, 1.0 if i % 2 else 0.6, 1.0) for i in range(planes)]
        table = np.rint(np.array([(0, 0, 0), *colors]) * 255).astype(np.uint8)  # (N + 1, 3), black first
        return table[((array != 0) * np.arange(1, planes + 1)).max(axis=2)]


def has_planes(array: np.ndarray) -> Optional[bool]:
    """Whether the four channels of a picture (H, W, 4) are planes of 0 and 1, not RGBA; None if both are possible."""
    if array.dtype.kind not in "bf" or not is_binary(array):
        return False if array.any() else None
    colors, alpha = array[..., :3].any(axis=2), array[..., 3] != 0
    if alpha.all():
        return False  # opaque
    if not colors.any():
        return None
    return bool((colors & ~alpha).any())  # colors that are all invisible would be of no use


def is_binary(array: np.ndarray) -> bool:
    """Whether all values are 0 or 1."""
    return array.dtype == bool or bool(((array == 0) | (array == 1)).all())


def find_picture(observation: Any) -> Any:
    """The only picture in an observation: the array itself, or the only one in a dict or tuple. Raises InputError
    otherwise."""
    if isinstance(observation, (dict, tuple)):
        named = observation if isinstance(observation, dict) else dict(enumerate(observation))
        found = [value for value in named.values() if is_picture_shape(value)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(str(name)[:20] for name in [*named][:9])
        raise InputError(f"it draws nothing, and its observation has {len(found)} pictures (it has {names})")
    if is_picture_shape(observation):
        return observation
    array = to_array(observation)
    raise InputError(f"it draws nothing, and its observation, {array.dtype} {array.shape}, is no picture")


def is_picture_shape(value: Any) -> bool:
    """Whether a value is an array of two or three dimensions, the first two of at least 2."""
    shape = to_array(value).shape
    return len(shape) in (2, 3) and min(shape[:2]) >= 2


def to_array(value: Any) -> np.ndarray:
    """The value as an array; an array of one object if it is none, such as nested lists of different lengths."""
    try:
        return np.asarray(value)
    except Exception:  # objects of other libraries raise many types
        return np.asarray(None)
