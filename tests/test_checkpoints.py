"""Checkpoints of the models: restored exactly, or refused in one line."""

import copy
import pickle

import pytest
import torch
from dream.common.errors import InputError
from dream.common.runs import save_checkpoint
from dream.models.checkpoints import (
    autoencoder_checkpoint,
    fingerprint,
    half_precision_state_dict,
    load_autoencoder,
    load_autoencoder_part,
    load_unet,
    model_checkpoint,
)
from invalid_files import Malicious, refusal
from small import (
    GAME,
    open_small_world_model,
    randomize_weights,
    save_small_autoencoder,
    save_small_world_model,
    small_autoencoder,
    small_unet,
    unet_inputs,
)


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
    assert "train_" in refusal(LOADERS[kind], path)  # the message names the script that makes the file
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
def test_a_flipped_bit_in_the_weights_is_refused(kind, tmp_path):
    """torch.load does not compare the checksums in the file: the model would play with other weights."""
    path = tmp_path / "file.pt"
    save_checkpoint(make_checkpoint(kind), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 64
    path.write_bytes(content)
    torch.load(path, weights_only=True)
    assert "checksum" in refusal(LOADERS[kind], path)


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
        "a weight that is not finite": {**good, "model": {**model, name: model[name] * float("nan")}},
        "channels without end": {**good, "config": {**config, "latent_channels": 2**63}},
        "a truth value as a number": {**good, "config": {**config, "latent_channels": True}},
    }
    blocks = "blocks" if kind == "dream" else "decoder_blocks"
    broken["blocks without end"] = {**good, "config": {**config, blocks: 2**63}}
    if kind != "dream":  # allocated before the weights are compared, they would take all memory
        broken["a frame of 64 GB"] = {
            **good,
            "config": {**config, "height": 4096, "width": 4096, "channels": 4096},
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
            "steps without end": {**good, "steps": 10**9},
            "a threshold that is not a number": {
                **good,
                "config": {**config, "change_threshold": float("nan")},
            },
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
        save_small_autoencoder(tmp_path / name, seed)
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
