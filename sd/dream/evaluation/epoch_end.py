"""What happens at the end of each epoch of the diffusion model's training, and at the end of the training."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from dream.common.distributed import Distributed
from dream.common.progress import progress_bar
from dream.common.runs import MetricsLog, save_checkpoint
from dream.common.startup import command_line
from dream.evaluation.previews import first_rollout, num_preview_frames, save_action_preview, save_film
from dream.evaluation.validation import ValidationSet, validate
from dream.models.autoencoder import Decoder
from dream.models.checkpoints import model_checkpoint
from dream.training.loop import TrainingLoop
from dream.training.schedule import Schedule
from dream.training.train_state import TrainState

# A training step computes each window forwards and backwards, with a discriminator: so many times as long as one frame.
STEP_COST = 4


@dataclass(frozen=True)
class Run:
    """What stays the same during a run and is needed at the end of each epoch."""

    folder: Path
    dist: Distributed
    decoder: Decoder
    held_out: ValidationSet
    sampling_steps: int
    model_info: tuple  # of best.pt and final.pt: arguments of `model_checkpoint` after the network
    resume_info: dict  # of last.pt: what `load_resume_state` checks
    log: MetricsLog | None  # None in all processes but the main one


def measure_steps(held_out: ValidationSet, batch_size: int) -> float:
    """About how many training steps take as long as measuring does."""
    return held_out.num_frames() / (STEP_COST * batch_size)


def finish_epoch(run: Run, state: TrainState, loop: TrainingLoop) -> None:
    """Measures the moving average of the weights if that is due, logs, draws previews, saves final.pt, best.pt and
    last.pt. The main process does so alone. Raises InputError where the epoch's losses are not finite."""
    means = loop.mean_metrics()
    if run.dist.is_main:
        score = measure(run, state, loop, means)
        model = model_checkpoint(state.ema, *run.model_info)
        if score > state.best_score:
            state.best_score = score
            save_checkpoint(model, run.folder / "best.pt")
        save_checkpoint(model, run.folder / "final.pt")
        times = loop.schedule.state_dict(loop.progress)
        save_checkpoint({**run.resume_info, **times, **state.state_dict()}, run.folder / "last.pt")
    loop.begin_epoch()


def measure(run: Run, state: TrainState, loop: TrainingLoop, means: dict[str, float]) -> float:
    """Measures, logs and draws; returns the score that best.pt is chosen by, -infinity if measuring is not due.

    means: the epoch's training metrics."""
    held_out, steps, measured = run.held_out, run.sampling_steps, loop.measure_is_due
    path = run.folder / "previews" / f"step_{state.step:06d}"
    metrics, score = {}, float("-inf")
    total = held_out.num_frames() * measured + num_preview_frames(state.ema, held_out, measured)
    loop.bar.set_description("measuring" if measured else "preview")
    with progress_bar(total=total, desc="generating", unit="frame", leave=False) as bar:
        if measured:
            metrics, rollouts = validate(state.ema, run.decoder, held_out, steps, bar.update)
            score = fmean(metrics[f"psnr/rollout_{horizon}"] for horizon in held_out.horizons)
            loop.bar.set_postfix(next=f"{metrics['psnr/next_frame']:.2f}", rollouts=f"{score:.2f}")
            action_path = path.with_name(f"{path.name}_actions.png")
            save_action_preview(state.ema, run.decoder, held_out, steps, action_path, bar.update)
            latents = rollouts[0]
        else:
            latents = first_rollout(state.ema, held_out, steps, bar.update)
    run.log.write(state.step, {**metrics, **means})
    save_film(run.decoder, held_out, latents, path.with_name(f"{path.name}_film.png"))
    return score


def print_summary(args: Namespace, run: Run, state: TrainState, schedule: Schedule) -> None:
    """What the training has come to, and the commands for what comes next."""
    held_out = run.held_out
    copy_first = fmean(held_out.copy_first_psnr(horizon) for horizon in held_out.horizons)
    print(f"{schedule.stop_reason(state.step)}: {state.step} steps, {state.step * args.batch_size} windows;")
    if state.best_score == float("-inf"):
        print("not measured yet")
    else:
        print(
            f"best mean PSNR of rollouts {state.best_score:.2f} dB (first frame repeated: {copy_first:.2f})"
        )
    if float("-inf") < state.best_score < copy_first + 0.5:
        print(
            "warning: this is hardly better than a still picture: train longer, by the same command with --resume and "
            + schedule.more_option(state.step)
        )
    folder = run.folder.as_posix()
    print("next: " + command_line("sd/play_sd.py", "--model-path", f"{folder}/final.pt"))
    paths = ["--trajectories", Path(args.trajectories).as_posix()]
    for part, name in (("encoder", "encoder"), ("decoder", "decoder"), ("model", "final")):
        paths += [f"--{part}-path", f"{folder}/{name}.pt"]
    print("evaluate: " + command_line("sd/evaluate_sd.py", *paths, "--quick"))
