"""Emulator games on the real emulator, with Airstriker, whose ROM comes with stable-retro."""

import gzip
import json
import os
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from player.common.errors import InputError
from player.envs.vector_env import SharedVectorEnv
from player.games.game import Action
from player.games.registry import find_game
from player.games.retro.compat import package_game_name
from player.games.retro.known_games import generic_actions
from player.games.retro.race_reward import VARIABLES

stable_retro = pytest.importorskip("stable_retro", reason="stable-retro is not installed")
pytestmark = pytest.mark.emulator

AIRSTRIKER = "Airstriker-Genesis-v0"
MARIO_KART = "SuperMarioKart-Snes"
FIRE_AND_MOVE = [4, 0, 4, 3, 0, 5, 5, 0, 3, 1] * 12  # scores within these steps and does not die


@pytest.fixture
def make():
    """Makes environments and closes them at the end of the test, because a process can hold only one."""
    made = []

    def make_one(name=AIRSTRIKER, integrations=None, state=None, **options):
        made.append(find_game(name, integrations=integrations, state=state).make(**options))
        return made[-1]

    yield make_one
    for env in made:
        env.close()


@pytest.fixture
def own_folder(tmp_path):
    """An integration folder such as a user makes: Airstriker's files under another name."""
    stock = os.path.dirname(stable_retro.data.get_file_path(AIRSTRIKER, "rom.md"))
    shutil.copytree(stock, tmp_path / "MyShooter-Genesis")
    return tmp_path


@pytest.fixture
def mario_kart_folder(tmp_path):
    """Integration files of Super Mario Kart, with zeros as ROM."""
    folder = tmp_path / MARIO_KART
    folder.mkdir()
    (folder / "data.json").write_text('{"info": {"lap": {"address": 4289, "type": "|u1"}}}')
    (folder / "scenario.json").write_text("{}")
    (folder / "metadata.json").write_text('{"default_state": "MarioCircuit_M"}')
    (folder / "MarioCircuit_M.state").write_bytes(gzip.compress(b"state"))
    (folder / "rom.sha").write_text("47e103d8398cf5b7cbb42b95df3a3c270691163b\n")
    (folder / "rom.sfc").write_bytes(bytes(524_288))
    return folder


def rollout(env, actions):
    """Frames and rewards of a sequence of actions."""
    steps = [env.step(action) for action in actions]
    return np.stack([step[0] for step in steps]), [step[1] for step in steps]


@pytest.mark.filterwarnings("ignore:.*having a spec:UserWarning")
def test_airstriker_is_a_gymnasium_environment(make):
    env = make()
    check_env(env)
    assert env.observation_space.shape == (224, 320, 3)
    assert find_game(AIRSTRIKER).truth_names == ("score", "lives")


def test_episodes_are_deterministic(make):
    env = make()
    first, _ = env.reset(seed=0)
    frames, rewards = rollout(env, FIRE_AND_MOVE)
    again, _ = env.reset(seed=1)
    np.testing.assert_array_equal(first, again)
    frames_again, rewards_again = rollout(env, FIRE_AND_MOVE)
    np.testing.assert_array_equal(frames, frames_again)
    assert rewards == rewards_again
    np.testing.assert_array_equal(env.render(), frames[-1])


def test_step_equals_frame_skip_frames_of_the_emulator(make):
    """The step omits work that RetroEnv does per frame; frames, rewards and the end of an episode must be the same."""
    buttons = {0: [], 1: [6], 3: [0], 4: [0, 6], 5: [0, 7]}  # B is 0, LEFT 6, RIGHT 7 on this console
    actions = [3, 0, 4, 5] * 5 + [3, 0, 0] * 300  # moves, then stands and shoots until it has lost its lives
    stock = stable_retro.make(AIRSTRIKER, render_mode=None, use_restricted_actions=stable_retro.Actions.ALL)
    try:
        expected_frames = [stock.reset()[0]]
        expected_rewards, expected_ends, done = [], [], False
        for action in actions:
            mask = np.zeros(12, np.uint8)
            mask[buttons[action]] = 1
            total = 0.0
            run_frames = 0
            while run_frames < 3 and not done:
                run_frames += 1
                frame, reward, done, _, _ = stock.step(mask)
                total += reward
            expected_frames.append(frame)
            expected_rewards.append(total)
            expected_ends.append(done)
            if done:
                break
    finally:
        stock.close()
    assert sum(expected_rewards) > 0 and done and run_frames < 3, "the test must score, and end within a step"

    env = make(frame_skip=3)
    np.testing.assert_array_equal(env.reset()[0], expected_frames[0])
    for step, action in enumerate(actions[: len(expected_ends)]):
        frame, reward, terminated, truncated, _ = env.step(action)
        np.testing.assert_array_equal(frame, expected_frames[step + 1])
        assert (reward, terminated, truncated) == (expected_rewards[step], expected_ends[step], False)


