"""Sampling the next latent and whole rollouts: which frames and actions each generated frame depends on."""

from dataclasses import replace

import pytest
import torch
from dream.models.rollout import (
    STILL_CHANGE,
    rollout,
    sample_next_latent,
    suppress_small_changes,
    suppression_threshold,
)
from dream.models.unet import UNetConfig
from small import randomize_weights, small_unet
from training_helpers import L, RecordingUNet, latent_grid, seeded


def test_a_rollout_feeds_generated_frames_back():
    """Frame k is generated from frames k-4 .. k-1 and the actions taken at them; the last action leads to it."""
    unet = RecordingUNet()
    context, actions = latent_grid([[1, 2, 3, 4]]), torch.tensor([[0, 1, 2, 3, 4, 5, 6]])
    latents = rollout(unet, context, actions, 1, seeded())
    assert latents.shape == (1, 4, 1, 1, 1)
    assert latents.flatten().tolist() == [43, 434, 4345, 43456]  # 10 x 4 + action 3, and so on
    assert [call.context.flatten().tolist() for call in unet.calls] == [
        [1, 2, 3, 4], [2, 3, 4, 43], [3, 4, 43, 434], [4, 43, 434, 4345]]  # fmt: skip
    assert [call.actions.flatten().tolist() for call in unet.calls] == [
        [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]]  # fmt: skip
    assert all(call.context_noise.tolist() == [0] and call.t.tolist() == [1] for call in unet.calls)
    assert len({call.z.item() for call in unet.calls}) == 4  # each frame has noise of its own


def test_equal_generators_give_equal_rollouts():
    """Validation compares epochs by rollouts; with other noise in each epoch chance would decide."""
    unet = randomize_weights(small_unet())
    context, actions = torch.randn(2, L, 4, 8, 12, generator=seeded()), torch.zeros(2, 6, dtype=torch.long)
    one, other = (rollout(unet, context, actions, 2, seeded(7)) for _ in range(2))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert (rollout(unet, context, actions, 2, seeded(8)) - one).abs().max() > 1e-5


def test_small_changes_are_suppressed_per_pixel():
    """By the root mean square over channels. Otherwise tiny changes add up to a drift over a rollout."""
    last = torch.zeros(1, 4, 1, 3)
    latent = last.clone()
    latent[0, :, 0, 0] = 0.18
    latent[0, :, 0, 1] = 0.22
    latent[0, 2, 0, 2] = 0.42  # one of four channels: RMS 0.21
    suppressed = suppress_small_changes(latent, last, threshold=0.2)
    assert (suppressed[..., 0] == 0).all() and torch.equal(suppressed[..., 1:], latent[..., 1:])


def test_a_picture_that_stands_still_may_change_less():
    """The road melted while the kart stood: the denoiser went on correcting a context that it had generated itself."""
    last = torch.randn(3, 4, 2, 2, generator=seeded(0))
    warped = last + torch.tensor([0.0, 1.5, 5.0])[:, None, None, None] * STILL_CHANGE
    config = UNetConfig(3, use_flow=True, change_threshold=0.1, still_threshold=0.5)
    assert suppression_threshold(config, warped, last).flatten().tolist() == pytest.approx(
        [0.5, 0.3, 0.1], rel=1e-5
    )
    for off in (replace(config, still_threshold=0.0), replace(config, use_flow=False)):
        assert suppression_threshold(off, warped, last) == 0.1


@pytest.mark.parametrize(("change", "steps"), [(0.04, 1), (0.04, 3), (0.06, 1), (0.06, 3)])
def test_small_changes_are_suppressed_once_after_the_last_sampling_step(change, steps):
    class SmallChange(RecordingUNet):
        def forward(self, z, t, context, actions, context_noise=None, warped=None):
            return context[:, -1] + change

    context, actions = torch.ones(1, L, 1, 1, 1), torch.zeros(1, L, dtype=torch.long)
    latent = sample_next_latent(SmallChange(), context, actions, torch.zeros(1, 1, 1, 1), steps)
    assert latent.item() == pytest.approx(1 if change < 0.05 else 1.06)
