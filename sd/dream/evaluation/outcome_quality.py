"""How well the outcome model predicts rewards and ends of episodes, on held-out episodes."""

import numpy as np
import torch
from torch import Tensor

from dream.common.errors import InputError
from dream.data.splits import end_windows
from dream.data.trajectories import read_rewards
from dream.evaluation.evaluator import Evaluator
from dream.models.outcome import Outcome

MAX_ENDS = 256  # episode ends
BATCH = 64


def evaluate_outcome(evaluator: Evaluator, starts: Tensor, generated: Tensor, num_windows: int) -> dict:
    """Predicted rewards against the recorded ones: from real contexts, and from generated ones under the same recorded
    actions, at every frame of the rollouts `generated` (R, F, C, h, w) from `starts` (R, 2). Probability of an
    episode's end where one ends and elsewhere.

    Raises InputError if the model or the recording has no rewards."""
    data, L = evaluator.data, evaluator.unet.config.context
    rewards = read_rewards(data)
    if evaluator.outcome is None or rewards is None:
        raise InputError(f"the {'model' if evaluator.outcome is None else 'recording'} has no rewards")
    rewards = torch.from_numpy(rewards)
    windows = evaluator.windows(evaluator.held_out, L + 1, num_windows, "rewards")
    real = predict(evaluator, windows)
    results = {"real": reward_errors(real.reward, rewards[windows[:, 0], windows[:, 1] + L - 1])}
    F = generated.shape[1]
    if F > L:
        context = generated.unfold(1, L, 1)[:, :-1].movedim(-1, 2).flatten(0, 1)  # of generated frames alone
        actions = evaluator.actions(starts, L + F - 1)[:, L:].unfold(1, L, 1).flatten(0, 1)
        recorded = torch.stack([rewards[row, t + 2 * L - 1 : t + L + F - 1] for row, t in starts.tolist()])
        predicted = predict_from(evaluator, context, actions)
        results["generated"] = reward_errors(predicted.reward, recorded.flatten())
    ends = end_windows(data.episode_starts, evaluator.held_out, L)
    if len(ends):
        chosen = ends[np.linspace(0, len(ends) - 1, min(MAX_ENDS, len(ends))).astype(int)]
        at_ends = predict(evaluator, torch.from_numpy(chosen)).end_logit
        results["ends"] = {
            "episodes": len(at_ends),
            "probability": at_ends.sigmoid().mean().item(),
            "probability_elsewhere": real.end_logit.sigmoid().mean().item(),
            # Fraction of pairs of an end and another moment in which the end has the higher probability.
            "auc": (at_ends[:, None] > real.end_logit[None]).float().mean().item(),
        }
    return results


def predict(evaluator: Evaluator, windows: Tensor) -> Outcome:
    """Predictions after the real contexts at windows (M, 2), on the CPU."""
    L = evaluator.unet.config.context
    context = evaluator.encode(evaluator.real_frames(windows, 0, L))
    return predict_from(evaluator, context, evaluator.actions(windows, L))


@torch.no_grad()
def predict_from(evaluator: Evaluator, context: Tensor, actions: Tensor) -> Outcome:
    """Predictions from latents (M, L, C, h, w) and actions (M, L), on the CPU."""
    device = evaluator.device
    parts = [
        evaluator.outcome(each.to(device).float(), own_actions.to(device))
        for each, own_actions in zip(context.split(BATCH), actions.split(BATCH), strict=True)
    ]
    return Outcome(*(torch.cat(values).cpu() for values in zip(*parts, strict=True)))


def reward_errors(predicted: Tensor, recorded: Tensor) -> dict:
    """Correlation and root mean squared error of M rewards, and the error of predicting their mean."""
    spread = recorded.std(correction=0).item()
    pair = torch.stack([predicted, recorded])
    correlation = torch.corrcoef(pair)[0, 1].item() if spread > 0 and predicted.std() > 0 else None
    error = (predicted - recorded).square().mean().sqrt().item()
    return {"correlation": correlation, "rmse": error, "rmse_of_mean": spread, "windows": len(recorded)}
