"""What an evaluation has found: the JSON, the table on the screen and the plot of drift."""

import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor


class Findings:
    """What is found, written at once: whoever stops an evaluation of hours has what is done."""

    def __init__(self, path: Path, about: dict) -> None:
        self.path, self.found, self.began = path, {"about": about}, time.monotonic()

    def keep(self, **more) -> None:
        self.found.update(more)
        self.found["about"]["minutes"] = (time.monotonic() - self.began) / 60
        save_json(self.found, self.path)


def save_json(found: dict, path: Path) -> None:
    aside = path.with_name(path.name + ".writing")
    aside.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(aside, path)


def table(found: dict) -> Iterator[str]:
    """Lines of text for what evaluate_sd.py found: all of it, or the long roll-outs alone."""
    if "autoencoder" in found:
        yield from compared(found)
        yield from judged(found)
    yield from lasting(found["stability"])
    if "truth" in found:
        yield from placed(found["truth"])


def compared(found: dict) -> Iterator[str]:
    """Frames beside the game's own."""

    def row(name: str, score: dict) -> str:
        lpips = "      -" if score["lpips"] is None else f"{score['lpips']:7.3f}"
        line = f"{name:<34}{score['psnr_db']:7.2f}{score['psnr_db_median']:8.2f}{score['psnr_db_p10']:7.2f}"
        line += f"{score['ssim']:8.3f}{lpips}"
        if "gain_db" in score:
            line += f"{score['gain_db']:+8.2f}"
            line += f"{score['share_of_the_way']:8.0%}" if score["share_of_the_way"] is not None else ""
        return line + f"   ({score['frames']})"

    yield ""
    heads = ("mean", 7), ("median", 8), ("p10", 7), ("SSIM", 8), ("LPIPS", 7), ("gain", 8), ("of way", 8)
    yield f"{'PSNR in dB, held-out episodes':<34}" + "".join(f"{head:>{width}}" for head, width in heads)
    yield row("autoencoder (ceiling)", found["autoencoder"])
    yield row("last frame repeated", found["copy_last"])
    for steps, score in found["teacher_forced"].items():
        yield row(f"next frame, {steps} steps", score)
    for frames, score in found["rollout"].items():
        yield row(f"after {frames} dreamed in a row", score)
        yield row("    first frame repeated", score["copy_start"])
    yield ""
    effect = found["delta_psnr"]
    yield f"true keys minus random ones after {effect['after_frames']} frames: {found['delta_psnr_db']:+.2f} dB"


def judged(found: dict) -> Iterator[str]:
    """What the judges of clips say. What was not measured says why."""
    dynamics = found["inverse_dynamics"]
    if "not_measured" in dynamics:
        yield f"action read off the picture: not measured, {dynamics['not_measured']}"
    else:
        kinds = [f"{kind.replace('_', ' ')} {dynamics[kind + '_accuracy']:.1%}" for kind in
                 ("real", "decoded", "dream", "dream_random")]  # fmt: skip
        yield f"action read off the picture: {', '.join(kinds)} keys, always the commonest "\
              f"{dynamics['commonest_action']:.1%}   ({dynamics['clips']} clips)"  # fmt: skip
        for name, one in dynamics["by_action"].items():
            if one["clips"]:
                yield f"    {name:<20} real {one['real']:6.1%}  dream {one['dream']:6.1%}   ({one['clips']})"
    told = found["told_apart"]
    if "not_measured" in told:
        yield f"told apart: not measured, {told['not_measured']}"
    else:
        yield f"told apart by {told['clip_frames']} frames (50 % = cannot; {told['clips']} clips, "\
              f"{told['clips_moving']} of them moving):"  # fmt: skip
        for kind, what in (
            ("decoded", "from decoded real"),
            ("raw", "from raw real"),
            ("weak", "a weak dream (torch)"),
            ("weaker", "a weaker one (torch)"),
        ):
            one = told[kind]
            last = f", {one['psnr_db']:.2f} dB in the last frame" if "psnr_db" in one else ""
            yield (
                f"    {what:<20} {one['accuracy']:6.1%}, where something moves {one['accuracy_moving']:.1%}   "
                f"(of those learned {one['accuracy_on_learned']:.1%}){last}"
            )


def lasting(stable: dict) -> Iterator[str]:
    if "not_measured" in stable:
        yield f"stability: not measured, {stable['not_measured']}"
    else:
        yield f"{stable['roll_outs']} long roll-outs under random keys ({stable['keys']}):"
        for key in stable["frechet"]:
            name = "real against real" if key == "real" else f"dream, up to frame {key}"
            distance, motion = (
                f"{stable[what][key]:7.2f}"
                + (f" +- {stable['chance'][what][key]:6.2f}" if key in stable["chance"][what] else " " * 10)
                for what in ("frechet", "motion")
            )
            yield f"{name:<26} Frechet distance {distance}   motion {motion}   ({stable['frames_a_set']})"


def placed(truth: dict) -> Iterator[str]:
    if "not_measured" in truth:
        yield f"speed, place and heading: not measured, {truth['not_measured']}"
        return
    for moment, kinds in truth.items():
        if moment.startswith("after_"):
            for kind, errors in kinds.items():
                told = ", ".join(f"{name.replace('_', ' ')} {error:.3g}" for name, error in errors.items())
                yield f"{moment.replace('_', ' '):<10} {kind:<8} error of {told}"
    drive = truth["drive"]
    if "not_measured" in drive:
        yield f"laps of the agent in the dream: not measured, {drive['not_measured']}"
    else:
        laps = drive["laps"]
        yield (
            f"the agent in the dream, {drive['frames']} frames: three laps in {drive['three_laps']} of "
            f"{drive['roll_outs']}, laps {min(laps):.1f} to {max(laps):.1f}, median {statistics.median(laps):.1f}; "
            f"driven, leaps left out, median {statistics.median(drive['driven']):.1f}"
        )
        control = drive["game"]
        if "not_measured" in control:
            yield f"laps counted off the game's own frames: not measured, {control['not_measured']}"
        else:
            yield (
                f"laps counted off the game's own frames, {control['windows']} times {control['frames']}: "
                f"{control['seen']:.1f} of {control['true']:.1f}"
            )


def plot_drift(drift: Tensor, copied: Tensor, ceiling_db: float, fps: float, path: Path) -> None:
    """PSNR over the frames of roll-outs: drift and copied (M, F) in dB; the band is the 10th to the 90th percentile."""
    import matplotlib  # a second to import, and only this picture wants it

    matplotlib.use("Agg")
    from matplotlib import pyplot

    frames = torch.arange(1, drift.shape[1] + 1)
    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    axes.fill_between(frames, drift.quantile(0.1, dim=0), drift.quantile(0.9, dim=0), alpha=0.25, lw=0)
    axes.plot(frames, drift.mean(dim=0), label=f"dream ({len(drift)} roll-outs)")
    axes.plot(frames, copied.mean(dim=0), ls="--", label="first frame repeated")
    axes.axhline(ceiling_db, color="grey", lw=1, label="autoencoder")
    axes.set(
        xlabel=f"frames dreamed in a row ({fps:g} a second)",
        ylabel="PSNR, dB",
        xlim=(1, max(2, drift.shape[1])),
    )
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
