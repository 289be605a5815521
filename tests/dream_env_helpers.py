"""Helpers of the tests of Dream-v0: small models with rewards, and environments of them."""

from pathlib import Path

import dream_env  # noqa: F401  registers Dream-v0
import gymnasium
import torch
from small import save_small_world_model, small_outcome


def outcome_with_end(bias: float, num_actions: int = 3):
    """A random outcome model that ends every episode, or none, at once. bias: of its logit."""
    outcome = small_outcome(num_actions)
    with torch.no_grad():
        outcome.out.bias[1] = bias
    return outcome


def save_endless_model(folder: Path, **options) -> Path:
    """Saves a model with rewards whose episodes do not end; returns the path of model.pt. options: of
    `save_small_world_model`."""
    num_actions = len(options["game"].action_names) if "game" in options else 3
    return save_small_world_model(folder, outcome=outcome_with_end(-50, num_actions), **options)["model_path"]


def make(model_path: Path, **settings) -> gymnasium.Env:
    return gymnasium.make("Dream-v0", model_path=model_path, backend="torch", **settings)


def make_vec(model_path: Path, num_envs: int, **settings):
    return gymnasium.make_vec(
        "Dream-v0", num_envs=num_envs, model_path=model_path, backend="torch", **settings
    )
