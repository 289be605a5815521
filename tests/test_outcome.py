"""The outcome model: it learns rewards and episode ends from latents and the action, and goes through a checkpoint, a
training run and an export."""

import shutil

import numpy as np
import pytest
import torch
from dream.common.distributed import SINGLE
from dream.common.errors import InputError
from dream.common.runs import load_checkpoint, save_checkpoint
from dream.data.splits import end_windows, train_windows
from dream.data.trajectories import open_trajectories, read_rewards
from dream.evaluation.outcome_quality import evaluate_outcome
from dream.evaluation.report import outcome_table
from dream.inference.export import export_model
from dream.inference.export_folder import METADATA
from dream.inference.onnx_backend import OnnxBackend
from dream.inference.torch_backend import TorchBackend
from dream.models.checkpoints import load_outcome
from dream.models.outcome import Outcome, OutcomeConfig, OutcomeModel
from dream.training.outcome import OutcomeTraining, has_outcomes
from dream.training.rollout_pool import RolloutPool
from evaluation_helpers import make_evaluator
from small import CPU, save_moving_square, save_small_world_model, seeded, small_outcome
from training_helpers import ONE_EPOCH, run_train_autoencoder, run_train_sd, small_networks

L = 4


def test_a_reward_depends_on_the_last_action_and_on_what_is_seen():
    model, context = small_outcome(), torch.randn(1, L, 4, 8, 12, generator=seeded(1))
    actions = torch.zeros(3, L, dtype=torch.int64)
    actions[:, -1] = torch.arange(3)
    rewards = model(context.expand(3, -1, -1, -1, -1), actions).reward
    assert len(set(rewards.tolist())) == 3
    assert model(context.flip(-1), actions[:1]).reward.item() != rewards[0].item()


def test_windows_before_an_end():
    starts = np.zeros((2, 12), bool)
    starts[:, 0] = starts[0, 6] = starts[1, 2] = True
    mask = np.ones((2, 12), bool)
    assert end_windows(starts, mask, L).tolist() == [[0, 2]]  # (1, 2) comes too early; a row's end is unknown
    mask[0, 3] = False
    assert len(end_windows(starts, mask, L)) == 0


