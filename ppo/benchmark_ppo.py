"""Measures the speed of the environments and of PPO training, compared with Gymnasium's AsyncVectorEnv.

    python ppo/benchmark_ppo.py --output benchmark_ppo.json
    python ppo/benchmark_ppo.py --games Mode7Kart-v0 --n-envs 2 --seconds 0.5 --rounds 1      # a tiny run

"stepping": random actions, and preprocessing of the frames for the agent. "whole_loop": epochs of train_ppo.py, which
collect, record in memory and train. The unit is decisions (steps of one environment) per second.

The baseline differs in three ways: AsyncVectorEnv steps the environments, and emulator games are those of the emulator
package, which reads the screen and all variables in every frame, also in skipped ones; the main process preprocesses
the frames of all environments; the network computes in float32. Both sides are measured in turns, so that other load on
the machine slows both alike.
"""

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple, Type

import player  # noqa: F401  first: it reports packages that are missing
import gymnasium
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from player.common.agent_view import preprocess_frames
from player.common.errors import run_script
from player.common.startup import ArgumentParser
from player.envs.vector_env import make_env, make_vector_env
from player.games.game import BUILT_IN_GAME, Game
from player.games.registry import find_game
from player.rl.agent import Agent, AgentConfig
from player.rl.behavior import BehaviorPolicies
from player.rl.collector import RolloutCollector
from player.rl.ppo import PPOConfig, update
from player.rl.rollout_buffer import Rollout
from tqdm import tqdm

FRAME_SKIP = 4
NUM_STEPS = 128  # per environment and epoch of the whole loop
CPU = torch.device("cpu")


