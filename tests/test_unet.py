"""The denoiser: every input has an effect, and samples are independent."""

import pytest
import torch
from small import randomize_weights, small_unet, unet_inputs


@pytest.mark.parametrize("h, w", [(8, 12), (28, 64), (16, 4)])
def test_an_untrained_unet_predicts_no_change(h, w):
    """The network learns the difference from the last context frame, not the whole frame."""
    inputs = unet_inputs(h=h, w=w)
    predicted = small_unet()(**inputs)
    assert predicted.shape == (2, 4, h, w)
    torch.testing.assert_close(predicted, inputs["context"][:, -1], rtol=0, atol=0)


@torch.no_grad()
def test_every_input_has_an_effect():
    """An input that gets lost in the network (old frame, old action, noise level) lowers quality without an error."""
    unet, inputs = randomize_weights(small_unet()), unet_inputs()
    before = unet(**inputs)

    def change(name: str, *index) -> float:
        other = {key: tensor.clone() for key, tensor in inputs.items()}
        part = other[name][(slice(None), *index)]
        other[name][(slice(None), *index)] = (part + 1) % 3 if name == "actions" else part * 0.5 + 0.3
        return (unet(**other) - before).abs().amax(dim=(1, 2, 3)).min().item()

    for i in range(4):
        assert change("context", i) > 1e-4, f"context frame {i}"
        assert change("actions", i) > 1e-4, f"action {i}"
    for name in ("z", "t", "context_noise"):
        assert change(name) > 1e-4, name


@torch.no_grad()
def test_the_order_of_actions_and_frames_matters():
    """Left then right differs from right then left; a sum of embeddings would lose the order."""
    unet, inputs = randomize_weights(small_unet()), unet_inputs()
    inputs["actions"] = torch.tensor([[0, 1, 2, 2], [2, 1, 0, 0]])
    before = unet(**inputs)
    assert (unet(**{**inputs, "actions": inputs["actions"].flip(1)}) - before).abs().max() > 1e-4
    swapped = inputs["context"][:, [1, 0, 2, 3]]
    assert (unet(**{**inputs, "context": swapped}) - before).abs().max() > 1e-4


@torch.no_grad()
def test_samples_of_a_batch_are_independent():
    """Mixing samples (batch norm, a wrong reshape) would make play, with a batch of one, differ from training."""
    unet, inputs = randomize_weights(small_unet()), unet_inputs(batch=3)
    together = unet(**inputs)
    for i in range(3):
        alone = unet(**{name: tensor[i : i + 1] for name, tensor in inputs.items()})
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)
