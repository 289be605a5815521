"""Emulator games against the real emulator: Airstriker comes with stable-retro, so no ROM is needed."""

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
from player.games.retro.compat import name_there
from player.games.retro.known_games import generic_actions
from player.games.retro.race_reward import READS

stable_retro = pytest.importorskip("stable_retro", reason="stable-retro is not installed")
pytestmark = pytest.mark.emulator

AIRSTRIKER = "Airstriker-Genesis-v0"
MARIO_KART = "SuperMarioKart-Snes"
FIRE_AND_MOVE = [4, 0, 4, 3, 0, 5, 5, 0, 3, 1] * 12  # hits something within these steps, dies in none of them


@pytest.fixture
def make():
    """Makes environments and closes them: a process may hold only one, so a failed test must not keep it."""
    made = []

    def make_one(name=AIRSTRIKER, integrations=None, state=None, **options):
        made.append(find_game(name, integrations=integrations, state=state).make(**options))
        return made[-1]

    yield make_one
    for env in made:
        env.close()


@pytest.fixture
def own_folder(tmp_path):
    """An integration folder as a user writes one: Airstriker's files under another name."""
    stock = os.path.dirname(stable_retro.data.get_file_path(AIRSTRIKER, "rom.md"))
    shutil.copytree(stock, tmp_path / "MyShooter-Genesis")
    return tmp_path


@pytest.fixture
def mario_kart_folder(tmp_path):
    """The files around Super Mario Kart, with nothing of the game in them."""
    folder = tmp_path / MARIO_KART
    folder.mkdir()
    (folder / "data.json").write_text('{"info": {"lap": {"address": 4289, "type": "|u1"}}}')
    (folder / "scenario.json").write_text("{}")
    (folder / "metadata.json").write_text('{"default_state": "MarioCircuit_M"}')
    (folder / "MarioCircuit_M.state").write_bytes(gzip.compress(b"state"))
    (folder / "rom.sha").write_text("47e103d8398cf5b7cbb42b95df3a3c270691163b\n")
    (folder / "rom.sfc").write_bytes(bytes(524_288))
    return folder


def roll(env, actions):
    """Frames and rewards of `actions`."""
    steps = [env.step(action) for action in actions]
    return np.stack([step[0] for step in steps]), [step[1] for step in steps]


@pytest.mark.filterwarnings("ignore:.*having a spec:UserWarning")
def test_airstriker_is_a_gymnasium_environment(make):
    env = make()
    check_env(env)
    assert env.observation_space.shape == (224, 320, 3)
    assert find_game(AIRSTRIKER).truth_names == ("score", "lives")


def test_the_same_actions_give_the_same_frames_in_every_episode(make):
    env = make()
    first, _ = env.reset(seed=0)
    frames, rewards = roll(env, FIRE_AND_MOVE)
    again, _ = env.reset(seed=1)
    np.testing.assert_array_equal(first, again)
    frames_again, rewards_again = roll(env, FIRE_AND_MOVE)
    np.testing.assert_array_equal(frames, frames_again)
    assert rewards == rewards_again
    np.testing.assert_array_equal(env.render(), frames[-1])


def test_a_step_is_frame_skip_frames_of_the_plain_emulator(make):
    """The fast step leaves out what RetroEnv does on every frame; frames, rewards and the end must not notice."""
    buttons = {0: [], 1: [6], 3: [0], 4: [0, 6], 5: [0, 7]}  # B is 0, LEFT 6, RIGHT 7 on this console
    actions = [3, 0, 4, 5] * 5 + [3, 0, 0] * 300  # moves, then stands and shoots until its lives are gone
    plain = stable_retro.make(AIRSTRIKER, render_mode=None, use_restricted_actions=stable_retro.Actions.ALL)
    try:
        wanted = [plain.reset()[0]]
        wanted_rewards, wanted_ends, done = [], [], False
        for action in actions:
            mask = np.zeros(12, np.uint8)
            mask[buttons[action]] = 1
            total = 0.0
            run_frames = 0
            while run_frames < 3 and not done:
                run_frames += 1
                frame, reward, done, _, _ = plain.step(mask)
                total += reward
            wanted.append(frame)
            wanted_rewards.append(total)
            wanted_ends.append(done)
            if done:
                break
    finally:
        plain.close()
    assert sum(wanted_rewards) > 0 and done and run_frames < 3, "must score, and end within a step"

    env = make(frame_skip=3)
    np.testing.assert_array_equal(env.reset()[0], wanted[0])
    for step, action in enumerate(actions[: len(wanted_ends)]):
        frame, reward, terminated, truncated, _ = env.step(action)
        np.testing.assert_array_equal(frame, wanted[step + 1])
        assert (reward, terminated, truncated) == (wanted_rewards[step], wanted_ends[step], False)


