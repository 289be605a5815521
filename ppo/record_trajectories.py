"""Records training data for the world model: a trained agent, random actions, mixtures of both, or a person.

python ppo/record_trajectories.py --frames 90000 --output output/recording.npz           # agent, with random takeovers
python ppo/record_trajectories.py --policy agent --frames 5000 --seed 7 --output output/good_driving.npz
python ppo/record_trajectories.py --policy agent=1,wander=5,random=2 --n-envs 8 --frames 5000 --output output/mixed.npz
python ppo/record_trajectories.py --policy person --frames 3000 --output output/mine.npz      # a window; you drive
python ppo/record_trajectories.py --policy random --game Airstriker-Genesis-v0 --frames 5000 --output output/air.npz

Mode7Kart's pretrained agent is in ppo/pretrained/; train_ppo.py trains others. One recorded frame is one step, which is
--frame-skip frames of the game. Ctrl-C keeps what is recorded so far.
"""

import argparse
import shlex
import shutil
import sys
from pathlib import Path
from typing import Dict, List, Optional

import player  # noqa: F401  first: it reports packages that are missing
import torch
from player.common.errors import InputError, run_script
from player.common.files import locked_folder
from player.common.startup import ArgumentParser, command_line
from player.envs.vector_env import make_vector_env
from player.games.cli import add_frame_skip, add_game_options, check_game_options, find_options
from player.games.game import Game, compare_with_agent
from player.games.registry import find_tracks
from player.recording.action_effects import ActionEffects
from player.recording.disk_space import check_disk_space, recording_bytes
from player.recording.parts import partial_folder
from player.recording.trajectory_writer import TrajectoryWriter
from player.rl.agent import Agent, load_agent
from player.rl.behavior import BEHAVIORS, BehaviorPolicies, assign_envs
from player.rl.collector import RolloutCollector
from player.window.open_window import open_window
from player.window.recording_session import PERSON_STEPS, RecordingSession
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
PRETRAINED_AGENT = HERE / "pretrained" / "agent.pt"
# Maximum steps per row. The rows of all environments are written to the disk before the next ones are recorded.
PART_STEPS = 512
WINDOW_SCALE = 4  # with --policy person: screen pixels per pixel of the game


def parse_args(argv=None) -> argparse.Namespace:
    descriptions = "; ".join(f"{name}: {behavior.description}" for name, behavior in BEHAVIORS.items())
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--frames",
        type=int,
        required=True,
        help="steps to record, over all environments (rounded up to whole rows)",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.npz", help="the recording")
    parser.add_argument("--policy", default="agent=1,wander=7", metavar="KIND[=WEIGHT],...",
                        help=f"behavior policies, weighted by environments. {descriptions}; person: you, in a window "
                             "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--agent", type=Path, default=PRETRAINED_AGENT, metavar="FILE",
                        help="a best.pt of train_ppo.py (default: %(default)s)")  # fmt: skip
    parser.add_argument("--n-envs", type=int, default=16, help="environments (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)"
    )
    add_game_options(parser, many_tracks=True)
    add_frame_skip(parser)
    args = parser.parse_args(argv)
    if min(args.frames, args.n_envs) < 1 or args.seed < 0:
        parser.error("--frames and --n-envs must be at least 1 and --seed at least 0")
    check_game_options(parser, args)
    if args.output.suffix != ".npz":
        parser.error(f"--output {args.output}: the name must end in .npz")
    if args.policy == "person" and (len(args.track) > 1 or args.state == "all" or "," in (args.state or "")):
        parser.error("--policy person drives one --track, or one --state")
    args.weights = None if args.policy == "person" else parse_weights(args.policy, parser)
    return args


def parse_weights(policy: str, parser: argparse.ArgumentParser) -> Dict[str, float]:
    """Parses "agent=1,wander=7": name of a behavior policy -> weight. Exits with one line if that fails."""
    weights = {}
    for part in policy.split(","):
        name, _, weight = part.partition("=")
        try:
            weights[name] = float(weight or 1)
        except ValueError:
            weights[name] = 0.0
        if name not in BEHAVIORS or not 0 < weights[name] < float("inf"):
            names = ", ".join(BEHAVIORS)
            parser.error(
                f"--policy {part}: wanted KIND or KIND=WEIGHT, weight above 0, KIND one of {names}; or person"
            )
    return weights


def main(args: argparse.Namespace) -> None:
    game, tracks = find_tracks(
        args.game, args.integrations, args.state, args.track, args.rivals, **find_options(args)
    )
    print(f"{game.name}: {len(game.actions)} actions, seed {args.seed}, {args.policy}")
    print(game.describe())
    # Parts are written to a folder next to the output; if the process is killed, they stay there.
    parts_dir = args.output.with_name(args.output.stem + ".recording")
    with locked_folder(parts_dir):
        check_output(args.output, parts_dir)
        if args.weights is None:
            record_person(args, game, tracks, parts_dir)
        else:
            record(args, game, tracks, assign_envs(args.weights, args.n_envs), parts_dir)


def check_output(output: Path, parts_dir: Path) -> None:
    """Raises InputError if there is a recording at `output`, or one that was stopped in `parts_dir`."""
    if output.exists():
        raise InputError(f"a recording exists at {output}: choose another --output, or remove it")
    if partial_folder(parts_dir).exists():
        pack = shlex.join(["python", "ppo/train_ppo.py", "--pack-only", "--output-dir", parts_dir.as_posix()])
        raise InputError(
            f"a stopped recording exists in {parts_dir}: remove it; or keep what it has recorded by {pack} and "
            "move its trajectories.npz elsewhere"
        )


