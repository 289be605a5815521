"""The adversarial loss: what the discriminator learns, the size of its gradient, and that a run resumes with it."""

import copy

import pytest
import torch
from dream.training.adversarial import MIN_NORM_FRACTION, WARMUP_STEPS, AdversarialLoss
from small import CPU


def sharp_and_blurred(batch: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (B, 4, 8, 12) of stripes, and the same at a tenth of the contrast."""
    phase = torch.randint(2, (batch, 1, 1, 1), generator=torch.Generator().manual_seed(seed))
    stripes = ((torch.arange(12) + phase) % 2).float().expand(batch, 4, 8, 12) * 2 - 1
    return stripes, 0.1 * stripes


def trained(steps: int) -> AdversarialLoss:
    torch.manual_seed(0)
    adversarial = AdversarialLoss(4, weight=0.5, device=CPU)
    for step in range(steps):
        sharp, blurred = sharp_and_blurred(8, step)
        adversarial.train_step(blurred, sharp)
    return adversarial


def test_it_learns_to_recognise_a_blur_and_its_gradient_leads_away():
    adversarial = trained(60)
    sharp, blurred = sharp_and_blurred(16, 1000)
    assert (adversarial.discriminator(sharp) > adversarial.discriminator(blurred)).float().mean() > 0.9

    # A model that finds both phases equally likely predicts grey; the gradient must lead away from it.
    grey = torch.full_like(sharp, 0.02) * sharp
    adversarial.step = WARMUP_STEPS
    predicted = grey.clone().requires_grad_()
    loss = (predicted - sharp).pow(2).mean()
    before = copy.deepcopy(adversarial.discriminator)  # generator_loss trains the discriminator
    every = torch.ones(16, dtype=torch.bool)
    generator_loss, _ = adversarial.generator_loss(loss, predicted, sharp, every, every)
    (gradient,) = torch.autograd.grad(generator_loss, predicted)
    assert (before(grey - 5e2 * gradient) > before(grey)).all()


def test_the_gradient_has_the_weight_of_the_other_losses():
    """On rows of the mask only; it grows during the warm-up. A row without a target has a gradient of its own and does
    not reduce that of the others."""
    adversarial = trained(1)
    real, predicted = (torch.randn(4, 4, 8, 12, requires_grad=grad) for grad in (False, True))
    mask, has_target = torch.tensor([True, False, True, True]), torch.tensor([True, True, False, True])
    for step, weight in ((-1, 0.0), (WARMUP_STEPS // 2 - 1, 0.25), (3 * WARMUP_STEPS, 0.5)):
        adversarial.step = step
        loss = (predicted - real)[has_target].abs().mean()
        generator_loss, _ = adversarial.generator_loss(loss, predicted, real, mask, has_target)
        (added,) = torch.autograd.grad(generator_loss, predicted)
        (loss_grad,) = torch.autograd.grad(loss, predicted)
        assert not added[1].any()
        both = mask & has_target
        assert added[both].norm().item() == pytest.approx(weight * loss_grad[both].norm().item(), rel=1e-4)
        assert added[2].any() == (weight > 0)


def test_a_run_resumes_with_the_same_discriminator(tmp_path):
    adversarial, sharp_blurred = trained(3), sharp_and_blurred(4, 7)
    torch.save(adversarial.state_dict(), tmp_path / "state.pt")
    other = AdversarialLoss(4, weight=0.5, device=CPU)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for one in (adversarial, other):
        one.train_step(sharp_blurred[1], sharp_blurred[0])
    assert other.step == adversarial.step == 4
    for name, weight in adversarial.discriminator.state_dict().items():
        torch.testing.assert_close(weight, other.discriminator.state_dict()[name])


def test_the_scale_is_bounded_where_few_rows_have_a_target():
    """One row with a target and hardly any discriminator gradient must not blow up the gradient of all others."""
    adversarial = trained(1)
    adversarial.step = 3 * WARMUP_STEPS
    real = torch.randn(8, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    gradient = torch.ones(8, 4, 8, 12)
    gradient[0] = 1e-9
    adversarial.train_step = lambda fake, real: (gradient, {})
    predicted = (real + 0.5).requires_grad_()
    has_target = torch.arange(8) == 0
    loss = (predicted - real)[has_target].abs().mean()
    generator_loss, _ = adversarial.generator_loss(
        loss, predicted, real, torch.ones(8, dtype=torch.bool), has_target
    )
    (scaled,) = torch.autograd.grad(generator_loss, predicted)
    (loss_grad,) = torch.autograd.grad(loss, predicted)
    bound = adversarial.weight * loss_grad.norm() / (MIN_NORM_FRACTION * gradient.norm() / 8**0.5)
    assert scaled.abs().max() <= bound * 1.001
