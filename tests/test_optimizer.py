"""Muon and AdamW: which weights each of them trains, and how far."""

import copy

import pytest
import torch
from dream.models.autoencoder import AutoencoderConfig, Decoder, Encoder
from dream.models.unet import UNet, UNetConfig
from dream.training.optimizer import OPTIMIZERS, Muon, Optimizer, as_matrix

RATE, WEIGHT_DECAY = 1e-2, 1e-2


def small_unet() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(num_actions=6, channels=(32, 48), blocks=1)).to(memory_format=torch.channels_last)


def set_random_gradients(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator).to(memory_format=torch.preserve_format)
        if weight.ndim == 4:
            weight.grad = weight.grad.to(memory_format=torch.channels_last)


def test_hidden_convolutions_step_along_an_orthogonal_matrix():
    unet = small_unet()
    before = copy.deepcopy(unet)
    set_random_gradients(unet, seed=1)
    Optimizer([unet], WEIGHT_DECAY).step(RATE)
    for name in ("down.0.0.conv1", "downsample.0", "up_proj.0", "up.0.0.skip"):
        old, new = (model.get_submodule(name).weight.detach().flatten(1) for model in (before, unet))
        moved = new - (1 - RATE * WEIGHT_DECAY) * old
        values = torch.linalg.svdvals(moved) / (RATE * 0.2 * max(moved.shape) ** 0.5)
        assert values.min() > 0.4 and values.max() < 1.4, name  # what five Newton-Schulz steps leave of 1


@pytest.mark.parametrize("shape", [(24, 90), (90, 24), (40, 40)])
def test_muon_matches_that_of_torch(shape):
    """The reference multiplies the whole matrix in each iteration, in bfloat16: hence the tolerance."""
    ours, theirs = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
    muon = Muon([ours], WEIGHT_DECAY)
    reference = torch.optim.Muon([theirs], lr=RATE, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw")
    muon.param_groups[0]["lr"] = RATE
    for seed in range(4):
        ours.grad = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        theirs.grad = ours.grad.clone()
        muon.step()
        reference.step()
    moved, expected = ours.detach() - 1, theirs.detach() - 1
    assert (moved - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
def test_adamw_trains_all_other_weights(optimizer_name):
    unet = small_unet()
    reference = copy.deepcopy(unet)
    optimizer = Optimizer([unet], WEIGHT_DECAY, optimizer_name=optimizer_name)
    adamw = torch.optim.AdamW(reference.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    for seed in (1, 2):
        set_random_gradients(unet, seed)
        set_random_gradients(reference, seed)
        optimizer.step(RATE)
        adamw.step()
    convolutions = {id(weight) for weight in optimizer.convolutions}
    pairs = list(zip(unet.parameters(), reference.parameters(), strict=True))
    assert (0 < len(convolutions) < len(pairs)) is (optimizer_name == "muon")
    for weight, expected in pairs:
        assert torch.equal(weight, expected) == (id(weight) not in convolutions)


def test_gradients_are_cleared_after_a_step():
    unet = small_unet()
    set_random_gradients(unet, seed=1)
    Optimizer([unet], WEIGHT_DECAY).step(RATE)
    assert all(weight.grad is None for weight in unet.parameters())


def test_a_restored_optimizer_continues_identically():
    whole = small_unet()
    optimizer = Optimizer([whole], WEIGHT_DECAY)
    set_random_gradients(whole, 1)
    optimizer.step(RATE)
    parted, state = copy.deepcopy(whole), copy.deepcopy(optimizer.state_dict())
    set_random_gradients(whole, 2)
    optimizer.step(RATE)
    resumed = Optimizer([parted], WEIGHT_DECAY)
    resumed.load_state_dict(state)
    set_random_gradients(parted, 2)
    resumed.step(RATE)
    for weight, expected in zip(parted.parameters(), whole.parameters(), strict=True):
        assert torch.equal(weight, expected)


def test_as_matrix_is_a_view():
    weight = torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last)
    as_matrix(weight).zero_()
    assert not weight.any()
    with pytest.raises(ValueError, match="channels_last"):
        as_matrix(torch.randn(8, 4, 3, 3))


def test_learning_rate_scale_of_a_model():
    config = AutoencoderConfig(height=16, width=16, channels=32)
    moved = []
    for lr_scale in (1.0, 0.1):
        torch.manual_seed(0)
        encoder, decoder = (part(config).to(memory_format=torch.channels_last) for part in (Encoder, Decoder))
        before = copy.deepcopy((encoder, decoder))
        for model in (encoder, decoder):
            set_random_gradients(model, seed=1)
        Optimizer([encoder, decoder], 0.0, [lr_scale, 1.0]).step(RATE)
        moved.append([
            [new.detach() - old for new, old in zip(after.parameters(), model.parameters(), strict=True)]
            for after, model in zip((encoder, decoder), before, strict=True)
        ])  # fmt: skip
    (whole_encoder, whole_decoder), (slow_encoder, slow_decoder) = moved
    for whole, slow in zip(whole_encoder, slow_encoder, strict=True):
        torch.testing.assert_close(slow, 0.1 * whole, rtol=1e-3, atol=1e-7)
    for one, other in zip(whole_decoder, slow_decoder, strict=True):
        assert torch.equal(one, other)


def test_each_weight_of_the_autoencoder_has_one_optimizer():
    config = AutoencoderConfig(height=16, width=16, channels=32)
    models = [part(config).to(memory_format=torch.channels_last) for part in (Encoder, Decoder)]
    optimizer = Optimizer(models, WEIGHT_DECAY)
    by_adamw = [
        p for part in optimizer.optimizers[::2] for group in part.param_groups for p in group["params"]
    ]
    moved = [id(p) for p in (*optimizer.convolutions, *by_adamw)]
    assert sorted(moved) == sorted(id(p) for model in models for p in model.parameters())
    assert [weight.shape[2] for weight in optimizer.convolutions] == [3] * 6  # two per block, three blocks
