"""RetroGame on the emulator, with Airstriker, whose ROM is part of stable-retro."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from player.envs.vector_env import SharedVectorEnv
from player.games.registry import find_game

pytestmark = pytest.mark.emulator

AIRSTRIKER = "Airstriker-Genesis-v0"
FIRE_AND_MOVE = [4, 0, 4, 3, 0, 5, 5, 0, 3, 1] * 12  # scores within these steps and does not die


def rollout(env, actions):
    """Frames and rewards of a sequence of actions."""
    steps = [env.step(action) for action in actions]
    return np.stack([step[0] for step in steps]), [step[1] for step in steps]


@pytest.mark.filterwarnings("ignore:.*having a spec:UserWarning")
def test_airstriker_is_a_gymnasium_environment(make_retro_env):
    env = make_retro_env(AIRSTRIKER, frame_skip=4)
    check_env(env)
    assert env.observation_space.shape == (224, 320, 3)
    assert find_game(AIRSTRIKER).truth_names == ("score", "lives")


def test_episodes_are_deterministic(make_retro_env):
    env = make_retro_env(AIRSTRIKER, frame_skip=4)
    first, _ = env.reset(seed=0)
    frames, rewards = rollout(env, FIRE_AND_MOVE)
    again, _ = env.reset(seed=1)
    np.testing.assert_array_equal(first, again)
    frames_again, rewards_again = rollout(env, FIRE_AND_MOVE)
    np.testing.assert_array_equal(frames, frames_again)
    assert rewards == rewards_again
    np.testing.assert_array_equal(env.render(), frames[-1])


def test_step_equals_frame_skip_frames_of_the_emulator(emulator, make_retro_env):
    """The step omits work that RetroEnv does per frame; frames, rewards and the end of an episode must be the same."""
    buttons = {0: [], 1: [6], 3: [0], 4: [0, 6], 5: [0, 7]}  # B is 0, LEFT 6, RIGHT 7 on this console
    actions = [3, 0, 4, 5] * 5 + [3, 0, 0] * 300  # moves, then stands and shoots until it has lost its lives
    stock = emulator.make(AIRSTRIKER, render_mode=None, use_restricted_actions=emulator.Actions.ALL)
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

    env = make_retro_env(AIRSTRIKER, frame_skip=3)
    np.testing.assert_array_equal(env.reset()[0], expected_frames[0])
    for step, action in enumerate(actions[: len(expected_ends)]):
        frame, reward, terminated, truncated, _ = env.step(action)
        np.testing.assert_array_equal(frame, expected_frames[step + 1])
        assert (reward, terminated, truncated) == (expected_rewards[step], expected_ends[step], False)


def test_set_state_continues_exactly(make_retro_env):
    env = make_retro_env(AIRSTRIKER, frame_skip=4)
    env.reset()
    rollout(env, FIRE_AND_MOVE[:20])
    state = env.get_state()
    assert isinstance(state, bytes)
    frames, rewards = rollout(env, FIRE_AND_MOVE[20:])
    assert sum(rewards) > 0
    env.close()
    env.close()  # closing twice is allowed

    env = make_retro_env(AIRSTRIKER, frame_skip=4)
    env.reset()
    rollout(env, [1] * 7)
    env.set_state(state)
    frames_again, rewards_again = rollout(env, FIRE_AND_MOVE[20:])
    np.testing.assert_array_equal(frames, frames_again)
    assert rewards == rewards_again
    with pytest.raises(ValueError, match="not a state of this emulator"):
        env.set_state(b"something else")


def test_actions_press_the_right_buttons(make_retro_env):
    """With a wrong button index training would run, but with the wrong buttons."""
    env = make_retro_env(AIRSTRIKER, frame_skip=4)
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


def test_buttons_as_actions(make_retro_env):
    """Making a savestate needs START in menus, which is in none of the agent's actions."""
    env = make_retro_env(AIRSTRIKER, frame_skip=4, buttons_as_actions=True)
    env.reset()
    left = np.array([button == "LEFT" for button in env.buttons], np.int8)
    assert env.action_space.contains(left)
    frames, _ = rollout(env, [left] * 5)
    env.close()
    env = make_retro_env(AIRSTRIKER, frame_skip=4)
    env.reset()
    np.testing.assert_array_equal(rollout(env, [1] * 5)[0], frames)


def test_change_of_resolution_keeps_the_frame_size(make_retro_env):
    """Consoles may double the number of lines, for example in a menu; the observation space must not change."""
    env = make_retro_env(AIRSTRIKER, frame_skip=4)
    env.reset()
    frame = env.render()
    retro_env, _ = env.retro_env_and_crop()
    retro_env.get_screen = lambda apply_rotation: frame.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(env.step(0)[0], frame)


def test_integrations_of_the_user_work_in_spawned_workers(own_folder, monkeypatch):
    """A spawned process does not inherit registered folders and may have another working directory."""
    monkeypatch.chdir(own_folder.parent)
    game = find_game("MyShooter-Genesis", integrations=own_folder.name, state="Level1")
    assert [action.name for action in game.actions] == ["nothing", "b", "left", "right", "b+left", "b+right"]
    envs = SharedVectorEnv([game.make] * 2, num_processes=2, context="spawn")
    try:
        frames, _ = envs.reset(seed=0)
        assert frames.shape == (2, 144, 208, 3)
        assert envs.step(np.array([0, 2]))[0].any()
    finally:
        envs.close()


def test_without_savestate_episodes_start_at_power_on(make_retro_env, own_folder):
    (own_folder / "MyShooter-Genesis" / "metadata.json").write_text("{}")
    env = make_retro_env("MyShooter-Genesis", str(own_folder), frame_skip=4)
    first = env.reset()[0]
    frames, _ = rollout(env, [0] * 20)
    np.testing.assert_array_equal(env.reset()[0], first)
    np.testing.assert_array_equal(rollout(env, [0] * 20)[0], frames)
