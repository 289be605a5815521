"""Measures and pictures of manoeuvres that the model and the game have driven side by side."""

import importlib.util
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from dream.common.errors import InputError
from dream.evaluation.film_strip import GAP, LABEL_WIDTH, LINE_HEIGHT, MARGIN, draw_film_strip, moments
from dream.evaluation.manoeuvres import Drive
from dream.evaluation.metrics import psnr
from dream.evaluation.side_by_side import load_lpips, mean_measures, measure, psnr_db, read_places, table
from pretrained import PRETRAINED

FPS = 4.0


def grey(levels, height=32, width=48) -> np.ndarray:
    """Frames uint8 (M, height, width, 3), each of one level."""
    frames = np.array(levels, np.uint8)[:, None, None, None]
    return np.broadcast_to(frames, (len(frames), height, width, 3)).copy()


def make_drive(model_levels, game_levels, places=None) -> Drive:
    states = [{"place": place} for place in places] if places else [{} for _ in game_levels]
    return Drive(1, grey(model_levels), grey(game_levels), states)


def level_probe(views) -> np.ndarray:
    """Reads the place off the level of the last view, in 256ths of a lap."""
    angle = 2 * math.pi * float(views[-1, 0, 0]) / 256
    return np.array([math.cos(angle), math.sin(angle)])


# -- measures --------------------------------------------------------------------------------------------------------


def test_a_perfect_model():
    levels = [100, 90, 80, 82, 84, 86, 88]
    measures = measure(make_drive(levels, levels), FPS, None, level_probe)
    assert measures["psnr_db"] == 60 and measures["place_error"] == pytest.approx(0, abs=1e-9)
    assert measures["motion"] == measures["motion_game"] == 2
    assert measures["lpips"] is None and measures["place_error_game"] is None
    # The frame of the start state, 100, against 82, 84, 86 and 88
    expected = np.mean([-20 * math.log10((100 - level) / 255) for level in levels[-4:]])
    assert measures["psnr_db_start"] == pytest.approx(expected)


def test_the_last_second_alone_is_measured():
    game = [10, 10, 10, 10, 10, 11, 12, 13, 14]
    measures = measure(make_drive([0, 90, 0, 90, *game[4:]], game), FPS)
    assert measures["psnr_db"] == 60 and measures["motion"] == measures["motion_game"] == 1
    assert measures["place_error"] is None
    short = measure(make_drive([10, 15], [10, 10]), FPS)  # less than a second
    assert short["motion"] == 5 and short["psnr_db"] == pytest.approx(-20 * math.log10(5 / 255))


def test_places_are_compared_with_the_state_of_the_game():
    """The shorter way round: from 250 to 4 are 10 of 256."""
    places = [0.5, *[250 / 256] * 4]  # the last second has four frames
    measures = measure(make_drive([4] * 5, [252] * 5, places), FPS, None, level_probe)
    assert measures["place_error"] == pytest.approx(10 / 256)
    assert measures["place_error_game"] == pytest.approx(2 / 256)
    measures = measure(make_drive([4] * 5, [252] * 5), FPS, None, level_probe)
    assert measures["place_error"] == pytest.approx(8 / 256) and measures["place_error_game"] is None


def test_the_probe_sees_four_frames():
    def oldest(views):
        return level_probe(views[:1])

    frames = grey([10, 20, 30, 40, 50, 60])
    assert read_places(oldest, frames, 2) == pytest.approx([20 / 256, 30 / 256])
    assert read_places(level_probe, frames, 2) == pytest.approx([50 / 256, 60 / 256])
    assert read_places(oldest, frames[:3], 2) == pytest.approx(
        [10 / 256, 10 / 256]
    )  # the first one fills the rest


def test_psnr_is_that_of_the_evaluation():
    frames, target = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7, 3), np.uint8)
    target[2] = frames[2]
    tensors = (torch.from_numpy(each).permute(0, 3, 1, 2) / 255 for each in (frames, target))
    np.testing.assert_allclose(psnr_db(frames, target), psnr(*tensors).numpy(), rtol=1e-4)


def test_lpips_without_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert load_lpips(None) is None
    with pytest.raises(InputError, match="no file at"):
        load_lpips(tmp_path / "none.tar.gz")


def test_only_lpips_needs_torch():
    code = "import sys; sys.modules['torch'] = None; sys.path.insert(0, 'sd'); import compare_with_game"
    subprocess.run([sys.executable, "-c", code], cwd=PRETRAINED.parent.parent, check=True)


def test_lpips_of_frames(monkeypatch):
    from dream.evaluation import lpips

    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)
    alexnet = lpips.random_alexnet()
    for weights in alexnet.channel_weights:
        weights.fill_(1)
    monkeypatch.setattr(lpips, "load_alexnet", lambda path: alexnet)
    mean_lpips = load_lpips(PRETRAINED / "any")
    tensors = (torch.from_numpy(each).permute(0, 3, 1, 2) / 255 for each in (frames, frames[::-1].copy()))
    assert mean_lpips(frames, frames[::-1]) == pytest.approx(alexnet.lpips(*tensors).mean().item(), rel=1e-5)
    assert mean_lpips(frames, frames[::-1]) > 0.01 and mean_lpips(frames, frames) == 0
    assert mean_lpips(frames[:, :30], frames[:, :30]) is None


def test_means_and_table():
    names = measure(make_drive([1, 1], [1, 1]), FPS)
    mean = mean_measures([dict.fromkeys(names, 1.0), {**dict.fromkeys(names, 2.0), "lpips": None}])
    assert mean["psnr_db"] == 1.5 and mean["lpips"] is None
    lines = [*table({"a long name of a turn": {"seconds": 2.0, "starts": {0: {}, 3: {}}, "mean": mean}})]
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split()[-10:] == [
        "2.0",
        "2",
        "1.50",
        "1.50",
        "-",
        "1.500",
        "1.50",
        "1.50",
        "150.0",
        "150.0",
    ]


# -- the film strip --------------------------------------------------------------------------------------------------


def test_moments():
    assert moments(70) == [0, 10, 20, 30, 40, 50, 60, 70] and moments(3) == [0, 1, 2, 3]
    assert moments(10) == [0, 1, 3, 4, 6, 7, 9, 10]


@pytest.mark.parametrize("height", [32, 56])
def test_film_strip(height):
    """The game's frames above the model's, at the same moments, enlarged to at least 192 pixels."""
    game, model = np.arange(71), 100 + np.arange(71)
    picture = draw_film_strip(Drive(0, grey(model, height), grey(game, height), []), 15.0, "turn")
    for column, t in enumerate(moments(70)):
        x = MARGIN + LABEL_WIDTH + column * (192 + GAP)
        for row, level in enumerate((t, 100 + t)):
            y = MARGIN + LINE_HEIGHT + row * (4 * height + GAP)
            corners = [picture.getpixel((x, y)), picture.getpixel((x + 191, y + 4 * height - 1))]
            assert corners == [(level,) * 3] * 2
    below = np.asarray(picture)[MARGIN + LINE_HEIGHT + 2 * (4 * height + GAP) :, :, 0]
    written = (below < 200).any(axis=0)  # times, one below each column
    middles = [MARGIN + LABEL_WIDTH + column * (192 + GAP) + 96 for column in range(8)]
    assert all(written[x - 40 : x + 40].any() for x in middles) and not written[: middles[0] - 96].any()