def test_a_restored_state_goes_on_as_if_nothing_had_happened(make):
    env = make()
    env.reset()
    roll(env, FIRE_AND_MOVE[:20])
    state = env.get_state()
    assert isinstance(state, bytes)
    frames, rewards = roll(env, FIRE_AND_MOVE[20:])
    assert sum(rewards) > 0
    env.close()
    env.close()  # twice does no harm

    env = make()
    env.reset()
    roll(env, [1] * 7)
    env.set_state(state)
    frames_again, rewards_again = roll(env, FIRE_AND_MOVE[20:])
    np.testing.assert_array_equal(frames, frames_again)
    assert rewards == rewards_again
    with pytest.raises(ValueError, match="no state of this emulator"):
        env.set_state(b"something else")


def test_fire_fires_and_left_goes_left(make):
    """A button index that is off by one still trains, on the wrong buttons."""
    env = make()
    names = [action.name for action in find_game(AIRSTRIKER).actions]
    assert env.buttons[:2] == ("B", "A")

    def ship_and_others(name):
        env.reset()
        frame = roll(env, [0] * 3 + [names.index(name)] * 7)[0][-1]
        ship = frame[175:215].max(axis=-1) > 100  # (40, W): the rows of the ship
        return np.flatnonzero(ship.sum(axis=0) > 5).mean(), frame[:175]

    middle, still = ship_and_others("nothing")
    assert ship_and_others("left")[0] < middle - 5
    assert ship_and_others("right")[0] > middle + 5
    assert (ship_and_others("fire")[1] != still).any()


def test_buttons_can_be_held_one_by_one(make):
    """Menus need START, which no action of the agent's holds; who makes a savestate presses it."""
    env = make(buttons_as_actions=True)
    env.reset()
    left = np.array([button == "LEFT" for button in env.buttons], np.int8)
    assert env.action_space.contains(left)
    frames, _ = roll(env, [left] * 5)
    env.close()
    env = make()
    env.reset()
    np.testing.assert_array_equal(roll(env, [1] * 5)[0], frames)


def test_a_change_of_resolution_does_not_change_the_frame_size(make):
    """Consoles switch on the way, to twice the lines for a menu for one; the observation space may not."""
    env = make()
    env.reset()
    frame = env.render()
    env._retro.get_screen = lambda apply_rotation: frame.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(env.step(0)[0], frame)


def test_own_integrations_work_in_spawned_workers(own_folder, monkeypatch):
    """A spawned process knows nothing of what the parent registered, nor need it stand in the same folder."""
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


def test_without_a_savestate_every_episode_starts_at_power_on(make, own_folder):
    (own_folder / "MyShooter-Genesis" / "metadata.json").write_text("{}")
    env = make("MyShooter-Genesis", str(own_folder))
    first = env.reset()[0]
    frames, _ = roll(env, [0] * 20)
    np.testing.assert_array_equal(env.reset()[0], first)
    np.testing.assert_array_equal(roll(env, [0] * 20)[0], frames)


def test_generic_actions_hold_what_the_console_has():
    assert generic_actions([None, "LEFT", "RIGHT"]) == (
        Action("nothing"),
        Action("left", ("LEFT",), ("left",)),
        Action("right", ("RIGHT",), ("right",)),
    )
    assert generic_actions(["BUTTON", "LEFT", "RIGHT"])[4] == Action(
        "button+left", ("BUTTON", "LEFT"), ("space", "left")
    )


