"""Records a game for a dream to learn from: a trained agent, chance, mixtures of both, or you.

python ppo/record_trajectories.py --frames 90000 --output output/recording.npz           # agent and wandering games
python ppo/record_trajectories.py --policy agent --frames 5000 --seed 7 --output output/good_driving.npz
python ppo/record_trajectories.py --policy agent=1,wander=5,random=2 --n-envs 8 --frames 5000 --output output/mixed.npz
python ppo/record_trajectories.py --policy person --frames 3000 --output output/mine.npz      # a window; you drive
python ppo/record_trajectories.py --policy random --game Airstriker-Genesis-v0 --frames 5000 --output output/air.npz

Mode7Kart's agent is in ppo/pretrained/; train_ppo.py makes others. A frame of the recording is a decision, --frame-skip
frames of the game. Ctrl-C keeps what is recorded by then.
"""

import argparse
import shlex
import shutil
from pathlib import Path
from typing import Dict, List, Optional, Set

import numpy as np
import torch
from player.common.errors import InputError, run_script
from player.envs.vector_env import make_vector_env
from player.games.cli import add_game_options, check_game_options, emulator_options
from player.games.game import Game
from player.games.registry import find_tracks
from player.recording.trajectory_writer import TrajectoryWriter, check_disk_space, recording_bytes
from player.rl.agent import Agent, load_agent
from player.rl.behavior import BEHAVIORS, BehaviorPolicies, assign_envs
from player.rl.collector import RolloutCollector
from player.window.controllers import GameSession
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
SHIPPED_AGENT = HERE / "pretrained" / "agent.pt"
# Decisions of a game in a row of the recording, at most: a part is written, then the next begins.
PART_STEPS = 512
PERSON_STEPS = 128  # of a person, who may leave at any moment: what is short of a row is lost


