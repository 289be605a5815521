"""The commands of the dataset viewer: keys, help text and function of each. Needs no pygame.

To add a command, write a function and a line in COMMANDS. `viewer`: a DatasetViewer.
"""

from dream.window.commands import Command, quit_window, save_picture

# ------------------------------------------------------------------------------------------------ help


def toggle_help(viewer) -> None:
    viewer.help_page = 1 - viewer.help_page


# ------------------------------------------------------------------------------------------------ frames


def next_frame(viewer) -> None:
    viewer.go_to(viewer.position + 1)


def previous_frame(viewer) -> None:
    viewer.go_to(viewer.position - 1)


def forward_100(viewer) -> None:
    viewer.go_to(viewer.position + 100)


def back_100(viewer) -> None:
    viewer.go_to(viewer.position - 100)


def next_row(viewer) -> None:
    viewer.go_to(viewer.position + viewer.recording.num_steps)


def previous_row(viewer) -> None:
    viewer.go_to(viewer.position - viewer.recording.num_steps)


def first_frame(viewer) -> None:
    viewer.go_to(0)


def last_frame(viewer) -> None:
    viewer.go_to(viewer.recording.num_frames - 1)


def toggle_playing(viewer) -> None:
    viewer.toggle_playing()


# ------------------------------------------------------------------------------------------------ episodes, actions


def next_episode(viewer) -> None:
    viewer.go_to_nearest(viewer.episodes, 1, "episode start")


def previous_episode(viewer) -> None:
    viewer.go_to_nearest(viewer.episodes, -1, "episode start")


def toggle_actions(viewer) -> None:
    viewer.show_actions = not viewer.show_actions


def select_next(viewer) -> None:
    viewer.select_action(1)


def select_previous(viewer) -> None:
    viewer.select_action(-1)


def next_run(viewer) -> None:
    viewer.go_to_nearest(viewer.runs, 1, f"run of {viewer.selected_name}")


def previous_run(viewer) -> None:
    viewer.go_to_nearest(viewer.runs, -1, f"run of {viewer.selected_name}")


# ------------------------------------------------------------------------------------------------ the table

COMMANDS = {
    "help": Command(("h", "f1"), "all keys", toggle_help),
    "next frame": Command(("right",), "next frame", next_frame),
    "previous frame": Command(("left",), "previous frame", previous_frame),
    "forward 100": Command(("up",), "100 frames forward", forward_100),
    "back 100": Command(("down",), "100 frames back", back_100),
    "next row": Command(("page down",), "next row", next_row),
    "previous row": Command(("page up",), "previous row", previous_row),
    "first frame": Command(("home",), "first frame", first_frame),
    "last frame": Command(("end",), "last frame", last_frame),
    "next episode": Command(("e",), "next episode start", next_episode),
    "previous episode": Command(("w", "shift+e"), "previous episode start", previous_episode),
    "play": Command(("space", "p"), "play at the game's frame rate", toggle_playing),
    "actions": Command(("a",), "histogram of the actions chosen", toggle_actions),
    "select": Command(("tab",), "select the next more frequent action", select_next),
    "select previous": Command(("shift+tab",), "select the next rarer action", select_previous),
    "next run": Command(("n",), "next run of the selected action", next_run),
    "previous run": Command(("b",), "previous run of it", previous_run),
    "picture": Command(("s", "f12"), "save a picture", save_picture),
    "quit": Command(("q", "escape"), "quit", quit_window),
}
