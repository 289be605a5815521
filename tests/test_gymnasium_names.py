"""Names of Gymnasium environments: packages that are missing, files of the user, real packages where installed."""

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import record_trajectories
from player.common.errors import InputError
from player.envs.vector_env import SharedVectorEnv
from player.games import gymnasium_open
from player.games.registry import find_game

pytest.importorskip("cv2")
SCRIPT = Path(record_trajectories.__file__)


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def refusal(name, **options) -> str:
    with pytest.raises(InputError) as caught:
        find_game(name, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) <= 300 and name.split(":")[0] in message
    return message


@pytest.mark.parametrize(
    ("name", "module", "install"),
    [
        ("ALE/Pong-v5", "ale_py", "pip install ale-py"),
        ("PongNoFrameskip-v4", "ale_py", "pip install ale-py"),
        ("MiniGrid-Empty-5x5-v0", "minigrid", "pip install minigrid"),
        ("MinAtar/Breakout-v1", "minatar", "pip install minatar seaborn"),
        ("VizdoomBasic-v1", "vizdoom", "pip install vizdoom"),
        ("highway-v0", "highway_env", "pip install highway-env"),
    ],
)
def test_a_missing_package_is_named(monkeypatch, name, module, install):
    """Not "no game in stable-retro", and whether an emulator is installed or not."""
    for imported in [one for one in sys.modules if one.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, imported)
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "stable_retro", None)
    monkeypatch.setattr(gymnasium_open.gymnasium, "registry", {})
    assert install in refusal(name)


def test_names_that_nobody_registers():
    assert "--game MODULE:Nowhere/Game-v0" in refusal("Nowhere/Game-v0")
    assert "no module nowhere_at_all: name the folder of its file with --game-path DIR" in refusal(
        "nowhere_at_all:A-v0"
    )
    assert "is not a folder" in refusal("mine:A-v0", game_path="/no/mine:A-v0")


