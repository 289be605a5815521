"""The evaluator: which episodes are held out, rollouts, long rollouts."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dream.common.errors import InputError
from dream.common.runs import save_checkpoint
from dream.data.splits import episode_ids, held_out_masks, split_episodes, training_seeds
from dream.data.trajectories import open_trajectories, recording_fingerprint, recording_prefix_fingerprint
from dream.evaluation import evaluator as evaluator_module
from dream.evaluation.evaluator import load_evaluator
from dream.evaluation.frame_quality import evaluate_next_frame, evaluate_rollouts
from dream.evaluation.long_rollouts import (
    bootstrap_std,
    evaluate_long_rollouts,
    recorded_actions,
    split_halves,
)
from dream.evaluation.lpips import random_alexnet
from dream.evaluation.metrics import psnr
from dream.models.checkpoints import fingerprint, model_checkpoint
from evaluation_helpers import make_evaluator, save_evaluation_files
from small import CPU, GAME, moving_unet, randomize_weights, small_autoencoder, small_unet


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> dict:
    return save_evaluation_files(tmp_path_factory.mktemp("evaluation"))


def test_rollouts_are_of_held_out_episodes_only(evaluated):
    """Rollouts on training episodes would measure memorisation."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    data, held_out = evaluator.data, evaluator.held_out
    _, rollouts = evaluate_rollouts(evaluator, 64, 16, (1, 16), {"psnr_db": 30.0}, None)
    for row, t in rollouts["starts"].tolist():
        assert held_out[row, t : t + 20].all()
    first, second = split_halves(evaluator)
    assert not (first & second).any() and ((first | second) == held_out).all()
    ids = episode_ids(data)
    assert not set(ids[first]) & set(ids[second]) and first.any() and second.any()
    frames = (
        torch.from_numpy(np.array(data.frames[rollouts["starts"][0, 0], rollouts["starts"][0, 1] + 4])) / 255
    )
    generated = rollouts["generated"][0, :1] / 255
    assert rollouts["psnr_curve"][0, 0].item() == pytest.approx(
        psnr(generated, frames[None]).item(), abs=1e-4
    )


def test_held_out_episodes_are_those_of_training(evaluated, tmp_path):
    """With another seed nine in ten held-out episodes would be training episodes."""
    data = open_trajectories(evaluated["folder"] / "a.npz")
    training_runs = [
        {"recording": recording_fingerprint(data), "seed": 3},
        {"recording": "another", "seed": 4},
    ]
    checkpoint = model_checkpoint(
        randomize_weights(small_unet()), GAME, fingerprint(small_autoencoder()[1]), 1, training_runs
    )
    save_checkpoint(checkpoint, tmp_path / "model.pt")
    folder = evaluated["folder"]
    paths = folder / "a.npz", folder / "encoder.pt", folder / "decoder.pt", tmp_path / "model.pt"
    evaluator, _, _, split = load_evaluator(*paths, CPU, seed=5)
    np.testing.assert_array_equal(evaluator.held_out, split_episodes(data, seed=3)[1])
    assert "held out of training" in split and "seed 3" in split


def test_held_out_of_two_trainings():
    starts = np.tile(np.arange(200) % 10 == 0, (2, 1))  # 40 episodes
    data = SimpleNamespace(episode_starts=starts, num_rows=2, record_envs=2, meta={})
    by_3, by_4 = (split_episodes(data, seed=seed)[1] for seed in (3, 4))
    train, held_out = held_out_masks(data, [3, 4])
    np.testing.assert_array_equal(held_out, by_3 & by_4)
    assert held_out.any() and (by_3 & ~by_4).any() and not (train & held_out).any()
    with pytest.raises(InputError, match="record anew"):
        held_out_masks(data, range(30))


def test_a_longer_recording_of_the_same_play_is_refused(evaluated):
    """It contains the training frames, under another fingerprint."""
    data = open_trajectories(evaluated["folder"] / "a.npz")
    shorter = SimpleNamespace(actions=data.actions[:2], frames=data.frames[:2])
    other = SimpleNamespace(actions=data.actions[1:], frames=data.frames[1:])
    training_run = {
        "recording": recording_fingerprint(data),
        "prefix_fingerprint": recording_prefix_fingerprint(data),
        "seed": 3,
    }
    assert training_seeds(data, [training_run], "a.npz") == {3}
    assert training_seeds(other, [training_run], "a.npz") == set()
    with pytest.raises(InputError, match=r"b\.npz begins like"):
        training_seeds(shorter, [training_run], "b.npz")


