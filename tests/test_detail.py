"""Detail and motion of generated frames, by rows (dream/evaluation/detail.py)."""

from types import SimpleNamespace

import pytest
import torch
from dream.common.errors import InputError
from dream.evaluation.detail import evaluate_detail, laplacian, luma

HEIGHT, WIDTH, FRAMES, CONTEXT = 64, 32, 16, 4


def recording(moves: bool) -> torch.Tensor:
    """uint8 (1, FRAMES, 3, H, W): grey above, stripes below that move to the right by a pixel a frame."""
    columns = torch.arange(WIDTH) - moves * torch.arange(FRAMES)[:, None]  # (FRAMES, W)
    stripes = (columns.div(2, rounding_mode="floor") % 2 * 200).to(torch.uint8)
    frames = torch.full((1, FRAMES, 3, HEIGHT, WIDTH), 90, dtype=torch.uint8)
    frames[:, :, :, HEIGHT // 2 :] = stripes[None, :, None, None]
    return frames


def evaluator_of(frames: torch.Tensor) -> SimpleNamespace:
    """Stands in for an Evaluator whose autoencoder is exact."""
    return SimpleNamespace(
        unet=SimpleNamespace(config=SimpleNamespace(context=CONTEXT)),
        real_frames=lambda starts, offset, length: frames[:, :length],
        encode=lambda frames: frames,
        decode=lambda latents: latents,
    )


def test_what_is_blurred_or_stands_still_is_seen_in_its_rows():
    real = recording(moves=True)
    generated = real.clone()
    lower = generated[:, :, :, 3 * HEIGHT // 4 :]
    lower[:, 1:] = lower[:, :1] // 2  # half the contrast, and nothing moves
    results = evaluate_detail(evaluator_of(real), torch.zeros(1, 2), generated)
    bands = list(results["bands"].values())
    assert results["rollouts"] == 1 and len(bands) == 8
    rows = list(results["bands"])
    assert rows[0] == "0-7" and rows[-1] == "56-63"
    assert bands[0]["detail_ratio"]["16"] is None and bands[0]["real_motion"] == 0  # one colour
    assert list(bands[4]["detail_ratio"].values()) == pytest.approx([1, 1, 1, 1])
    assert bands[5]["motion"] == bands[5]["real_motion"] > 10
    assert bands[7]["detail_ratio"]["16"] == pytest.approx(0.5, abs=0.05) and bands[7]["motion"] < 10


def test_still_or_short_rollouts_have_no_detail_to_measure():
    still = recording(moves=False)
    with pytest.raises(InputError, match="changes in no rollout"):
        evaluate_detail(evaluator_of(still), torch.zeros(1, 2), still)
    with pytest.raises(InputError, match="too short"):
        evaluate_detail(evaluator_of(still), torch.zeros(1, 2), still[:, :1])


def test_laplacian_and_luma():
    image = torch.zeros(1, 5, 5)
    image[0, 2, 2] = 10
    assert laplacian(image)[0, 2].tolist() == [0, 10, 40, 10, 0]
    assert luma(torch.full((1, 1, 3, 2, 2), 77, dtype=torch.uint8)).unique().tolist() == pytest.approx([77])
