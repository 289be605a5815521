"""train_outcome.py: rewards for a model that was trained without."""

import numpy as np
import pytest
import torch
import train_outcome
from dream.common.errors import InputError
from dream.common.runs import load_checkpoint
from dream.inference.torch_backend import TorchBackend
from dream.models.checkpoints import load_outcome
from small import CPU, GAME, moving_square, save_moving_square, save_small_world_model


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model").mkdir()
    return save_small_world_model(tmp_path / "model")


def save_recording(path, rewards=None, episode_starts=None, **options):
    """A moving square whose reward is 2 for moving right, 1 for standing and 0 for moving left."""
    _, actions = moving_square(**options)
    rewards = np.array([1.0, 0.0, 2.0])[actions] if rewards is None else rewards
    names = [*GAME.action_names, "jump"][: options.get("num_actions", 3)]
    arrays = {"rewards": rewards.astype(np.float32), "action_names": np.array(names)}
    if episode_starts is not None:
        arrays["episode_starts"] = episode_starts
    return save_moving_square(path, arrays, **options)


def run(model, recording, output, *options) -> None:
    words = ["--trajectories", recording, "--model-path", model["model_path"], "--output", output, *options]
    train_outcome.main(train_outcome.parse_args([*map(str, words)]))


def test_rewards_are_learned_and_frames_stay_the_same(model, tmp_path, capsys):
    recording, output = save_recording(tmp_path / "a.npz", rows=12), tmp_path / "model" / "rewarded.pt"
    run(model, recording, output, "--max-minutes", 0.15)
    printed = capsys.readouterr().out
    assert float(printed.split("correlation ")[1].split(",")[0]) > 0.8 and "warning" not in printed
    before, after = (load_checkpoint(path, "dream", "") for path in (model["model_path"], output))
    assert all(torch.equal(weight, after["model"][name]) for name, weight in before["model"].items())
    assert before["outcome"] is None and load_outcome(output, after).config.num_actions == 3
    assert len(after["training_runs"]) == len(before["training_runs"]) + 1  # its frames are no longer unseen
    backend = TorchBackend(model["decoder_path"], output, 1, CPU)
    with np.load(model["trajectory_path"]) as starts:
        state = backend.init_state(starts["frames"][0], starts["actions"][0])
    stand, left, right = (backend.predict_outcome(state, action)[0] for action in range(3))
    assert left < stand < right


def test_what_does_not_fit_is_refused(model, tmp_path):
    output = tmp_path / "model" / "rewarded.pt"
    same = save_recording(tmp_path / "same.npz", rewards=np.ones((6, 24)))
    with pytest.raises(InputError, match="no rewards, or all are the same"):
        run(model, same, output)
    other = save_recording(
        tmp_path / "other.npz", rewards=np.random.default_rng(0).random((6, 24)), num_actions=4
    )
    with pytest.raises(InputError, match="has other actions than the model"):
        run(model, other, output)
    with pytest.raises(InputError, match="the autoencoder is for frames"):
        run(model, save_recording(tmp_path / "large.npz", height=64, width=96), output)
    with pytest.raises(InputError, match="write into the model's folder"):
        run(model, save_recording(tmp_path / "a.npz"), tmp_path / "elsewhere" / "rewarded.pt")
    short = np.zeros((6, 24), bool)
    short[:, ::3] = True  # episodes of three frames
    with pytest.raises(InputError, match="5 frames in a row"):  # before the training, not after it
        run(model, save_recording(tmp_path / "short.npz", episode_starts=short), output)
    assert not output.exists()


def test_ctrl_c_keeps_what_has_been_learned(model, tmp_path, monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_outcome, "move_on", interrupt)
    output = tmp_path / "model" / "rewarded.pt"
    run(model, save_recording(tmp_path / "a.npz"), output)
    printed = capsys.readouterr().out
    assert "what has been learned so far is written" in printed and "no better than their mean" in printed
    assert load_checkpoint(output, "dream", "")["outcome"]