def record(
    args: argparse.Namespace, game: Game, tracks: List[dict], behavior_names: List[str], parts_dir: Path
) -> None:
    """Records one environment per name of a behavior policy, until --frames are recorded or Ctrl-C."""
    K = len(behavior_names)
    num_parts = -(-args.frames // (K * PART_STEPS))
    steps = -(-args.frames // (K * num_parts))
    # Before torch starts threads and before this process holds an emulator: the workers are forked.
    envs = make_vector_env(game, K, game.frame_skip, tracks)
    writer, failure, effects = None, None, ActionEffects([action.name for action in game.actions])
    try:
        needs_agent = any(BEHAVIORS[name].random_fraction < 1 for name in behavior_names)
        agent = make_agent(args, game) if needs_agent else None
        generator = torch.Generator().manual_seed(args.seed)
        behaviors = BehaviorPolicies(behavior_names, len(game.actions))
        collector = RolloutCollector(
            envs, args.seed, game.truth_names, torch.device("cpu"), behaviors, tracks
        )
        size = recording_bytes(K * num_parts, steps, *collector.frames.shape[1:3])
        print(f"{K * num_parts * steps} frames, {size / 1e9:.2f} GB, and as much again while they are packed")
        check_disk_space(args.output.parent, 2 * size)
        writer = make_writer(args, game, tracks, behavior_names, parts_dir)
        for part in tqdm(range(num_parts), unit="part"):
            rows = collector.empty_rows(steps, K)
            for t in range(steps):
                agent_actions = torch.zeros(K, dtype=torch.int64)
                if agent:
                    agent_actions, _, _ = agent.act(collector.stack.views, generator)
                actions = behaviors.act(agent_actions, generator).numpy()
                collector.write_row(rows, list(range(K)), t, actions)
                frames, rewards, terminated, truncated, infos = envs.step(actions)
                rows["rewards"][:, t] = rewards
                collector.observe(frames, terminated | truncated, infos)
            effects.add(rows)
            writer.write(part, rows)
    except KeyboardInterrupt:
        print("\ninterrupted: keeping the finished rows")
    except InputError as problem:  # of the game, in the middle of a recording
        if writer is None or not has_rows(writer):
            raise
        failure = problem
    finally:
        envs.close()
    finish(args, writer, effects)
    if failure:
        raise InputError(f"{failure}; the finished rows are in {args.output}")


def make_agent(args: argparse.Namespace, game: Game) -> Agent:
    """Loads --agent; prints what is assumed about it. Raises InputError if it has other actions than the game."""
    agent = load_agent(args.agent)
    if args.agent == PRETRAINED_AGENT and any(args.track):
        print(f"assumed: the pretrained agent, trained on track 0, can drive {args.track}")
    for line in compare_with_agent(game, agent.config):
        print(line)
    if agent.config.action_names != tuple(action.name for action in game.actions):
        raise InputError(
            f"{args.agent} was trained on {agent.config.game}, not {game.name}: give another --agent "
            "(train_ppo.py trains one), or --policy random, sticky or person"
        )
    return agent


def make_writer(
    args: argparse.Namespace, game: Game, tracks: List[dict], drivers: List[str], parts_dir: Path
) -> TrajectoryWriter:
    """The writer of the recording. `drivers`: behavior policy of each environment, or "person"."""
    meta = game.recording_meta(tracks, drivers, args.seed)
    return TrajectoryWriter(parts_dir, [action.name for action in game.actions], meta)


def has_rows(writer: TrajectoryWriter) -> bool:
    """Whether anything is recorded."""
    return any(writer.run_dir.glob("*/epoch_*"))


def finish(args: argparse.Namespace, writer: Optional[TrajectoryWriter], effects: ActionEffects) -> None:
    """Packs the recording into --output. Raises InputError if nothing is recorded, or if nothing ever changes in it."""
    if writer is None:
        raise InputError("nothing is recorded: stopped before the first frame")
    if not has_rows(writer):
        shutil.rmtree(str(writer.run_dir), ignore_errors=True)  # but for the lock, on Windows
        raise InputError("nothing is recorded: stopped before the first row was full")
    path = writer.pack()
    path.replace(args.output)
    print(f"recorded {args.output}")
    if effects.is_frozen:
        raise InputError(
            f"{args.output}: {effects.problems()[0]}; is another --game-settings or --crop needed?"
        )
    for line in effects.problems():
        print(line, file=sys.stderr)
    print("next: " + command_line("sd/train_autoencoder.py", "--trajectories", args.output.as_posix()))


def record_person(args: argparse.Namespace, game: Game, tracks: List[dict], parts_dir: Path) -> None:
    """Records a person in a window until --frames are recorded, the window is closed, or Ctrl-C."""
    target_steps = -(-args.frames // PERSON_STEPS) * PERSON_STEPS
    session = RecordingSession(
        target_steps,
        name=args.game,
        integrations=args.integrations,
        state=args.state,
        track=args.track[0],
        rivals=args.rivals,
        options=find_options(args),
        seed=args.seed,
        decision_frames=game.frame_skip,
    )
    try:
        check_disk_space(
            args.output.parent, 2 * recording_bytes(1, target_steps, *session.frame_u8.shape[:2])
        )
        window = open_window(session, WINDOW_SCALE, "choose another --policy")
        session.writer = make_writer(args, game, tracks, ["person"], parts_dir)
        session.effects = ActionEffects([action.name for action in game.actions])
        window.run()
    except KeyboardInterrupt:
        print("\ninterrupted: keeping the finished rows")
    finally:
        session.env.close()
    if len(session.row) == PERSON_STEPS:
        session.write_row()
    finish(args, session.writer, session.effects)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
