"""Models to and from files. A model's settings travel in its file: nothing else is needed to build it again."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from dream.common.errors import InputError
from dream.common.game_info import GameInfo
from dream.common.runs import load_checkpoint
from dream.models.autoencoder import AutoencoderConfig, Decoder, Encoder
from dream.models.unet import UNet, UNetConfig


def half_precision_state_dict(model: nn.Module) -> dict[str, torch.Tensor]:
    """Weights for use: half precision costs no quality and halves the file. Counters keep their type."""
    return {
        name: tensor.detach().cpu().half() if tensor.is_floating_point() else tensor.detach().cpu()
        for name, tensor in model.state_dict().items()
    }


def fingerprint(decoder: Decoder) -> str:
    """Tells whether a diffusion model was trained on the latents of this very autoencoder."""
    digest = hashlib.sha1()
    for tensor in half_precision_state_dict(decoder).values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def autoencoder_checkpoint(kind: str, part: Encoder | Decoder, autoencoder: str = "") -> dict:
    """`kind`: "encoder" or "decoder"; `autoencoder`: the fingerprint, by which an encoder knows its decoder."""
    return {
        "kind": kind,
        "config": asdict(part.config),
        "model": half_precision_state_dict(part),
        "autoencoder": autoencoder,
    }


def load_autoencoder_part(path: Path, kind: str) -> Encoder | Decoder:
    """The encoder or the decoder of a file, in float32, for use. Raises BadInput where the file does not hold it."""
    checkpoint = load_checkpoint(path, kind, "sd/train_autoencoder.py")
    with load_errors_as_bad_input(path):
        part = {"encoder": Encoder, "decoder": Decoder}[kind](AutoencoderConfig(**checkpoint["config"]))
        part.load_state_dict(checkpoint["model"])
    return part.eval().requires_grad_(False)


def load_autoencoder(encoder_path: Path, decoder_path: Path) -> tuple[Encoder, Decoder]:
    """The two parts. Raises BadInput where they are not of one moment of one training."""
    encoder, decoder = (
        load_autoencoder_part(encoder_path, "encoder"),
        load_autoencoder_part(decoder_path, "decoder"),
    )
    checkpoint = load_checkpoint(encoder_path, "encoder", "sd/train_autoencoder.py")
    if encoder.config != decoder.config or checkpoint.get("autoencoder") != fingerprint(decoder):
        raise InputError(
            f"{encoder_path} and {decoder_path} are not of one training: take those that stand side by side"
        )
    return encoder, decoder


def model_checkpoint(
    unet: UNet, game: GameInfo, autoencoder: str, steps: int, training_runs: Sequence[dict] = ()
) -> dict:
    """`autoencoder`: its fingerprint; `steps`: sampling steps a frame unless the player asks for another number;
    `training_runs`: a dict for each training, the last one last, with the "recording" and its "prefix_fingerprint"
    (fingerprints), and the "seed" that set its held-out episodes aside."""
    return {
        "kind": "dream",
        "config": asdict(unet.config),
        "model": half_precision_state_dict(unet),
        "encoder": half_precision_state_dict(unet.autoencoder[0]) if unet.config.use_flow else None,
        "game": asdict(game),
        "autoencoder": autoencoder,
        "steps": steps,
        "training_runs": [dict(one) for one in training_runs],
    }


def load_unet(path: Path) -> tuple[UNet, GameInfo, dict]:
    """The denoiser in float32, what is known of its game, and the file's dict. Raises BadInput.

    With motion it wants `attach_autoencoder` before it dreams; `load_world_model` does that.
    """
    checkpoint = load_checkpoint(path, "dream", "sd/train_sd.py (its best.pt)")
    with load_errors_as_bad_input(path):
        unet = UNet(UNetConfig.from_dict(checkpoint["config"]))
        unet.load_state_dict(checkpoint["model"])
        info = GameInfo.from_dict(checkpoint["game"])
        if not isinstance(checkpoint["steps"], int) or not isinstance(checkpoint["autoencoder"], str):
            raise TypeError("its settings are of the wrong type")
        if len(info.action_names) != unet.config.num_actions:
            raise ValueError(f"its names or keys are not those of {unet.config.num_actions} actions")
        if checkpoint["steps"] < 1:
            raise ValueError(f"{checkpoint['steps']} steps a frame")
    return unet.eval().requires_grad_(False), info, checkpoint


def load_world_model(decoder_path: Path, model_path: Path) -> tuple[Decoder, UNet, GameInfo, dict]:
    """A decoder, and the denoiser, game and file's dict of the model trained with it. Raises BadInput."""
    decoder = load_autoencoder_part(decoder_path, "decoder")
    unet, game, checkpoint = load_unet(model_path)
    if fingerprint(decoder) != checkpoint["autoencoder"]:
        raise InputError(f"{model_path} was trained with another autoencoder than that of {decoder_path}")
    if unet.config.use_flow:
        encoder = Encoder(decoder.config)
        with load_errors_as_bad_input(model_path):
            encoder.load_state_dict(checkpoint["encoder"])
        unet.attach_autoencoder(encoder.eval().requires_grad_(False), decoder)
    return decoder, unet, game, checkpoint


class load_errors_as_bad_input:
    """Turns what a malformed but harmless file causes while a model is built into one clear line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, problem: BaseException | None, _: object) -> None:
        if isinstance(problem, Exception) and not isinstance(problem, OSError):
            first_line = (str(problem) or type(problem).__name__).splitlines()[0]
            raise InputError(f"{self.path} does not fit this version ({first_line}): train it anew") from None