def refusal(name, **options):
    """What the user is told: one line."""
    with pytest.raises(InputError) as caught:
        find_game(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_stable_retro_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_retro", None)
    said = refusal(AIRSTRIKER)
    assert "pip install stable-retro" in said and "Mode7Kart-v0" in said and "WSL" in said


def test_unknown_games_are_refused_with_near_names(own_folder):
    assert AIRSTRIKER in refusal("Airstriker-Genesis")
    assert "Mode7Kart-v0" in refusal("Mode7Kart")
    assert "--integrations DIR" in refusal("NoSuchGame-Snes")
    assert "MyShooter-Genesis" in refusal("MyShooter", integrations=str(own_folder))
    for name in ("", ".", "../stable/" + AIRSTRIKER):
        assert "no game" in refusal(name)


def test_wrong_integration_folders_are_refused(own_folder):
    assert "is not a folder" in refusal("MyShooter-Genesis", integrations=str(own_folder / "nowhere"))
    inside = str(own_folder / "MyShooter-Genesis")
    assert refusal("MyShooter-Genesis", integrations=inside).endswith(str(own_folder))


def test_mario_kart_says_where_its_files_come_from(mario_kart_folder, capsys):
    folder = str(mario_kart_folder.parent)
    game = find_game(MARIO_KART, integrations=folder)
    assert [action.name for action in game.actions][4] == "forward+left" and game.truth_names == ("lap",)
    assert (
        "warning" in capsys.readouterr().err
    )  # zeros are not the ROM of rom.sha; a hack would not be, either

    (mario_kart_folder / "rom.sfc").unlink()
    said = refusal(MARIO_KART, integrations=folder)
    for part in ("import_game.py", "524,288", "47e103d8398cf5b7cbb42b95df3a3c270691163b"):
        assert part in said


@pytest.mark.parametrize(
    ("size", "cure"), [(524_800, "import_game.py"), (524_287, "copy it"), (0, "copy it")]
)
def test_dumps_of_the_wrong_size_are_refused(mario_kart_folder, size, cure):
    (mario_kart_folder / "rom.sfc").write_bytes(bytes(size))
    assert cure in refusal(MARIO_KART, integrations=str(mario_kart_folder.parent))


def test_unknown_and_broken_states_are_refused(own_folder):
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
    find_game(**options, state="Level1").make().close()  # nothing was left open by the refusals


@pytest.mark.parametrize("file_name", ["data.json", "scenario.json", "metadata.json"])
def test_missing_and_broken_files_are_refused(own_folder, file_name):
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
    if file_name != "metadata.json":  # which is optional
        assert f"{path} is missing" in refusal(**options)


def test_a_missing_script_is_refused(own_folder):
    scenario = {"reward": {"script": "lua:reward"}, "scripts": ["reward.lua"]}
    (own_folder / "MyShooter-Genesis" / "scenario.json").write_text(json.dumps(scenario))
    assert "reward.lua is missing" in refusal("MyShooter-Genesis", integrations=str(own_folder))


@pytest.mark.parametrize("name", ["data", "metadata", "data.json", "./data", "../MyShooter-Genesis/data"])
def test_files_that_are_no_scenario_are_not_taken_for_one(own_folder, name):
    """They are JSON too, and the emulator would take data.json for a scenario without reward or end."""
    said = refusal("MyShooter-Genesis", integrations=str(own_folder), scenario=name)
    assert f"--scenario {name} is not in" in said and said.endswith("there: scenario")


@pytest.mark.parametrize("scenario", [None, "checkpoints", "checkpoints+speed"])
def test_a_race_without_its_variables_is_refused(mario_kart_folder, scenario):
    """The rules would end in a KeyError in the first frame, in a worker."""
    (mario_kart_folder / "scenario.json").unlink()  # ours comes in its place, whose default are the rules
    said = refusal(MARIO_KART, integrations=str(mario_kart_folder.parent), scenario=scenario)
    lacking = ", ".join(one for one in READS if one != "lap")
    assert f"reads {lacking}, which {mario_kart_folder / 'data.json'} does not have" in said


def test_what_gym_retro_calls_a_game():
    """Its own have no version; a folder of the user's is looked for by the name it has."""
    folders = {"Airstriker-Genesis", "MyShooter-Genesis-v0"}
    data = SimpleNamespace(
        get_file_path=lambda name, file, inttype: name if name in folders else None,
        Integrations=stable_retro.data.Integrations,
    )
    old, new = SimpleNamespace(__name__="retro", data=data), stable_retro
    for name, there in ((AIRSTRIKER, "Airstriker-Genesis"), ("Airstriker-Genesis", "Airstriker-Genesis"),
                        ("MyShooter-Genesis-v0", "MyShooter-Genesis-v0"), (MARIO_KART, MARIO_KART)):  # fmt: skip
        assert (name_there(old, name), name_there(new, name)) == (there, name)
