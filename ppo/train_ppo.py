"""Teaches an agent to play a game with PPO, and records what it sees and does: the data of the dream.

Writes trajectories.npz (the recording), best.pt (to watch), last.pt (to go on from), metrics.csv and videos/.

python ppo/train_ppo.py                                          # the full run: Mode7Kart, 16 games, 100 epochs
python ppo/train_ppo.py --n-envs 4 --n-epochs 2 --n-steps 64     # a tiny one, seconds
python ppo/train_ppo.py --resume                                 # goes on where the same command was stopped
python ppo/train_ppo.py --game SuperMarioKart-Snes --integrations DIR --state NAME       # your own ROM
tensorboard --logdir ppo/checkpoints
"""

import argparse
import shlex
import time
from dataclasses import replace
from pathlib import Path

import torch
from player.common.errors import InputError, run_script
from player.common.runs import (
    MetricsLog,
    load_resume_state,
    pick_device,
    restore_rng_state,
    rng_state,
    save_checkpoint,
    seed_everything,
)
from player.common.video import save_video
from player.envs.vector_env import make_vector_env
from player.games.cli import add_game_options, check_game_options, emulator_options
from player.games.game import Game
from player.games.registry import find_tracks
from player.recording.trajectory_writer import (
    TrajectoryWriter,
    check_disk_space,
    pack_trajectories,
    recording_bytes,
)
from player.rl.agent import Agent, AgentConfig, agent_checkpoint, load_agent
from player.rl.behavior import BehaviorPolicies
from player.rl.collector import RolloutCollector
from player.rl.ppo import PPOConfig, update
from player.rl.rollout_buffer import RewardScaler, Rollout
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
# A run that goes on must have these as it began: they shape the recording and the saved games.
FIXED = (
    "game",
    "track",
    "rivals",
    "state",
    "scenario",
    "crop",
    "actions",
    "frame_skip",
    "n_envs",
    "n_steps",
    "record_envs",
    "wander_envs",
    "seed",
)


