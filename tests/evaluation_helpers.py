"""Helpers of the evaluation tests: files of a small untrained model, an evaluator of them, stand-ins for networks."""

import json
from pathlib import Path

import evaluate_sd
import numpy as np
import torch
from dream.common.runs import save_checkpoint
from dream.data.splits import split_episodes
from dream.data.trajectories import open_trajectories
from dream.evaluation.evaluator import Evaluator
from dream.models.checkpoints import fingerprint, model_checkpoint
from player.rl.agent import Agent, AgentConfig, agent_checkpoint
from small import (
    CPU,
    GAME,
    moving_unet,
    randomize_weights,
    save_moving_square,
    save_small_autoencoder,
    small_autoencoder,
    small_outcome,
    small_unet,
)


def save_evaluation_files(folder: Path) -> dict:
    """Saves a small untrained model, an agent, and a recording with the game's state (a.npz) in `folder`.

    Returns the folder, and the options of evaluate_sd.py for these files ("flags").
    """
    _, decoder = save_small_autoencoder(folder)
    checkpoint = model_checkpoint(moving_unet(), GAME, fingerprint(decoder), 1, outcome=small_outcome())
    save_checkpoint(checkpoint, folder / "model.pt")
    starts = np.zeros((12, 40), bool)
    starts[:, 0] = True
    random = np.random.default_rng(0)
    names = ("truth/speed", "truth/x", "truth/y", "truth/heading", "truth/place")
    states = {name: random.random((12, 40)).astype(np.float32) for name in names}
    meta = json.dumps(
        {"fps": 15, "record_envs": 12, "action_keys": [list(keys) for keys in GAME.action_keys]}
    )
    rewards = random.normal(size=(12, 40)).astype(np.float32)
    arrays = {
        "episode_starts": starts,
        "rewards": rewards,
        "meta": meta,
        "action_names": np.array(GAME.action_names),
        **states,
    }
    save_moving_square(folder / "a.npz", arrays, rows=12, steps=40)
    torch.manual_seed(0)
    agent = Agent(AgentConfig(3, GAME.action_names, "Test-v0", 4))
    save_checkpoint(agent_checkpoint(agent), folder / "agent.pt")
    flags = ["--trajectories", folder / "a.npz", "--device", "cpu", "--backend", "torch"]
    for part in ("encoder", "decoder", "model"):
        flags += [f"--{part}-path", folder / f"{part}.pt"]
    return {"folder": folder, "flags": flags}


TINY = evaluate_sd.EvalConfig(
    num_next_frames=12, num_rollouts=4, rollout_length=20, horizons=(1, 4, 16), extra_horizon=0, probe_steps=4,
    c2st_clips=6, num_long_rollouts=4, long_horizons=(8, 20), num_agent_rollouts=2, agent_frames=12,
)  # fmt: skip


def evaluate(*flags) -> None:
    evaluate_sd.main(evaluate_sd.parse_args([*map(str, flags), "--quick"]))


def make_evaluator(path: Path, unet=None) -> Evaluator:
    data = open_trajectories(path)
    train, held_out = split_episodes(data, seed=0)
    encoder, decoder = small_autoencoder()
    return Evaluator(data, train, held_out, encoder, decoder, unet or randomize_weights(small_unet()), 1, CPU)


class CopyModel(torch.nn.Module):
    """A network that repeats the last frame, independent of the actions, and stores its input actions."""

    def __init__(self) -> None:
        super().__init__()
        self.config, self.action_inputs = small_unet().config, []

    def warp_last_latent(self, context, actions, last_frame=None):
        return context[:, -1]

    def forward(self, z, t, context, actions, context_noise=None, warped=None):
        self.action_inputs.append(actions.clone())
        return warped


class FakeAgent:
    """Replaces the agent: chooses the actions 1, 2, 0, 1 ... and stores the frames it observes."""

    def __init__(self) -> None:
        self.frames, self.views = [], None

    def observe(self, frames_u8):
        self.frames.append(frames_u8)

    def act(self, generators):
        return torch.full((len(self.frames[-1]),), len(self.frames) % 3)
