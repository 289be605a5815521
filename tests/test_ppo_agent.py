"""The agent: preprocessing of frames, frame stack, sampling of actions."""

import numpy as np
import pytest
import torch
from player.common.agent_view import GREY, OBS_SIZE, preprocess_frame, preprocess_frames
from player.rl.agent import STACK, FrameStack
from ppo_helpers import CPU, NUM_ACTIONS, new_agent


@pytest.mark.parametrize(("H", "W"), [(112, 256), (224, 320), (60, 50), (256, 256)])
def test_view_equals_a_slow_area_average(H, W):
    frame = np.random.default_rng(1).integers(256, size=(H, W, 3), dtype=np.uint8)
    view = preprocess_frame(frame)
    assert view.shape == (OBS_SIZE, OBS_SIZE) and view.dtype == np.uint8
    grey = frame @ np.array(GREY)
    for row, column in np.random.default_rng(0).integers(OBS_SIZE, size=(12, 2)):
        total = area = 0.0
        for r in range(H):
            for c in range(W):
                tall = min(r + 1, (row + 1) * H / OBS_SIZE) - max(r, row * H / OBS_SIZE)
                wide = min(c + 1, (column + 1) * W / OBS_SIZE) - max(c, column * W / OBS_SIZE)
                if tall > 0 and wide > 0:
                    total, area = total + tall * wide * grey[r, c], area + tall * wide
        assert abs(total / area - int(view[row, column])) <= 0.5001


def test_lit_pixel_appears_at_the_right_position():
    """A reshape instead of a permute scrambles the pixels."""
    for r, c in ((0, 0), (0, 255), (111, 0), (50, 200), (77, 31)):
        frames = np.zeros((2, 112, 256, 3), np.uint8)
        frames[1, r, c] = 255
        dark, lit = preprocess_frames(frames)
        assert dark.max() == 0
        brightest = divmod(int(lit.argmax()), OBS_SIZE)
        assert brightest == (int((r + 0.5) * OBS_SIZE / 112), int((c + 0.5) * OBS_SIZE / 256))
        assert (lit > 0).sum() <= 6


def test_order_of_the_frame_stack_and_reset():
    def shades(*values: int) -> np.ndarray:
        return np.tile(np.uint8(values)[:, None, None], (1, OBS_SIZE, OBS_SIZE))

    stack = FrameStack(2, CPU)
    stack.push(shades(1, 101), np.array([True, True]))
    for number in (2, 3, 4):
        views = stack.push(shades(number, 100 + number), np.array([False, False]))
    assert views[:, :, 5, 7].tolist() == [[1, 2, 3, 4], [101, 102, 103, 104]]  # the oldest first
    preview = stack.preview(shades(200), np.array([1]))
    assert preview[:, :, 0, 0].tolist() == [[102, 103, 104, 200]]
    assert stack.views[1, :, 0, 0].tolist() == [101, 102, 103, 104]  # unchanged by the preview
    views = stack.push(shades(5, 9), np.array([False, True]))
    assert views[:, :, 0, 0].tolist() == [[2, 3, 4, 5], [9, 9, 9, 9]]


def test_agent_samples_from_its_policy():
    agent = new_agent()
    with torch.no_grad():
        agent.policy.bias.copy_(torch.tensor([0.0, 2.0, 0.0, -9.0, 0.0, 1.0]))
    views = torch.randint(256, (1, STACK, OBS_SIZE, OBS_SIZE), dtype=torch.uint8).expand(400, -1, -1, -1)
    actions, log_probs, values = agent.act(views, torch.Generator().manual_seed(0))
    logits, _ = agent(views)
    torch.testing.assert_close(log_probs, logits.log_softmax(dim=1)[torch.arange(400), actions])
    fractions = torch.bincount(actions, minlength=NUM_ACTIONS) / 400
    assert (fractions - logits.softmax(dim=1).mean(dim=0)).abs().max() < 0.08
    assert values.shape == (400,)
