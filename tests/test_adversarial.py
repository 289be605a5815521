"""The judge that tells blurs from pictures: what it learns, how hard it pushes, and that a run goes on with it."""

import copy

import pytest
import torch
from dream.models.discriminator import BEGINNING, AdversarialLoss
from small import CPU


def sharp_and_blurred(batch: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of stripes, and the same greyed; each (B, 4, 8, 12)."""
    phase = torch.randint(2, (batch, 1, 1, 1), generator=torch.Generator().manual_seed(seed))
    stripes = ((torch.arange(12) + phase) % 2).float().expand(batch, 4, 8, 12) * 2 - 1
    return stripes, 0.1 * stripes


def taught(steps: int) -> AdversarialLoss:
    torch.manual_seed(0)
    adversary = AdversarialLoss(4, share=0.5, device=CPU)
    for step in range(steps):
        sharp, blurred = sharp_and_blurred(8, step)
        adversary.train_step(blurred, sharp)
    return adversary


def test_it_learns_to_tell_a_blur_and_pushes_away_from_it():
    adversary = taught(60)
    sharp, blurred = sharp_and_blurred(16, 1000)
    assert (adversary.discriminator(sharp) > adversary.discriminator(blurred)).float().mean() > 0.9

    # What comes out of a model that is as glad of one phase as of the other: grey. It must be pushed to be less so.
    grey = torch.full_like(sharp, 0.02) * sharp
    adversary.step = BEGINNING
    predicted = grey.clone().requires_grad_()
    loss = (predicted - sharp).pow(2).mean()
    as_it_judged = copy.deepcopy(adversary.discriminator)  # it learns from what it judges
    every = torch.ones(16, dtype=torch.bool)
    push, _ = adversary.generator_loss(loss, predicted, sharp, every, every)
    (gradient,) = torch.autograd.grad(push, predicted)
    assert (as_it_judged(grey - 5e2 * gradient) > as_it_judged(grey)).all()


def test_the_push_is_a_share_of_the_pull():
    """And of those alone that are judged; while the judge is new it does not push at all. One that no truth pulls is
    pushed as hard as the others, and takes nothing from them."""
    adversary = taught(1)
    real, predicted = (torch.randn(4, 4, 8, 12, requires_grad=grad) for grad in (False, True))
    judged, known = torch.tensor([True, False, True, True]), torch.tensor([True, True, False, True])
    for step, share in ((-1, 0.0), (BEGINNING // 2 - 1, 0.25), (3 * BEGINNING, 0.5)):
        adversary.step = step
        loss = (predicted - real)[known].abs().mean()
        push, _ = adversary.generator_loss(loss, predicted, real, judged, known)
        (pushed,) = torch.autograd.grad(push, predicted)
        (pulled,) = torch.autograd.grad(loss, predicted)
        assert not pushed[1].any()
        both = judged & known
        assert pushed[both].norm().item() == pytest.approx(share * pulled[both].norm().item(), rel=1e-4)
        assert pushed[2].any() == (share > 0)


def test_a_run_goes_on_with_the_same_judge(tmp_path):
    adversary, sharp_blurred = taught(3), sharp_and_blurred(4, 7)
    torch.save(adversary.state_dict(), tmp_path / "state.pt")
    other = AdversarialLoss(4, share=0.5, device=CPU)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for one in (adversary, other):
        one.train_step(sharp_blurred[1], sharp_blurred[0])
    assert other.step == adversary.step == 4
    for name, weight in adversary.discriminator.state_dict().items():
        torch.testing.assert_close(weight, other.discriminator.state_dict()[name])
