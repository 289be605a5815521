"""Figures of an evaluation: PSNR over the frames of rollouts, and rollouts next to the recorded frames."""

from pathlib import Path

import torch
from torch import Tensor

from dream.common.offline import matplotlib_cache_in_tmp
from dream.common.video import VideoFile
from dream.evaluation.evaluator import Evaluator
from dream.evaluation.image_grid import save_image_grid

MAX_ROLLOUTS = 4  # in film.png and film.gif


def save_figures(
    evaluator: Evaluator,
    rollouts: dict[str, Tensor],
    horizons: tuple[int, ...],
    ceiling_db: float,
    folder: Path,
) -> None:
    """Writes drift.png (PSNR over frames), film.png (a few rollouts at the horizons, below the real frames) and
    film.gif (all frames of them). rollouts: the tensors from `evaluate_rollouts`; ceiling_db: PSNR of
    the autoencoder."""
    starts, generated = rollouts["starts"], rollouts["generated"]
    chosen = torch.linspace(0, len(starts) - 1, min(MAX_ROLLOUTS, len(starts))).long()
    frames = torch.tensor([frame for frame in horizons if frame <= generated.shape[1]]) - 1
    L = evaluator.unet.config.context
    real = evaluator.real_frames(starts[chosen], L, int(frames.max()) + 1)[:, frames]
    pairs = zip(real, generated[chosen][:, frames], strict=True)
    save_image_grid([row / 255 for pair in pairs for row in pair], folder / "film.png")
    save_video(evaluator, starts[chosen], generated[chosen], folder / "film.gif")
    curves = rollouts["psnr_curve"], rollouts["copy_curve"]
    plot_psnr_curve(*curves, ceiling_db, evaluator.data.fps, folder / "drift.png")


def save_video(evaluator: Evaluator, starts: Tensor, generated: Tensor, path: Path) -> None:
    """Writes rollouts uint8 (M, F, 3, H, W) from starts (M, 2), one below the other, right of the real frames."""
    M, F, _, H, W = generated.shape
    real = evaluator.real_frames(starts, evaluator.unet.config.context, F)
    both = torch.stack([real, generated])  # (2, M, F, 3, H, W)
    both = both.permute(2, 1, 4, 0, 5, 3).reshape(F, M * H, 2 * W, 3)  # (F, M, H, 2, W, 3) before the reshape
    with VideoFile(path, evaluator.data.fps, (M * H, 2 * W), scale=1) as video:
        for frame in both.numpy():
            video.write(frame)


def plot_psnr_curve(
    psnr_curve: Tensor, copy_curve: Tensor, ceiling_db: float, fps: float, path: Path
) -> None:
    """Plots PSNR over the frames of rollouts. psnr_curve and copy_curve: (M, F) in dB, of the rollouts and of repeating
    the first frame; the band is the 10th to the 90th percentile."""
    matplotlib_cache_in_tmp()
    import matplotlib  # here, because it takes a second to import

    matplotlib.use("Agg")
    from matplotlib import pyplot

    frames = torch.arange(1, psnr_curve.shape[1] + 1)
    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    low, high = psnr_curve.quantile(0.1, dim=0), psnr_curve.quantile(0.9, dim=0)
    axes.fill_between(frames, low, high, alpha=0.25, lw=0)
    axes.plot(frames, psnr_curve.mean(dim=0), label=f"world model ({len(psnr_curve)} rollouts)")
    axes.plot(frames, copy_curve.mean(dim=0), ls="--", label="first frame repeated")
    axes.axhline(ceiling_db, color="grey", lw=1, label="autoencoder")
    axes.set(
        xlabel=f"frames generated in a row ({fps:g} per second)",
        ylabel="PSNR, dB",
        xlim=(1, max(2, psnr_curve.shape[1])),
    )
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
