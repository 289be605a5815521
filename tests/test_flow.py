"""Optical flow and warping: the maths, what is learned, and that play and checkpoint agree."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from dream.common.errors import InputError
from dream.common.runs import save_checkpoint
from dream.inference.torch_backend import TorchBackend
from dream.models.checkpoints import (
    autoencoder_checkpoint,
    fingerprint,
    load_unet,
    load_world_model,
    model_checkpoint,
)
from dream.models.flow import INTERPOLATIONS, FlowNet, photometric_loss, upsample_flow, warp
from dream.models.rollout import sample_next_latent
from dream.models.unet import UNet
from dream.training.losses import FlowTargets
from small import CPU, GAME, moving_unet, randomize_weights, small_autoencoder, small_unet, step_loss


def contexts(batch: int = 2, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    actions = torch.randint(3, (batch, 4), generator=generator)
    return torch.randn(batch, 4, 4, 8, 12, generator=generator), actions


def test_warp_reads_each_pixel_at_its_flow():
    """An error in the sign, in the order of x and y, or of half a pixel would only look like a bad model."""
    frame = torch.arange(12.0).reshape(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    torch.testing.assert_close(warp(frame, flow), frame)
    flow[:, 0] = 1  # each pixel comes from its right neighbour, at the edge from the edge
    torch.testing.assert_close(warp(frame, flow)[0, 0, 0], torch.tensor([1.0, 2, 3, 3]))
    flow[:, 0], flow[:, 1] = 0, -1  # from above
    torch.testing.assert_close(warp(frame, flow)[0, 0, :, 0], torch.tensor([0.0, 0, 4]))
    flow[:, 1] = 0.5
    torch.testing.assert_close(warp(frame, flow)[0, 0, :, 0], torch.tensor([2.0, 6, 8]))


def test_a_bicubic_warp_keeps_more_detail():
    frame = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    flow = torch.full((1, 2, 16, 16), 0.5)
    blurred, sharper = (warp(frame, flow, interpolation) for interpolation in INTERPOLATIONS)
    assert blurred.std() < sharper.std() < frame.std()
    # Half a pixel on: Keys' kernel at a = -0.75 weighs four pixels by -3/32, 19/32, 19/32, -3/32.
    step = torch.tensor([0.0, 0, 0, 1, 1, 1]).expand(1, 1, 4, 6)
    warped = warp(step, torch.tensor([0.5, 0.0])[None, :, None, None].expand(1, 2, 4, 6), "bicubic")
    torch.testing.assert_close(warped[0, 0, 0, 1:4], torch.tensor([-3 / 32, 1 / 2, 1 + 3 / 32]))


def test_a_flow_of_nan_gives_frames_of_nan():
    """grid_sample may crash at NaN. A training that diverges must show it in its loss instead."""
    flow = torch.zeros(1, 2, 3, 4)
    flow[0, 0, 1, 1] = torch.nan
    assert warp(torch.rand(1, 3, 3, 4), flow).isnan().all()
    both = warp(torch.rand(2, 3, 3, 4), torch.cat([flow, torch.zeros_like(flow)]))
    assert both[0].isnan().all() and not both[1].isnan().any()  # the other frames of the batch are kept


def test_upsampled_flow_is_cropped_to_the_frame():
    """30 rows of a frame are padded to 32, 8 of the latent: the padding is below and at the right."""
    flow = torch.arange(8.0)[:, None].expand(1, 2, 8, 12)
    upsampled = upsample_flow(flow, (30, 48))
    assert upsampled.shape == (1, 2, 30, 48)
    torch.testing.assert_close(
        upsampled[0, 0, 1::4, 0][:7], torch.arange(7.0) - 0.125 + (torch.arange(7) == 0) / 8
    )


def test_photometric_loss_is_small_for_the_right_flow():
    frame = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    right, wrong = torch.zeros(1, 2, 16, 24), torch.zeros(1, 2, 16, 24)
    right[:, 0], wrong[:, 0] = 2, -2
    next_frame = warp(frame, right)
    assert photometric_loss(frame, next_frame, right) < 0.1  # not 0: the coarse scales differ at the edges
    assert photometric_loss(frame, next_frame, wrong) > 0.3


def test_flow_is_learned_from_frames():
    """The action decides the motion: four pixels, on pictures with details of two."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    flow = FlowNet(num_actions=3, context=4, latent_channels=4)
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)

    def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        noise = torch.rand(8, 3, 16, 24, generator=generator)
        last = torch.nn.functional.interpolate(noise, size=(32, 48), mode="bilinear")
        context, actions = contexts(8, seed=int(torch.randint(10**6, (), generator=generator)))
        next_frame = torch.stack(
            [
                picture.roll(4 * (action - 1), dims=-1)
                for picture, action in zip(last, actions[:, -1].tolist(), strict=True)
            ]
        )
        return context, actions, last, next_frame

    for _ in range(120):
        context, actions, last, next_frame = batch()
        loss = photometric_loss(last, next_frame, upsample_flow(flow(context, actions), (32, 48)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    context, actions, last, next_frame = batch()
    with torch.no_grad():
        warped = warp(last, upsample_flow(flow(context, actions), (32, 48)))
    inner = slice(8, -8)  # at the edges new content comes in
    assert (warped - next_frame)[..., inner].abs().mean() < 0.5 * (last - next_frame)[..., inner].abs().mean()


@torch.no_grad()
def test_the_denoiser_predicts_a_residual_on_the_warped_frame():
    unet = UNet(replace(small_unet().config, use_flow=True)).eval().attach_autoencoder(*small_autoencoder())
    encoder, decoder = unet.autoencoder
    context, actions = contexts()
    # An untrained network predicts no motion, and latents that do not move are not encoded again.
    torch.testing.assert_close(unet.warp_last_latent(context, actions), context[:, -1], rtol=0, atol=0)
    randomize_weights(unet)
    flow = torch.full((2, 2, 8, 12), 3.0)
    expected = encoder(warp(decoder(context[:, -1]), torch.full((2, 2, 32, 48), 3.0)))
    torch.testing.assert_close(unet.warp_last_latent(context, actions, flow), expected)
    inputs = {"z": torch.randn(2, 4, 8, 12), "t": torch.ones(2), "context": context, "actions": actions}
    predicted = unet(**inputs, context_noise=torch.zeros(2))
    other = unet(**inputs, context_noise=torch.zeros(2), warped=expected)
    torch.testing.assert_close(
        predicted,
        unet(**inputs, context_noise=torch.zeros(2), warped=unet.warp_last_latent(context, actions)),
    )
    assert (predicted - other).abs().max() > 1e-2


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_flow_learns_from_frames_alone(bfloat16):
    """It has no gradient from the denoiser's loss, which would prefer warps that are easy to correct."""
    unet = moving_unet().train()
    context, actions = contexts()
    is_real = torch.zeros(2, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loss, metrics, predicted, _ = step_loss(
            unet, context, actions, context[:, 0], is_real, torch.Generator().manual_seed(0)
        )
    predicted.sum().backward(retain_graph=True)
    assert all(weight.grad is None for weight in unet.flow.parameters())
    loss.backward()
    assert all(weight.grad is not None for weight in unet.flow.parameters())
    assert all(
        weight.grad is None
        for part in unet.autoencoder
        for weight in part.parameters()
        if not weight.requires_grad
    )
    assert metrics["loss/flow"] > 0 and metrics["loss/train"] > 0


def test_without_a_target_only_the_flow_of_the_recording_is_learned():
    """A rollout off the data is judged by the discriminator alone."""
    context, actions = contexts()
    is_real = torch.zeros(2, dtype=torch.bool)
    targets = FlowTargets(torch.randn(2, 4, 4, 8, 12), torch.rand(2, 3, 32, 48), torch.rand(2, 3, 32, 48))
    gradients = []
    for generated_context in (context, context.flip(1)):
        unet = moving_unet().train()
        randomize_weights(unet)
        loss, _, _, at_pure_noise = step_loss(
            unet, generated_context, actions, context[:, 0], is_real, torch.Generator().manual_seed(0),
            targets=targets, has_target=torch.zeros(2, dtype=torch.bool),
        )  # fmt: skip
        assert at_pure_noise.all()
        loss.backward()
        assert all(
            (weight.grad == 0).all()
            for name, weight in unet.named_parameters()
            if not name.startswith("flow.")
        )
        gradients.append(unet.flow.conv_out.weight.grad)
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0


@torch.no_grad()
def test_a_saved_model_with_flow_predicts_the_same_latent(tmp_path):
    """Its checkpoint holds the encoder. The backend warps the last frame that it has decoded already."""
    unet = moving_unet()
    _, decoder = unet.autoencoder
    save_checkpoint(autoencoder_checkpoint("decoder", decoder), tmp_path / "decoder.pt")
    save_checkpoint(model_checkpoint(unet, GAME, fingerprint(decoder), 1), tmp_path / "model.pt")
    backend = TorchBackend(tmp_path / "decoder.pt", tmp_path / "model.pt", 1, CPU)
    loaded = backend.unet
    context, actions = contexts(1)
    torch.testing.assert_close(
        loaded.warp_last_latent(context, actions),
        unet.warp_last_latent(context, actions),
        rtol=0.05,
        atol=0.05,
    )
    noise = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    chosen_actions = actions.clone()
    chosen_actions[:, -1] = 2
    expected = sample_next_latent(loaded, context, chosen_actions, noise, 1)
    state = backend.step(backend.init_state(context[0].numpy(), actions[0].numpy()), 2, noise[0].numpy())
    torch.testing.assert_close(state.context[:, -1], expected, rtol=1e-3, atol=1e-3)
    frame_u8 = (backend.decoder(expected)[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(state.rgb.astype(int) - frame_u8).max() <= 1


def test_a_checkpoint_with_flow_but_without_encoder_is_refused(tmp_path):
    unet = moving_unet()
    decoder = unet.autoencoder[1]
    save_checkpoint(autoencoder_checkpoint("decoder", decoder), tmp_path / "decoder.pt")
    checkpoint = model_checkpoint(unet, GAME, fingerprint(decoder), 1)
    save_checkpoint({**checkpoint, "encoder": {}}, tmp_path / "model.pt")
    assert load_unet(tmp_path / "model.pt")[0].config.use_flow
    with pytest.raises(InputError, match=r"model\.pt is damaged .*its weight"):
        load_world_model(tmp_path / "decoder.pt", tmp_path / "model.pt")
