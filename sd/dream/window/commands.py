"""The commands of the play window: keys, help text and function of each. Needs no pygame.

To add a command, write a function and a line in COMMANDS. `window`: a PlayWindow.
"""

from collections.abc import Callable, Collection, Sequence
from threading import Thread
from typing import Any, NamedTuple

from dream.common.errors import InputError
from dream.common.game_info import OWN_GAME
from dream.common.video import default_suffix, free_path
from dream.play.keys import key_aliases
from dream.play.recorder import write_clip

SPEEDS = (0.125, 0.25, 0.5, 1, 2, 4)  # factors of the game's frame rate
VIEWS = ("world model", "game", "both", "difference")


class Command(NamedTuple):
    keys: tuple[str, ...]  # names as in pygame
    help: str  # one line
    function: Callable[[Any], None]  # takes the window


# ------------------------------------------------------------------------------------------------ start states


def restart(window) -> None:
    window.session.restart()
    window.on_restart()


def next_start(window) -> None:
    window.session.change_start(1)
    window.on_restart()


def previous_start(window) -> None:
    window.session.change_start(-1)
    window.on_restart()


def save_start(window) -> None:
    window.starts_path = path = window.starts_path or free_path(window.output_dir, ".npz", "start_states")
    try:
        number = window.env.save_start_state(path)
        window.say(f"saved start state {number}: --trajectory-path {path}")
    except OSError as problem:
        window.say(f"start state not saved: {problem}")


# ------------------------------------------------------------------------------------------------ playing


def pause(window) -> None:
    if window.help_page:  # which is a pause: play on
        window.help_page = 0
        return
    if window.waiting:
        window.waiting = False
        return
    window.paused = not window.paused
    window.pressed_at = None
    window.times.reset_window()


def single_step(window) -> None:
    window.paused = window.step_once = True
    window.waiting = False


def rewind(window) -> None:
    window.rewinding, window.num_rewound = True, 0


def cycle_controller(window) -> None:
    window.say(window.session.cycle_controller())
    window.waiting = False


def next_seed(window) -> None:
    window.set_seed(window.env.seed + 1)


def slower(window) -> None:
    window.set_speed(SPEEDS[max(SPEEDS.index(window.speed) - 1, 0)])


def faster(window) -> None:
    window.set_speed(SPEEDS[min(SPEEDS.index(window.speed) + 1, len(SPEEDS) - 1)])


# ------------------------------------------------------------------------------------------------ display


def next_help_page(window) -> None:
    """Shows the first page of the help, then the second, then none. The game pauses meanwhile."""
    window.help_page = (window.help_page + 1) % 3
    window.pressed_at = None
    window.times.reset_window()


def next_view(window) -> None:
    if not window.session.real:
        game = (window.env.environment or {}).get("game")
        own = f"--real player:{OWN_GAME} --real-path ppo"
        option = own if game == OWN_GAME else f"--real {game}" if game else f"--real, such as {own}"
        window.say(f"To see the real game next to the model, start play_sd.py with {option}")
        return
    window.view = VIEWS[(VIEWS.index(window.view) + 1) % len(VIEWS)]
    window.say(f"view: {window.view}")


def toggle_numbers(window) -> None:
    window.show_numbers = not window.show_numbers


def toggle_bar(window) -> None:
    window.show_bar = not window.show_bar


def full_screen(window) -> None:
    window.toggle_full_screen()


def quit_window(window) -> None:
    """Closes the help, if it is shown, else the window."""
    if window.help_page:
        window.help_page = 0
    else:
        window.running = False


# ------------------------------------------------------------------------------------------------ files


def save_picture(window) -> None:
    path = free_path(window.output_dir, ".png")
    try:
        window.output_dir.mkdir(parents=True, exist_ok=True)
        window.save_picture(path)
        window.say(f"saved {path}")
    except (OSError, RuntimeError) as problem:  # pygame.error is a RuntimeError
        window.say(f"picture not saved: {problem}")


def toggle_video(window) -> None:
    toggle_recording(window, default_suffix())


def save_clip(window) -> None:
    """Saves the best ten seconds as a GIF, in a thread: that takes some seconds."""
    frames, drive = window.drive.best_clip()
    if window.clip_thread and window.clip_thread.is_alive():
        window.say("still saving the last GIF")
    elif not frames:
        window.say("There is nothing to save yet: drive first.")
    else:
        path, seconds = free_path(window.output_dir, ".gif"), len(frames) / window.env.fps
        window.say(f"saving the best {seconds:.0f} seconds of {drive} ...")
        window.clip_saved = True
        window.clip_thread = Thread(target=lambda: window.say(write_clip(path, frames, window.env.fps)))
        window.clip_thread.start()


def toggle_npz(window) -> None:
    toggle_recording(window, ".npz")


def toggle_recording(window, suffix: str) -> None:
    """Stops the active recording of this kind, or starts one."""
    try:
        recording = window.recorder.active_for(suffix)
        if recording:
            window.stop_recording(recording)
        else:
            window.start_recording(free_path(window.output_dir, suffix))
    except (OSError, InputError) as problem:
        window.say(f"not recorded: {problem}")


# ------------------------------------------------------------------------------------------------ the table

COMMANDS = {
    "help": Command(("h", "f1"), "this help, more keys, play on", next_help_page),
    "restart": Command(("r", "return"), "again from the start", restart),
    "rewind": Command(("z", "backspace"), "back in time while held", rewind),
    "driver": Command(("tab",), "the agent plays, or you do", cycle_controller),
    "clip": Command(("g",), "save the best ten seconds as a GIF", save_clip),
    "next start state": Command(("n",), "next place to start from", next_start),
    "previous start state": Command(("b",), "previous place to start from", previous_start),
    "pause": Command(("p", "space"), "pause", pause),
    "view": Command(("t",), "show model, game, both, difference", next_view),
    "full screen": Command(("f11", "f"), "full screen", full_screen),
    "quit": Command(("q", "escape"), "quit", quit_window),
    "picture": Command(("f12", "o"), "save a picture", save_picture),
    "video": Command(("v",), "start or stop a video", toggle_video),
    "recording": Command(("c",), "start or stop a recording (.npz)", toggle_npz),
    "save start state": Command(("k",), "save as a place to start from", save_start),
    "numbers": Command(("i",), "show times, backend, frame number", toggle_numbers),
    "toggle bar": Command(("f2",), "show or hide the bar", toggle_bar),
    "single step": Command((".",), "advance by one frame", single_step),
    "slower": Command(("-",), "slower", slower),
    "faster": Command(("=", "+"), "faster", faster),
    "next seed": Command(("x",), "other noise: next seed", next_seed),
}
_NAMES = list(COMMANDS)
HELP_PAGES = {  # names of the commands by the part of the help that lists them
    "window": _NAMES[: _NAMES.index("picture")],
    "files": _NAMES[_NAMES.index("picture") : _NAMES.index("numbers")],
    "experts": _NAMES[_NAMES.index("numbers") :],
}


def command_keys(
    action_keys: Sequence[Collection[str]], commands: dict[str, Command] = COMMANDS
) -> dict[str, tuple[str, ...]]:
    """Returns the keys of each command by its name, without the keys that the game uses."""
    game_keys = {key for keys in action_keys for key in keys} | key_aliases(action_keys).keys()
    return {
        name: tuple(key for key in command.keys if key not in game_keys) for name, command in commands.items()
    }
