"""Saves and loads the models. A checkpoint contains the model's settings, so nothing else is needed to rebuild it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from dream.common.errors import InputError, refuse_damaged
from dream.common.game_info import GameInfo
from dream.common.limits import MAX_CONTEXT, MAX_STEPS
from dream.common.runs import load_checkpoint
from dream.models.autoencoder import AutoencoderConfig, Decoder, Encoder
from dream.models.flow import GROUP_SIZE, INTERPOLATIONS
from dream.models.outcome import OutcomeConfig, OutcomeModel
from dream.models.unet import PREDICTION_TYPES, UNet, UNetConfig

AUTOENCODER_SCRIPT = "sd/train_autoencoder.py"
MODEL_SCRIPT = "sd/train_sd.py (its best.pt)"
TRAIN_AGAIN = "use another copy, or train it again"
# Largest values of settings in a file: a damaged or hostile one must not take all memory or never end.
MAX_SETTING = 4096
MAX_SETTINGS = {
    "blocks": 64,
    "encoder_blocks": 64,
    "decoder_blocks": 64,
    "latent_channels": 64,
    "context": MAX_CONTEXT,
}

Module = TypeVar("Module", bound=nn.Module)
Config = TypeVar("Config")


def half_precision_state_dict(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state_dict for inference, in float16 and on the CPU; integers and single numbers keep their type."""
    return {
        name: tensor.detach().cpu().half()
        if tensor.is_floating_point() and tensor.ndim
        else tensor.detach().cpu()
        for name, tensor in model.state_dict().items()
    }


def fingerprint(decoder: Decoder) -> str:
    """Identifies an autoencoder: 12 hex digits of the SHA-1 of its decoder's float16 weights.

    A model can only be used with the autoencoder it was trained with.
    """
    digest = hashlib.sha1()
    for tensor in half_precision_state_dict(decoder).values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def autoencoder_checkpoint(kind: str, part: Encoder | Decoder, autoencoder: str = "") -> dict:
    """Content of encoder.pt or decoder.pt.

    `kind`: "encoder" or "decoder". `autoencoder`: in encoder.pt, the fingerprint of the decoder that belongs to it.
    """
    return {
        "kind": kind,
        "config": asdict(part.config),
        "model": half_precision_state_dict(part),
        "autoencoder": autoencoder,
    }


def load_autoencoder_part(path: Path, kind: str) -> Encoder | Decoder:
    """The encoder or the decoder in float32, for inference. `kind`: "encoder" or "decoder".

    Raises InputError if the file is missing, damaged, of another kind, or does not fit this version.
    """
    return _build_autoencoder_part(path, load_checkpoint(path, kind, AUTOENCODER_SCRIPT))


def load_autoencoder(encoder_path: Path, decoder_path: Path) -> tuple[Encoder, Decoder]:
    """Encoder and decoder. Raises InputError if a file is invalid or the two are not from the same training run."""
    encoder_checkpoint = load_checkpoint(encoder_path, "encoder", AUTOENCODER_SCRIPT)
    encoder = _build_autoencoder_part(encoder_path, encoder_checkpoint)
    decoder = load_autoencoder_part(decoder_path, "decoder")
    if encoder.config != decoder.config or encoder_checkpoint.get("autoencoder") != fingerprint(decoder):
        raise InputError(
            f"{encoder_path} and {decoder_path} are not of one training run: use two files from the same folder"
        )
    return encoder, decoder


def _build_autoencoder_part(path: Path, checkpoint: dict) -> Encoder | Decoder:
    _check_settings(path, checkpoint, AutoencoderConfig, AUTOENCODER_SCRIPT)
    part_class = {"encoder": Encoder, "decoder": Decoder}[checkpoint["kind"]]
    with refuse_damaged(path, TRAIN_AGAIN):
        config = make_config(AutoencoderConfig, checkpoint["config"])
        part = build(lambda: part_class(config), checkpoint["model"])
    return part.eval().requires_grad_(False)


def model_checkpoint(
    unet: UNet,
    game: GameInfo,
    autoencoder: str,
    steps: int,
    training_runs: Sequence[dict] = (),
    outcome: OutcomeModel | None = None,
) -> dict:
    """Content of a model's checkpoint (best.pt of sd/train_sd.py).

    `autoencoder`: its fingerprint. `steps`: default number of sampling steps per frame. `training_runs`: one dict per
    training run, the latest one last, with the fingerprints "recording" and "prefix_fingerprint" of its recording and
    the "seed" of its split into training and validation episodes. `outcome`: None for a game without rewards.
    """
    return {
        "kind": "dream",
        "config": asdict(unet.config),
        "model": half_precision_state_dict(unet),
        "encoder": half_precision_state_dict(unet.autoencoder[0]) if unet.config.use_flow else None,
        "game": asdict(game),
        "autoencoder": autoencoder,
        "steps": steps,
        "training_runs": [dict(run) for run in training_runs],
        "outcome": outcome and outcome_checkpoint(outcome),
    }


def outcome_checkpoint(outcome: OutcomeModel) -> dict:
    """The outcome model's part of a model's checkpoint."""
    return {"config": asdict(outcome.config), "model": half_precision_state_dict(outcome)}


