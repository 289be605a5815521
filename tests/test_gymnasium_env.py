"""Gymnasium environments as games, with CartPole: picture, frame skip, actions, refusals, recording and keyboard."""

import numpy as np
import pytest
import record_trajectories
from dream.data.trajectories import open_trajectories
from gymnasium.utils.env_checker import check_env
from player.common.errors import InputError
from player.envs.vector_env import make_env
from player.games.registry import find_game
from player.window.controllers import GameSession

pytest.importorskip("pygame", reason="CartPole renders with pygame")
cv2 = pytest.importorskip("cv2")

CART_POLE = "CartPole-v1"


@pytest.mark.filterwarnings("ignore:.*having a spec:UserWarning")
def test_observation_is_the_resized_picture():
    game = find_game(CART_POLE)
    env = game.make(frame_skip=2)
    check_env(env)
    frame, _ = env.reset(seed=3)
    picture = cv2.resize(env.game.render(), (192, 128), interpolation=cv2.INTER_AREA)
    assert frame.shape == (128, 192, 3) and np.array_equal(frame, picture)
    assert (game.frame_rate, env.metadata["render_fps"]) == (50, 25)
    _, reward, terminated, _, _ = env.step(0)
    assert (reward, terminated) == (2.0, False)  # two steps of CartPole
    env.close()


def test_step_stops_at_the_end_of_the_episode():
    env = find_game(CART_POLE).make(frame_skip=4)
    rewards = []
    for seed in range(4):
        env.reset(seed=seed)
        done = False
        while not done:
            _, reward, done, _, _ = env.step(1)  # the pole falls over
            rewards.append(reward)
    env.close()
    assert max(rewards) == 4.0 and min(rewards) < 4.0


def test_actions_from_a_file_and_crop(tmp_path):
    file = tmp_path / "actions.txt"
    file.write_text("to_the_right 1 right\nto_the_left 0 left\n")
    game = find_game(CART_POLE, actions=str(file), crop=(100, 150, 400, 200))
    assert [action.keys for action in game.actions] == [("right",), ("left",)]
    env = game.make(frame_skip=1)
    assert env.observation_space.shape == (112, 224, 3) and env.actions == (1, 0)
    env.close()
    assert [action.name for action in find_game(CART_POLE).actions] == ["0", "1"]
    file.write_text("a 7 x\nb 0 y\n")
    with pytest.raises(InputError, match="no button 7; the buttons are 0, 1"):
        find_game(CART_POLE, actions=str(file))
    file.write_text("a none x\nb 0 y\n")
    with pytest.raises(InputError, match="must have one button"):
        find_game(CART_POLE, actions=str(file))
    with pytest.raises(InputError, match="--crop does not fit"):
        find_game(CART_POLE, crop=(0, 0, 900, 100)).make()


def test_unusable_environments_are_refused():
    for name, message in (("Pendulum-v1", "only Discrete actions"), ("nowhere:Game-v0", "Gymnasium cannot make"),
                       ("CliffWalking-v99", "no game")):  # fmt: skip
        with pytest.raises(InputError, match=message) as caught:
            find_game(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="are for emulator games"):
        find_game(CART_POLE, state="Level1")


def test_recording_and_keyboard_control(tmp_path):
    output = tmp_path / "a.npz"
    flags = ["--game", CART_POLE, "--policy", "random", "--frames", 64, "--n-envs", 2, "--output", output]
    record_trajectories.main(record_trajectories.parse_args([*map(str, flags)]))
    data = open_trajectories(output)
    assert data.frames.shape == (2, 32, 3, 128, 192) and data.fps == 12.5
    assert 2 < data.episode_starts.sum() < 20 and len(np.unique(data.frames[0, :, 0, 80])) > 3
    session = GameSession(CART_POLE)
    for _ in range(3):
        session.step(frozenset({"1"}))
    assert session.action == 1 and session.total_reward == 3.0
    session.env.close()


def test_frame_is_a_copy():
    env = make_env(find_game(CART_POLE), 1)
    frame, _ = env.reset(seed=0)
    copy = frame.copy()
    env.step(0)
    assert np.array_equal(frame, copy)
    env.close()
