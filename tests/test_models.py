"""The models: shapes, pixels in place, every input heard; and their files: whole, or refused in one line."""

import copy
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dream.common.errors import InputError
from dream.common.runs import save_checkpoint
from dream.data.latents import to_float_frames, to_u8
from dream.data.start_states import load_start_states
from dream.models.autoencoder import AutoencoderConfig, Decoder, Encoder, decode
from dream.models.checkpoints import (
    autoencoder_checkpoint,
    fingerprint,
    half_precision_state_dict,
    load_autoencoder_part,
    load_unet,
    model_checkpoint,
)
from small import CPU, GAME, open_dream, save_dream, small_autoencoder, small_unet, wake_up
from torch import nn

# ------------------------------------------------------------------------------------------------- the autoencoder


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
def test_any_frame_comes_back_in_its_size(size, latent):
    """Padding that is not cut off again would shift or stretch every game but the one it was made for."""
    config = AutoencoderConfig(*size, channels=16)
    assert config.latent_shape == (4, *latent)
    encoder, decoder = Encoder(config).eval(), Decoder(config).eval()
    latents = encoder(torch.rand(2, 3, *size))
    assert latents.shape == (2, *config.latent_shape) and latents.dtype == torch.float32
    assert decoder(latents).shape == (2, 3, *size)
    assert decode(decoder, latents[None]).shape == (1, 2, 3, *size)


@torch.no_grad()
def test_padding_is_at_the_right_and_below():
    """Cut off at the other side, an odd frame comes back shifted by up to 15 pixels."""
    encoder, decoder = small_autoencoder(50, 37)
    frames = torch.rand(1, 3, 50, 37, generator=torch.Generator().manual_seed(0))
    pad_to_multiple = np.pad(frames.numpy(), ((0, 0), (0, 0), (0, 14), (0, 11)), mode="edge")
    latents = encoder(torch.from_numpy(pad_to_multiple))
    torch.testing.assert_close(encoder(frames), latents)
    torch.testing.assert_close(decoder(latents), decoder(latents, size=(64, 48))[..., :50, :37])


