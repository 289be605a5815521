"""Records training data for the world model: a trained agent, random actions, mixtures of both, or a person.

python ppo/record_trajectories.py                          # 50,000 frames: the agent, with random takeovers
python ppo/record_trajectories.py --frames 90000 --max-minutes 5 --output output/recording.npz
python ppo/record_trajectories.py --policy agent --frames 5000 --seed 7 --output output/good_driving.npz
python ppo/record_trajectories.py --policy agent=1,wander=5,random=2 --n-envs 8 --frames 5000 --output output/mixed.npz
python ppo/record_trajectories.py --policy person --output output/mine.npz      # a window; you drive until you close it
python ppo/record_trajectories.py --policy random --game Airstriker-Genesis-v0 --frames 5000 --output output/air.npz

Mode7Kart's pretrained agent is in ppo/pretrained/; train_ppo.py trains others. One recorded frame is one step, which is
--frame-skip frames of the game. Ctrl-C keeps every step that is recorded so far (all rows of the file are equally long,
which may cost the last few).
"""

import argparse
import time
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import player  # noqa: F401  first: it reports packages that are missing
import torch
from player.common.errors import InputError, run_script
from player.common.files import locked_folder
from player.common.frame_size import describe_frame_size
from player.common.progress import progress_bar
from player.common.startup import ArgumentParser
from player.envs.vector_env import make_vector_env
from player.games.cli import add_frame_skip, add_game_options, check_game_options, find_options
from player.games.game import BUILT_IN_GAME, Game, check_agent, compare_with_agent
from player.games.registry import find_tracks
from player.recording.action_effects import ActionEffects
from player.recording.disk_space import check_disk_space, recording_bytes
from player.recording.output import check_output, finish_recording, has_rows
from player.recording.row_plan import MAX_ROW_STEPS
from player.recording.stopping import StopCondition
from player.recording.trajectory_writer import TrajectoryWriter
from player.rl.agent import Agent, load_agent
from player.rl.behavior import BEHAVIORS, BehaviorPolicies, assign_envs
from player.rl.collector import RolloutCollector
from player.window.open_window import open_window
from player.window.recording_session import RecordingSession

HERE = Path(__file__).resolve().parent
PRETRAINED_AGENT = HERE / "pretrained" / "agent.pt"
DEFAULT_FRAMES = 50_000
AGENT_POLICY = "agent=1,wander=7"
# Without an agent. Held long, an action soon ends at a wall or on the ground: of 4,096 frames of Breakout 29 % change
# with `sticky` alone and 95 % with `random`; some long ones lead to places that random ones never reach.
RANDOM_POLICY = "random=4,brief=3,sticky=1"
# Bytes that are recorded before they are written to the disk: the bar stands still meanwhile, a second at most.
PART_BYTES = 48 * 2**20
WINDOW_SCALE = 4  # with --policy person: screen pixels per pixel of the game