class Float32Agent(Agent):
    """The same network in float32."""

    def forward(self, views_u8: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        features = self.features(views_u8.float() / 255)
        return self.policy(features), self.value(features).squeeze(1)


class StockRetroEnv(gymnasium.Wrapper):
    """The emulator package's own environment with frame skip, and with the actions and the crop of `game`."""

    def __init__(self, game: Game) -> None:
        env = game.make(frame_skip=FRAME_SKIP)
        retro_env, self.crop = env.retro_env_and_crop()
        super().__init__(retro_env)
        self.game, self.observation_space = game, env.observation_space
        self.action_space = gymnasium.spaces.Discrete(len(game.actions))
        self.masks = [[button in action.buttons for button in self.env.buttons] for action in game.actions]

    def reset(self, **kwargs: Any):
        frame, info = self.env.reset(**kwargs)
        return self.crop_frame(frame), self.game_state(info)

    def step(self, action: int):
        total = 0.0
        for _ in range(FRAME_SKIP):
            frame, reward, terminated, truncated, info = self.env.step(self.masks[action])
            total += reward
            if terminated or truncated:
                break
        return self.crop_frame(frame), total, terminated, truncated, self.game_state(info)

    def crop_frame(self, frame: np.ndarray) -> np.ndarray:
        """The visible part of the screen, uint8 (H, W, 3)."""
        x, y, width, height = self.crop
        return frame[y : y + height, x : x + width]

    def game_state(self, info: dict) -> Dict[str, np.ndarray]:
        """The info of this project's environments: "truth", float32 (number of names,)."""
        return {"truth": np.array([info.get(name, 0) for name in self.game.truth_names], np.float32)}


AGENTS = {"ours": Agent, "gymnasium": Float32Agent}


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "(default: %(default)s)"
    parser.add_argument(
        "--output", type=Path, default=Path("benchmark_ppo.json"), help=f"JSON file {default}"
    )
    parser.add_argument(
        "--games", nargs="+", default=[BUILT_IN_GAME, "Airstriker-Genesis-v0"], help=f"names {default}"
    )
    parser.add_argument(
        "--n-envs", type=int, nargs="+", default=[1, 2, 4, 16], help=f"numbers of environments {default}"
    )
    parser.add_argument("--seconds", type=float, default=4, help=f"minimum duration of a round {default}")
    parser.add_argument(
        "--rounds", type=int, default=3, help=f"rounds of each side; the median counts {default}"
    )
    args = parser.parse_args(argv)
    if min(*args.n_envs, args.rounds) < 1 or args.seconds <= 0:
        parser.error("--n-envs and --rounds must be at least 1 and --seconds above 0")
    return args


def main(args: argparse.Namespace) -> None:
    runs = []
    print(
        f"{torch.get_num_threads()} threads; decisions per second of all environments, {FRAME_SKIP} frames each"
    )
    for name in args.games:
        game = find_game(name)
        for num_envs in args.n_envs:
            rates = measure(game, num_envs, args)
            runs.append({"game": name, "n_envs": num_envs, **rates})
            for loop_name, rate in rates.items():
                print(
                    f"{name}, {num_envs:2d} environments, {loop_name.replace('_', ' '):10}: {rate['ours']:7.0f}, "
                    f"AsyncVectorEnv {rate['gymnasium']:7.0f}, {rate['ratio']:.2f} times"
                )
    report = {"runs": runs, "threads": torch.get_num_threads()}
    args.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {args.output}")


def measure(game: Game, num_envs: int, args: argparse.Namespace) -> Dict[str, Dict[str, float]]:
    """Median decisions per second: {"stepping": {"ours": ..., "gymnasium": ..., "ratio": ...}, "whole_loop": ...}."""
    vector_envs = {
        "ours": make_vector_env(game, num_envs, FRAME_SKIP),
        "gymnasium": make_async_env(game, num_envs),
    }
    try:
        loops = {
            "stepping": {side: stepping_loop(envs, len(game.actions)) for side, envs in vector_envs.items()},
            "whole_loop": {
                side: training_loop(envs, game, AGENTS[side]) for side, envs in vector_envs.items()
            },
        }
        results = {}
        for loop_name, loop_of_side in loops.items():
            rates: Dict[str, List[float]] = {side: [] for side in loop_of_side}
            for _ in tqdm(range(args.rounds), desc=f"{game.name}, {num_envs}", leave=False):
                for side, loop in loop_of_side.items():
                    rates[side].append(timed_round(loop, args.seconds))
            medians = {side: statistics.median(side_rates) for side, side_rates in rates.items()}
            results[loop_name] = {**medians, "ratio": medians["ours"] / medians["gymnasium"]}
        return results
    finally:
        for envs in vector_envs.values():
            envs.close(terminate=True)


def make_async_env(game: Game, num_envs: int) -> VectorEnv:
    """Gymnasium's AsyncVectorEnv: one process per environment, frames in shared memory."""
    make = partial(make_env, game, FRAME_SKIP) if game.shares_process else partial(StockRetroEnv, game)
    return AsyncVectorEnv([make] * num_envs, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)


def timed_round(loop: Callable[[], int], seconds: float) -> float:
    """Decisions per second of `loop`, which returns how many it has made; calls it once before, as a warm-up."""
    loop()
    num_decisions, start_s = 0, time.perf_counter()
    while time.perf_counter() - start_s < seconds:
        num_decisions += loop()
    return num_decisions / (time.perf_counter() - start_s)


def stepping_loop(envs: VectorEnv, num_actions: int) -> Callable[[], int]:
    """Returns a function that makes 16 steps of random actions and returns the number of decisions."""
    random = np.random.default_rng(0)
    envs.reset(seed=0)

    def loop() -> int:
        for _ in range(16):
            frames, _, _, _, infos = envs.step(random.integers(num_actions, size=envs.num_envs))
            if "views" not in infos:
                preprocess_frames(frames)
        return 16 * envs.num_envs

    return loop


def training_loop(envs: VectorEnv, game: Game, agent_type: Type[Agent]) -> Callable[[], int]:
    """Returns a function that collects and trains for one epoch and returns the number of decisions."""
    torch.manual_seed(0)
    N, generator = envs.num_envs, torch.Generator().manual_seed(0)
    names = tuple(action.name for action in game.actions)
    agent = agent_type(AgentConfig(len(names), names, game.name, FRAME_SKIP))
    optimizer = torch.optim.Adam(agent.parameters(), lr=1e-4)
    collector = RolloutCollector(envs, 0, game.truth_names, CPU, BehaviorPolicies(["agent"] * N, len(names)))
    rollout = Rollout.empty(NUM_STEPS, N, CPU)

    def loop() -> int:
        collector.collect(agent, rollout, generator, list(range(N)))
        update(agent, optimizer, rollout, PPOConfig(), generator)
        return NUM_STEPS * N

    return loop


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
