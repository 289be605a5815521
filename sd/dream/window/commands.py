"""What the window's own keys do: a function for each command in COMMANDS (keys.py), of its name. No pygame.

`window`: a DreamWindow.
"""

from collections.abc import Callable

from dream.common.errors import InputError
from dream.common.video import free_path, usual_suffix

SPEEDS = (0.125, 0.25, 0.5, 1, 2, 4)  # times the game's own
VIEWS = ("dream", "game", "both", "difference")


def command(name: str) -> Callable:
    return globals()[name.replace(" ", "_")]


# ------------------------------------------------------------------------------------------------ where


def restart(window) -> None:
    window.ride.restart()
    window.begin_again()


def next_place(window) -> None:
    window.ride.go_to_place(1)
    window.begin_again()


def previous_place(window) -> None:
    window.ride.go_to_place(-1)
    window.begin_again()


def keep_place(window) -> None:
    window.places_path = path = window.places_path or free_path(window.output_dir, ".npz", "places")
    try:
        window.say(f"place {window.dream.save_start_state(path)} is kept: --trajectory-path {path}")
    except OSError as problem:
        window.say(f"the place is not kept: {problem}")


def pause(window) -> None:
    if window.waiting:
        window.waiting = False
        return
    window.paused = not window.paused
    window.pressed_at = None
    window.times.interrupt()


def one_step(window) -> None:
    window.paused = window.step_once = True
    window.waiting = False


def go_back(window) -> None:
    window.going_back = True


def driver(window) -> None:
    window.say(window.ride.next_driver())
    window.waiting = False


# ------------------------------------------------------------------------------------------------ knobs


def other_seed(window) -> None:
    window.turn(seed=window.dream.seed + 1)


def slower(window) -> None:
    window.change_speed(SPEEDS[max(SPEEDS.index(window.speed) - 1, 0)])


def faster(window) -> None:
    window.change_speed(SPEEDS[min(SPEEDS.index(window.speed) + 1, len(SPEEDS) - 1)])


# ------------------------------------------------------------------------------------------------ what is shown


def help(window) -> None:
    window.show_help = not window.show_help


def view(window) -> None:
    if not window.ride.real:
        window.say("no game beside the dream: start with --real (README)")
        return
    window.view = VIEWS[(VIEWS.index(window.view) + 1) % len(VIEWS)]
    window.say(f"view: {window.view}")


def hide_this(window) -> None:
    window.show_bar = not window.show_bar


def full_screen(window) -> None:
    window.toggle_full_screen()


def quit(window) -> None:
    window.running = False


# ------------------------------------------------------------------------------------------------ what is kept


def picture(window) -> None:
    path = free_path(window.output_dir, ".png")
    try:
        window.output_dir.mkdir(parents=True, exist_ok=True)
        window.save_picture(path)
        window.say(f"saved {path}")
    except (OSError, RuntimeError) as problem:  # pygame.error is one
        window.say(f"no picture: {problem}")


def video(window) -> None:
    start_or_stop(window, usual_suffix())


def gif(window) -> None:
    start_or_stop(window, ".gif")


def recording(window) -> None:
    start_or_stop(window, ".npz")


def start_or_stop(window, suffix: str) -> None:
    """A recording of this kind ends where one is running, or begins."""
    try:
        running = window.recorder.of_kind(suffix)
        if running:
            window.stop_recording(running)
        else:
            window.start_recording(free_path(window.output_dir, suffix))
    except (OSError, InputError) as problem:
        window.say(f"not recorded: {problem}")