def test_it_learns_rewards_by_action_and_where_episodes_end(tmp_path):
    """The reward is 1 for one action in one of two scenes; the episode ends after that scene alone."""
    rows, steps = 8, 60
    rng = np.random.default_rng(0)
    scene = np.repeat(rng.integers(2, size=(rows, steps // 6)), 6, axis=1)  # of six frames each
    actions = rng.integers(3, size=(rows, steps))
    rewards = ((actions == 2) & (scene == 1)).astype(np.float32) * 10 - 3
    starts = np.zeros((rows, steps), bool)
    starts[:, 0] = True
    starts[:, 6:] = (scene[:, 5:-1] == 1) & (np.arange(6, steps) % 6 == 0)
    path = tmp_path / "a.npz"
    np.savez(path, frames=np.zeros((rows, steps, 3, 16, 16), np.uint8), actions=actions, rewards=rewards,
             episode_starts=starts)  # fmt: skip
    data, mask = open_trajectories(path), np.ones((rows, steps), bool)
    assert has_outcomes(data)
    latents = torch.randn(rows, steps, 4, 8, 8, generator=seeded(1)) / 4
    latents += torch.from_numpy(scene)[:, :, None, None, None] * 1.0
    windows, generator = train_windows(data, mask, L), seeded(2)
    pool = RolloutPool(latents, torch.from_numpy(actions), windows, 32, L, CPU, generator)
    torch.manual_seed(0)
    training = OutcomeTraining(data, latents, mask, windows, OutcomeConfig(3, channels=32), CPU, generator)
    first = last = None
    for _ in range(200):
        batch = pool.sample_batch()
        last = {name: value.item() for name, value in training.train_step(batch, 3e-3, SINGLE).items()}
        first = first or last
        pool.reset_slots(batch.slots)
    assert first["loss/reward"] > 0.5 > 0.1 > last["loss/reward"]

    def outcome(scene: float, action: int):
        context, history = torch.full((1, L, 4, 8, 8), scene), torch.zeros(1, L, dtype=torch.int64)
        history[:, -1] = action
        with torch.no_grad():
            return training.model.eval()(context, history)

    assert abs(outcome(1.0, 2).reward.item() - 7) < 2
    assert all(abs(outcome(*other).reward.item() + 3) < 2 for other in ((0.0, 2), (1.0, 0), (1.0, 1)))
    assert outcome(1.0, 0).end_logit > outcome(0.0, 0).end_logit + 1


def test_which_recordings_have_outcomes(tmp_path):
    def has(**arrays) -> bool:
        return has_outcomes(open_trajectories(save_moving_square(tmp_path / "a.npz", arrays)))

    constant, starts = np.full((6, 24), 2.0), np.zeros((6, 24), bool)
    starts[:, [0, 12]] = True
    varied = np.arange(6 * 24.0).reshape(6, 24)
    assert not has() and not has(rewards=constant)
    assert has(rewards=varied) and has(rewards=constant, episode_starts=starts)  # to survive is the task
    assert has(rewards=varied > 5) and not has(rewards=np.full((6, 24), "x"))
    varied[0, :3] = np.nan, np.inf, -np.inf
    save_moving_square(tmp_path / "b.npz", {"rewards": varied})
    assert read_rewards(open_trajectories(tmp_path / "b.npz"))[0, :4].tolist() == [0, 0, 0, 3]


def test_a_checkpoint_keeps_the_outcome_model(tmp_path):
    outcome = small_outcome()
    outcome.reward_mean.fill_(1e6)  # points of an arcade game: more than float16 holds
    path = save_small_world_model(tmp_path, outcome=outcome)["model_path"]
    checkpoint = load_checkpoint(path, "dream", "")
    loaded = load_outcome(path, checkpoint)
    assert loaded.config == outcome.config
    context, actions = torch.randn(2, L, 4, 8, 12, generator=seeded()), torch.ones(2, L, dtype=torch.int64)
    with torch.no_grad():
        assert torch.allclose(loaded(context, actions).reward, outcome(context, actions).reward, atol=0.1)
    for name, value in (("context", 3), ("channels", 24), ("num_actions", 2)):
        damaged = {**checkpoint, "outcome": {**checkpoint["outcome"]}}
        damaged["outcome"]["config"] = {**checkpoint["outcome"]["config"], name: value}
        with pytest.raises(InputError):
            load_outcome(path, damaged)
    save_checkpoint({**checkpoint, "outcome": None}, path)
    assert load_outcome(path, load_checkpoint(path, "dream", "")) is None


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_the_export_predicts_the_same_outcome(runtime, tmp_path):
    pytest.importorskip(runtime)
    paths = save_small_world_model(tmp_path, outcome=small_outcome())
    export_model(paths["decoder_path"], paths["model_path"], None, tmp_path / "model.exported")
    exported = OnnxBackend(tmp_path / "model.exported", runtime, 1)
    original = TorchBackend(paths["decoder_path"], paths["model_path"], 1, CPU)
    assert exported.has_outcome
    latents, actions = np.random.default_rng(0).normal(size=(L, 4, 8, 12)), np.array([0, 1, 2, 0])
    for action in range(3):
        reward, end = exported.predict_outcome(exported.init_state(latents, actions), action)
        expected_reward, expected_end = original.predict_outcome(
            original.init_state(latents, actions), action
        )
        assert abs(reward - expected_reward) < 0.05 and abs(end - expected_end) < 0.02
    (tmp_path / "model.exported" / "outcome.onnx").write_bytes(b"")
    with pytest.raises(InputError, match=r"outcome\.onnx has changed"):
        OnnxBackend(tmp_path / "model.exported", runtime, 1)
    assert (tmp_path / "model.exported" / METADATA).is_file()


def test_a_training_run_learns_the_outcome_and_resumes(tmp_path):
    rewards = np.random.default_rng(0).random((6, 24)).astype(np.float32)
    starts = np.zeros((6, 24), bool)
    starts[:, [0, 12]] = True
    recording = save_moving_square(tmp_path / "a.npz", {"rewards": rewards, "episode_starts": starts})
    with small_networks():
        run_train_autoencoder(
            "--trajectories", recording, "--output-dir", tmp_path / "autoencoder", *ONE_EPOCH
        )
        flags = ("--trajectories", recording, "--autoencoder-dir", tmp_path / "autoencoder", *ONE_EPOCH)
        run_train_sd(*flags, "--output-dir", tmp_path / "run")
        shutil.copytree(tmp_path / "run", tmp_path / "old")
        run_train_sd(*flags, "--output-dir", tmp_path / "run", "--epochs", 2, "--resume")
        path = tmp_path / "run" / "final.pt"
        outcome = load_outcome(path, load_checkpoint(path, "dream", ""))
        assert isinstance(outcome, OutcomeModel)
        assert abs(outcome.reward_std.item()) > 1e-3
        header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0]
        assert "loss/reward" in header and "loss/end" in header
        # A run of a version that knew no outcome model goes on and learns it.
        old = tmp_path / "old" / "last.pt"
        checkpoint = load_checkpoint(old, "model_run", "")
        del checkpoint["outcome"]
        save_checkpoint(checkpoint, old)
        run_train_sd(*flags, "--output-dir", tmp_path / "old", "--epochs", 2, "--resume")
        assert load_checkpoint(old, "model_run", "")["outcome"]


def test_the_evaluation_compares_each_prediction_with_its_own_step(tmp_path):
    """An outcome model that knows the answer by frame and action has no error; one that guesses has that of the
    mean."""
    rng = np.random.default_rng(0)
    rewards, starts = rng.random((6, 40)).astype(np.float32), np.zeros((6, 40), bool)
    starts[:, [0, 20]] = True
    path = save_moving_square(tmp_path / "a.npz", {"rewards": rewards, "episode_starts": starts}, steps=40)
    evaluator = make_evaluator(path)

    class Oracle:
        """Latents hold their row and time; the reward of the last of them is that recorded there."""

        def __call__(self, context, actions):
            row, t = (context[:, -1, channel, 0, 0].round().long() for channel in (0, 1))
            assert torch.equal(actions[:, -1], torch.from_numpy(evaluator.data.actions)[row, t])
            ends = torch.from_numpy(starts)[row, (t + 1).clamp(max=39)]
            return Outcome(torch.from_numpy(rewards)[row, t], torch.where(ends, 9.0, -9.0))

    def latents_at(positions: torch.Tensor, offset: int, length: int) -> torch.Tensor:
        latents = torch.zeros(len(positions), length, 4, 8, 12)
        latents[:, :, 0] = positions[:, :1, None, None].float()
        latents[:, :, 1] = (positions[:, 1:] + offset + torch.arange(length))[:, :, None, None].float()
        return latents

    windows = torch.tensor([[0, 0], [3, 20]])
    found = []

    class KnownLatents(type(evaluator)):
        def real_frames(self, positions, offset, length):
            found.append(positions)
            return positions

        def encode(self, positions):
            return latents_at(positions, 0, L)

    evaluator = KnownLatents(**{**vars(evaluator), "outcome": Oracle()})
    results = evaluate_outcome(evaluator, windows, latents_at(windows, L, 12), 12)
    assert (
        results["real"]["correlation"] > 0.999
        and results["real"]["rmse"] < 1e-6 < results["real"]["rmse_of_mean"]
    )
    assert results["generated"]["rmse"] < 1e-6 and results["generated"]["windows"] == 2 * (12 - L)
    assert results["ends"]["probability"] > 0.99 and results["ends"]["probability_elsewhere"] < 0.01
    assert results["ends"]["auc"] == 1
    lines = [*outcome_table(results)]
    assert len(lines) == 3 and "correlation 1.000" in lines[0] and "AUC 1.000" in lines[2]
    with pytest.raises(InputError, match="the model has no rewards"):
        evaluate_outcome(make_evaluator(path), windows, latents_at(windows, L, 12), 12)
