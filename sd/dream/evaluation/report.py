"""Results of an evaluation: the JSON file and the table that is printed."""

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from dream.common.files import atomic_write


class EvaluationReport:
    """Results by name, saved after every update, so that an evaluation that is stopped keeps what it has measured."""

    def __init__(self, path: Path, run_info: dict) -> None:
        self.path, self.results, self.start_s = path, {"run_info": run_info}, time.monotonic()

    def update(self, **results) -> None:
        """Adds results and writes the file; run_info["minutes"] is the time since the report was created."""
        self.results.update(results)
        self.results["run_info"]["minutes"] = (time.monotonic() - self.start_s) / 60
        save_json(self.results, self.path)


def save_json(results: dict, path: Path) -> None:
    """Writes a JSON file with an atomic replace; creates its folder if missing."""
    with atomic_write(path) as file:
        file.write((json.dumps(results, indent=1) + "\n").encode())


def table(results: dict) -> Iterator[str]:
    """Lines of text for the results of evaluate_sd.py: all of them, or those of the long rollouts alone."""
    if "autoencoder" in results:
        yield from frame_table(results)
        yield from detail_table(results["detail"])
        yield from outcome_table(results["outcome"])
        yield from probe_table(results)
    yield from long_rollout_table(results["long_rollouts"])
    if "state_probe" in results:
        yield from state_table(results["state_probe"])


def frame_table(results: dict) -> Iterator[str]:
    """Image metrics against the recorded frames."""

    def row(name: str, score: dict) -> str:
        lpips = "      -" if score["lpips"] is None else f"{score['lpips']:7.3f}"
        line = f"{name:<34}{score['psnr_db']:7.2f}{score['psnr_db_median']:8.2f}{score['psnr_db_p10']:7.2f}"
        line += f"{score['ssim']:8.3f}{lpips}"
        if "gain_db" in score:
            line += f"{score['gain_db']:+8.2f}"
            line += f"{score['normalized_gain']:10.0%}" if score["normalized_gain"] is not None else ""
        return line + f"   ({score['frames']})"

    yield ""
    heads = ("mean", 7), ("median", 8), ("p10", 7), ("SSIM", 8), ("LPIPS", 7), ("gain", 8), ("norm.gain", 10)
    yield f"{'PSNR in dB, held-out episodes':<34}" + "".join(f"{head:>{width}}" for head, width in heads)
    yield row("autoencoder (ceiling)", results["autoencoder"])
    yield row("last frame repeated", results["copy_last"])
    for steps, score in results["teacher_forced"].items():
        yield row(f"next frame, {steps} sampling steps", score)
    for frames, score in results["rollout"].items():
        yield row(f"rollout, frame {frames}", score)
        yield row("    first frame repeated", score["copy_first"])
    yield ""
    frames = results["delta_psnr"]["after_frames"]
    yield f"PSNR under recorded minus random actions after {frames} frames: {results['delta_psnr_db']:+.2f} dB"


def detail_table(results: dict) -> Iterator[str]:
    """Detail and motion of rollouts by rows of the picture."""
    if "skipped" in results:
        yield f"detail: skipped, {results['skipped']}"
        return
    frames = list(next(iter(results["bands"].values()))["detail_ratio"])
    yield (
        f"fine detail, generated / decoded real, after {' / '.join(frames)} frames; change of a frame, 0-255   "
        f"({results['rollouts']} moving)"
    )
    for rows, band in results["bands"].items():
        ratios = " / ".join(
            "   -" if ratio is None else f"{ratio:4.2f}" for ratio in band["detail_ratio"].values()
        )
        motion = f"change {band['motion']:.1f}, of the game {band['real_motion']:.1f}"
        yield f"    rows {rows:<10} detail {ratios}   {motion}"


def outcome_table(results: dict) -> Iterator[str]:
    """Predicted rewards and ends of episodes."""
    if "skipped" in results:
        yield f"rewards: skipped, {results['skipped']}"
        return
    for kind in ("real", "generated"):
        if kind in results:
            score = results[kind]
            correlation = "-" if score["correlation"] is None else f"{score['correlation']:.3f}"
            yield (
                f"reward from {kind} contexts: correlation {correlation}, RMSE {score['rmse']:.3g} "
                f"(of the mean reward {score['rmse_of_mean']:.3g})   ({score['windows']})"
            )
    if "ends" in results:
        ends = results["ends"]
        yield (
            f"probability of an episode's end: {ends['probability']:.1%} where one ends, "
            f"{ends['probability_elsewhere']:.1%} elsewhere, AUC {ends['auc']:.3f}   ({ends['episodes']})"
        )


