"""The world model under evaluation, the recording it is compared with, and real, decoded and generated clips.

Clips are stored as uint8 frames or float16 latents, so that tens of thousands of frames of 112 x 256 pixels fit in
memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dream.common.errors import InputError
from dream.common.game_info import GameInfo
from dream.common.progress import progress_bar
from dream.data.latents import to_float_frames
from dream.data.splits import held_out_masks, split_episodes, training_seeds, window_starts
from dream.data.trajectories import Trajectories, open_trajectories
from dream.evaluation.exported_modules import OnnxDecoder, OnnxUNet
from dream.evaluation.metrics import quantize_frames
from dream.inference.runtimes import RUNTIMES
from dream.inference.select_backend import load_backend
from dream.models.autoencoder import Decoder, Encoder, decode
from dream.models.checkpoints import load_autoencoder, load_outcome, load_world_model
from dream.models.outcome import OutcomeModel
from dream.models.rollout import sample_next_latent
from dream.models.unet import UNet

ENCODE_BATCH = 64  # frames
ROLLOUT_BATCH = {"cpu": 16, "cuda": 64}  # rollouts per batch; results do not depend on it
ACTION_CHANGE_PROB = 1 / 8  # per frame, of sticky random actions
# Fraction of episodes held out of a recording that the model was not trained on; the others train the probes.
UNSEEN_HOLDOUT_FRACTION = 0.4
MIN_WINDOWS = 8  # held-out windows that a rollout length needs


@dataclass(frozen=True, eq=False)
class Evaluator:
    """A world model and a recording. `train` and `held_out`: disjoint masks, bool (N, T), of whole episodes."""

    data: Trajectories
    train: np.ndarray
    held_out: np.ndarray
    encoder: Encoder
    decoder: Decoder
    unet: UNet
    steps: int  # sampling steps per frame
    device: torch.device
    backend: str = "torch"  # name of the backend, for the report
    seed: int = 0  # of the noise of all generated frames
    outcome: OutcomeModel | None = None  # None: the model has no rewards
    reencode: bool = False  # feed back the encoding of the displayed frame, instead of the generated latent

    def windows(self, mask: np.ndarray, length: int, count: int, desc: str) -> Tensor:
        """Start positions (M, 2), row and time, of at most `count` windows, evenly spaced over all windows of `length`
        frames inside the mask (N, T). Raises InputError, with the purpose `desc`, if there is no window."""
        starts = window_starts(self.data.episode_starts, mask, length)
        if len(starts) == 0:
            raise InputError(f"no {length} frames in a row for {desc}: record more or longer episodes")
        chosen = np.linspace(0, len(starts) - 1, min(count, len(starts))).round().astype(int)
        return torch.from_numpy(starts[np.unique(chosen)])

    def longest_rollout(self, length: int, fallbacks: tuple[int, ...]) -> int:
        """`length`, or the largest of the `fallbacks` below it for which the held-out episodes have MIN_WINDOWS
        windows. If none fits: returns 0 if no fallbacks are given, else raises InputError."""
        L = self.unet.config.context
        for frames in (length, *sorted(fallbacks, reverse=True)):
            num_windows = len(window_starts(self.data.episode_starts, self.held_out, L + frames))
            if frames <= length and num_windows >= MIN_WINDOWS:
                return frames
            print(f"held-out episodes are too short for rollouts of {frames} frames")
        if not fallbacks:
            return 0
        raise InputError(
            "no held-out episode is long enough for a rollout: record more, or try another --seed"
        )

    def real_frames(self, starts: Tensor, offset: int, length: int) -> Tensor:
        """Recorded frames uint8 (M, length, 3, H, W) that begin `offset` frames after each of starts (M, 2)."""
        rows = [self.data.frames[row, t + offset : t + offset + length] for row, t in starts.tolist()]
        return torch.from_numpy(np.stack(rows))

    def actions(self, starts: Tensor, length: int) -> Tensor:
        """Recorded actions int64 (M, length) that begin at each of starts (M, 2)."""
        rows = [self.data.actions[row, t : t + length] for row, t in starts.tolist()]
        return torch.from_numpy(np.stack(rows).astype(np.int64))

    @torch.no_grad()
    def encode(self, frames_u8: Tensor) -> Tensor:
        """Frames uint8 (M, T, 3, H, W) -> latents float16 (M, T, C, h, w), on the CPU."""
        flat = frames_u8.flatten(0, 1)
        parts = progress_bar(flat.split(ENCODE_BATCH), desc="encoding", unit="batch", leave=False)
        latents = [self.encoder(to_float_frames(part, self.device)).half().cpu() for part in parts]
        return torch.cat(latents).unflatten(0, frames_u8.shape[:2])

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (M, T, C, h, w) -> frames uint8 (M, T, 3, H, W), on the CPU."""
        flat = latents.flatten(0, 1)
        frames = torch.empty(len(flat), 3, self.data.height, self.data.width, dtype=torch.uint8)
        pairs = list(zip(flat.split(ENCODE_BATCH), frames.split(ENCODE_BATCH), strict=True))
        for part, into in progress_bar(pairs, desc="decoding", unit="batch", leave=False):
            into.copy_((quantize_frames(decode(self.decoder, part.to(self.device))) * 255).round())
        return frames.unflatten(0, latents.shape[:2])

    def encode_displayed(self, latents: Tensor) -> Tensor:
        """Decodes latents (B, C, h, w) to 8-bit frames, as they are displayed, and encodes them again, float32."""
        return self.encode(self.decode(latents[:, None]))[:, 0].to(self.device).float()

    def batches(self, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Splits tensors (M, ...) into batches of at most ROLLOUT_BATCH rows, each preceded by its row indices (B,)."""
        batch = ROLLOUT_BATCH[self.device.type]
        parts = (each.split(batch) for each in (torch.arange(len(tensors[0])), *tensors))
        return zip(*parts, strict=True)

    def rollout(self, starts: Tensor, actions: Tensor, desc: str, unet: UNet | None = None) -> Tensor:
        """Generates latents float16 (M, F, C, h, w), on the CPU, from the real contexts at starts (M, 2).

        actions: int64 (M, L + F - 1); action L - 1 leads to the first generated frame. desc: for the progress bar.
        unet: the network (default: that of the evaluator).
        """
        context = self.encode(self.real_frames(starts, 0, self.unet.config.context))
        rollouts = []
        for rows, *inputs in self.batches(context, actions):
            latents = self.iterate_rollout(*inputs, unet or self.unet, desc, rows)
            rollouts.append(torch.stack([latent.half().cpu() for latent in latents], dim=1))
        return torch.cat(rollouts)

    def generators(self, rows: Tensor) -> list[torch.Generator]:
        """A random generator for each of the rollouts with the numbers `rows`: what a rollout draws depends neither on
        how many there are nor on the batch that it is computed in."""
        return [torch.Generator().manual_seed(1_000_003 * self.seed + int(row)) for row in rows]

    @torch.no_grad()
    def iterate_rollout(
        self, context: Tensor, actions: Tensor, unet: UNet, desc: str, rows: Tensor
    ) -> Iterator[Tensor]:
        """Yields F generated latents (B, C, h, w) from context (B, L, C, h, w) and actions (B, L + F - 1).

        rows: int64 (B,), the numbers of these rollouts, which decide their noise.
        """
        L = context.shape[1]
        context, actions = context.to(self.device).float(), actions.to(self.device)
        generators = self.generators(rows)
        for end in progress_bar(range(L, actions.shape[1] + 1), desc=desc, unit="frame", leave=False):
            noise = draw_noise(generators, context.shape[2:]).to(self.device)
            latent = sample_next_latent(unet, context, actions[:, end - L : end], noise, self.steps)
            feedback = self.encode_displayed(latent) if self.reencode else latent
            context = torch.cat([context[:, 1:], feedback[:, None]], dim=1)
            yield latent


def draw_noise(generators: list[torch.Generator], shape: torch.Size) -> Tensor:
    """Standard normal noise (B, *shape), each row from its own generator."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


def sticky_random_actions(count: int, length: int, num_actions: int, seed: int) -> Tensor:
    """Uniformly random actions int64 (count, length), each repeated for 1 / ACTION_CHANGE_PROB frames on average."""
    random = np.random.default_rng(seed)
    drawn = random.integers(num_actions, size=(count, length))
    changes = random.random((count, length)) < ACTION_CHANGE_PROB
    changes[:, 0] = True
    last_change = np.maximum.accumulate(np.where(changes, np.arange(length), 0), axis=1)
    return torch.from_numpy(np.take_along_axis(drawn, last_change, axis=1))


def or_skip_reason(measure: Callable, *inputs):
    """Result of `measure(*inputs)`; {"skipped": reason} if it raises InputError because the recording is too short or
    lacks data."""
    try:
        return measure(*inputs)
    except InputError as problem:
        return {"skipped": str(problem)}


def load_evaluator(
    trajectories: Path, encoder_path: Path, decoder_path: Path, model_path: Path, device: torch.device,
    backend: str = "torch", steps: int | None = None, seed: int = 0, random_action_recording: Path | None = None,
) -> tuple[Evaluator, Trajectories | None, GameInfo, str]:  # fmt: skip
    """Returns the evaluator, the recording of random actions (if its path is given), the game, and a sentence about
    which episodes are held out.

    The held-out episodes are those that training held out or, if the model was not trained on this recording, a
    fraction UNSEEN_HOLDOUT_FRACTION drawn by `seed`, which also seeds the noise. backend: "torch" or a key of
    RUNTIMES. steps: sampling steps per frame (None: the model's own). Raises InputError if a file is invalid or the
    files do not belong together.
    """
    encoder, _ = load_autoencoder(encoder_path, decoder_path)
    decoder, unet, game, checkpoint = load_world_model(decoder_path, model_path)
    data = open_recording(trajectories, decoder, game)
    training_runs = checkpoint.get("training_runs", [])
    seeds = sorted(training_seeds(data, training_runs, trajectories))
    random_actions = None
    if random_action_recording:
        random_actions = open_recording(random_action_recording, decoder, game)
        if training_seeds(random_actions, training_runs, random_action_recording):
            raise InputError(
                f"the model was trained on {random_action_recording}: record random actions with another --seed"
            )
    if seeds:
        train, held_out = held_out_masks(data, seeds)
        split = f"episodes held out of training ({', '.join(f'seed {each}' for each in seeds)})"
    else:
        train, held_out = split_episodes(data, UNSEEN_HOLDOUT_FRACTION, seed)
        split = (
            f"{UNSEEN_HOLDOUT_FRACTION:.0%} of a recording that the model was not trained on (seed {seed})"
        )
    encoder, decoder, unet = (
        part.to(device, memory_format=torch.channels_last) for part in (encoder, decoder, unet)
    )
    unet.attach_autoencoder(encoder, decoder)
    steps, name = steps or checkpoint["steps"], f"torch {device.type}"
    if backend in RUNTIMES:
        onnx_backend = load_backend(decoder_path, model_path, steps, backend)
        name, decoder = onnx_backend.name, OnnxDecoder(decoder, onnx_backend)
        unet = OnnxUNet(unet, onnx_backend).attach_autoencoder(encoder, decoder)
    outcome = load_outcome(model_path, checkpoint)
    outcome = outcome and outcome.to(device)
    evaluator = Evaluator(data, train, held_out, encoder, decoder, unet, steps, device, name, seed, outcome)
    return evaluator, random_actions, game, split


def open_recording(path: Path, decoder: Decoder, game: GameInfo) -> Trajectories:
    """Opens a recording. Raises InputError if its frame size or its actions are not those of the model."""
    data = open_trajectories(path)
    data.print_assumptions()
    size = (decoder.config.height, decoder.config.width)
    if (data.height, data.width) != size:
        raise InputError(f"the model generates frames of {size}, {path} has {(data.height, data.width)}")
    unnamed = any("action_names" in line for line in data.assumptions)
    if data.num_actions > len(game.action_names) or (data.action_names != game.action_names and not unnamed):
        raise InputError(
            f"{path} is of another game: its actions are {', '.join(data.action_names)}, those of the model "
            f"{', '.join(game.action_names)}: choose a recording of the model's game"
        )
    if data.fps != game.fps:
        print(f"the model was trained at {game.fps:g} frames per second, {path} has {data.fps:g}")
    return data
