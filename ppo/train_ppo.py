"""Trains an agent with PPO and records what it observes and does: the training data of the world model.

Writes trajectories.npz (the recording), best.pt (the agent), last.pt (for --resume), metrics.csv and videos/.

python ppo/train_ppo.py                                          # the full run: Mode7Kart, 16 environments, 100 epochs
python ppo/train_ppo.py --n-envs 4 --n-epochs 2 --n-steps 64     # a tiny run, seconds
python ppo/train_ppo.py --max-minutes 30                         # as much of the full run as fits into 30 minutes
python ppo/train_ppo.py --resume                                 # continues where the same command was stopped
python ppo/train_ppo.py --game SuperMarioKart-Snes --integrations DIR --state NAME       # your own ROM
tensorboard --logdir ppo/checkpoints   # after pip install tensorboard
"""

import argparse
import time
from pathlib import Path

import player  # noqa: F401  first: it reports packages that are missing
import torch
from player.common.errors import InputError, refuse_damaged, run_script
from player.common.progress import progress_bar
from player.common.runs import (
    NEW_RUN,
    MetricsLog,
    exclusive_run,
    load_resume_state,
    pick_device,
    save_checkpoint,
    seed_everything,
)
from player.common.startup import ArgumentParser, command_line, script_began
from player.common.video import save_video
from player.envs.vector_env import make_vector_env
from player.evaluation.episodes import TEST_SEED, TestGame
from player.games.cli import add_frame_skip, add_game_options, check_game_options, find_options
from player.games.game import BUILT_IN_GAME, Game, check_agent
from player.games.registry import find_game, find_tracks
from player.recording.pack import pack_trajectories
from player.recording.training_writer import make_writer, recorded_envs, recorded_policies
from player.rl.agent import Agent, AgentConfig, agent_checkpoint, load_agent
from player.rl.behavior import BehaviorPolicies
from player.rl.budget import Budget
from player.rl.collector import RolloutCollector
from player.rl.ppo import PPOConfig, update
from player.rl.resume_options import options_that_must_match
from player.rl.rollout_buffer import RewardScaler, Rollout
from player.rl.train_state import TrainState

HERE = Path(__file__).resolve().parent