def probe_table(results: dict) -> Iterator[str]:
    """Inverse dynamics and the two-sample test."""
    idm = results["inverse_dynamics"]
    if "skipped" in idm:
        yield f"inverse dynamics: skipped, {idm['skipped']}"
    else:
        kinds = ("real", "decoded", "generated", "generated_random_actions")
        accuracies = ", ".join(f"{kind.replace('_', ' ')} {idm[kind + '_accuracy']:.1%}" for kind in kinds)
        majority = f"majority class {idm['majority_class_accuracy']:.1%}"
        yield f"inverse dynamics accuracy: {accuracies}, {majority}   ({idm['clips']} clips)"
        for name, action in idm["by_action"].items():
            if action["clips"]:
                yield (
                    f"    {name:<20} real {action['real']:6.1%}  generated {action['generated']:6.1%}   "
                    f"({action['clips']})"
                )
    c2st = results["classifier_two_sample_test"]
    if "skipped" in c2st:
        yield f"classifier two-sample test: skipped, {c2st['skipped']}"
        return
    yield (
        f"classifier two-sample test, {c2st['clip_frames']} frames (chance level 50 %; {c2st['clips']} clips, "
        f"{c2st['clips_moving']} of them moving):"
    )
    names = {
        "decoded": "against decoded real",
        "raw": "against raw real",
        "perturbed_0.05": "weights + 5 % noise",
        "perturbed_0.15": "weights + 15 % noise",
    }
    for kind, name in names.items():
        score = c2st[kind]
        last_frame = f", PSNR of the last frame {score['psnr_db']:.2f} dB" if "psnr_db" in score else ""
        yield (
            f"    {name:<22} {score['accuracy']:6.1%}, moving clips {score['accuracy_moving']:.1%}   "
            f"(training clips {score['accuracy_train']:.1%}){last_frame}"
        )
    for rows, score in c2st["bands"].items():
        yield f"    rows {rows + ' alone':<17} {score['accuracy']:6.1%}, moving clips {score['accuracy_moving']:.1%}"


def long_rollout_table(results: dict) -> Iterator[str]:
    """Frechet distance and frame difference by horizon."""
    if "skipped" in results:
        yield f"long rollouts: skipped, {results['skipped']}"
        return
    yield f"{results['num_rollouts']} long rollouts under random actions ({results['actions']}):"
    for horizon in results["frechet"]:
        name = "real against real" if horizon == "real" else f"up to frame {horizon}"
        cells = []
        for metric in ("frechet", "frame_diff"):
            std = results["bootstrap_std"][metric].get(horizon)
            cells.append(
                f"{results[metric][horizon]:7.2f}" + (" " * 10 if std is None else f" +- {std:6.2f}")
            )
        yield (
            f"{name:<26} Frechet distance {cells[0]}   frame difference {cells[1]}   "
            f"({results['frames_per_set']})"
        )


def state_table(results: dict) -> Iterator[str]:
    """Errors of the predicted state, and laps of the agent."""
    if "skipped" in results:
        yield f"speed, heading and track position: skipped, {results['skipped']}"
        return
    for moment, kinds in results.items():
        if moment.startswith("after_"):
            for kind, errors in kinds.items():
                cells = ", ".join(f"{name.replace('_', ' ')} {error:.3g}" for name, error in errors.items())
                yield f"{moment.replace('_', ' '):<10} {kind.replace('_', ' '):<9} errors: {cells}"
    if results["place_probes"]:
        errors = results["place_probes"]
        used = "laps.npz" if errors["laps_npz"] < errors["trained_here"] else "the probe trained here"
        yield (
            f"place (lap fraction) read by {used}: on real clips laps.npz is off by {errors['laps_npz']:.2%} of a "
            f"lap, the probe trained here by {errors['trained_here']:.2%}"
        )
    agent = results["agent_laps"]
    if "skipped" in agent:
        yield f"laps of the agent in the world model: skipped, {agent['skipped']}"
        return
    laps = agent["laps"]
    yield (
        f"agent in the world model, {agent['frames']} frames: three laps in {agent['three_laps']} of "
        f"{agent['num_rollouts']}, laps {min(laps):.1f} to {max(laps):.1f}, median {statistics.median(laps):.1f}; "
        f"median distance without jumps {statistics.median(agent['distance_laps']):.1f} laps"
    )
    control = agent["real_frames"]
    if "skipped" in control:
        yield f"laps counted on real frames: skipped, {control['skipped']}"
    else:
        yield (
            f"laps counted on real frames, {control['windows']} x {control['frames']}: "
            f"{control['predicted']:.1f} predicted, {control['recorded']:.1f} recorded"
        )
