"""What happens at the end of each epoch of the diffusion model's training, and at the end of the training."""

import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from dream.common.distributed import Distributed
from dream.common.progress import progress_bar
from dream.common.runs import MetricsLog, save_checkpoint
from dream.common.startup import command_line
from dream.evaluation.previews import most_moving_rollout, num_preview_frames, save_action_preview, save_film
from dream.evaluation.validation import ValidationSet, validate
from dream.models.autoencoder import Decoder
from dream.models.checkpoints import model_checkpoint
from dream.training.loop import TrainingLoop
from dream.training.schedule import Schedule
from dream.training.train_state import TrainState

# A training step computes each window forwards and backwards, with a discriminator: so many times as long as one frame.
STEP_COST = 4
PREVIEW_S = 10.0  # an epoch that is not measured has a film of so many seconds of work


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


class OutOfTime(Exception):
    """Measuring has taken longer than the time budget allows."""


def finish_epoch(run: Run, state: TrainState, loop: TrainingLoop) -> None:
    """Saves final.pt, measures the moving average of the weights if that is due, logs, draws previews, saves best.pt
    and last.pt. The main process does so alone. Raises InputError where the epoch's losses are not finite."""
    means = loop.mean_metrics()
    if run.dist.is_main:
        model = model_checkpoint(state.ema, *run.model_info)
        save_checkpoint(model, run.folder / "final.pt")
        if not loop.measure_is_due:  # nothing below changes the state, so that it can be saved at once
            save_last(run, state, loop)
        metrics, score = measure_and_draw(run, state, loop)
        run.log.write(state.step, {**metrics, **means})
        if score > state.best_score:
            state.best_score = score
            save_checkpoint(model, run.folder / "best.pt")
        if loop.measure_is_due:
            save_last(run, state, loop)
    loop.begin_epoch()


def save_last(run: Run, state: TrainState, loop: TrainingLoop) -> None:
    save_checkpoint({**run.resume_info, **loop.times(), **state.state_dict()}, run.folder / "last.pt")


def measure_and_draw(run: Run, state: TrainState, loop: TrainingLoop) -> tuple[dict[str, float], float]:
    """Returns metrics, and the score that best.pt is chosen by, if measuring is due and not given up for lack of time;
    else nothing and -infinity. Draws previews."""
    held_out, steps, measured = run.held_out, run.sampling_steps, loop.measure_is_due
    path = run.folder / "previews" / f"step_{state.step:06d}"
    deadline = loop.measure_deadline() if measured else time.monotonic() + PREVIEW_S
    metrics, score = {}, float("-inf")
    total = held_out.num_frames() * measured + num_preview_frames(state.ema, held_out, measured)
    loop.bar.set_description("measuring" if measured else "preview")
    with progress_bar(total=total, desc="generating", unit="frame", leave=False) as bar:

        def count(num_frames: int) -> bool:
            bar.update(num_frames)
            is_late = time.monotonic() > deadline
            if is_late and measured:
                raise OutOfTime
            return is_late

        try:
            if measured:
                metrics, rollouts = validate(state.ema, run.decoder, held_out, steps, count)
                score = fmean(metrics[f"psnr/rollout_{horizon}"] for horizon in held_out.horizons)
                loop.bar.set_postfix(next=f"{metrics['psnr/next_frame']:.2f}", rollouts=f"{score:.2f}")
                save_film(
                    run.decoder,
                    held_out,
                    rollouts[held_out.most_moving()],
                    path.with_name(f"{path.name}_film.png"),
                )
                action_path = path.with_name(f"{path.name}_actions.png")
                save_action_preview(state.ema, run.decoder, held_out, steps, action_path, count)
            else:
                latents = most_moving_rollout(state.ema, held_out, steps, count)
                save_film(run.decoder, held_out, latents, path.with_name(f"{path.name}_film.png"))
        except OutOfTime:
            left_out = "its preview is" if metrics else "it is"
            bar.write(f"measuring takes longer than expected: {left_out} left out")
    return metrics, score


def print_summary(args: Namespace, run: Run, state: TrainState, schedule: Schedule) -> None:
    """What the training has come to, and the commands for what comes next."""
    held_out = run.held_out
    copy_first = fmean(held_out.copy_first_psnr(horizon) for horizon in held_out.horizons)
    print(f"{schedule.stop_reason(state.step)}: {state.step} steps, {state.step * args.batch_size} windows;")
    if state.best_score == float("-inf"):
        print(
            "not measured: that takes more than a quarter of this --max-minutes; a larger one leaves time for it"
        )
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
