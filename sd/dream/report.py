"""An evaluation for people: the table on the screen and the plot of drift."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor


def table(found: dict) -> Iterator[str]:
    """Lines of text for what evaluate_sd.py found."""

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
    dynamics = found["inverse_dynamics"]
    yield (
        f"action read off the picture: real {dynamics['real_accuracy']:.1%}, "
        f"decoded {dynamics['decoded_accuracy']:.1%}, dream {dynamics['dream_accuracy']:.1%}   "
        f"({dynamics['clips']} clips)"
    )
    for name, one in dynamics["by_action"].items():
        if one["clips"]:
            yield f"    {name:<20} real {one['real']:6.1%}  dream {one['dream']:6.1%}   ({one['clips']})"
    told = found["told_apart"]
    yield (
        f"told apart ({told['clip_frames']} frames, 50 % = cannot): from decoded real {told['accuracy']:.1%}, "
        f"from raw real {told['raw_accuracy']:.1%}, a weak dream {told['weak_accuracy']:.1%}   ({told['clips']} clips)"
    )
    stable = found["stability"]
    for key in stable["frechet"]:
        name = "real against real" if key == "real" else f"dream, up to frame {key}"
        yield (
            f"{name:<26} Frechet distance {stable['frechet'][key]:9.2f}   motion {stable['motion'][key]:5.2f}"
            f"   ({stable['frames'][key]})"
        )
    truth, drive = found["truth"], found["truth"]["drive"]
    if "not_measured" in truth:
        yield f"speed, place and heading: not measured, {truth['not_measured']}"
    for moment, kinds in truth.items():
        if moment.startswith("after_"):
            for kind, errors in kinds.items():
                yield (
                    f"{moment.replace('_', ' '):<10} read off {kind:<6} error of speed {errors['speed']:.3f}, "
                    f"place {errors['place']:.1f} ({errors['lap_share']:.1%} of a lap), "
                    f"heading {errors['heading_degrees']:.1f} degrees"
                )
    if "not_measured" in drive:
        yield f"laps of the agent in the dream: not measured, {drive['not_measured']}"
    else:
        laps = sorted(drive["laps"])
        yield (
            f"the agent in the dream, {drive['frames']} frames: three laps in {drive['three_laps']} of "
            f"{drive['roll_outs']}, laps {laps[0]:.1f} to {laps[-1]:.1f}, median {laps[len(laps) // 2]:.1f}"
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
        xlabel=f"frames dreamed in a row ({fps:g} a second)", ylabel="PSNR, dB", xlim=(1, drift.shape[1])
    )
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
