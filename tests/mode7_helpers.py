"""Helpers of the Mode7Kart tests: game states by name, scripted driving."""

import math

import numpy as np
from player.games.game import DRIVING_ACTIONS
from player.games.mode7.env import TRUTH_NAMES, Mode7Kart
from player.games.mode7.geometry import KERB_WIDTH, OFF_ROAD_WIDTH, ROAD_HALF_WIDTH

ACTION = {action.name: index for index, action in enumerate(DRIVING_ACTIONS)}


def make_started_env(**settings) -> Mode7Kart:
    """An environment after reset(seed=0)."""
    env = Mode7Kart(**settings)
    env.reset(seed=0)
    return env


def state_by_name(info: dict) -> dict:
    """Name -> value of info["truth"]."""
    return dict(zip(TRUTH_NAMES, (float(value) for value in info["truth"]), strict=True))


def drive(env: Mode7Kart, action: str, num_steps: int) -> tuple[dict, float]:
    """The game state after `num_steps` steps of one action, and the sum of their rewards."""
    total = 0.0
    for _ in range(num_steps):
        _, reward, _, _, info = env.step(ACTION[action])
        total += reward
    return state_by_name(info), total


def angle_difference(before: float, after: float) -> float:
    """after - before, in [-pi, pi)."""
    return (after - before + math.pi) % (2 * math.pi) - math.pi


def look_ahead_action(env: Mode7Kart) -> int:
    """A scripted policy that steers to the point of the center line 56 pixels ahead."""
    ahead = (env.state["sample"] + 14) % len(env.track.center)
    x, y = env.track.center[ahead]
    error = angle_difference(env.state["heading"], math.atan2(y - env.state["y"], x - env.state["x"]))
    return ACTION["forward+right" if error > 0.06 else "forward+left" if error < -0.06 else "forward"]


def state_at_the_edge(env: Mode7Kart, extra: float = 0.0, position: float = 300.0) -> dict:
    """A game state `extra` pixels outside of the off-road band, driving straight outwards."""
    sample = int(position / env.track.spacing)
    x, y = env.track.center[sample]
    outward = env.track.direction[sample] + math.pi / 2
    distance = ROAD_HALF_WIDTH + KERB_WIDTH + OFF_ROAD_WIDTH + extra
    return {
        "x": x + distance * math.cos(outward),
        "y": y + distance * math.sin(outward),
        "heading": outward,
        "speed": 1.5,
    }


def rollout(env: Mode7Kart, actions, seed: int | None = None) -> tuple[np.ndarray, list]:
    """Frames and rewards of a sequence of actions; with a seed after a reset, whose frame is the first one."""
    frames, rewards = [env.reset(seed=seed)[0]] if seed is not None else [], []
    for action in actions:
        frame, reward, *_ = env.step(action)
        frames.append(frame)
        rewards.append(reward)
    return np.stack(frames), rewards
