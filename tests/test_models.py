"""The models: shapes, pixel positions, effect of every input; their files: loaded correctly or refused in one line."""

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
from dream.data.start_states import StartStates, load_start_states
from dream.models.autoencoder import AutoencoderConfig, Decoder, Encoder, decode
from dream.models.checkpoints import (
    autoencoder_checkpoint,
    fingerprint,
    half_precision_state_dict,
    load_autoencoder,
    load_autoencoder_part,
    load_unet,
    model_checkpoint,
)
from small import (
    CPU,
    GAME,
    open_small_world_model,
    randomize_weights,
    save_small_world_model,
    small_autoencoder,
    small_unet,
)
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
    lit = frames.clone()
    lit[:, :, 8:12, 80:84] = 1
    with torch.no_grad():
        latent_changes = (encoder(lit) - encoder(frames)).abs().sum(dim=(0, 1)) > 1e-6  # (16, 24)
        pixel_changes = (decoder(encoder(lit)) - decoder(encoder(frames))).abs().sum(dim=(0, 1)) > 1e-6
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


# ------------------------------------------------------------------------------------------------- the denoiser


def unet_inputs(batch: int = 2, h: int = 8, w: int = 12) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "z": torch.randn(batch, 4, h, w, generator=generator),
        "t": torch.rand(batch, generator=generator),
        "context": torch.randn(batch, 4, 4, h, w, generator=generator),
        "actions": torch.randint(3, (batch, 4), generator=generator),
        "context_noise": torch.rand(batch, generator=generator),
    }


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


# ------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@torch.no_grad()
def test_autoencoder_parts_are_restored_from_their_files(kind, tmp_path):
    """Without the statistics of the batch norm in the file, all latents of a loaded encoder would be shifted."""
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
def test_a_model_is_restored_from_its_file(tmp_path):
    """The file must contain all settings: network, action keys, frames per second, sampling steps."""
    unet = randomize_weights(small_unet())
    save_checkpoint(model_checkpoint(unet, GAME, "abc", 2), tmp_path / "model.pt")
    loaded, game, checkpoint = load_unet(tmp_path / "model.pt")
    assert loaded.config == unet.config and game == GAME and not loaded.training
    assert checkpoint["autoencoder"] == "abc" and checkpoint["steps"] == 2
    inputs = unet_inputs()
    torch.testing.assert_close(loaded(**inputs), unet(**inputs), rtol=0.02, atol=0.02)


def test_half_precision_keeps_the_type_of_counters():
    """A float16 counter of batches would stop at 2048, and gradients or GPU tensors do not belong in the file."""
    encoder, _ = small_autoencoder()
    encoder.latent_norm.num_batches_tracked += 123_457
    weights = half_precision_state_dict(encoder)
    assert weights["latent_norm.num_batches_tracked"].item() == 123_457
    floats = [tensor for name, tensor in weights.items() if "tracked" not in name]
    assert floats and all(tensor.dtype == torch.float16 and not tensor.requires_grad for tensor in floats)


def test_fingerprint_is_the_same_after_loading_and_differs_between_decoders(tmp_path):
    """A fingerprint of float32 weights would change on saving, and every model would be refused."""
    _, decoder = small_autoencoder()
    save_checkpoint(autoencoder_checkpoint("decoder", decoder), tmp_path / "decoder.pt")
    assert fingerprint(load_autoencoder_part(tmp_path / "decoder.pt", "decoder")) == fingerprint(decoder)
    assert fingerprint(small_autoencoder(seed=1)[1]) != fingerprint(decoder)
    other = copy.deepcopy(decoder)
    with torch.no_grad():
        next(other.parameters())[0, 0, 0, 0] += 0.5
    assert fingerprint(other) != fingerprint(decoder)