def load_unet(path: Path) -> tuple[UNet, GameInfo, dict]:
    """The denoiser in float32 for inference, its game, and the checkpoint's dict. Raises InputError if it is invalid.

    A model with optical flow also needs `attach_autoencoder` before it can generate; `load_world_model` calls it.
    """
    checkpoint = load_checkpoint(path, "dream", MODEL_SCRIPT)
    _check_settings(path, checkpoint, UNetConfig, MODEL_SCRIPT)
    with refuse_damaged(path, TRAIN_AGAIN):
        config = make_unet_config(checkpoint["config"])
        unet = build(lambda: UNet(config), checkpoint["model"])
        game = GameInfo.from_dict(checkpoint["game"])
        if not isinstance(checkpoint["steps"], int) or not isinstance(checkpoint["autoencoder"], str):
            raise TypeError("its steps or autoencoder are of the wrong type")
        if len(game.action_names) != unet.config.num_actions:
            raise ValueError(
                f"it has {len(game.action_names)} action names for {unet.config.num_actions} actions"
            )
        if not 1 <= checkpoint["steps"] <= MAX_STEPS:
            raise ValueError(f"{checkpoint['steps']} sampling steps per frame")
    return unet.eval().requires_grad_(False), game, checkpoint


def load_outcome(path: Path, checkpoint: dict) -> OutcomeModel | None:
    """The outcome model in float32 for inference, from the dict of a model's checkpoint at `path`; None if it has none,
    because its recording had no rewards. Raises InputError if it is invalid."""
    saved = checkpoint.get("outcome")
    if saved is None:
        return None
    with refuse_damaged(path, TRAIN_AGAIN):
        config = make_config(OutcomeConfig, saved["config"])
        if config.channels % GROUP_SIZE or not config.channels:
            raise ValueError(f"its outcome model has {config.channels} channels")
        unet = checkpoint["config"]
        if any(saved["config"][name] != unet[name] for name in ("num_actions", "latent_channels", "context")):
            raise ValueError("its outcome model is of another world model")
        outcome = build(lambda: OutcomeModel(config), saved["model"])
    return outcome.eval().requires_grad_(False)


def load_world_model(decoder_path: Path, model_path: Path) -> tuple[Decoder, UNet, GameInfo, dict]:
    """Decoder, denoiser, game and checkpoint dict. Raises InputError if a file is invalid or the two do not fit."""
    decoder = load_autoencoder_part(decoder_path, "decoder")
    unet, game, checkpoint = load_unet(model_path)
    if fingerprint(decoder) != checkpoint["autoencoder"]:
        raise InputError(
            f"{model_path} was trained with another autoencoder than {decoder_path}: use the decoder.pt next to it"
        )
    if unet.config.use_flow:
        with refuse_damaged(model_path, TRAIN_AGAIN):
            encoder = build(lambda: Encoder(decoder.config), checkpoint["encoder"])
        unet.attach_autoencoder(encoder.eval().requires_grad_(False), decoder)
    return decoder, unet, game, checkpoint


def _check_settings(path: Path, checkpoint: dict, config_class: type, script: str) -> None:
    """Raises InputError if the checkpoint has settings that were renamed or removed since it was written."""
    config = checkpoint.get("config")
    unknown = set(config) - {field.name for field in fields(config_class)} if isinstance(config, dict) else ()
    if unknown:
        names = ", ".join(sorted(map(str, unknown)))
        raise InputError(
            f"{path} was written by an older version: this one has no {names}; train again with {script}"
        )


def build(make: Callable[[], Module], weights: dict[str, torch.Tensor]) -> Module:
    """The module that `make` creates, with `weights` as its state_dict. Raises ValueError if they do not fit.

    Names and shapes are compared before any memory is allocated, because the settings of a damaged file may describe a
    network of any size.
    """
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in make().state_dict().items()}
    for name in wanted.keys() | weights.keys():
        shape = tuple(weights[name].shape) if name in weights else None
        if shape is None or name not in wanted or shape != wanted[name]:
            raise ValueError(f"its weight {name} has shape {shape}, wanted {wanted.get(name)}")
    module = make()
    module.load_state_dict(weights)
    return module


def make_unet_config(settings: dict) -> UNetConfig:
    """The settings of a denoiser from a checkpoint. Raises KeyError, TypeError or ValueError if they are invalid."""
    config = make_config(UNetConfig, settings)
    names_known = config.prediction_type in PREDICTION_TYPES and config.warp in INTERPOLATIONS
    if not names_known or not 1 <= len(config.channels) <= 2:
        raise ValueError(f"its settings are {config}")
    return config


def make_config(config_class: type[Config], settings: dict) -> Config:
    """The settings of a network from a checkpoint. Raises TypeError or ValueError if one has another type than its
    default or is out of range."""
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    config = config_class(**settings)
    for field in fields(config_class):
        value = getattr(config, field.name)
        for number in value if isinstance(value, tuple) else (value,):
            kind = int if isinstance(value, tuple) else field.type
            if type(number) is not kind:
                raise TypeError(f"its setting {field.name} is {number!r}, wanted {kind.__name__}")
            if kind in (int, float) and not 0 <= number <= MAX_SETTINGS.get(field.name, MAX_SETTING):
                raise ValueError(f"its setting {field.name} is {number!r}")
    return config
