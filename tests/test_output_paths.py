"""Outputs that cannot be written, because a part of their path is a file: one line, before anything is loaded."""

import play_sd
import pytest
import view_mario_kart_env
from dream.common.errors import InputError
from dream.common.files import atomic_write, check_no_file_above, make_folder
from dream.common.video import VideoFile
from dream.play.recording import SessionRecorder
from player.common.errors import InputError as PpoInputError
from player.common.video import save_video

WORDS = r"notes\.txt is a file, not a folder: choose another path"


@pytest.fixture
def notes(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    return tmp_path / "notes.txt"


@pytest.mark.parametrize("below", ["a", "new/folder/a"])
def test_a_file_in_the_place_of_a_folder_is_named(notes, below):
    """The system says "File exists", of a path that is new to the user."""

    def write(path) -> None:
        with atomic_write(path):
            pass

    writers = {
        ".mp4": lambda path: VideoFile(path, 15, (8, 8)),
        ".gif": lambda path: VideoFile(path, 15, (8, 8)),
        ".npz": SessionRecorder,
        ".json": write,
        "": make_folder,
    }
    for suffix, writer in writers.items():
        with pytest.raises(InputError, match=WORDS):
            writer(notes / f"{below}{suffix}")
    with pytest.raises(PpoInputError, match=WORDS):
        save_video([], notes / f"{below}.mp4", 15)
    assert notes.read_text() == "mine"
    check_no_file_above(notes)


def test_play_refuses_such_a_path_before_the_model_is_loaded(notes, paths, monkeypatch):
    monkeypatch.setattr(play_sd, "load_backend", lambda *_: pytest.fail("the model was loaded"))
    argv = ["--headless", "--model-path", paths["model_path"], "--record", notes / "film.mp4"]
    with pytest.raises(InputError, match=WORDS):
        play_sd.main(play_sd.parse_args([*map(str, argv)]))


def test_view_says_it_without_an_error_number(notes):
    argv = ["--policy", "random", "--headless", "--frames", "2", "--record", str(notes / "film.mp4")]
    with pytest.raises(PpoInputError, match=WORDS):
        view_mario_kart_env.main(view_mario_kart_env.parse_args(argv))


def test_a_missing_file_says_what_the_option_takes(paths, tmp_path):
    argv = ["--headless", "--model-path", paths["model_path"], "--trajectory-path", tmp_path / "none.npz"]
    with pytest.raises(
        InputError, match=r"none\.npz: there is no such file; it takes initial_sequence\.npz, which"
    ):
        play_sd.main(play_sd.parse_args([*map(str, argv)]))