def parse_args(argv=None) -> argparse.Namespace:
    ppo = PPOConfig()
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_game_options(parser, many_tracks=True)
    add_frame_skip(parser)
    # fmt: off
    default = "(default: %(default)s)"
    group = parser.add_argument_group("training")
    group.add_argument("--n-envs", type=int, default=16, help=f"environments {default}")
    group.add_argument("--n-epochs", type=int, default=100, help=f"rollouts to train on {default}")
    group.add_argument("--max-minutes", type=float, default=0,
                       help="time of the whole script in minutes, with that of the parts before --resume and of "
                            f"packing (0: no limit) {default}")
    group.add_argument("--n-steps", type=int, default=512, help=f"steps per environment and epoch {default}")
    group.add_argument("--batch-size", type=int, default=ppo.batch_size, help=f"steps {default}")
    group.add_argument("--train-iters", type=int, default=ppo.train_iters, help=f"passes over a rollout {default}")
    group.add_argument("--gamma", type=float, default=ppo.gamma, help=f"discount factor {default}")
    group.add_argument("--gae-lambda", type=float, default=ppo.gae_lambda, help=default)
    group.add_argument("--clip-ratio", type=float, default=ppo.clip_ratio, help=default)
    group.add_argument("--ent-coef", type=float, default=ppo.ent_coef, help=f"entropy bonus {default}")
    group.add_argument("--vf-coef", type=float, default=ppo.vf_coef, help=f"value loss weight {default}")
    group.add_argument("--learning-rate", type=float, default=3e-4, help=f"decays linearly to 0 {default}")
    group.add_argument("--test-game", metavar="NAME", help="another game with the same actions in which the agent is "
                       "measured, with --track and --rivals: the real game, where --game is a world model of it")
    group.add_argument("--test-every", type=int, default=5, help=f"epochs between these measurements {default}")
    group.add_argument("--test-episodes", type=int, default=8, help=f"episodes of each {default}")
    group.add_argument("--keep-every", type=int, default=0,
                       help=f"keep the agent as agent_EPOCH.pt every so many epochs (0 = never) {default}")
    group.add_argument("--checkpoint-model", metavar="FILE", help="an agent (best.pt) to start from")
    group = parser.add_argument_group("recording")
    group.add_argument("--record-envs", type=int, default=1,
                       help=f"how many of these environments to record (0 = none) {default}")
    group.add_argument("--explore-envs", type=int, default=1,
                       help="additional environments, recorded but not trained on, in which a random policy takes over "
                            f"half of the time (0 = none) {default}")
    group.add_argument("--recording-start", type=int, default=0, help=f"first epoch to record {default}")
    group.add_argument("--recording-end", type=int, default=-1,
                       help=f"epoch after the last one to record (-1 = to the end) {default}")
    group.add_argument("--video-every", type=int, default=10, help=f"epochs between videos (0 = none) {default}")
    group = parser.add_argument_group("run")
    group.add_argument("--output-dir",
                       help="folder of the run (default: ppo/checkpoints/<game>-<track or state>-<seed>)")
    group.add_argument("--resume", action="store_true", help="continue the run in the output folder")
    group.add_argument("--pack-only", action="store_true", help="only pack what a stopped run has recorded")
    group.add_argument("--seed", type=int, default=0, help=f"seed of all random numbers {default}")
    group.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help=default)
    # fmt: on
    args = parser.parse_args(argv)
    if args.seed < 0:
        parser.error("--seed must be at least 0")
    for name in ("n_envs", "n_epochs", "n_steps", "batch_size", "train_iters", "test_every", "test_episodes"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if args.max_minutes < 0:
        parser.error("--max-minutes must be at least 0 (0 = no limit)")
    if args.keep_every < 0:
        parser.error("--keep-every must be at least 0 (0 = never)")
    if not 0 <= args.record_envs <= args.n_envs:
        parser.error("--record-envs must be from 0 to --n-envs")
    if args.explore_envs < 0:
        parser.error("--explore-envs must be at least 0")
    check_game_options(parser, args)
    if not (0 < args.gamma <= 1 and 0 <= args.gae_lambda <= 1):
        parser.error("--gamma and --gae-lambda must lie between 0 and 1")
    if args.recording_end < 0:
        args.recording_end = args.n_epochs
    if args.output_dir is None:
        tracks = "track" + "-".join(map(str, args.track))
        start = tracks if args.game == BUILT_IN_GAME else args.state or "default"
        args.output_dir = HERE / "checkpoints" / f"{args.game}-{start}-{args.seed}"
    return args


@exclusive_run
def main(args: argparse.Namespace) -> None:
    run_dir = Path(args.output_dir)
    if args.pack_only:
        print(f"packed {pack_trajectories(run_dir)}")
        return
    device = pick_device(args.device)
    game, tracks = find_tracks(
        args.game, args.integrations, args.state, args.track, args.rivals, **find_options(args)
    )
    must_match = options_that_must_match(args, game, tracks)
    resumed = load_resume_state(run_dir, "ppo_run", args.resume, must_match)
    print(f"{game.name}: {len(game.actions)} actions, seed {args.seed}, device {device}, run {run_dir}")
    print(game.describe())
    if not game.has_rewards:
        raise InputError(
            f"{game.name} has no rewards, so no agent can learn in it: sd/train_outcome.py adds them to its model, "
            "from a recording that has rewards"
        )
    # Before torch starts threads and before this process holds an emulator: the workers are forked.
    envs = make_vector_env(game, args.n_envs + args.explore_envs, game.frame_skip, tracks)
    try:
        train(args, run_dir, device, game, tracks, envs, resumed, must_match)
    finally:
        envs.close()


def train(
    args, run_dir: Path, device: torch.device, game: Game, tracks: list, envs, resumed, must_match: dict
) -> None:
    """Trains until --n-epochs or --max-minutes and packs the recording. `resumed`: the content of last.pt, or None in a
    new run."""
    state = make_train_state(args, game, tracks, envs, device)
    if resumed:
        with refuse_damaged(run_dir / "last.pt", NEW_RUN):
            state.load_state_dict(resumed)
    action_names = [action.name for action in game.actions]
    agent, optimizer, collector, generator = state.agent, state.optimizer, state.collector, state.generator
    frame_size = collector.frames.shape[1:3]  # of a world model: that of its recording
    test_game = args.test_game and TestGame(
        find_game(args.test_game, track=args.track[0], rivals=args.rivals, frame_size=frame_size),
        action_names,
        args.test_episodes,
        TEST_SEED,
    )
    rollout = Rollout.empty(args.n_steps, args.n_envs, device)
    config = PPOConfig(
        **{name: getattr(args, name) for name in PPOConfig.__dataclass_fields__ if name in args}
    )
    first_epoch = state.epochs_done
    with refuse_damaged(run_dir / "last.pt", NEW_RUN):
        earlier = resumed and resumed.get("budget")
        budget = Budget(args.n_epochs, args.max_minutes, script_began(), earlier)
    meta = game.recording_meta(tracks, recorded_policies(args), args.seed)
    writer = make_writer(args, run_dir, action_names, meta, collector.frames.shape[1:3], first_epoch)
    log = MetricsLog(run_dir, resume_step=first_epoch if resumed else None)

    if budget.max_s:
        print(
            f"{args.max_minutes:g} minutes in all, with packing (--max-minutes); at most {args.n_epochs} epochs"
        )
    bar = progress_bar(total=args.n_epochs * args.n_steps, initial=first_epoch * args.n_steps, unit="step")
    epoch, used_up = first_epoch, budget.is_used_up(first_epoch)
    while not used_up and (epoch == first_epoch or not budget.is_over(epoch)):  # at least one epoch
        start_s = time.perf_counter()
        recorded = recorded_envs(args) if args.recording_start <= epoch < args.recording_end else []
        save_epoch_video = args.video_every > 0 and (epoch + 1) % args.video_every == 0
        extra_video_env = [0] if save_epoch_video and 0 not in recorded else []

        # collect
        bar.set_description(f"epoch {epoch + 1}")
        stats = collector.collect(agent, rollout, generator, extra_video_env + recorded, bar.update)
        collected_s = time.perf_counter()
        score = rollout.rewards.mean().item()
        if score > state.best_score:  # saved before the update, because this agent reached the score
            state.best_score = score
            save_checkpoint(agent_checkpoint(agent), run_dir / "best.pt")

        # learn
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * (1 - budget.progress(epoch))
        rollout.rewards = state.reward_scaler(rollout.rewards, rollout.done)
        num_batches = config.train_iters * -(-rollout.rewards.numel() // config.batch_size)
        with progress_bar(total=num_batches, desc="learning", unit="batch", leave=False) as batches:
            metrics = update(agent, optimizer, rollout, config, generator, batches.update)

        # log
        duration_s = time.perf_counter() - start_s
        if stats.episode_returns:
            metrics["episode/return"] = sum(stats.episode_returns) / len(stats.episode_returns)
            metrics["episode/length"] = sum(stats.episode_lengths) / len(stats.episode_lengths)
        metrics["episode/reward_per_step"] = score
        metrics["time/steps_per_second"] = rollout.rewards.numel() / duration_s
        metrics["time/collect_fraction"] = (collected_s - start_s) / duration_s
        if test_game and (epoch + 1) % args.test_every == 0:
            metrics.update(test_game.measure(agent))
        log.write(epoch + 1, metrics)
        bar.set_postfix(reward=f"{score:.3f}", entropy=f"{metrics['policy/entropy']:.2f}")

        # record
        write_began_s = time.perf_counter()
        if recorded:
            writer.write(epoch, {key: rows[len(extra_video_env) :] for key, rows in stats.rows.items()})

        # save
        ended_s = time.perf_counter()
        budget.epoch_done(ended_s - start_s, ended_s - write_began_s)
        state.epochs_done = epoch + 1
        times = {"budget": budget.state_dict(epoch + 1)}
        save_checkpoint(
            {"kind": "ppo_run", "must_match": must_match, **times, **state.state_dict()}, run_dir / "last.pt"
        )
        if args.keep_every > 0 and (epoch + 1) % args.keep_every == 0:
            save_checkpoint(agent_checkpoint(agent), run_dir / f"agent_{epoch + 1:04d}.pt")
        if save_epoch_video:
            path = run_dir / "videos" / f"epoch_{epoch + 1:04d}.mp4"
            video = stats.rows["frames"][0].transpose(0, 2, 3, 1)  # (T, H, W, 3)
            try:
                save_video(video, path, game.frame_rate / game.frame_skip, num_frames=len(video))
            except (OSError, InputError) as problem:
                bar.write(f"no video: {problem}")
        epoch += 1
        bar.total = budget.expected_epochs(epoch) * args.n_steps
        if epoch == first_epoch + 1 and not budget.max_s:
            bar.write(
                f"about {(args.n_epochs - epoch) * duration_s / 60:.0f} minutes: epochs of {duration_s:.0f} s"
            )

    bar.close()
    if test_game:
        test_game.close()
    more = "--resume and more --n-epochs" if epoch >= args.n_epochs else "--resume and more --max-minutes"
    print(f"{budget.stop_reason(epoch)}: {epoch} epochs" + (f"; to train on: {more}" if used_up else ""))
    if writer and args.recording_start < min(args.recording_end, epoch):
        path = writer.pack()
        print(f"recorded {path}")
        print("next: " + command_line("sd/train_autoencoder.py", "--trajectories", path.as_posix()))


def make_train_state(args, game: Game, tracks: list, envs, device: torch.device) -> TrainState:
    """The state at the start of a new run."""
    seed_everything(args.seed)
    agent = make_agent(args, game).to(device)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    behavior_names = ["agent"] * args.n_envs + ["wander"] * args.explore_envs
    behaviors = BehaviorPolicies(behavior_names, len(game.actions))
    collector = RolloutCollector(envs, args.seed, game.truth_names, device, behaviors, tracks)
    scaler = RewardScaler(args.n_envs, args.gamma, device)
    return TrainState(agent, optimizer, collector, scaler, torch.Generator().manual_seed(args.seed))


def make_agent(args: argparse.Namespace, game: Game) -> Agent:
    """A new agent, or that of --checkpoint-model. Raises InputError if it has other actions than the game."""
    names = tuple(action.name for action in game.actions)
    config = AgentConfig(len(names), names, game.name, game.frame_skip, game.max_frames, game.settings)
    if args.checkpoint_model is None:
        return Agent(config)
    agent = load_agent(args.checkpoint_model).train()
    check_agent(
        args.checkpoint_model, agent.config, game, "leave out --checkpoint-model, or choose another --game"
    )
    agent.config = config
    return agent


if __name__ == "__main__":
    run_script(lambda: main(parse_args()), can_resume=True)
