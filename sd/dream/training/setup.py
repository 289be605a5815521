"""Set-up of a training of the diffusion model: the frozen autoencoder, the settings that a resumed run must share, and
the network."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dream.common.errors import InputError, refuse_damaged
from dream.common.runs import NEW_RUN
from dream.data.trajectories import Trajectories, recording_fingerprint
from dream.models.autoencoder import Decoder, Encoder
from dream.models.checkpoints import fingerprint, load_autoencoder, load_outcome, load_unet, make_unet_config
from dream.models.outcome import OutcomeConfig
from dream.models.transfer import copy_weights
from dream.models.unet import UNet, UNetConfig
from dream.training.outcome import OutcomeTraining, has_outcomes

# Of a new model. UNetConfig's own defaults are what older checkpoints, which do not say, were trained with.
NEW_MODEL = {"use_flow": True, "warp": "bicubic"}


def check_folder(option: str, path: str | Path) -> Path:
    """The path. Raises InputError if it is a file."""
    if Path(path).is_file():
        raise InputError(f"{option} {path} is a file: name its folder, {Path(path).parent}")
    return Path(path)


def load_frozen_autoencoder(
    folder: str | Path, data: Trajectories, device: torch.device
) -> tuple[Encoder, Decoder, str]:
    """Encoder and decoder on the device, and their fingerprint. Raises InputError where they do not fit the
    recording."""
    folder = check_folder("--autoencoder-dir", folder)
    encoder, decoder = load_autoencoder(folder / "encoder.pt", folder / "decoder.pt")
    size = (decoder.config.height, decoder.config.width)
    if size != (data.height, data.width):
        raise InputError(f"the autoencoder is for frames {size}, the recording has {data.frames.shape[3:]}")
    encoder, decoder = (part.to(device, memory_format=torch.channels_last) for part in (encoder, decoder))
    return encoder, decoder, fingerprint(decoder)


def checkpoint_bytes(unet: UNet) -> int:
    """Size of all checkpoints of a run, about: last.pt has weights, their average and the optimizer in float32, best.pt
    and final.pt have float16."""
    return sum(weight.numel() for weight in unet.parameters()) * (4 * 4 + 2 * 2)


def fixed_settings(args: argparse.Namespace, data: Trajectories, autoencoder: str) -> dict:
    """By option, what a resumed run must have as it began."""
    names = (
        "seed",
        "batch_size",
        "epoch_samples",
        "pure_noise_fraction",
        "optimizer",
        "gan_weight",
        "off_data",
        "flow_pretrain",
    )
    settings = {"--" + name.replace("_", "-"): getattr(args, name) for name in names}
    return {**settings, "--trajectories": recording_fingerprint(data), "--autoencoder-dir": autoencoder}


def make_unet(args: argparse.Namespace, data: Trajectories, resumed: dict | None) -> tuple[UNet, list[dict]]:
    """The network to train, and the training runs that its weights come from."""
    choices = {
        "channels": args.channels and tuple(args.channels),
        "prediction_type": args.prediction_type,
        "use_flow": args.flow,
        "warp": args.warp,
        "still_threshold": args.still_threshold,
    }
    choices = {name: choice for name, choice in choices.items() if choice is not None}
    if resumed:
        source = "the run"
        with refuse_damaged(Path(args.output_dir) / "last.pt", NEW_RUN):
            unet, earlier_runs = UNet(make_unet_config(resumed["config"])), resumed["earlier_runs"]
    elif args.init_from:
        source = args.init_from
        unet, game, checkpoint = load_unet(args.init_from)
        earlier_runs = checkpoint["training_runs"]
        if args.new_game or tuple(game.action_names) != tuple(data.action_names):
            # In another game the flow may move nothing although something changes.
            new = UNet(replace(unet.config, num_actions=data.num_actions, still_threshold=0.0))
            kept = copy_weights(new, unet.state_dict())
            print(f"{source} was trained on another game: {len(kept)} of its weights are learned anew")
            unet, earlier_runs = new, []
        if args.warp:  # the weights fit any interpolation
            unet.config = replace(unet.config, warp=args.warp)
    else:
        return UNet(UNetConfig(num_actions=data.num_actions, **{**NEW_MODEL, **choices})), []
    if args.still_threshold is not None:  # a setting of the sampler
        unet.config = replace(unet.config, still_threshold=args.still_threshold)
    for name, choice in choices.items():
        if getattr(unet.config, name) != choice:
            flag = {"use_flow": "--flow"}.get(name, "--" + name.replace("_", "-"))
            raise InputError(f"{flag} cannot be changed: {source} has {getattr(unet.config, name)}")
    if unet.config.num_actions != data.num_actions:
        raise InputError(f"{source} has {unet.config.num_actions} actions, the recording {data.num_actions}")
    return unet.train().requires_grad_(True), earlier_runs


def make_outcome_training(
    args: argparse.Namespace,
    unet: UNet,
    data: Trajectories,
    latents: Tensor,
    mask: np.ndarray,
    starts: Tensor,
    device: torch.device,
    generator: torch.Generator,
) -> OutcomeTraining | None:
    """The training of the outcome model; None, with a line that says so, for a recording without rewards. Arguments as
    for OutcomeTraining. With --init-from a model of the same game, it begins with that model's weights."""
    if not has_outcomes(data):
        print("no rewards in the recording: the model can be played, but no agent can learn in it")
        return None
    config = OutcomeConfig(data.num_actions, unet.config.latent_channels, unet.config.context)
    training = OutcomeTraining(data, latents, mask, starts, config, device, generator)
    if args.init_from and not args.new_game:
        _, game, checkpoint = load_unet(args.init_from)
        earlier = load_outcome(args.init_from, checkpoint)
        if earlier and earlier.config == config and tuple(game.action_names) == tuple(data.action_names):
            training.start_from(earlier)
    return training