def test_a_lit_pixel_lands_where_it_was_lit():
    """Unshuffle and shuffle must agree on the order of pixels: a scrambled one trains, to a blur."""
    config = AutoencoderConfig(32, 48)
    unfold = next(layer for layer in Encoder(config).layers if isinstance(layer, nn.PixelUnshuffle))
    frames = torch.zeros(1, 3, 32, 48)
    frames[0, 1, 13, 30] = 1
    folded = unfold(frames)
    assert folded.shape == (1, 48, 8, 12)
    assert folded[0, :, 3, 7].nonzero().item() == 16 + 1 * 4 + 2  # 13 and 30: patch 3, 7, and 1, 2 in it
    decoder = Decoder(config)
    last = decoder.shares[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        last.bias[:16] = 1000  # colour 0 everywhere, but colour 5 in that pixel of each patch
        last.bias[1 * 4 + 2], last.bias[5 * 16 + 1 * 4 + 2] = 0, 1000
        frame = decoder(torch.zeros(1, 4, 8, 12))
        num_colors = (decoder.palette.weight[:, :, 0, 0].T + decoder.palette.bias + 1) / 2
    torch.testing.assert_close(frame[0, :, 1::4, 2::4], num_colors[5][:, None, None].expand(3, 8, 12))
    frame[0, :, 1::4, 2::4] = num_colors[0][:, None, None]
    torch.testing.assert_close(frame[0], num_colors[0][:, None, None].expand(3, 32, 48))


def test_a_changed_patch_changes_the_latent_and_the_picture_there():
    """The same through all layers: what happens at the left must not show at the right."""
    encoder, decoder = small_autoencoder(64, 96)
    frames = torch.full((1, 3, 64, 96), 0.5)
    lit = frames.clone()
    lit[:, :, 8:12, 80:84] = 1
    with torch.no_grad():
        moved = (encoder(lit) - encoder(frames)).abs().sum(dim=(0, 1)) > 1e-6  # (16, 24)
        shown = (decoder(encoder(lit)) - decoder(encoder(frames))).abs().sum(dim=(0, 1)) > 1e-6
    assert moved[2, 20] and not moved[:, :10].any() and not moved[9:].any()
    assert shown[8:12, 80:84].all() and not shown[:, :30].any()


@torch.no_grad()
def test_a_crop_is_decoded_as_the_place_it_is_of():
    """The decoder knows where in the picture it is. A crop taught at a wrong place teaches the display to the lawn."""
    _, decoder = small_autoencoder(96, 128)
    latents = torch.randn(2, 4, 24, 32, generator=torch.Generator().manual_seed(0))
    whole = decoder(latents)
    crop_origin = torch.tensor([[3, 10], [8, 1]])
    crops = torch.stack(
        [latents[i, :, top : top + 14, left : left + 16] for i, (top, left) in enumerate(crop_origin)]
    )
    frames = decoder(crops, size=(56, 64), crop_origin=crop_origin)
    for i, (top, left) in enumerate((crop_origin * 4).tolist()):
        inner = slice(20, -20)  # five latent pixels see over the crop's edge
        expected = whole[i, :, top : top + 56, left : left + 64][:, inner, inner]
        torch.testing.assert_close(frames[i][:, inner, inner], expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_frame_is_a_mixture_of_the_palette():
    """Where one colour has all of a pixel, it is that colour, however far the logits go beyond."""
    _, decoder = small_autoencoder()
    last = decoder.shares[-1]
    last.weight.zero_()
    last.bias.zero_()
    last.bias[5 * 16 : 6 * 16] = 1000  # colour 5, in all 16 pixels of a patch
    frame = decoder(torch.randn(1, 4, 8, 12))
    colour = (decoder.palette.weight[:, 5, 0, 0] + decoder.palette.bias + 1) / 2
    torch.testing.assert_close(frame, colour[None, :, None, None].expand_as(frame))


def test_latents_are_normalised():
    """The noise of the diffusion has variance 1: latents of another scale are drowned in it or never reached."""
    encoder, _ = small_autoencoder()
    encoder.train()
    latents = encoder(torch.rand(32, 3, 32, 48, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), rtol=0, atol=1e-2)


def test_frames_survive_the_way_to_floats_and_back():
    """A missing rounding would darken each frame by half a level."""
    frames_u8 = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, axis=1)
    back = to_u8(to_float_frames(frames_u8, CPU))
    np.testing.assert_array_equal(back, frames_u8.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(
        to_u8(to_float_frames(frames_u8, CPU) - 0.3 / 255), frames_u8.transpose(0, 2, 3, 1)
    )
    assert to_u8(torch.full((3, 2, 2), 7.0)).max() == 255 and to_u8(torch.full((3, 2, 2), -7.0)).max() == 0


# ------------------------------------------------------------------------------------------------- the denoiser


def unet_inputs(batch: int = 2, h: int = 8, w: int = 12) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "z": torch.randn(batch, 4, h, w, generator=generator),
        "t": torch.rand(batch, generator=generator),
        "context": torch.randn(batch, 4, 4, h, w, generator=generator),
        "actions": torch.randint(3, (batch, 4), generator=generator),
        "context_level": torch.rand(batch, generator=generator),
    }


@pytest.mark.parametrize("h, w", [(8, 12), (28, 64), (16, 4)])
def test_unet_begins_by_predicting_no_change(h, w):
    """It learns the change from the last frame of the context; from another one it would learn all anew."""
    inputs = unet_inputs(h=h, w=w)
    predicted = small_unet()(**inputs)
    assert predicted.shape == (2, 4, h, w)
    torch.testing.assert_close(predicted, inputs["context"][:, -1], rtol=0, atol=0)


@torch.no_grad()
def test_every_input_is_heard():
    """An input that is dropped on the way (an old frame, an early action, a level) costs quality, never an error."""
    unet, inputs = wake_up(small_unet()), unet_inputs()
    before = unet(**inputs)

    def changed(name: str, *place) -> float:
        other = {key: tensor.clone() for key, tensor in inputs.items()}
        part = other[name][(slice(None), *place)]
        other[name][(slice(None), *place)] = (part + 1) % 3 if name == "actions" else part * 0.5 + 0.3
        return (unet(**other) - before).abs().amax(dim=(1, 2, 3)).min().item()

    for place in range(4):
        assert changed("context", place) > 1e-4, f"context frame {place}"
        assert changed("actions", place) > 1e-4, f"action {place}"
    for name in ("z", "t", "context_level"):
        assert changed(name) > 1e-4, name


@torch.no_grad()
def test_the_order_of_actions_and_frames_matters():
    """Left then right is not right then left: summed embeddings could not tell."""
    unet, inputs = wake_up(small_unet()), unet_inputs()
    inputs["actions"] = torch.tensor([[0, 1, 2, 2], [2, 1, 0, 0]])
    before = unet(**inputs)
    assert (unet(**{**inputs, "actions": inputs["actions"].flip(1)}) - before).abs().max() > 1e-4
    swapped = inputs["context"][:, [1, 0, 2, 3]]
    assert (unet(**{**inputs, "context": swapped}) - before).abs().max() > 1e-4


@torch.no_grad()
def test_a_batch_equals_its_parts():
    """Anything that mixes the batch (a batch norm, a wrong reshape) would make play differ from training."""
    unet, inputs = wake_up(small_unet()), unet_inputs(batch=3)
    together = unet(**inputs)
    for i in range(3):
        alone = unet(**{name: tensor[i : i + 1] for name, tensor in inputs.items()})
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------------- their files


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@torch.no_grad()
def test_parts_of_the_autoencoder_come_back(kind, tmp_path):
    """Statistics of the normalisation left out of the file would shift all latents of a reloaded encoder."""
    encoder, decoder = small_autoencoder()
    encoder.latent_norm.running_mean += 0.7
    part, x = {
        "encoder": (encoder, torch.rand(2, 3, 32, 48)),
        "decoder": (decoder, torch.randn(2, 4, 8, 12)),
    }[kind]
    save_checkpoint(autoencoder_checkpoint(kind, part), tmp_path / "part.pt")
    loaded = load_autoencoder_part(tmp_path / "part.pt", kind)
    assert loaded.config == part.config and not loaded.training
    assert all(weight.dtype == torch.float32 and not weight.requires_grad for weight in loaded.parameters())
    torch.testing.assert_close(loaded(x), part(x), rtol=0.02, atol=0.02)
    assert (loaded(x) - part(x)).abs().mean() < 0.002  # half precision keeps the function


@torch.no_grad()
def test_a_dream_comes_back(tmp_path):
    """Settings that do not travel (tuples, keys, pace) would be guessed by the player."""
    unet = wake_up(small_unet())
    save_checkpoint(model_checkpoint(unet, GAME, "abc", 2), tmp_path / "model.pt")
    loaded, game, checkpoint = load_unet(tmp_path / "model.pt")
    assert loaded.config == unet.config and game == GAME and not loaded.training
    assert checkpoint["autoencoder"] == "abc" and checkpoint["steps"] == 2
    inputs = unet_inputs()
    torch.testing.assert_close(loaded(**inputs), unet(**inputs), rtol=0.02, atol=0.02)


def test_half_weights_keep_counters_and_halve_the_rest():
    """A counter of batches in half precision stops at 2048, and weights on the GPU would not load elsewhere."""
    encoder, _ = small_autoencoder()
    encoder.latent_norm.num_batches_tracked += 123_457
    weights = half_precision_state_dict(encoder)
    assert weights["latent_norm.num_batches_tracked"].item() == 123_457
    floats = [tensor for name, tensor in weights.items() if "tracked" not in name]
    assert floats and all(tensor.dtype == torch.float16 and not tensor.requires_grad for tensor in floats)


def test_fingerprint_survives_the_file_and_tells_decoders_apart(tmp_path):
    """One that changed on the way through half precision would refuse every dream; a constant one none."""
    _, decoder = small_autoencoder()
    save_checkpoint(autoencoder_checkpoint("decoder", decoder), tmp_path / "decoder.pt")
    assert fingerprint(load_autoencoder_part(tmp_path / "decoder.pt", "decoder")) == fingerprint(decoder)
    assert fingerprint(small_autoencoder(seed=1)[1]) != fingerprint(decoder)
    other = copy.deepcopy(decoder)
    with torch.no_grad():
        next(other.parameters())[0, 0, 0, 0] += 0.5
    assert fingerprint(other) != fingerprint(decoder)


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def refused(load, path: Path) -> str:
    """The one line in which it says no; it must name the file."""
    with pytest.raises(InputError) as problem:
        load(path)
    line = str(problem.value)
    assert "\n" not in line and str(path) in line and len(line) < 500
    return line


LOADERS = {
    "encoder": lambda path: load_autoencoder_part(path, "encoder"),
    "decoder": lambda path: load_autoencoder_part(path, "decoder"),
    "dream": load_unet,
}


def checkpoint_of(kind: str) -> dict:
    if kind == "dream":
        return model_checkpoint(small_unet(), GAME, "abc", 1)
    return autoencoder_checkpoint(
        kind, dict(zip(("encoder", "decoder"), small_autoencoder(), strict=True))[kind]
    )


@pytest.mark.parametrize("kind", LOADERS)
def test_files_that_are_none_are_refused_in_one_line(kind, tmp_path):
    """What is half copied must say so, not show a traceback, and never a dream of garbage."""
    path = tmp_path / "file.pt"
    assert "train_" in refused(LOADERS[kind], path)  # missing: names the script that makes one
    path.touch()
    refused(LOADERS[kind], path)
    path.write_bytes(b"not a checkpoint" * 99)
    refused(LOADERS[kind], path)
    path.unlink()
    path.mkdir()
    refused(LOADERS[kind], path)
    path.rmdir()
    save_checkpoint(checkpoint_of(kind), path)
    LOADERS[kind](path)
    whole = path.read_bytes()
    for length in (1, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        refused(LOADERS[kind], path)


@pytest.mark.parametrize("kind", LOADERS)
def test_hostile_files_are_refused_and_never_run(kind, tmp_path):
    """Weights are passed from hand to hand: a file of them must not be able to run anything."""
    path, harm = tmp_path / "file.pt", tmp_path / "harm"
    path.write_bytes(pickle.dumps(Hostile(harm), protocol=2))
    refused(LOADERS[kind], path)
    torch.save({**checkpoint_of(kind), "config": Hostile(harm)}, path)
    refused(LOADERS[kind], path)
    assert not harm.exists()


def edits(kind: str) -> dict[str, dict]:
    good = checkpoint_of(kind)
    config, model = good["config"], good["model"]
    name = next(iter(model))
    broken = {
        "another kind": {**good, "kind": "ppo_run"},
        "no kind": {key: value for key, value in good.items() if key != "kind"},
        "no config": {key: value for key, value in good.items() if key != "config"},
        "config of another type": {**good, "config": 3},
        "a setting too many": {**good, "config": {**config, "colour": 1}},
        "a setting of another type": {**good, "config": {**config, "latent_channels": "four"}},
        "no weights": {**good, "model": {}},
        "weights of another type": {**good, "model": [1, 2]},
        "a weight of another shape": {**good, "model": {**model, name: torch.zeros(3, 2, 1)}},
        "a weight too many": {**good, "model": {**model, "extra": torch.zeros(1)}},
    }
    if kind == "dream":
        game = good["game"]
        broken |= {
            "context that does not divide the embedding": {**good, "config": {**config, "context": 5}},
            "no widths": {**good, "config": {**config, "channels": ()}},
            "widths under a group": {**good, "config": {**config, "channels": (8, 16)}},
            "no game": {key: value for key, value in good.items() if key != "game"},
            "names for other actions": {**good, "game": {**game, "action_names": ("one", "two")}},
            "keys for other actions": {**good, "game": {**game, "action_keys": ((),)}},
            "no pace": {**good, "game": {**game, "fps": 0.0}},
            "pace that is no number": {**good, "game": {**game, "fps": float("nan")}},
            "no steps": {**good, "steps": 0},
            "steps of another type": {**good, "steps": "many"},
        }
    return broken


@pytest.mark.parametrize("kind, case", [(kind, case) for kind in LOADERS for case in edits(kind)])
def test_files_that_do_not_fit_are_refused_in_one_line(kind, case, tmp_path):
    """A file that loads with what does not belong together fails later, in the middle of play."""
    save_checkpoint(edits(kind)[case], tmp_path / "file.pt")
    refused(LOADERS[kind], tmp_path / "file.pt")


def test_a_list_is_no_checkpoint(tmp_path):
    torch.save([1, 2], tmp_path / "file.pt")
    assert "list" in refused(load_unet, tmp_path / "file.pt")


def test_a_decoder_of_another_autoencoder_is_refused(tmp_path):
    """Latents of one autoencoder through the decoder of another are a plausible mush."""
    paths = save_dream(tmp_path)
    open_dream(**paths)
    save_checkpoint(autoencoder_checkpoint("decoder", small_autoencoder(seed=5)[1]), paths["decoder_path"])
    with pytest.raises(InputError, match="another autoencoder"):
        open_dream(**paths)


ENGINE = SimpleNamespace(autoencoder="", context_length=4, latent_shape=(4, 8, 12), game=GAME)
FRAMES = np.zeros((2, 4, 4, 8, 12), np.float16)
ACTIONS = np.zeros((2, 4), np.int64)
BAD_STARTS = {
    "no frames": {"actions": ACTIONS},
    "no actions": {"frames": FRAMES},
    "frames of a picture": {"frames": np.zeros((2, 4, 3, 32, 48), np.float32), "actions": ACTIONS},
    "whole numbers": {"frames": FRAMES.astype(np.uint8), "actions": ACTIONS},
    "no place": {"frames": FRAMES[:0], "actions": ACTIONS[:0]},
    "an axis too few": {"frames": FRAMES[0], "actions": ACTIONS[0]},
    "a shorter context": {"frames": FRAMES[:, 1:], "actions": ACTIONS[:, 1:]},
    "actions of another length": {"frames": FRAMES, "actions": ACTIONS[:, 1:]},
    "actions with a fraction": {"frames": FRAMES, "actions": ACTIONS.astype(np.float32)},
    "an action too high": {"frames": FRAMES, "actions": ACTIONS + 3},
    "an action below 0": {"frames": FRAMES, "actions": ACTIONS - 1},
    "not a number": {"frames": FRAMES * np.nan, "actions": ACTIONS},
    "infinite": {"frames": FRAMES + np.inf, "actions": ACTIONS},
    "objects": {"frames": np.array([{}] * 2, object), "actions": ACTIONS},
}


@pytest.mark.parametrize("case", BAD_STARTS)
def test_starts_that_do_not_fit_are_refused_in_one_line(case, tmp_path):
    """A start of the wrong shape or with an action that is none fails in the middle of play, or dreams rubbish."""
    path = tmp_path / "initial_sequence.npz"
    np.savez(path, frames=FRAMES, actions=ACTIONS)
    places = load_start_states(path, ENGINE)
    frames, actions = places.latents, places.actions
    assert frames.dtype == np.float32 and actions.dtype == np.int64
    np.savez(path, **BAD_STARTS[case])
    refused(lambda path: load_start_states(path, ENGINE), path)


def test_starts_that_are_no_file_are_refused_in_one_line(tmp_path):
    path, harm = tmp_path / "initial_sequence.npz", tmp_path / "harm"

    def load(path: Path):
        return load_start_states(path, ENGINE)

    refused(load, path)
    for content in (b"", b"no zip", pickle.dumps(Hostile(harm))):
        path.write_bytes(content)
        refused(load, path)
    with open(path, "wb") as file:
        np.save(file, FRAMES)  # an .npy under the name of an .npz
    refused(load, path)
    np.savez(path, frames=FRAMES, actions=ACTIONS)
    path.write_bytes(path.read_bytes()[:-40])
    refused(load, path)
    np.savez(path, frames=np.array([Hostile(harm)], object), actions=ACTIONS)
    refused(load, path)
    assert not harm.exists()