class Malicious:
    """Unpickling an instance creates the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def refusal(load, path: Path) -> str:
    """The error message of loading an invalid file: one line that names the file."""
    with pytest.raises(InputError) as error:
        load(path)
    line = str(error.value)
    assert "\n" not in line and str(path) in line and len(line) < 500
    return line


LOADERS = {
    "encoder": lambda path: load_autoencoder_part(path, "encoder"),
    "decoder": lambda path: load_autoencoder_part(path, "decoder"),
    "dream": load_unet,
}


def make_checkpoint(kind: str) -> dict:
    if kind == "dream":
        return model_checkpoint(small_unet(), GAME, "abc", 1)
    return autoencoder_checkpoint(
        kind, dict(zip(("encoder", "decoder"), small_autoencoder(), strict=True))[kind]
    )


@pytest.mark.parametrize("kind", LOADERS)
def test_missing_or_damaged_files_are_refused_in_one_line(kind, tmp_path):
    """An incomplete copy must give a clear error, neither a traceback nor a model with random weights."""
    path = tmp_path / "file.pt"
    assert "train_" in refusal(
        LOADERS[kind], path
    )  # a missing file: the message names the script that makes one
    path.touch()
    refusal(LOADERS[kind], path)
    path.write_bytes(b"not a checkpoint" * 99)
    refusal(LOADERS[kind], path)
    path.unlink()
    path.mkdir()
    refusal(LOADERS[kind], path)
    path.rmdir()
    save_checkpoint(make_checkpoint(kind), path)
    LOADERS[kind](path)
    content = path.read_bytes()
    for length in (1, len(content) // 2, len(content) - 30):
        path.write_bytes(content[:length])
        refusal(LOADERS[kind], path)


@pytest.mark.parametrize("kind", LOADERS)
def test_malicious_files_are_refused_and_not_executed(kind, tmp_path):
    """Checkpoints are downloaded from others: loading one must never execute code."""
    path, created = tmp_path / "file.pt", tmp_path / "created"
    path.write_bytes(pickle.dumps(Malicious(created), protocol=2))
    refusal(LOADERS[kind], path)
    torch.save({**make_checkpoint(kind), "config": Malicious(created)}, path)
    refusal(LOADERS[kind], path)
    assert not created.exists()


def broken_checkpoints(kind: str) -> dict[str, dict]:
    good = make_checkpoint(kind)
    config, model = good["config"], good["model"]
    name = next(iter(model))
    broken = {
        "another kind": {**good, "kind": "ppo_run"},
        "no kind": {key: value for key, value in good.items() if key != "kind"},
        "no config": {key: value for key, value in good.items() if key != "config"},
        "config of another type": {**good, "config": 3},
        "an unknown setting": {**good, "config": {**config, "colour": 1}},
        "a setting of another type": {**good, "config": {**config, "latent_channels": "four"}},
        "no weights": {**good, "model": {}},
        "weights of another type": {**good, "model": [1, 2]},
        "a weight of another shape": {**good, "model": {**model, name: torch.zeros(3, 2, 1)}},
        "an unknown weight": {**good, "model": {**model, "extra": torch.zeros(1)}},
    }
    if kind == "dream":
        game = good["game"]
        broken |= {
            "a context that does not divide the embedding": {**good, "config": {**config, "context": 5}},
            "no channels": {**good, "config": {**config, "channels": ()}},
            "channels below the group size": {**good, "config": {**config, "channels": (8, 16)}},
            "no game": {key: value for key, value in good.items() if key != "game"},
            "names for other actions": {**good, "game": {**game, "action_names": ("one", "two")}},
            "keys for other actions": {**good, "game": {**game, "action_keys": ((),)}},
            "no frame rate": {**good, "game": {**game, "fps": 0.0}},
            "frame rate is not a number": {**good, "game": {**game, "fps": float("nan")}},
            "no steps": {**good, "steps": 0},
            "steps of another type": {**good, "steps": "many"},
        }
    return broken


@pytest.mark.parametrize(
    "kind, case", [(kind, case) for kind in LOADERS for case in broken_checkpoints(kind)]
)
def test_files_that_do_not_fit_are_refused_in_one_line(kind, case, tmp_path):
    """A file with contradictory content would otherwise fail later, in the middle of play."""
    save_checkpoint(broken_checkpoints(kind)[case], tmp_path / "file.pt")
    refusal(LOADERS[kind], tmp_path / "file.pt")


@pytest.mark.parametrize(
    "kind, setting", [("encoder", "colours"), ("decoder", "colours"), ("dream", "predicts")]
)
def test_a_checkpoint_of_an_older_version_is_named_as_such(kind, setting, tmp_path):
    """Its settings had other names: an error about unexpected keyword arguments does not say what to do."""
    checkpoint = make_checkpoint(kind)
    old = {**checkpoint, "config": {**checkpoint["config"], setting: "x0"}}
    save_checkpoint(old, tmp_path / "file.pt")
    line = refusal(LOADERS[kind], tmp_path / "file.pt")
    assert (
        "was written by an older version" in line and setting in line and "train again with sd/train_" in line
    )


def test_encoder_and_decoder_of_different_runs_are_refused(tmp_path):
    for name, seed in (("a", 0), ("b", 5)):
        encoder, decoder = small_autoencoder(seed=seed)
        save_checkpoint(
            autoencoder_checkpoint("encoder", encoder, fingerprint(decoder)), tmp_path / name / "encoder.pt"
        )
        save_checkpoint(autoencoder_checkpoint("decoder", decoder), tmp_path / name / "decoder.pt")
    load_autoencoder(tmp_path / "a" / "encoder.pt", tmp_path / "a" / "decoder.pt")
    with pytest.raises(InputError, match="not of one training run"):
        load_autoencoder(tmp_path / "a" / "encoder.pt", tmp_path / "b" / "decoder.pt")


def test_a_list_is_not_a_checkpoint(tmp_path):
    torch.save([1, 2], tmp_path / "file.pt")
    assert "list" in refusal(load_unet, tmp_path / "file.pt")


def test_a_decoder_of_another_autoencoder_is_refused(tmp_path):
    """Decoding with the wrong decoder gives blurred frames, not an error."""
    paths = save_small_world_model(tmp_path)
    open_small_world_model(**paths)
    save_checkpoint(autoencoder_checkpoint("decoder", small_autoencoder(seed=5)[1]), paths["decoder_path"])
    with pytest.raises(InputError, match="another autoencoder"):
        open_small_world_model(**paths)


MODEL_SHAPE = SimpleNamespace(autoencoder="", context_length=4, latent_shape=(4, 8, 12), game=GAME)
FRAMES = np.zeros((2, 4, 4, 8, 12), np.float16)
ACTIONS = np.zeros((2, 4), np.int64)
BAD_START_STATES = {
    "no frames": {"actions": ACTIONS},
    "no actions": {"frames": FRAMES},
    "frames instead of latents": {"frames": np.zeros((2, 4, 3, 32, 48), np.float32), "actions": ACTIONS},
    "integers": {"frames": FRAMES.astype(np.uint8), "actions": ACTIONS},
    "no start state": {"frames": FRAMES[:0], "actions": ACTIONS[:0]},
    "a missing axis": {"frames": FRAMES[0], "actions": ACTIONS[0]},
    "a shorter context": {"frames": FRAMES[:, 1:], "actions": ACTIONS[:, 1:]},
    "actions of another length": {"frames": FRAMES, "actions": ACTIONS[:, 1:]},
    "float actions": {"frames": FRAMES, "actions": ACTIONS.astype(np.float32)},
    "an action too high": {"frames": FRAMES, "actions": ACTIONS + 3},
    "an action below 0": {"frames": FRAMES, "actions": ACTIONS - 1},
    "not a number": {"frames": FRAMES * np.nan, "actions": ACTIONS},
    "infinite": {"frames": FRAMES + np.inf, "actions": ACTIONS},
    "objects": {"frames": np.array([{}] * 2, object), "actions": ACTIONS},
}


@pytest.mark.parametrize("case", BAD_START_STATES)
def test_start_states_that_do_not_fit_are_refused_in_one_line(case, tmp_path):
    """A wrong shape or an invalid action would otherwise fail in the middle of play, or generate garbage."""
    path = tmp_path / "initial_sequence.npz"
    np.savez(path, frames=FRAMES, actions=ACTIONS)
    states = load_start_states(path, MODEL_SHAPE)
    frames, actions = states.latents, states.actions
    assert frames.dtype == np.float32 and actions.dtype == np.int64
    np.savez(path, **BAD_START_STATES[case])
    refusal(lambda path: load_start_states(path, MODEL_SHAPE), path)


def test_appended_start_states_are_saved_and_have_no_game_state(tmp_path):
    """The true state of the game is unknown for a generated frame; one that is unknown in part is not used."""
    path = tmp_path / "new folder" / "initial_sequence.npz"
    speed = np.array([1.0, np.nan], np.float32)
    states = StartStates(
        FRAMES.astype(np.float32), ACTIONS, {"x": np.arange(2, dtype=np.float32), "speed": speed}
    )
    states.append(FRAMES[0] + 1, ACTIONS[0] + 2, num_generated=40)
    assert len(states) == 3 and states.num_generated == {2: 40}
    states.save(path, "abc")
    loaded = load_start_states(path, SimpleNamespace(**{**vars(MODEL_SHAPE), "autoencoder": "abc"}))
    np.testing.assert_array_equal(loaded.latents, states.latents)
    np.testing.assert_array_equal(loaded.actions, states.actions)
    assert [loaded.game_state(i) for i in range(3)] == [{"x": 0.0, "speed": 1.0}, None, None]
    assert [entry.name for entry in path.parent.iterdir()] == ["initial_sequence.npz"]
    with pytest.raises(InputError, match="another autoencoder"):
        load_start_states(path, SimpleNamespace(**{**vars(MODEL_SHAPE), "autoencoder": "def"}))


def test_damaged_files_of_start_states_are_refused_in_one_line(tmp_path):
    path, created = tmp_path / "initial_sequence.npz", tmp_path / "created"

    def load(path: Path):
        return load_start_states(path, MODEL_SHAPE)

    refusal(load, path)
    for content in (b"", b"no zip", pickle.dumps(Malicious(created))):
        path.write_bytes(content)
        refusal(load, path)
    with open(path, "wb") as file:
        np.save(file, FRAMES)  # .npy content in a file named .npz
    refusal(load, path)
    np.savez(path, frames=FRAMES, actions=ACTIONS)
    path.write_bytes(path.read_bytes()[:-40])
    refusal(load, path)
    np.savez(path, frames=np.array([Malicious(created)], object), actions=ACTIONS)
    refusal(load, path)
    assert not created.exists()