def parse_args(argv=None) -> argparse.Namespace:
    descriptions = "; ".join(f"{name}: {behavior.description}" for name, behavior in BEHAVIORS.items())
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--frames",
        type=int,
        help=f"steps to record, over all environments (default: {DEFAULT_FRAMES}; with --policy person: until the "
        "window is closed)",
    )
    parser.add_argument("--max-minutes", type=float, metavar="M", help="stop after so many minutes, packing included, "
                        "if --frames are not recorded before")  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("output", "recording.npz"), metavar="FILE.npz",
                        help="the recording (default: %(default)s)")  # fmt: skip
    parser.add_argument("--policy", metavar="KIND[=WEIGHT],...", help="behavior policies, weighted by environments. "
                        f"{descriptions}; person: you, in a window (default: {AGENT_POLICY}; for a game "
                        f"without an agent {RANDOM_POLICY})")  # fmt: skip
    parser.add_argument("--agent", type=Path, default=PRETRAINED_AGENT, metavar="FILE",
                        help="a best.pt of train_ppo.py (default: %(default)s)")  # fmt: skip
    parser.add_argument("--n-envs", type=int, default=16, help="environments (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)"
    )
    add_game_options(parser, many_tracks=True)
    add_frame_skip(parser)
    args = parser.parse_args(argv)
    if args.frames is None and args.policy != "person":
        args.frames = DEFAULT_FRAMES
    if min(1 if args.frames is None else args.frames, args.n_envs) < 1 or args.seed < 0:
        parser.error("--frames and --n-envs must be at least 1 and --seed at least 0")
    if args.max_minutes is not None and not 0 < args.max_minutes < float("inf"):
        parser.error("--max-minutes must be above 0")
    check_game_options(parser, args)
    if args.output.suffix != ".npz":
        parser.error(f"--output {args.output}: the name must end in .npz")
    if args.policy == "person" and (len(args.track) > 1 or args.state == "all" or "," in (args.state or "")):
        parser.error("--policy person drives one --track, or one --state")
    if args.policy is None:
        has_agent = args.game == BUILT_IN_GAME or args.agent != PRETRAINED_AGENT
        args.policy = AGENT_POLICY if has_agent else RANDOM_POLICY
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
    stop = StopCondition(time.perf_counter(), args.max_minutes and 60 * args.max_minutes)
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
            record_person(args, game, tracks, stop, parts_dir)
        else:
            record(args, game, tracks, stop, assign_envs(args.weights, args.n_envs), parts_dir)


