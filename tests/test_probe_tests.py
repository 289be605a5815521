"""Inverse dynamics, the two-sample test and action sensitivity, on models with known errors."""

import numpy as np
import pytest
import torch
from dream.evaluation.evaluator import Evaluator
from dream.evaluation.frame_quality import action_sensitivity, evaluate_rollouts
from dream.evaluation.probe_tests import (
    TRAIN_RATIO,
    accuracy_by_band,
    c2st_accuracy,
    classifier_two_sample_test,
    inverse_dynamics,
    perturb_weights,
)
from dream.evaluation.state_probe import evaluate_state, train_state_probe
from evaluation_helpers import CopyModel, make_evaluator, save_evaluation_files
from small import small_unet


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> dict:
    return save_evaluation_files(tmp_path_factory.mktemp("evaluation"))


def test_probes_on_a_perfect_model(evaluated):
    """Real frames passed as generated ones must give the results of real frames; an offset of one frame would not."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    starts = evaluator.windows(evaluator.held_out, 4 + 20, 6, "this test")
    perfect = evaluator.real_frames(starts, 4, 20)
    results = inverse_dynamics(evaluator, starts, perfect, 150, seed=0)
    assert results["generated_accuracy"] == results["real_accuracy"] > 0.65  # the square moves by the action
    assert results["generated_random_actions_accuracy"] < 0.6  # in rollouts of an untrained model it does not
    is_train = torch.arange(6) < 4
    is_moving = torch.ones(6, dtype=torch.bool)
    assert c2st_accuracy(evaluator, perfect, perfect, is_train, is_moving, 30, seed=0)["accuracy"] == 0.5
    errors = evaluate_state(evaluator, train_state_probe(evaluator, 5, seed=0), starts, perfect)["after_1_s"]
    assert errors["generated"] == errors["real"] != errors["decoded"]
    rows, times = starts[:, 0].numpy(), starts[:, 1].numpy()
    speed = np.asarray(evaluator.data.extras["truth/speed"])
    moved = np.abs(speed[rows, times + 3] - speed[rows, times + 4 + 14]).mean()
    assert errors["no_motion"]["speed"] == pytest.approx(moved, rel=1e-5)


def test_size_of_the_weight_perturbation():
    unet = small_unet()
    weight, weak, weaker = (
        model.conv_in.weight
        for model in (unet, perturb_weights(unet, 0.05, 1), perturb_weights(unet, 0.15, 1))
    )
    torch.testing.assert_close(weaker - weight, 3 * (weak - weight), rtol=1e-3, atol=1e-5)
    assert ((weak - weight).std() / weight.std()).item() == pytest.approx(0.05, rel=0.2)


def test_the_two_sample_test_uses_held_out_episodes(evaluated, monkeypatch):
    """On its training episodes the classifier could rely on memorisation."""
    evaluator, calls = make_evaluator(evaluated["folder"] / "a.npz"), []
    windows = Evaluator.windows
    monkeypatch.setattr(Evaluator, "windows", lambda *args: calls.append(args) or windows(*args))
    results = classifier_two_sample_test(evaluator, 2, 1, seed=0)
    (_, train_mask, _, num_train, _), (_, test_mask, _, num_test, _) = calls
    assert train_mask is evaluator.train and test_mask is evaluator.held_out
    assert num_train == TRAIN_RATIO * num_test
    assert results["train_clips"] == 2 * num_train and results["clips"] == 2 * num_test


def test_blurred_frames_are_detected(evaluated):
    """On clips that the classifier was not trained on."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    real = evaluator.real_frames(
        evaluator.windows(evaluator.held_out | evaluator.train, 16, 24, "this test"), 0, 16
    )
    blurred = (
        torch.nn.functional.avg_pool2d(real.flatten(0, 1).float(), 3, 1, 1).to(torch.uint8).view(real.shape)
    )
    is_train, is_moving = torch.arange(24) % 2 == 0, torch.ones(24, dtype=torch.bool)
    results = c2st_accuracy(evaluator, blurred, real, is_train, is_moving, 200, seed=0)
    assert results["accuracy"] > 0.9
    below = torch.cat([real[..., :16, :], blurred[..., 16:, :]], dim=-2)  # alike above, blurred below

    def accuracy(generated, real):
        return c2st_accuracy(evaluator, generated, real, is_train, is_moving, 200, seed=0)

    by_band = accuracy_by_band(accuracy, below, real)
    assert list(by_band) == ["0-7", "8-15", "16-23", "24-31"]
    above, under = (
        max(each["accuracy"] for each in part) for part in np.split(np.array([*by_band.values()]), 2)
    )
    assert above == 0.5 and under > 0.8
    assert accuracy_by_band(accuracy, below[..., :12, :], real[..., :12, :]) == {}


def test_action_sensitivity_of_a_model_that_ignores_actions(evaluated):
    evaluator = make_evaluator(evaluated["folder"] / "a.npz", CopyModel())
    _, rollouts = evaluate_rollouts(evaluator, 8, 4, (1, 4), {"psnr_db": 30.0}, None)
    starts = rollouts["starts"]
    recorded = torch.cat(evaluator.unet.action_inputs[:1])
    assert torch.equal(recorded, evaluator.actions(starts, 4))
    results = action_sensitivity(evaluator, starts, rollouts["psnr_curve"], seed=0)
    assert results["delta_psnr_db"] == 0
    assert not torch.equal(evaluator.unet.action_inputs[-1][:, -1], evaluator.actions(starts, 7)[:, -1])
    assert torch.equal(evaluator.unet.action_inputs[-1][:, 0], evaluator.actions(starts, 4)[:, 3]) is False