def test_set_state_continues_exactly(make):
    env = make()
    env.reset()
    rollout(env, FIRE_AND_MOVE[:20])
    state = env.get_state()
    assert isinstance(state, bytes)
    frames, rewards = rollout(env, FIRE_AND_MOVE[20:])
    assert sum(rewards) > 0
    env.close()
    env.close()  # closing twice is allowed

    env = make()
    env.reset()
    rollout(env, [1] * 7)
    env.set_state(state)
    frames_again, rewards_again = rollout(env, FIRE_AND_MOVE[20:])
    np.testing.assert_array_equal(frames, frames_again)
    assert rewards == rewards_again
    with pytest.raises(ValueError, match="not a state of this emulator"):
        env.set_state(b"something else")


def test_actions_press_the_right_buttons(make):
    """A button index that is off by one would still train, with the wrong buttons."""
    env = make()
    names = [action.name for action in find_game(AIRSTRIKER).actions]
    assert env.buttons[:2] == ("B", "A")

    def ship_and_others(name):
        env.reset()
        frame = rollout(env, [0] * 3 + [names.index(name)] * 7)[0][-1]
        ship = frame[175:215].max(axis=-1) > 100  # (40, W): the rows of the ship
        return np.flatnonzero(ship.sum(axis=0) > 5).mean(), frame[:175]

    middle, still = ship_and_others("nothing")
    assert ship_and_others("left")[0] < middle - 5
    assert ship_and_others("right")[0] > middle + 5
    assert (ship_and_others("fire")[1] != still).any()


def test_buttons_as_actions(make):
    """Making a savestate needs START in menus, which none of the agent's actions presses."""
    env = make(buttons_as_actions=True)
    env.reset()
    left = np.array([button == "LEFT" for button in env.buttons], np.int8)
    assert env.action_space.contains(left)
    frames, _ = rollout(env, [left] * 5)
    env.close()
    env = make()
    env.reset()
    np.testing.assert_array_equal(rollout(env, [1] * 5)[0], frames)


def test_change_of_resolution_keeps_the_frame_size(make):
    """Consoles may double the number of lines, for example in a menu; the observation space must not change."""
    env = make()
    env.reset()
    frame = env.render()
    env._retro.get_screen = lambda apply_rotation: frame.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(env.step(0)[0], frame)


def test_integrations_of_the_user_work_in_spawned_workers(own_folder, monkeypatch):
    """A spawned process does not inherit registered folders and may have another working directory."""
    monkeypatch.chdir(own_folder.parent)
    game = find_game("MyShooter-Genesis", integrations=own_folder.name, state="Level1")
    assert [action.name for action in game.actions] == ["nothing", "b", "left", "right", "b+left", "b+right"]
    envs = SharedVectorEnv([game.make] * 2, num_processes=2, context="spawn")
    try:
        frames, _ = envs.reset(seed=0)
        assert frames.shape == (2, 224, 320, 3)
        assert envs.step(np.array([0, 2]))[0].any()
    finally:
        envs.close()


def test_without_savestate_episodes_start_at_power_on(make, own_folder):
    (own_folder / "MyShooter-Genesis" / "metadata.json").write_text("{}")
    env = make("MyShooter-Genesis", str(own_folder))
    first = env.reset()[0]
    frames, _ = rollout(env, [0] * 20)
    np.testing.assert_array_equal(env.reset()[0], first)
    np.testing.assert_array_equal(rollout(env, [0] * 20)[0], frames)


def test_generic_actions_use_available_buttons():
    assert generic_actions([None, "LEFT", "RIGHT"]) == (
        Action("nothing"),
        Action("left", ("LEFT",), ("left",)),
        Action("right", ("RIGHT",), ("right",)),
    )
    assert generic_actions(["BUTTON", "LEFT", "RIGHT"])[4] == Action(
        "button+left", ("BUTTON", "LEFT"), ("space", "left")
    )