FILES = {
    "my_syntax.py": "def",
    "my_exit.py": "import sys; sys.exit('stopped\\nhere')",
    "my_import.py": "import not_installed_at_all",
    "my_game.py": """
        import gymnasium, numpy as np
        class Mine(gymnasium.Env):
            metadata = {"render_modes": ["rgb_array"], "render_fps": 60}
            action_space = gymnasium.spaces.Discrete(2)
            observation_space = gymnasium.spaces.Discrete(2)
            def __init__(self, render_mode=None, color=9):
                self.color, self.t = color, 0
            def reset(self, seed=None, options=None):
                return 0, {}
            def step(self, action):
                self.t += 1
                return 0, 1.0, False, False, {}
            def render(self):
                return np.full((32, 64, 3), self.color + self.t, np.uint8)
        gymnasium.register("Mine-v0", Mine)
        gymnasium.register("mine/Mine-v0", Mine)
    """,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the user's files, which is not among those that Python imports from."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield str(tmp_path)
    for name in FILES:
        sys.modules.pop(name[:-3], None)


def test_an_environment_in_a_file(folder):
    assert "--game-path" in refusal("my_game:Mine-v0")
    for name in ("my_game:Mine-v0", "my_game:mine/Mine-v0"):
        game = find_game(name, game_path=folder, game_settings={"color": 70}, frame_skip=1)
        env = game.make(frame_skip=1)
        assert env.reset()[0].max() == 70 and env.observation_space.shape == (96, 192, 3)
        env.close()


def test_the_folder_is_known_in_spawned_workers_too(folder):
    game = find_game("my_game:Mine-v0", game_path=folder, frame_skip=1)
    envs = SharedVectorEnv([game.make] * 2, 0, 1, "spawn")
    try:
        envs.reset(seed=0)
        assert envs.step(np.zeros(2, np.int64))[1].tolist() == [4.0, 4.0]
    finally:
        envs.close()


@pytest.mark.parametrize(
    ("module", "part"),
    [
        ("my_syntax", "my_syntax fails: "),
        ("my_exit", "my_exit fails: stopped"),
        ("my_import", "no module not_installed_at_all: `pip install` what my_import imports"),
    ],
)
def test_a_file_that_cannot_be_imported(folder, module, part):
    assert part in refusal(f"{module}:A-v0", game_path=folder)


def test_a_missing_environment_of_a_file(folder):
    assert "Gymnasium cannot make my_game:Other-v0" in refusal("my_game:Other-v0", game_path=folder)


@pytest.mark.slow
def test_the_recorder_as_a_command(folder, tmp_path):
    command = [sys.executable, str(SCRIPT), "--game", "my_game:Mine-v0", "--game-path", folder, "--policy", "random",
               "--n-envs", "2", "--frames", "30", "--output", str(tmp_path / "a.npz")]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    result = subprocess.run(
        [*command[:3], "my_exit:A-v0", *command[4:]], capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode != 0 and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


# -- real packages ------------------------------------------------------------------------------------------------


def first_frames(game, actions):
    env = game.make(frame_skip=game.frame_skip)
    env.reset(seed=0)
    frames = [env.step(action)[0] for action in actions]
    env.close()
    return env, np.stack(frames)


@pytest.mark.skipif(not is_installed("ale_py"), reason="ale-py is not installed")
def test_atari_is_not_skipped_twice_and_its_ghosts_are_seen():
    """ALE/*-v5 runs four frames per step itself and shows the last one."""
    game = find_game("ALE/MsPacman-v5")
    assert (game.frame_rate, game.frame_skip) == (15, 1) and game.max_frames >= 2
    assert game.environment["settings"]["frameskip"] == 1 and game.environment["frame_skip"] == 4
    env = game.make(frame_skip=game.frame_skip)
    env.reset(seed=0)
    env.step(0)
    assert env.game.unwrapped.ale.getEpisodeFrameNumber() == 4
    env.close()
    same = find_game("ALE/MsPacman-v5", game_settings={"frameskip": 1})
    assert (same.frame_rate, same.frame_skip, same.max_frames) == (60, 4, game.max_frames)
    np.testing.assert_array_equal(*(first_frames(one, [0, 1, 2, 3])[1] for one in (game, same)))
    assert find_game("ALE/MsPacman-v5", max_frames=1).max_frames == 1
    classic = find_game("PongNoFrameskip-v4")
    assert (classic.frame_rate, classic.frame_skip, classic.max_frames) == (60, 4, 2)
    assert "ALE/Adventure-v5" in refusal("ALE/NoSuchGame-v5")


@pytest.mark.skipif(not is_installed("minigrid"), reason="minigrid is not installed")
def test_minigrid_turns_by_a_quarter():
    game = find_game("MiniGrid-Empty-5x5-v0")
    assert (game.frame_rate, game.frame_skip, game.max_frames) == (10, 1, 1)
    _, frames = first_frames(game, [0, 0, 0, 0])
    assert len({frame.tobytes() for frame in frames}) == 4


@pytest.mark.skipif(
    not (is_installed("minatar") and is_installed("seaborn")), reason="minatar is not installed"
)
def test_minatar():
    game = find_game("MinAtar/Breakout-v1")
    assert game.frame_skip == 1
    _, frames = first_frames(game, [0, 1, 2])
    assert frames.shape == (3, 160, 160, 3) and frames.max() > 100 and len(np.unique(frames[0])) > 3


@pytest.mark.skipif(not is_installed("vizdoom"), reason="vizdoom is not installed")
def test_vizdoom_leaves_no_process(tmp_path):
    command = [sys.executable, str(SCRIPT), "--game", "VizdoomBasic-v1", "--policy", "random", "--n-envs", "2",
               "--frames", "30", "--output", str(tmp_path / "a.npz")]  # fmt: skip
    # Returns only when no process holds its output any more.
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
