"""The autoencoder: frame sizes, pixel positions, crops, the palette, the scale of latents."""

import numpy as np
import pytest
import torch
from dream.data.latents import to_float_frames, to_u8
from dream.models.autoencoder import AutoencoderConfig, Decoder, Encoder, decode
from small import CPU, small_autoencoder
from torch import nn


@pytest.mark.parametrize(
    "size, latent",
    [
        ((112, 256), (28, 64)),
        ((224, 320), (56, 80)),
        ((50, 37), (16, 12)),
        ((16, 16), (4, 4)),
        ((5, 3), (4, 4)),
    ],
)
def test_any_frame_size_is_restored(size, latent):
    """Padding that is not removed would shift or stretch games of other frame sizes."""
    config = AutoencoderConfig(*size, channels=16)
    assert config.latent_shape == (4, *latent)
    encoder, decoder = Encoder(config).eval(), Decoder(config).eval()
    latents = encoder(torch.rand(2, 3, *size))
    assert latents.shape == (2, *config.latent_shape) and latents.dtype == torch.float32
    assert decoder(latents).shape == (2, 3, *size)
    assert decode(decoder, latents[None]).shape == (1, 2, 3, *size)


@torch.no_grad()
def test_padding_is_at_the_right_and_at_the_bottom():
    """Removed at the wrong side, padding would shift the frame by up to 15 pixels."""
    encoder, decoder = small_autoencoder(50, 37)
    frames = torch.rand(1, 3, 50, 37, generator=torch.Generator().manual_seed(0))
    padded = np.pad(frames.numpy(), ((0, 0), (0, 0), (0, 14), (0, 11)), mode="edge")
    latents = encoder(torch.from_numpy(padded))
    torch.testing.assert_close(encoder(frames), latents)
    torch.testing.assert_close(decoder(latents), decoder(latents, size=(64, 48))[..., :50, :37])


def test_a_pixel_keeps_its_position_in_the_patch():
    """Unshuffle and shuffle must use the same pixel order; with different orders training yields blurred frames."""
    config = AutoencoderConfig(32, 48)
    unfold = next(layer for layer in Encoder(config).layers if isinstance(layer, nn.PixelUnshuffle))
    frames = torch.zeros(1, 3, 32, 48)
    frames[0, 1, 13, 30] = 1
    folded = unfold(frames)
    assert folded.shape == (1, 48, 8, 12)
    assert folded[0, :, 3, 7].nonzero().item() == 16 + 1 * 4 + 2  # pixel 13, 30 is pixel 1, 2 of patch 3, 7
    decoder = Decoder(config)
    last = decoder.palette_logits[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        last.bias[:16] = 1000  # colour 0 everywhere, but colour 5 in that pixel of each patch
        last.bias[1 * 4 + 2], last.bias[5 * 16 + 1 * 4 + 2] = 0, 1000
        frame = decoder(torch.zeros(1, 4, 8, 12))
        colors = (decoder.palette.weight[:, :, 0, 0].T + decoder.palette.bias + 1) / 2
    torch.testing.assert_close(frame[0, :, 1::4, 2::4], colors[5][:, None, None].expand(3, 8, 12))
    frame[0, :, 1::4, 2::4] = colors[0][:, None, None]
    torch.testing.assert_close(frame[0], colors[0][:, None, None].expand(3, 32, 48))


def test_a_changed_patch_changes_only_nearby_latents_and_pixels():
    """The position is kept through all layers: a change at the right has no effect at the left."""
    encoder, decoder = small_autoencoder(64, 96)
    frames = torch.full((1, 3, 64, 96), 0.5)
    changed = frames.clone()
    changed[:, :, 8:12, 80:84] = 1
    with torch.no_grad():
        latent_changes = (encoder(changed) - encoder(frames)).abs().sum(dim=(0, 1)) > 1e-6  # (16, 24)
        pixel_changes = (decoder(encoder(changed)) - decoder(encoder(frames))).abs().sum(dim=(0, 1)) > 1e-6
    assert latent_changes[2, 20] and not latent_changes[:, :10].any() and not latent_changes[9:].any()
    assert pixel_changes[8:12, 80:84].all() and not pixel_changes[:, :30].any()


@torch.no_grad()
def test_a_crop_is_decoded_with_the_position_embedding_of_its_origin():
    """With a wrong origin, training on crops would learn the position of the display for other parts of the frame."""
    _, decoder = small_autoencoder(96, 128)
    latents = torch.randn(2, 4, 24, 32, generator=torch.Generator().manual_seed(0))
    whole = decoder(latents)
    crop_origin = torch.tensor([[3, 10], [8, 1]])
    crops = torch.stack(
        [latents[i, :, top : top + 14, left : left + 16] for i, (top, left) in enumerate(crop_origin)]
    )
    frames = decoder(crops, size=(56, 64), crop_origin=crop_origin)
    for i, (top, left) in enumerate((crop_origin * 4).tolist()):
        inner = slice(20, -20)  # the receptive field of the five outer latent pixels exceeds the crop
        expected = whole[i, :, top : top + 56, left : left + 64][:, inner, inner]
        torch.testing.assert_close(frames[i][:, inner, inner], expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_frame_is_a_mixture_of_the_palette():
    """A pixel with all its weight on one colour has exactly that colour, even with very large logits."""
    _, decoder = small_autoencoder()
    last = decoder.palette_logits[-1]
    last.weight.zero_()
    last.bias.zero_()
    last.bias[5 * 16 : 6 * 16] = 1000  # colour 5, in all 16 pixels of a patch
    frame = decoder(torch.randn(1, 4, 8, 12))
    colour = (decoder.palette.weight[:, 5, 0, 0] + decoder.palette.bias + 1) / 2
    torch.testing.assert_close(frame, colour[None, :, None, None].expand_as(frame))


def test_latents_are_normalized():
    """The diffusion noise has variance 1, so the latents must have the same scale."""
    encoder, _ = small_autoencoder()
    encoder.train()
    latents = encoder(torch.rand(32, 3, 32, 48, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), rtol=0, atol=1e-2)


def test_frames_survive_the_conversion_to_float_and_back():
    """Without rounding, each frame would be darker by half a level."""
    frames_u8 = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, axis=1)
    back = to_u8(to_float_frames(frames_u8, CPU))
    np.testing.assert_array_equal(back, frames_u8.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(
        to_u8(to_float_frames(frames_u8, CPU) - 0.3 / 255), frames_u8.transpose(0, 2, 3, 1)
    )
    assert to_u8(torch.full((3, 2, 2), 7.0)).max() == 255 and to_u8(torch.full((3, 2, 2), -7.0)).max() == 0