def refusal(name, **options):
    """The error message, which must be one line."""
    with pytest.raises(InputError) as caught:
        find_game(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_stable_retro_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_retro", None)
    message = refusal(AIRSTRIKER)
    assert "pip install stable-retro" in message and "Mode7Kart-v0" in message and "WSL" in message


def test_unknown_game_suggests_similar_names(own_folder):
    assert AIRSTRIKER in refusal("Airstriker-Genesis")
    assert "Mode7Kart-v0" in refusal("Mode7Kart")
    assert "--integrations DIR" in refusal("NoSuchGame-Snes")
    assert "MyShooter-Genesis" in refusal("MyShooter", integrations=str(own_folder))
    for name in ("", ".", "../stable/" + AIRSTRIKER):
        assert "no game" in refusal(name)


def test_wrong_integrations_folders_are_refused(own_folder):
    assert "is not a folder" in refusal("MyShooter-Genesis", integrations=str(own_folder / "nowhere"))
    inside = str(own_folder / "MyShooter-Genesis")
    assert refusal("MyShooter-Genesis", integrations=inside).endswith(str(own_folder))


def test_mario_kart_rom_warning_and_missing_rom(mario_kart_folder, capsys):
    folder = str(mario_kart_folder.parent)
    game = find_game(MARIO_KART, integrations=folder)
    assert [action.name for action in game.actions][4] == "forward+left" and game.truth_names == ("lap",)
    assert "warning" in capsys.readouterr().err  # zeros are not the ROM of rom.sha

    (mario_kart_folder / "rom.sfc").unlink()
    message = refusal(MARIO_KART, integrations=folder)
    for part in ("import_game.py", "524,288", "47e103d8398cf5b7cbb42b95df3a3c270691163b"):
        assert part in message


@pytest.mark.parametrize(
    ("size", "remedy"), [(524_800, "import_game.py"), (524_287, "copy it"), (0, "copy it")]
)
def test_rom_of_wrong_size_is_refused(mario_kart_folder, size, remedy):
    (mario_kart_folder / "rom.sfc").write_bytes(bytes(size))
    assert remedy in refusal(MARIO_KART, integrations=str(mario_kart_folder.parent))


def test_unknown_and_damaged_savestates_are_refused(own_folder):
    options = {"name": "MyShooter-Genesis", "integrations": str(own_folder)}
    folder = own_folder / "MyShooter-Genesis"
    assert "Level1" in refusal(**options, state="Level9")
    (folder / "Broken.state").write_bytes(b"not gzip")
    assert "not a savestate" in refusal(**options, state="Broken")
    packed = bytearray(gzip.compress(bytes(range(256)) * 99, mtime=0))
    packed[11] ^= 255
    (folder / "Damaged.state").write_bytes(packed)
    assert "not a savestate" in refusal(**options, state="Damaged")
    (folder / "Foreign.state").write_bytes(gzip.compress(b"of another emulator"))
    with pytest.raises(InputError, match="another emulator"):
        find_game(**options, state="Foreign").make()
    (folder / "metadata.json").write_text(json.dumps({"default_state": "Gone"}))
    assert "metadata.json" in refusal(**options)
    find_game(**options, state="Level1").make().close()  # the refusals left no emulator open


@pytest.mark.parametrize("file_name", ["data.json", "scenario.json", "metadata.json"])
def test_missing_and_invalid_json_files_are_refused(own_folder, file_name):
    options = {"name": "MyShooter-Genesis", "integrations": str(own_folder)}
    path = own_folder / "MyShooter-Genesis" / file_name
    path.write_text("{")
    assert "is not JSON" in refusal(**options)
    path.write_text("[]")
    assert "is not a JSON object" in refusal(**options)
    if file_name == "data.json":
        path.write_text('{"info": null}')
        assert f"{path}: its info" in refusal(**options)
    path.unlink()
    if file_name != "metadata.json":  # metadata.json is optional
        assert f"{path} is missing" in refusal(**options)


def test_missing_lua_script_is_refused(own_folder):
    scenario = {"reward": {"script": "lua:reward"}, "scripts": ["reward.lua"]}
    (own_folder / "MyShooter-Genesis" / "scenario.json").write_text(json.dumps(scenario))
    assert "reward.lua is missing" in refusal("MyShooter-Genesis", integrations=str(own_folder))


@pytest.mark.parametrize("name", ["data", "metadata", "data.json", "./data", "../MyShooter-Genesis/data"])
def test_other_json_files_are_not_scenarios(own_folder, name):
    """The emulator would accept data.json as a scenario without reward or end."""
    message = refusal("MyShooter-Genesis", integrations=str(own_folder), scenario=name)
    assert f"--scenario {name} is not in" in message and message.endswith("available: scenario")


@pytest.mark.parametrize("scenario", [None, "checkpoints", "checkpoints+speed"])
def test_missing_race_variables_are_refused(mario_kart_folder, scenario):
    """Otherwise RaceReward would raise a KeyError in the first frame, in a worker process."""
    (
        mario_kart_folder / "scenario.json"
    ).unlink()  # then the project's own is used, and its default is "checkpoints"
    message = refusal(MARIO_KART, integrations=str(mario_kart_folder.parent), scenario=scenario)
    missing = ", ".join(name for name in VARIABLES if name != "lap")
    assert f"reads {missing}, which {mario_kart_folder / 'data.json'} does not have" in message


def test_game_names_of_gym_retro():
    """gym-retro's own games have no version suffix; the user's folders keep their full name."""
    folders = {"Airstriker-Genesis", "MyShooter-Genesis-v0"}
    data = SimpleNamespace(
        get_file_path=lambda name, file, inttype: name if name in folders else None,
        Integrations=stable_retro.data.Integrations,
    )
    old, new = SimpleNamespace(__name__="retro", data=data), stable_retro
    for name, expected in ((AIRSTRIKER, "Airstriker-Genesis"), ("Airstriker-Genesis", "Airstriker-Genesis"),
                        ("MyShooter-Genesis-v0", "MyShooter-Genesis-v0"), (MARIO_KART, MARIO_KART)):  # fmt: skip
        assert (package_game_name(old, name), package_game_name(new, name)) == (expected, name)