def parse_args(argv=None) -> argparse.Namespace:
    kinds = "; ".join(f"{name}: {hand.words}" for name, hand in BEHAVIORS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--frames",
        type=int,
        required=True,
        help="decisions recorded, of all games together (a few more, for whole rows)",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.npz", help="the recording")
    parser.add_argument("--policy", default="agent=1,wander=7", metavar="KIND[=SHARE],...",
                        help=f"who drives, in which shares of the games. {kinds}; person: you, in a window "
                             "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--agent", type=Path, default=SHIPPED_AGENT, metavar="FILE",
                        help="a best.pt of train_ppo.py (default: %(default)s)")  # fmt: skip
    parser.add_argument("--n-envs", type=int, default=16, help="games at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of games and chance (default: %(default)s)")
    add_game_options(parser, many_tracks=True)
    parser.add_argument(
        "--frame-skip", type=int, default=4, help="game frames a decision (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if min(args.frames, args.n_envs, args.frame_skip) < 1 or args.seed < 0:
        parser.error("--frames, --n-envs and --frame-skip must be at least 1 and --seed at least 0")
    check_game_options(parser, args)
    if args.output.suffix != ".npz":
        parser.error(f"--output {args.output}: the name must end in .npz")
    if args.policy == "person" and (len(args.track) > 1 or args.state == "all" or "," in (args.state or "")):
        parser.error("--policy person drives one --track, or one --state")
    args.shares = None if args.policy == "person" else parse_shares(args.policy, parser)
    return args


def parse_shares(policy: str, parser: argparse.ArgumentParser) -> Dict[str, float]:
    shares = {}
    for part in policy.split(","):
        kind, _, share = part.partition("=")
        try:
            shares[kind] = float(share or 1)
        except ValueError:
            shares[kind] = 0.0
        if kind not in BEHAVIORS or not 0 < shares[kind] < float("inf"):
            known = ", ".join(BEHAVIORS)
            parser.error(
                f"--policy {part}: wanted KIND or KIND=SHARE, the share above 0, of {known}; or person"
            )
    return shares


def main(args: argparse.Namespace) -> None:
    game, courses = find_tracks(
        args.game, args.integrations, args.state, args.track, args.rivals, **emulator_options(args)
    )
    print(f"{game.name}: {len(game.actions)} actions, seed {args.seed}, {args.policy}")
    # Parts are written beside the output; a kill leaves them there.
    parts_dir = args.output.with_name(args.output.stem + ".recording")
    if args.output.exists():
        raise InputError(f"a recording stands at {args.output}: choose another --output, or remove it")
    if parts_dir.exists():
        pack = shlex.join(["python", "ppo/train_ppo.py", "--pack-only", "--output-dir", parts_dir.as_posix()])
        raise InputError(
            f"a stopped recording stands in {parts_dir}: remove it, or keep what it has by {pack} and "
            "move its trajectories.npz away"
        )
    if args.shares is None:
        record_person(args, game, courses, parts_dir)
    else:
        record(args, game, courses, assign_envs(args.shares, args.n_envs), parts_dir)


def record(
    args: argparse.Namespace, game: Game, courses: List[dict], kinds: List[str], parts_dir: Path
) -> None:
    """The games of `kinds` (K,) side by side, until --frames are recorded or Ctrl-C."""
    K = len(kinds)
    num_parts = -(-args.frames // (K * PART_STEPS))
    steps = -(-args.frames // (K * num_parts))
    # The workers fork before torch starts threads, and before the parent could hold an emulator of its own.
    envs = make_vector_env(game, K, args.frame_skip, courses)
    writer = None
    try:
        agent = make_agent(args, game) if any(BEHAVIORS[kind].stranger < 1 for kind in kinds) else None
        generator = torch.Generator().manual_seed(args.seed)
        hands = BehaviorPolicies(kinds, len(game.actions))
        players = RolloutCollector(envs, args.seed, game.truth_names, torch.device("cpu"), hands, courses)
        size = recording_bytes(K * num_parts, steps, *players.frames.shape[1:3])
        print(f"{K * num_parts * steps} frames, {size / 1e9:.2f} GB, and as much again while they are packed")
        check_disk_space(args.output.parent, 2 * size)
        writer = make_writer(args, game, courses, kinds, parts_dir)
        for part in tqdm(range(num_parts), unit="part"):
            rows = players.empty_rows(steps, K)
            for t in range(steps):
                if agent:
                    chosen, _, _ = agent.act(players.stack.views, generator)
                else:
                    chosen = torch.zeros(K, dtype=torch.int64)
                pressed = hands.press(chosen, generator).numpy()
                players.record(rows, list(range(K)), t, pressed)
                frames, rewards, terminated, truncated, infos = envs.step(pressed)
                rows["rewards"][:, t] = rewards
                players.see(frames, terminated | truncated, infos)
            writer.write(part, rows)
    except KeyboardInterrupt:
        print("\ninterrupted: keeping the rows that are full")
    finally:
        envs.close()
    finish(args, writer)


def make_agent(args: argparse.Namespace, game: Game) -> Agent:
    agent = load_agent(args.agent)
    if args.agent == SHIPPED_AGENT and any(args.track):
        print(f"assumed: the agent that ships, which learned track 0, can drive {args.track}")
    if agent.config.frame_skip != args.frame_skip:
        learned = agent.config.frame_skip
        print(f"assumed: an agent that learned to decide every {learned} frames can every {args.frame_skip}")
    if agent.config.action_names != tuple(action.name for action in game.actions):
        raise InputError(
            f"{args.agent} learned {agent.config.game}, not {game.name}: give its own --agent (train_ppo.py makes "
            "one), or --policy random, sticky or person"
        )
    return agent


def make_writer(
    args: argparse.Namespace, game: Game, courses: List[dict], kinds: List[str], parts_dir: Path
) -> TrajectoryWriter:
    meta = game.recording_meta(args.frame_skip, courses, kinds, args.seed)
    return TrajectoryWriter(parts_dir, [action.name for action in game.actions], meta)


def finish(args: argparse.Namespace, writer: Optional[TrajectoryWriter]) -> None:
    if writer is None:
        raise InputError("nothing is recorded: stopped before the first frame")
    if not any(writer.run_dir.glob("*/epoch_*")):
        shutil.rmtree(str(writer.run_dir))
        raise InputError("nothing is recorded: stopped before the first row was full")
    path = writer.pack()
    path.replace(args.output)
    writer.run_dir.rmdir()
    print(f"recorded {args.output}")
    print(
        "next: " + shlex.join(["python", "sd/train_autoencoder.py", "--trajectories", args.output.as_posix()])
    )


class RecordedRace(GameSession):
    """A race that keeps what the person at the keys saw at each decision, did, and got for it."""

    def __init__(self, num_frames: int, **settings) -> None:
        self.wanted, self.seen, self.written = num_frames, [], 0
        self.held_since: Set[str] = set()  # keys, since the last decision
        self.writer: Optional[TrajectoryWriter] = None
        super().__init__(**settings)

    def step(self, held=frozenset()) -> None:
        if self.ended or self.done:
            return
        if self.num_frames == 0:
            self.held_since = set()
        self.held_since |= held  # a tap between two decisions counts for the next
        decides = self.num_frames % self.driver.hold_frames == 0
        if decides and len(self.seen) == PERSON_STEPS:
            self.write()
        seen = {
            "frames": self.frame_u8.transpose(2, 0, 1),
            "episode_starts": self.num_frames == 0,
            "rewards": 0.0,
        }
        seen.update({f"truth/{name}": value for name, value in self.truth.items()})
        reward = self.total_reward
        super().step(frozenset(self.held_since))
        if decides:
            self.held_since = set()
            self.seen.append({**seen, "actions": self.action})
        self.seen[-1]["rewards"] += self.total_reward - reward
        recorded = self.written + len(self.seen)
        self.note = f"recorded {recorded} of {self.wanted}"
        self.done = recorded >= self.wanted and (
            self.num_frames % self.driver.hold_frames == 0 or bool(self.ended)
        )

    def write(self) -> None:
        rows = {key: np.stack([seen[key] for seen in self.seen])[None] for key in self.seen[0]}
        kinds = {"frames": np.uint8, "actions": np.int64, "episode_starts": bool}
        rows = {key: row.astype(kinds.get(key, np.float32)) for key, row in rows.items()}
        self.written, self.seen = (
            self.written + len(self.seen),
            [],
        )  # first: an interrupt must not write it again
        self.writer.write(self.written // PERSON_STEPS - 1, rows)


def record_person(args: argparse.Namespace, game: Game, courses: List[dict], parts_dir: Path) -> None:
    wanted = -(-args.frames // PERSON_STEPS) * PERSON_STEPS
    race = RecordedRace(
        wanted,
        name=args.game,
        integrations=args.integrations,
        state=args.state,
        track=args.track[0],
        rivals=args.rivals,
        emulator=emulator_options(args),
        seed=args.seed,
        decision_frames=args.frame_skip,
    )
    try:
        check_disk_space(args.output.parent, 2 * recording_bytes(1, wanted, *race.frame_u8.shape[:2]))
        window = open_window(race)
        race.writer = make_writer(args, game, courses, ["person"], parts_dir)
        window.run()
    except KeyboardInterrupt:
        print("\ninterrupted: keeping the rows that are full")
    finally:
        race.env.close()
    if len(race.seen) == PERSON_STEPS:
        race.write()
    finish(args, race.writer)


def open_window(race: GameSession):
    try:
        from player.window.window import Window  # brings pygame, which nothing else here needs
    except ImportError:
        raise InputError("--policy person needs pygame: `pip install pygame`") from None
    return Window(race, scale=4, instead="--policy person needs one; the others do not")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
