"""compare_with_game.py with a small random world model."""

import json
import math

import compare_with_game
import numpy as np
import pytest
from dream.common.errors import InputError
from dream.common.game_info import GameInfo
from dream.evaluation.manoeuvres import KART_MANOEUVRES
from fakes import FakeEnv
from PIL import Image
from pretrained import PRETRAINED, PRETRAINED_FILES
from small import save_small_world_model
from test_side_by_side import level_probe


def add_game_states(path, **states) -> None:
    """Adds the game's state, by name (K,), to the start states at `path`."""
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays, **{f"truth/{name}": np.float32(values) for name, values in states.items()})


@pytest.fixture
def compare(paths, tmp_path, request):
    """Runs the script with a small random world model and line_game.py: compare(*options)."""
    add_game_states(paths["trajectory_path"], x=[5, 38, 20])
    fixed = ["--model-path", paths["model_path"], "--backend", "torch", "--output-dir", tmp_path / "out"]
    game = ["--real", "line_game:Line-v1", "--real-path", request.path.parent]

    def run(*options, game=game):
        compare_with_game.main(compare_with_game.parse_args([*map(str, [*fixed, *game, *options])]))
        return json.loads((tmp_path / "out" / "comparison.json").read_text())

    return run


@pytest.fixture
def key_files(tmp_path):
    texts = {"right": "right 3\n", "left": "left 1\n- 2  # waits\nright\n"}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return [tmp_path / f"{name}.txt" for name in texts]


def test_the_script(compare, key_files, tmp_path, capsys):
    results = compare("--keys", *key_files)["manoeuvres"]
    right, left = results["right"], results["left"]
    assert (right["frames"], right["seconds"], [*right["starts"]]) == (3, 0.2, ["0", "2"])  # 1 ends at 40
    assert [*left["starts"]] == ["0", "1", "2"]
    expected = np.mean([-20 * math.log10(moved / 255) for moved in (1, 2, 3)])
    for measures in (*right["starts"].values(), right["mean"]):
        assert measures["psnr_db_start"] == pytest.approx(expected, rel=1e-5)
        assert measures["motion_game"] == 1 and measures["place_error"] is None
        assert 0 < measures["psnr_db"] < 30 and measures["motion"] > 0
    assert left["mean"]["motion_game"] == 0.5
    printed = capsys.readouterr().out
    assert printed.startswith("seed 0\n")
    for line in ("right: 0.2 s from 2 of 3 start states", "left: 0.3 s from 3 of 3 start states",
                 "right: start state 0 is drawn, the game does not follow 1"):  # fmt: skip
        assert line in printed
    assert "left: start state" not in printed
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.endswith("-       -")}
    assert rows["right"][:2] == ["0.2", "2"] and rows["right"][3] == f"{expected:.2f}"
    for name in ("right", "left"):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.width > 4 * 192 and picture.height > 2 * 128
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.json",
        "left.png",
        "right.png",
    ]


def test_the_seed_decides(compare, key_files, tmp_path):
    first, again = (compare("--keys", key_files[0], "--seed", 3) for _ in range(2))
    assert first == again and first["run_info"]["seed"] == 3
    other = compare("--keys", key_files[0], "--seed", 4)["manoeuvres"]
    assert other["right"]["mean"]["psnr_db"] != first["manoeuvres"]["right"]["mean"]["psnr_db"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "for another game or model name your own with --keys FILE"),
        (["--keys", "{bad}"], "line 2: '0' is not a number of frames"),
        (["--keys", "{unknown}"], "line 1: 'up' is neither an action"),
        (["--keys", "{good}", "{none}"], "cannot be read as a text file"),
        (["--keys", "{good}", "--start", "3"], "--start 3: .* has the start states 0 to 2"),
        (["--keys", "{good}", "--real", "nowhere:Line-v1"], "there is no package nowhere here"),
        (["--keys", "{good}", "--real", "player:Mode7Kart-v0"], "but the world model has 3 actions"),
        (
            ["--keys", "{good}", "--real-settings", "settable=false"],
            "cannot be set to any of the start states",
        ),
        (["--keys", "{long}"], "from every start state the game ends during long: use a shorter manoeuvre"),
        (["--keys", "{good}", "--lpips-weights", "{good}"], "is not the alexnet.ckpt"),
        (["--keys", "{good}", "--output-dir", "{good}"], "is a file, not a folder"),
        (
            ["--keys", "{good}", "--trajectory-path", "{good}"],
            "--trajectory-path .* is a text file: it takes",
        ),
    ],
)
def test_what_cannot_be_compared(compare, tmp_path, options, message):
    texts = {"good": "right", "bad": "right\nleft 0", "unknown": "up", "long": "right 100"}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text)
    files = {name: tmp_path / f"{name}.txt" for name in (*texts, "none")}
    with pytest.raises(InputError, match=message) as refused:
        compare(*(option.format(**files) for option in options))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out" / "comparison.json").exists()


@pytest.mark.parametrize("option", ["--seed", "--start"])
def test_negative_numbers(option, capsys):
    with pytest.raises(SystemExit) as ended:
        compare_with_game.parse_args([option, "-1"])
    assert ended.value.code == 2 and "must be 0 or more" in capsys.readouterr().err


@pytest.fixture
def kart_model(tmp_path):
    """Options for a small random model of the built-in kart game, of pictures of 32 x 48 pixels and one start state."""
    recorded = {
        "game": "Mode7Kart-v0",
        "settings": {},
        "actions": [*range(6)],
        "frame_skip": 1,
        "max_frames": 1,
        "crop": None,
        "frame_size": [32, 48],
    }
    game = GameInfo(FakeEnv.action_names, FakeEnv.action_keys, 15.0, recorded)
    paths = save_small_world_model(tmp_path, num_starts=1, game=game)
    with np.load(PRETRAINED / PRETRAINED_FILES["trajectory_path"]) as file:
        states = {name.removeprefix("truth/"): file[name][1:2] for name in file if name.startswith("truth/")}
    add_game_states(paths["trajectory_path"], **states)
    return ["--model-path", paths["model_path"], "--backend", "torch", "--start", 0]


@pytest.mark.slow
def test_the_built_in_manoeuvres(kart_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare_with_game, "load_lap_probe", lambda *_: level_probe)
    options = [*kart_model, "--output-dir", tmp_path / "out"]
    compare_with_game.main(compare_with_game.parse_args([*map(str, options)]))
    results = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert results["run_info"]["game"] == "player:Mode7Kart-v0"
    assert [*results["manoeuvres"]] == [*KART_MANOEUVRES]
    for name, result in results["manoeuvres"].items():
        assert (tmp_path / "out" / f"{name}.png").is_file()
        assert result["frames"] == sum(num_frames for _, num_frames in KART_MANOEUVRES[name])
        assert 0 < result["mean"]["place_error_game"] <= 0.5
    assert results["manoeuvres"]["stop"]["mean"]["motion_game"] == 0
    assert results["manoeuvres"]["straight"]["mean"]["motion_game"] > 3
    assert "in % of a lap, from the game's state" in capsys.readouterr().out
