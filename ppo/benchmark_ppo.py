"""How many decisions a second do games and a whole training step take, beside Gymnasium's own AsyncVectorEnv?

    python ppo/benchmark_ppo.py --output benchmark_ppo.json
    python ppo/benchmark_ppo.py --games Mode7Kart-v0 --n-envs 2 --seconds 0.5 --rounds 1      # a tiny one

"stepping": random actions alone, and the agent's view of the frames. "whole loop": epochs of train_ppo.py, playing,
recording in memory and learning; the other side differs in what steps the games, makes the views of all of them in one
process, and is float32 throughout; an emulator is stepped there as its package does, with a screen and an info for each
frame, also for those that are skipped. Both take turns: a busy machine slows both alike.
"""

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple, Type

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from player.common.agent_view import preprocess_frames
from player.common.errors import run_script
from player.envs.vector_env import make_env, make_vector_env
from player.games.game import Game
from player.games.registry import find_game
from player.rl.agent import Agent, AgentConfig
from player.rl.behavior import BehaviorPolicies
from player.rl.collector import RolloutCollector
from player.rl.ppo import PPOConfig, update
from player.rl.rollout_buffer import Rollout
from tqdm import tqdm

FRAME_SKIP = 4
STEPS = 128  # of an epoch of the whole loop
CPU = torch.device("cpu")


class Float32Agent(Agent):
    """The same network in float32."""

    def forward(self, views_u8: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        features = self.features(views_u8.float() / 255)
        return self.policy(features), self.value(features).squeeze(1)


class StockRetroEnv(gymnasium.Wrapper):
    """An emulator as its package's own environment, its frames skipped by a loop, its screen cut as the game's."""

    def __init__(self, game: Game) -> None:
        ours = game.make(frame_skip=FRAME_SKIP)  # to ask it where it starts
        retro, self.crop = ours.plain()
        super().__init__(retro)
        self.game, self.observation_space = game, ours.observation_space
        self.action_space = gymnasium.spaces.Discrete(len(game.actions))
        self.masks = [[button in action.buttons for button in self.env.buttons] for action in game.actions]

    def reset(self, **how: Any):
        frame, info = self.env.reset(**how)
        return self.seen(frame), self.tell(info)

    def step(self, action: int):
        rewards = 0.0
        for _ in range(FRAME_SKIP):
            frame, reward, terminated, truncated, info = self.env.step(self.masks[action])
            rewards += reward
            if terminated or truncated:
                break
        return self.seen(frame), rewards, terminated, truncated, self.tell(info)

    def seen(self, frame: np.ndarray) -> np.ndarray:
        x, y, width, height = self.crop
        return frame[y : y + height, x : x + width]

    def tell(self, info: dict) -> Dict[str, np.ndarray]:
        return {"truth": np.array([info.get(name, 0) for name in self.game.truth_names], np.float32)}


AGENTS = {"ours": Agent, "gymnasium": Float32Agent}


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, default=Path("benchmark_ppo.json"), help="(default: %(default)s)"
    )
    parser.add_argument(
        "--games",
        nargs="+",
        default=["Mode7Kart-v0", "Airstriker-Genesis-v0"],
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--n-envs", type=int, nargs="+", default=[1, 2, 4, 16], help="games at once (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=4, help="of a turn, at least (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: %(default)s)")
    args = parser.parse_args(argv)
    if min(*args.n_envs, args.rounds) < 1 or args.seconds <= 0:
        parser.error("--n-envs and --rounds must be at least 1 and --seconds above 0")
    return args


def main(args: argparse.Namespace) -> None:
    found = []
    print(f"{torch.get_num_threads()} threads; decisions a second of all games, of {FRAME_SKIP} frames each")
    for name in args.games:
        game = find_game(name)
        for n in args.n_envs:
            found.append({"game": name, "n_envs": n, **measure(game, n, args)})
            for kind in ("stepping", "whole_loop"):
                one = found[-1][kind]
                print(f"{name}, {n:2d} at once, {kind.replace('_', ' '):10}: {one['ours']:7.0f}, AsyncVectorEnv "
                      f"{one['gymnasium']:7.0f}, {one['ratio']:.2f} times")  # fmt: skip
    report = {"runs": found, "threads": torch.get_num_threads()}
    args.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {args.output}")


def measure(game: Game, n: int, args: argparse.Namespace) -> Dict[str, dict]:
    both = {"ours": make_vector_env(game, n, FRAME_SKIP), "gymnasium": async_envs(game, n)}
    try:
        loops = {
            "stepping": {name: stepping(envs, len(game.actions)) for name, envs in both.items()},
            "whole_loop": {name: whole_loop(envs, game, AGENTS[name]) for name, envs in both.items()},
        }
        found = {}
        for kind, each in loops.items():
            rates: Dict[str, List[float]] = {name: [] for name in each}
            for _ in tqdm(range(args.rounds), desc=f"{game.name}, {n}", leave=False):
                for name, loop in each.items():
                    rates[name].append(timed_round(loop, args.seconds))
            medians = {name: statistics.median(all_of_it) for name, all_of_it in rates.items()}
            found[kind] = {**medians, "ratio": medians["ours"] / medians["gymnasium"]}
        return found
    finally:
        for envs in both.values():
            envs.close(terminate=True)


def async_envs(game: Game, n: int) -> VectorEnv:
    """A process and two pickles a step for each; frames in shared memory there too."""
    makers = [
        partial(make_env, game, FRAME_SKIP) if game.shares_process else partial(StockRetroEnv, game)
    ] * n
    return AsyncVectorEnv(makers, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)


def timed_round(loop: Callable[[], int], seconds: float) -> float:
    """Decisions a second of `loop`, which says how many it has made; the first call warms up."""
    loop()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        done += loop()
    return done / (time.perf_counter() - began)


def stepping(envs: VectorEnv, num_actions: int) -> Callable[[], int]:
    random = np.random.default_rng(0)
    envs.reset(seed=0)

    def loop() -> int:
        for _ in range(16):
            frames, _, _, _, infos = envs.step(random.integers(num_actions, size=envs.num_envs))
            if "views" not in infos:
                preprocess_frames(frames)
        return 16 * envs.num_envs

    return loop


def whole_loop(envs: VectorEnv, game: Game, kind: Type[Agent]) -> Callable[[], int]:
    torch.manual_seed(0)
    n, generator = envs.num_envs, torch.Generator().manual_seed(0)
    names = tuple(action.name for action in game.actions)
    agent = kind(AgentConfig(len(names), names, game.name, FRAME_SKIP))
    optimizer = torch.optim.Adam(agent.parameters(), lr=1e-4)
    collector = RolloutCollector(envs, 0, game.truth_names, CPU, BehaviorPolicies(["agent"] * n, len(names)))
    rollout = Rollout.empty(STEPS, n, CPU)

    def loop() -> int:
        collector.collect(agent, rollout, generator, list(range(n)))
        update(agent, optimizer, rollout, PPOConfig(), generator)
        return STEPS * n

    return loop


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