def test_long_rollouts_use_the_actions_of_a_recording(evaluated):
    """Rollouts use its actions, past the end of a row those of the environment's next row, and are compared with all of
    its frames."""
    data = open_trajectories(evaluated["folder"] / "a.npz")
    recording = SimpleNamespace(actions=np.arange(24).reshape(4, 6), num_rows=4, num_steps=6, record_envs=2)
    starts = torch.tensor([[0, 4], [3, 5], [2, 5]])
    actions = recorded_actions(recording, starts, 4)  # rows 0 and 2 are of the same environment
    assert actions.tolist() == [[4, 5, 12, 13], [23, 0, 1, 2], [17, 6, 7, 8]]
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    results, last = evaluate_long_rollouts(evaluator, 4, (8, 20), random_alexnet(), 0, data)
    assert results["actions"] == "recorded" and len(last) == 4
    whole = replace(evaluator, held_out=np.ones(data.actions.shape, dtype=bool))
    real, _ = evaluate_long_rollouts(whole, 4, (8, 20), random_alexnet(), 0)
    assert results["frame_diff"]["real"] == real["frame_diff"]["real"]  # of all its episodes


def test_the_bootstrap_resamples_rollouts_not_frames():
    """Frames of one rollout are alike: more of them must not shrink the standard deviation."""
    for frames in (1, 1000):
        rollout_ids = torch.arange(4).repeat(frames)
        values = rollout_ids.float() % 2  # 0 or 1, constant within a rollout
        deviation = bootstrap_std(
            lambda indices, values=values: values[indices].mean().item(), rollout_ids, seed=0
        )
        assert deviation == pytest.approx(0.5 / math.sqrt(4), rel=0.2)


def test_the_seed_changes_the_noise_of_all_generated_frames(evaluated):
    evaluator = make_evaluator(evaluated["folder"] / "a.npz", moving_unet())
    starts = evaluator.windows(evaluator.held_out, 4 + 3, 2, "this test")
    actions = evaluator.actions(starts, 4 + 2)
    one, same, other = (
        (replace(evaluator, seed=seed).rollout(starts, actions, "this test"),
         evaluate_next_frame(replace(evaluator, seed=seed), 5, (1,), None)["teacher_forced"]["1"]["psnr_db"])
        for seed in (1, 1, 2)
    )  # fmt: skip
    assert torch.equal(one[0], same[0]) and one[1] == same[1]
    assert not torch.equal(one[0][0], other[0][0]) and one[1] != other[1]


def test_results_do_not_depend_on_the_batch_size(evaluated, monkeypatch):
    """The batch size differs between CPU and GPU; noise drawn per batch made their results differ too."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz", moving_unet())
    starts = evaluator.windows(evaluator.held_out, 4 + 6, 5, "this test")
    actions = evaluator.actions(starts, 4 + 5)
    rollouts, long_rollouts, next_frames = [], [], []
    for batch in (2, 16):
        monkeypatch.setitem(evaluator_module.ROLLOUT_BATCH, "cpu", batch)
        rollouts.append(evaluator.rollout(starts, actions, "this test").float())
        long_rollouts.append(evaluate_long_rollouts(evaluator, 5, (8, 12), random_alexnet(), 0)[0])
        next_frames.append(evaluate_next_frame(evaluator, 5, (1,), None)["teacher_forced"]["1"]["psnr_db"])
    assert len(starts) == 5 and not torch.allclose(rollouts[0][0], rollouts[0][1])
    torch.testing.assert_close(*rollouts, rtol=1e-2, atol=1e-2)
    for metric in ("frechet", "frame_diff"):
        assert long_rollouts[0][metric] == pytest.approx(long_rollouts[1][metric], rel=1e-2)
    assert next_frames[0] == pytest.approx(next_frames[1], abs=1e-3)
