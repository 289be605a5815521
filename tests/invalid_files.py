"""Helpers of the tests of invalid files: a malicious pickle, and the error message of a refused file."""

from pathlib import Path

import pytest
from dream.common.errors import InputError


class Malicious:
    """Unpickling an instance creates the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def refusal(load, path: Path) -> str:
    """The error message of loading an invalid file: one line that names the file."""
    with pytest.raises(InputError) as error:
        load(path)
    line = str(error.value)
    assert "\n" not in line and str(path) in line and len(line) < 500
    return line
