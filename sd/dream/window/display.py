"""Checks for a display, and handles the loss of the connection to an X11 display. Needs no pygame."""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any


def has_display() -> bool:
    """Returns False on Linux without a display server. Call it before SDL is initialized, which would print errors."""
    has_server = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"))
    return has_server or not sys.platform.startswith("linux")


def on_x11_error(save: Callable[[], str]) -> Any:
    """Installs a handler that, when Xlib loses its server, calls `save`, prints the returned message and exits with 1.

    Xlib would otherwise end the process in C code, and recordings would be lost. Returns the C callback, which the
    caller must keep alive, or None without Xlib.
    """
    try:
        xlib = ctypes.CDLL("libX11.so.6")  # the library that SDL has loaded
    except OSError:
        return None

    def handle_error(display: int) -> int:
        try:
            print(f"error: lost the connection to the display; {save()}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)  # Xlib forbids a return, and a normal exit would call this handler again

    handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(handle_error)
    xlib.XSetIOErrorHandler(handler)
    return handler
