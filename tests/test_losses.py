"""One training step: what the network gets as input, the loss of its prediction, the moving average of its weights."""

import pytest
import torch
from dream.models.flow import photometric_loss
from dream.training.losses import FlowTargets, flow_loss
from dream.training.noise import MAX_CONTEXT_NOISE, add_training_noise
from dream.training.train_state import update_ema
from small import moving_unet, randomize_weights, small_unet, step_loss
from training_helpers import L, RecordingUNet, latent_grid, seeded


def test_the_loss_compares_the_prediction_with_the_next_latent():
    unet = RecordingUNet()
    context, actions = latent_grid([[1, 2, 3, 4], [5, 6, 7, 8]]), torch.tensor([[0, 0, 0, 3], [0, 0, 0, 4]])
    target = latent_grid([[40], [90]])[:, 0]
    generated = torch.zeros(2, dtype=torch.bool)  # is_real: no noise on the context
    loss, metrics, predicted, _ = step_loss(unet, context, actions, target, generated, seeded())
    (call,) = unet.calls
    assert torch.equal(call.context, context) and torch.equal(call.actions, actions)
    assert (call.context_noise == 0).all() and loss.requires_grad
    assert predicted.flatten().tolist() == [43, 84]
    assert loss.item() == pytest.approx((3 + 6) / 2, rel=1e-4)
    assert metrics["loss/train"].item() == pytest.approx((3**2 + 6**2) / 2)


def noisy_zeros(count: int, is_real: bool, has_target: bool = True):
    """`add_training_noise` on `count` samples of latents that are 0: what remains is the noise."""
    context, flags = torch.zeros(count, L, 1, 1, 1), torch.ones(count, dtype=torch.bool)
    target = context[:, -1]
    return add_training_noise(context, target, flags & is_real, flags & has_target, 0.8, seeded())


def test_half_of_the_real_contexts_get_noise_of_the_reported_level():
    """Without the right level the network could not know how far to trust its context, and would blur."""
    noisy = noisy_zeros(4000, is_real=True)
    clean = noisy.context_noise == 0
    assert 0.45 < clean.float().mean() < 0.55
    assert 0.9 * MAX_CONTEXT_NOISE < noisy.context_noise.max() <= MAX_CONTEXT_NOISE
    assert (noisy.context[clean] == 0).all()
    scaled = noisy.context[~clean].flatten(1) / noisy.context_noise[~clean, None]
    assert abs(scaled.std() - 1) < 0.03 and abs(scaled.mean()) < 0.03


def test_generated_contexts_get_no_noise():
    noisy = noisy_zeros(100, is_real=False)
    assert (noisy.context == 0).all() and (noisy.context_noise == 0).all()


def test_targets_get_noise_of_their_timestep():
    noisy = noisy_zeros(4000, is_real=True)
    assert torch.equal(noisy.at_pure_noise, noisy.t == 1)
    assert 0.77 < noisy.at_pure_noise.float().mean() < 0.83
    assert abs(noisy.z[noisy.at_pure_noise].std() - 1) < 0.05
    assert abs((noisy.z.flatten() / noisy.t).std() - 1) < 0.05


def test_samples_without_a_target_begin_at_pure_noise():
    assert noisy_zeros(100, is_real=False, has_target=False).at_pure_noise.all()


@torch.no_grad()
def test_the_flow_learns_from_real_contexts():
    unet = moving_unet()
    real_context, frames = torch.randn(2, L, 4, 8, 12, generator=seeded()), torch.rand(2, 2, 3, 32, 48)
    actions = torch.tensor([[0, 1, 2, 0], [1, 1, 2, 2]])
    targets = FlowTargets(real_context, frames[:, 0], frames[:, 1])
    flow = torch.nn.functional.interpolate(
        unet.flow(real_context, actions), scale_factor=4, mode="bilinear", align_corners=False
    )
    expected = photometric_loss(frames[:, 0], frames[:, 1], flow)
    torch.testing.assert_close(flow_loss(unet, actions, targets), expected)


def test_moving_average_of_the_weights():
    """With decay and 1 - decay swapped the average would be nearly a copy of the newest weights."""
    unet, ema = randomize_weights(small_unet(), 1), randomize_weights(small_unet(), 2)
    before = [weight.clone() for weight in ema.parameters()]
    update_ema(ema, unet, 0.9)
    for old, new, weight in zip(before, ema.parameters(), unet.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * weight)