def record(
    args: argparse.Namespace,
    game: Game,
    tracks: List[dict],
    stop: StopCondition,
    behavior_names: List[str],
    parts_dir: Path,
) -> None:
    """Records one environment per name of a behavior policy, until --frames are recorded or `stop` is due."""
    K = len(behavior_names)
    num_rows = -(-args.frames // (K * MAX_ROW_STEPS))  # per environment
    num_steps = num_rows * -(-args.frames // (K * num_rows))
    # Before torch starts threads and before this process holds an emulator: the workers are forked.
    envs = make_vector_env(game, K, game.frame_skip, tracks)
    writer, failure, effects = None, None, ActionEffects([action.name for action in game.actions])
    try:
        needs_agent = any(BEHAVIORS[name].random_fraction < 1 for name in behavior_names)
        agent = make_agent(args, game) if needs_agent else None
        behaviors = BehaviorPolicies(behavior_names, len(game.actions))
        collector = RolloutCollector(
            envs, args.seed, game.truth_names, torch.device("cpu"), behaviors, tracks
        )
        if game.environment is None:  # an emulator's: the notes of others say it
            print(describe_frame_size(*envs.get_attr("native_size")[0], collector.frames.shape[1:3]))
        print_plan(args, K * num_steps, collector.frames.shape[1:3])
        writer = make_writer(args, game, tracks, behavior_names, parts_dir)
        record_steps(collector, agent, args.seed, num_steps, stop, writer, effects)
    except KeyboardInterrupt:
        stop.interrupted = True
    except InputError as problem:  # of the game, in the middle of a recording
        if writer is None or not has_rows(writer):
            raise
        failure = problem
    finally:
        envs.close()
    if stop.interrupted:
        print("\ninterrupted: keeping what is recorded", flush=True)
    finish_recording(args.output, writer, effects)
    if failure and not stop.interrupted:
        raise InputError(f"{failure}; what was recorded before is in {args.output}")


def record_steps(
    collector: RolloutCollector,
    agent: Optional[Agent],
    seed: int,
    num_steps: int,
    stop: StopCondition,
    writer: TrajectoryWriter,
    effects: ActionEffects,
) -> None:
    """Steps all environments `num_steps` times, or until `stop` is due, and writes every complete step, also when the
    game raises an exception. `agent`: None if no behavior policy needs one."""
    K = collector.envs.num_envs
    generator = torch.Generator().manual_seed(seed)
    part_steps = max(1, min(MAX_ROW_STEPS, PART_BYTES // collector.frames.nbytes))
    bar = progress_bar(total=K * num_steps, unit="frame", miniters=1)
    with bar, stop:
        for part, first in enumerate(range(0, num_steps, part_steps)):
            rows, t = collector.empty_rows(min(part_steps, num_steps - first), K), 0
            try:
                while t < rows["actions"].shape[1] and not stop.is_due(first + t):
                    agent_actions = torch.zeros(K, dtype=torch.int64)
                    if agent:
                        agent_actions, _, _ = agent.act(collector.stack.views, generator)
                    actions = collector.behaviors.act(agent_actions, generator).numpy()
                    collector.write_row(rows, list(range(K)), t, actions)
                    frames, rewards, terminated, truncated, infos = collector.envs.step(actions)
                    rows["rewards"][:, t] = rewards
                    t += 1
                    bar.update(K)
                    collector.observe(frames, terminated | truncated, infos)
            finally:
                if t:
                    began = time.perf_counter()
                    rows = {key: array[:, :t] for key, array in rows.items()}
                    effects.add(rows)
                    writer.write(part, rows)
                    stop.writing_s += time.perf_counter() - began
            if stop.is_due(first + t):
                return


def print_plan(args: argparse.Namespace, num_frames: int, frame_size: Tuple[int, int]) -> None:
    """Prints how large the recording will be. Raises InputError if the disk has too little room for it."""
    size = recording_bytes(1, num_frames, *frame_size)
    limit = f", or what {args.max_minutes:g} minutes allow" if args.max_minutes else ""
    print(
        f"{num_frames} frames of {frame_size[0]} x {frame_size[1]}{limit}: {size / 1e9:.2f} GB in {args.output}, and "
        "as much again while they are packed; Ctrl-C keeps what is recorded until then",
        flush=True,
    )
    check_disk_space(args.output.parent, 2 * size)


def make_agent(args: argparse.Namespace, game: Game) -> Agent:
    """Loads --agent; prints what is assumed about it. Raises InputError if it has other actions than the game."""
    agent = load_agent(args.agent)
    if args.agent == PRETRAINED_AGENT and any(args.track):
        print(f"assumed: the pretrained agent, trained on track 0, can drive {args.track}")
    for line in compare_with_agent(game, agent.config):
        print(line)
    remedy = "give another --agent (train_ppo.py trains one), or --policy sticky, random or person"
    check_agent(args.agent, agent.config, game, remedy)
    return agent


def make_writer(
    args: argparse.Namespace, game: Game, tracks: List[dict], drivers: List[str], parts_dir: Path
) -> TrajectoryWriter:
    """The writer of the recording. `drivers`: behavior policy of each environment, or "person"."""
    meta = {**game.recording_meta(tracks, drivers, args.seed), "max_row_steps": MAX_ROW_STEPS}
    return TrajectoryWriter(parts_dir, [action.name for action in game.actions], meta)


def record_person(
    args: argparse.Namespace, game: Game, tracks: List[dict], stop: StopCondition, parts_dir: Path
) -> None:
    """Records a person in a window until --frames are recorded, the window is closed, the time is up, or Ctrl-C."""
    session = RecordingSession(
        args.frames,
        stop,
        name=args.game,
        integrations=args.integrations,
        state=args.state,
        track=args.track[0],
        rivals=args.rivals,
        options=find_options(args),
        seed=args.seed,
        decision_frames=game.frame_skip,
    )
    failure = None
    try:
        if args.frames:
            print_plan(args, args.frames, session.frame_u8.shape[:2])
        window = open_window(session, WINDOW_SCALE, "choose another --policy")
        session.writer = make_writer(args, game, tracks, ["person"], parts_dir)
        session.effects = ActionEffects([action.name for action in game.actions])
        for line in session.describe_actions():
            print(line)
        window.run()
    except KeyboardInterrupt:
        print("\ninterrupted: keeping what is recorded")
    except InputError as problem:  # of the game, or a disk that is nearly full
        if session.writer is None:
            raise
        failure = problem
    finally:
        session.env.close()
    session.write_complete_steps()
    finish_recording(args.output, session.writer, session.effects)
    if failure:
        raise InputError(f"{failure}; what was recorded before is in {args.output}")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
