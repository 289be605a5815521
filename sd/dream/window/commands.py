"""The commands of the play window: keys, help text and function of each. Needs no pygame.

To add a command, write a function and a line in COMMANDS. `window`: a PlayWindow.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from dream.common.errors import InputError
from dream.common.video import default_suffix, free_path

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
    window.rewinding = True


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


def toggle_help(window) -> None:
    window.show_help = not window.show_help


def next_view(window) -> None:
    if not window.session.real:
        window.say("no game to show: start play_sd.py with --real (see README.md)")
        return
    window.view = VIEWS[(VIEWS.index(window.view) + 1) % len(VIEWS)]
    window.say(f"view: {window.view}")


def toggle_bar(window) -> None:
    window.show_bar = not window.show_bar


def full_screen(window) -> None:
    window.toggle_full_screen()


def quit_window(window) -> None:
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


def toggle_gif(window) -> None:
    toggle_recording(window, ".gif")


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
    "help": Command(("h", "f1"), "all keys", toggle_help),
    "restart": Command(("r", "return"), "restart", restart),
    "next start state": Command(("n",), "next start state", next_start),
    "previous start state": Command(("b",), "previous start state", previous_start),
    "save start state": Command(("k",), "save as a start state", save_start),
    "pause": Command(("p", "space"), "pause", pause),
    "single step": Command((".",), "advance by one frame", single_step),
    "rewind": Command(("z", "backspace"), "rewind while held", rewind),
    "driver": Command(("tab",), "switch driver: you, action list, agent", cycle_controller),
    "view": Command(("t",), "view: model, game, both, difference", next_view),
    "slower": Command(("-",), "slower", slower),
    "faster": Command(("=", "+"), "faster", faster),
    "next seed": Command(("x",), "next seed of the noise", next_seed),
    "picture": Command(("f12", "s"), "save a picture", save_picture),
    "video": Command(("v",), "start or stop a video", toggle_video),
    "gif": Command(("g",), "start or stop a GIF", toggle_gif),
    "recording": Command(("c",), "start or stop an .npz", toggle_npz),
    "toggle bar": Command(("i", "f2"), "show or hide the bar", toggle_bar),
    "full screen": Command(("f11", "f"), "full screen", full_screen),
    "quit": Command(("q", "escape"), "quit", quit_window),
}


def command_keys(
    action_keys: Sequence[Collection[str]], commands: dict[str, Command] = COMMANDS
) -> dict[str, tuple[str, ...]]:
    """Returns the keys of each command by its name, without the keys that the game uses."""
    game_keys = {key for keys in action_keys for key in keys}
    return {
        name: tuple(key for key in command.keys if key not in game_keys) for name, command in commands.items()
    }
