"""Opens the window of a session, or says in one line why there is none. Needs pygame only when it is called."""

from player.common.errors import InputError, shorten
from player.window.controllers import GameSession


def open_window(session: GameSession, scale: int, alternative: str):
    """The Window (window.py) of a session. `scale`: screen pixels per pixel of the game.

    `alternative`: what the user can do without a window, such as "add --headless". Raises InputError, which says so, if
    pygame or a library that it needs is missing, or if there is no display.
    """
    try:
        from player.window.window import Window  # imports pygame, which is optional
    except (ImportError, OSError) as problem:
        reason = shorten(problem, 120)
        raise InputError(
            f"a window needs pygame ({reason}): `pip install pygame` in .venv, or {alternative}"
        ) from None
    return Window(session, scale, alternative)
