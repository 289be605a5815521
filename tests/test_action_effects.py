"""Warnings about actions without effect: on a blinking title screen, and none for games that can be played."""

import gymnasium
import numpy as np
import pytest
from player.games.registry import find_game
from player.recording.action_effects import ActionEffects


def choose(policy, steps, num_actions, seed):
    generator = np.random.default_rng(seed)
    actions = generator.integers(0, num_actions, steps)
    if policy == "sticky":
        for t in range(1, steps):
            if generator.random() < 0.85:
                actions[t] = actions[t - 1]
    return actions


def screens(picture_of_step, steps=384, num_envs=2, num_actions=3, policy="random"):
    """Rows of a screen whose picture depends on the step alone."""
    frames = np.zeros((num_envs, steps, 3, 4, 4), np.uint8)
    frames[:] = np.array([picture_of_step(t) for t in range(steps)], np.uint8)[:, None, None, None]
    actions = np.stack([choose(policy, steps, num_actions, seed) for seed in range(num_envs)])
    return {"frames": frames, "actions": actions, "episode_starts": np.zeros((num_envs, steps), bool)}


def problems(rows, num_actions):
    effects = ActionEffects([str(i) for i in range(num_actions)])
    effects.add(rows)
    return [line for line in effects.problems() if "no sign" in line or "actions never change" in line]


@pytest.mark.parametrize("policy", ["random", "sticky"])
@pytest.mark.parametrize("period", [1, 3, 4, 16])
def test_a_blinking_screen_is_noticed(policy, period):
    assert problems(screens(lambda t: t // period % 2, policy=policy), 3)


@pytest.mark.parametrize("policy", ["random", "sticky"])
def test_an_animated_screen_is_noticed(policy):
    assert problems(screens(lambda t: min(t % 60, 40) * 3, policy=policy, num_envs=8), 3)


@pytest.mark.parametrize("delay", [0, 1])
def test_a_screen_on_which_one_action_has_an_effect_is_not_reported(delay):
    rows = screens(lambda t: t // 4 % 2)
    for frames, actions in zip(rows["frames"], rows["actions"], strict=True):
        for t in np.flatnonzero(actions[: -1 - delay] == 2):
            frames[t + 1 + delay] += 2
    assert problems(rows, 3) == []


@pytest.mark.parametrize("policy", ["random", "sticky"])
@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("Mode7Kart-v0", None),
        ("CartPole-v1", None),
        ("MiniGrid-Empty-5x5-v0", "minigrid"),
        ("MiniGrid-Empty-8x8-v0", "minigrid"),
    ],
)
def test_games_that_can_be_played_are_not_reported(name, module, policy):
    if module:
        pytest.importorskip(module)
    if name.startswith("CartPole"):
        pytest.importorskip("pygame")
    game = find_game(name)
    env = game.make(frame_skip=game.frame_skip)
    steps, number = 300, len(game.actions)
    actions = choose(policy, steps, number, 1)
    frames, starts, is_start = [], np.zeros((1, steps), bool), True
    frame, _ = env.reset(seed=0)
    for t in range(steps):
        frames.append(np.moveaxis(frame, 2, 0))
        starts[0, t] = is_start
        frame, _, terminated, truncated, _ = env.step(int(actions[t]))
        is_start = terminated or truncated
        if is_start:
            frame, _ = env.reset()
    env.close()
    assert isinstance(env, gymnasium.Env)
    assert (
        problems({"frames": np.array([frames]), "actions": actions[None], "episode_starts": starts}, number)
        == []
    )
