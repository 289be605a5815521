"""A screen that goes away. Xlib ends the whole process then, in C, and with it what was being recorded."""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any


def when_x_is_lost(save: Callable[[], str]) -> Any:
    """Where Xlib loses its server, calls `save`, says what it returns and ends with 1. To be kept: Xlib calls it."""
    try:
        xlib = ctypes.CDLL("libX11.so.6")  # the one that SDL has opened
    except OSError:
        return None

    def lost(display: int) -> int:
        try:
            print(f"error: the screen is gone; {save()}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)  # Xlib allows no return, and an exit would call it again

    handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lost)
    xlib.XSetIOErrorHandler(handler)
    return handler