def parse_args(argv=None) -> argparse.Namespace:
    defaults = PPOConfig()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_game_options(parser, many_tracks=True)
    parser.add_argument(
        "--frame-skip", type=int, default=4, help="game frames a decision (default: %(default)s)"
    )
    learning = parser.add_argument_group("learning")
    learning.add_argument("--n-envs", type=int, default=16, help="games at once (default: %(default)s)")
    learning.add_argument(
        "--n-epochs", type=int, default=100, help="rollouts to learn from (default: %(default)s)"
    )
    learning.add_argument(
        "--n-steps", type=int, default=512, help="decisions a game and epoch (default: %(default)s)"
    )
    learning.add_argument(
        "--batch-size", type=int, default=defaults.batch_size, help="decisions (default: %(default)s)"
    )
    learning.add_argument(
        "--train-iters",
        type=int,
        default=defaults.train_iters,
        help="passes over the data (default: %(default)s)",
    )
    learning.add_argument(
        "--gamma", type=float, default=defaults.gamma, help="discount (default: %(default)s)"
    )
    learning.add_argument(
        "--gae-lambda", type=float, default=defaults.gae_lambda, help="(default: %(default)s)"
    )
    learning.add_argument(
        "--clip-ratio", type=float, default=defaults.clip_ratio, help="(default: %(default)s)"
    )
    learning.add_argument("--ent-coef", type=float, default=defaults.ent_coef, help="(default: %(default)s)")
    learning.add_argument("--vf-coef", type=float, default=defaults.vf_coef, help="(default: %(default)s)")
    learning.add_argument(
        "--learning-rate", type=float, default=3e-4, help="falls to 0 (default: %(default)s)"
    )
    learning.add_argument(
        "--checkpoint-model", help="an agent (best.pt) to start from, in place of a fresh one"
    )
    recording = parser.add_argument_group("recording")
    recording.add_argument(
        "--record-envs", type=int, default=1, help="of these games recorded (0 = none, default: %(default)s)"
    )
    recording.add_argument("--wander-envs", type=int, default=1, help="further games, only recorded, in which a "
                           "stranger holds random keys half of the time (0 = none, default: %(default)s)")  # fmt: skip
    recording.add_argument(
        "--recording-start", type=int, default=0, help="first epoch recorded (default: %(default)s)"
    )
    recording.add_argument(
        "--recording-end",
        type=int,
        default=-1,
        help="epoch after the last recorded (-1 = all, default: %(default)s)",
    )
    recording.add_argument(
        "--video-every", type=int, default=10, help="epochs a video (0 = none, default: %(default)s)"
    )
    run = parser.add_argument_group("run")
    run.add_argument(
        "--output-dir", help="the run's folder (default: ppo/checkpoints/<game>-<track or state>-<seed>)"
    )
    run.add_argument("--resume", action="store_true", help="go on with the run in the output folder")
    run.add_argument(
        "--pack-only", action="store_true", help="only pack what a stopped run has recorded, then end"
    )
    run.add_argument("--seed", type=int, default=0, help="of everything (default: %(default)s)")
    run.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="(default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if args.seed < 0:
        parser.error("--seed must be at least 0")
    for name in ("frame_skip", "n_envs", "n_epochs", "n_steps", "batch_size", "train_iters"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if not 0 <= args.record_envs <= args.n_envs:
        parser.error("--record-envs must be from 0 to --n-envs")
    if args.wander_envs < 0:
        parser.error("--wander-envs must be at least 0")
    check_game_options(parser, args)
    if not (0 < args.gamma <= 1 and 0 <= args.gae_lambda <= 1):
        parser.error("--gamma and --gae-lambda must lie between 0 and 1")
    if args.recording_end < 0:
        args.recording_end = args.n_epochs
    if args.output_dir is None:
        place = (
            "track" + "-".join(map(str, args.track))
            if args.game == "Mode7Kart-v0"
            else args.state or "default"
        )
        args.output_dir = HERE / "checkpoints" / f"{args.game}-{place}-{args.seed}"
    return args


def main(args: argparse.Namespace) -> None:
    run_dir = Path(args.output_dir)
    if args.pack_only:
        print(f"packed {pack_trajectories(run_dir)}")
        return
    device = pick_device(args.device)
    game, courses = find_tracks(
        args.game, args.integrations, args.state, args.track, args.rivals, **emulator_options(args)
    )
    fixed = {"--" + name.replace("_", "-"): getattr(args, name) for name in FIXED}
    if args.state is not None:  # "all" may be more of them by the time of --resume
        fixed["--state"] = ",".join(course["state"] or args.state for course in courses)
    if args.actions is not None:  # what the file says now
        fixed["--actions"] = "; ".join(f"{one.name} {one.buttons} {one.keys}" for one in game.actions)
    resumed = load_resume_state(run_dir, "ppo_run", args.resume, fixed)
    if resumed and "hands" not in resumed["players"]:
        raise InputError(
            f"the run in {run_dir} is of an older version: begin another with --checkpoint-model its best.pt"
        )
    print(f"{game.name}: {len(game.actions)} actions, seed {args.seed}, device {device}, run {run_dir}")
    # The workers fork before torch starts threads, and before the parent could hold an emulator of its own.
    envs = make_vector_env(game, args.n_envs + args.wander_envs, args.frame_skip, courses)
    try:
        train(args, run_dir, device, game, courses, envs, resumed, fixed)
    finally:
        envs.close()


def train(
    args, run_dir: Path, device: torch.device, game: Game, courses: list, envs, resumed, fixed: dict
) -> None:
    seed_everything(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    agent = make_agent(args, game).to(device)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    kinds = ["agent"] * args.n_envs + ["wander"] * args.wander_envs
    players = RolloutCollector(
        envs, args.seed, game.truth_names, device, BehaviorPolicies(kinds, len(game.actions)), courses
    )
    rollout = Rollout.empty(args.n_steps, args.n_envs, device)
    config = PPOConfig(
        **{name: getattr(args, name) for name in PPOConfig.__dataclass_fields__ if name in args}
    )
    scale = RewardScaler(args.n_envs, args.gamma, device)
    first_epoch, best_score = 0, float("-inf")
    if resumed:
        agent.load_state_dict(resumed["agent"]["model"])
        optimizer.load_state_dict(resumed["optimizer"])
        players.restore(resumed["players"])
        scale.state = {name: tensor.to(device) for name, tensor in resumed["return_scale"].items()}
        generator.set_state(resumed["generator"])
        restore_rng_state(resumed["rng"])
        first_epoch, best_score = resumed["epochs_done"], resumed["best_score"]
    writer = make_writer(args, run_dir, game, courses, players.frames.shape[1:3], first_epoch)
    log = MetricsLog(run_dir, resume_step=first_epoch if resumed else None)

    bar = tqdm(range(first_epoch, args.n_epochs), initial=first_epoch, total=args.n_epochs, unit="epoch")
    for epoch in bar:
        started = time.perf_counter()
        recorded = recorded_games(args) if args.recording_start <= epoch < args.recording_end else []
        filmed = args.video_every > 0 and (epoch + 1) % args.video_every == 0

        # play
        film_apart = [0] if filmed and 0 not in recorded else []
        played = players.collect(agent, rollout, generator, film_apart + recorded)
        played_at = time.perf_counter()
        score = rollout.rewards.mean().item()
        if score > best_score:  # kept now: it is the agent that played, not the one that it becomes below
            best_score = score
            save_checkpoint(agent_checkpoint(agent), run_dir / "best.pt")

        # learn
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * (1 - epoch / args.n_epochs)
        rollout.rewards = scale(rollout.rewards, rollout.ended)
        metrics = update(agent, optimizer, rollout, config, generator)

        # log
        finished = time.perf_counter()
        if played.episode_returns:
            metrics["episode/return"] = sum(played.episode_returns) / len(played.episode_returns)
            metrics["episode/length"] = sum(played.episode_lengths) / len(played.episode_lengths)
        metrics["episode/reward_per_step"] = score
        metrics["time/steps_per_second"] = rollout.rewards.numel() / (finished - started)
        metrics["time/playing_share"] = (played_at - started) / (finished - started)
        log.write(epoch + 1, metrics)
        bar.set_postfix(reward=f"{score:.3f}", entropy=f"{metrics['policy/entropy']:.2f}")

        # record
        if recorded:
            writer.write(epoch, {key: rows[len(film_apart) :] for key, rows in played.rows.items()})

        # save
        last = {
            "kind": "ppo_run",
            "agent": agent_checkpoint(agent),
            "optimizer": optimizer.state_dict(),
            "players": players.state(),
            "return_scale": scale.state,
            "generator": generator.get_state(),
            "rng": rng_state(),
            "epochs_done": epoch + 1,
            "best_score": best_score,
            "must_match": fixed,
        }
        save_checkpoint(last, run_dir / "last.pt")
        if filmed:
            path = run_dir / "videos" / f"epoch_{epoch + 1:04d}.mp4"
            film(played.rows["frames"][0], path, game.frame_rate / args.frame_skip)

    if writer and args.recording_start < min(args.recording_end, args.n_epochs):
        path = writer.pack()
        print(f"recorded {path}")
        print("next: " + shlex.join(["python", "sd/train_autoencoder.py", "--trajectories", path.as_posix()]))


def make_agent(args: argparse.Namespace, game: Game) -> Agent:
    names = tuple(action.name for action in game.actions)
    if args.checkpoint_model is None:
        return Agent(AgentConfig(len(names), names, game.name, args.frame_skip))
    agent = load_agent(args.checkpoint_model).train()
    if agent.config.action_names != names:
        raise InputError(
            f"{args.checkpoint_model} knows the actions {agent.config.action_names}, not {names}"
        )
    agent.config = replace(agent.config, game=game.name, frame_skip=args.frame_skip)
    return agent


def recorded_games(args: argparse.Namespace) -> list:
    return [*range(args.record_envs), *range(args.n_envs, args.n_envs + args.wander_envs)]


def make_writer(args, run_dir: Path, game: Game, courses: list, frame_size, first_epoch: int):
    num_recorded = len(recorded_games(args))
    if num_recorded == 0:
        return None
    end = min(args.recording_end, args.n_epochs)
    epochs, epochs_left = (max(0, end - max(args.recording_start, begin)) for begin in (0, first_epoch))
    size, size_left = (
        recording_bytes(count * num_recorded, args.n_steps, *frame_size) for count in (epochs, epochs_left)
    )
    print(
        f"recording {num_recorded} games for {epochs_left} epochs: {size_left / 1e9:.2f} GB; packing it all"
    )
    print(f"at the end takes {size / 1e9:.2f} GB more, until what was packed is removed")
    run_dir.mkdir(parents=True, exist_ok=True)
    check_disk_space(run_dir, size_left + size)
    drivers = ["agent"] * args.record_envs + ["wander"] * args.wander_envs
    meta = game.recording_meta(args.frame_skip, courses, drivers, args.seed)
    return TrajectoryWriter(run_dir, [action.name for action in game.actions], meta, first_epoch)


def film(frames, path: Path, fps: float) -> None:
    """Frames (T, 3, H, W) of the first game to a video; where that fails learning goes on all the same."""
    try:
        save_video(frames.transpose(0, 2, 3, 1), path, fps)
    except (ImportError, OSError) as problem:
        tqdm.write(f"no video: {problem}")


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
