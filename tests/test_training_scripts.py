"""The training scripts with small networks: their commands as in the README, and what their options change."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import train_sd
from dream.common.runs import load_checkpoint
from dream.models.checkpoints import load_autoencoder_part, load_unet
from dream.models.unet import UNet
from dream.training.rollout_pool import RolloutPool
from small import open_small_world_model
from training_helpers import (
    ONE_EPOCH,
    assert_same,
    metrics_rows,
    record,
    run_train_autoencoder,
    run_train_sd,
    small_networks,
    train_small_models,
    training_data,
)

SD = Path(train_sd.__file__).parent


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return train_small_models(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def small_models():
    with small_networks():
        yield


@pytest.fixture
def updates(monkeypatch) -> list[tuple[float, int]]:
    """For each `RolloutPool.update` of a run: the mean rollout length, and the most frames a slot has generated."""
    updates = []

    class RecordingPool(RolloutPool):
        def update(self, slots, predicted, at_pure_noise):
            super().update(slots, predicted, at_pure_noise)
            updates.append((self.mean_length, int(self.num_generated.max())))

    monkeypatch.setattr(train_sd, "RolloutPool", RecordingPool)
    return updates


def run_command(script: str, *flags, folder: Path) -> str:
    command = [sys.executable, str(SD / script), *map(str, flags)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_train_and_play_from_the_command_line(tmp_path):
    """On a recording that holds only the two required arrays, frames and actions."""
    cv2 = pytest.importorskip("cv2")
    a, b = tmp_path / "a", tmp_path / "b"
    data = ["--trajectories", record(tmp_path / "square.npz")]
    output = run_command("train_autoencoder.py", *data, "--output-dir", "a", *ONE_EPOCH, folder=tmp_path)
    assert "assumed: no episode_starts" in output and "seed 0" in output
    assert {"encoder.pt", "decoder.pt", "last.pt", "metrics.csv", "previews"} <= {p.name for p in a.iterdir()}
    (row,) = metrics_rows(a)
    assert row["step"] == "2" and np.isfinite(float(row["psnr/autoencoder"]))
    preview = cv2.imread(str(a / "previews" / "step_000002.png"))
    assert preview.shape[0] == 2 * 32 + 3 * 2  # real frames above reconstructed ones, with margins
    assert load_autoencoder_part(a / "encoder.pt", "encoder").config.latent_shape == (4, 8, 12)

    flags = [*data, "--autoencoder-dir", "a", "--output-dir", "b", *ONE_EPOCH]
    output = run_command("train_sd.py", *flags, folder=tmp_path)
    names = {
        "best.pt",
        "final.pt",
        "last.pt",
        "initial_sequence.npz",
        "metrics.csv",
        "previews",
        "latents.npy",
    }
    assert names <= {path.name for path in b.iterdir()}
    assert {"loss/validation", "psnr/next_frame", "psnr/copy_last", "psnr/rollout_4"} <= set(
        metrics_rows(b)[0]
    )
    heights = {path.name: cv2.imread(str(path)).shape[0] for path in (b / "previews").iterdir()}
    assert heights["step_000002_actions.png"] == 3 * 32 + 4 * 2  # one row for each of three actions
    with np.load(b / "initial_sequence.npz", allow_pickle=False) as starts:
        assert starts["frames"].shape[1:] == (4, 4, 8, 12) and starts["actions"].shape[1:] == (4,)

    command = re.search(r"next: \S+ \S*sd/play_sd.py (.*)", output).group(1).split()
    command += ["--headless", "--frames", "7", "--record", "rollout.mp4", "--device", "cpu"]
    assert "7 frames" in run_command("play_sd.py", *command, folder=tmp_path)
    video = cv2.VideoCapture(str(tmp_path / "rollout.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 7


@pytest.mark.parametrize(
    "options", [{"height": 50, "width": 38}, {"num_actions": 1}, {"rows": 1, "steps": 40}]
)
def test_recordings_of_other_shapes(options, tmp_path, small_models):
    """Frame sizes that are no multiple of 4, a single action, a single row."""
    record(tmp_path / "square.npz", **options)
    run_train_autoencoder("--trajectories", tmp_path / "square.npz", "--output-dir", tmp_path / "a")
    b = tmp_path / "b"
    run_train_sd(*training_data(tmp_path), "--output-dir", b)
    world_model = open_small_world_model(
        tmp_path / "a" / "decoder.pt", b / "best.pt", b / "initial_sequence.npz"
    )
    assert len(world_model.action_names) == options.get("num_actions", 3)
    size = (options.get("height", 32), options.get("width", 48), 3)
    assert world_model.reset().shape == world_model.step(0).shape == size


def autoencoder_from(init_from: Path, output: Path, trained: Path, *flags) -> Path:
    flags = ["--init-from", init_from, "--output-dir", output, *flags]
    run_train_autoencoder("--trajectories", trained / "square.npz", *flags)
    return output


def test_an_autoencoder_starts_with_the_weights_of_another(trained, tmp_path, small_models):
    still = ("--learning-rate", 1e-9)
    both = autoencoder_from(trained / "a", tmp_path / "both", trained, *still)
    before, after = (load_autoencoder_part(run / "encoder.pt", "encoder") for run in (trained / "a", both))
    assert_same(dict(before.layers.state_dict()), dict(after.layers.state_dict()))
    (tmp_path / "encoder.pt").write_bytes((trained / "a" / "encoder.pt").read_bytes())  # without a decoder.pt
    encoder_only = autoencoder_from(tmp_path, tmp_path / "encoder_only", trained, *still)
    stems = [load_autoencoder_part(run / "decoder.pt", "decoder").stem.weight for run in (both, encoder_only)]
    assert not torch.equal(*stems)


def test_an_encoder_from_another_run_changes_slowly(trained, tmp_path, small_models):
    """A tenth of the decoder's rate: a model of its latents then needs little further training."""
    run = autoencoder_from(trained / "a", tmp_path / "run", trained)
    change = {}
    for kind in ("encoder", "decoder"):
        before, after = (
            dict(load_autoencoder_part(folder / f"{kind}.pt", kind).named_parameters())
            for folder in (trained / "a", run)
        )
        change[kind] = max((after[name] - before[name]).abs().max().item() for name in before)
    assert 0 < change["encoder"] < 0.3 * change["decoder"]


@pytest.mark.slow
def test_rollouts_begin_after_a_quarter_of_a_new_run(trained, tmp_path, small_models, updates):
    flags = [*training_data(trained), "--epoch-samples", 160, "--batch-size", 4]  # 40 steps
    run_train_sd(*flags, "--output-dir", tmp_path / "b")
    most_generated = [generated for _, generated in updates]
    assert len(updates) == 36  # the flow alone is trained in the first tenth
    assert set(most_generated[:6]) == {0} and max(most_generated[6:]) > 1
    updates.clear()
    run_train_sd(*flags, "--output-dir", tmp_path / "c", "--rollout-length", 0)
    assert {generated for _, generated in updates} == {0}


def test_rollout_length_start(trained, tmp_path, small_models, updates):
    """For a model that has been trained on long rollouts, which need not grow again from length 1."""
    flags = [*training_data(trained), "--batch-size", 4, "--flow-pretrain", 0, "--rollout-length", 32,
             "--init-from", trained / "b" / "best.pt"]  # fmt: skip
    run_train_sd(*flags, "--output-dir", tmp_path / "grows")
    lengths = [length for length, _ in updates]
    assert len(lengths) == 4 and lengths[0] == 0 and 0 < lengths[1] < lengths[2] <= 32
    updates.clear()
    run_train_sd(*flags, "--output-dir", tmp_path / "constant", "--rollout-length-start", 32)
    assert [length for length, _ in updates] == [0, 32, 32, 32]


def test_rollouts_leave_the_data_only_with_a_discriminator(trained, tmp_path, small_models, monkeypatch):
    """No other loss trains them."""
    fractions = []

    class RecordingPool(RolloutPool):
        def __init__(self, *args) -> None:
            super().__init__(*args)
            fractions.append(self.off_data_fraction)

    monkeypatch.setattr(train_sd, "RolloutPool", RecordingPool)
    run_train_sd(*training_data(trained), "--output-dir", tmp_path / "b")
    run_train_sd(*training_data(trained), "--output-dir", tmp_path / "c", "--gan-weight", 0)
    assert fractions == [0.5, 0]


def test_metrics_of_the_adversarial_loss(trained, tmp_path, small_models):
    flags = [*training_data(trained), "--epoch-samples", 64]
    run_train_sd(*flags, "--output-dir", tmp_path / "with")
    run_train_sd(*flags, "--output-dir", tmp_path / "without", "--gan-weight", 0)
    names = {"gan/accuracy", "gan/logit_gap", "gan/gradient_penalty"}
    rows = [metrics_rows(tmp_path / run)[0] for run in ("with", "without")]
    assert names <= set(rows[0]) and not names & set(rows[1])
    assert all({"loss/train", "loss/flow", "grad_norm"} <= set(row) for row in rows)


def test_the_flow_is_trained_alone_first(trained, tmp_path, small_models):
    """--flow-pretrain; without a flow the denoiser has the whole budget."""
    flags = [*training_data(trained), "--flow-pretrain", 0.99]
    run_train_sd(*flags, "--output-dir", tmp_path / "b")
    unet = load_unet(tmp_path / "b" / "best.pt")[0]
    assert (unet.conv_out.weight == 0).all() and (unet.flow.conv_out.weight != 0).any()
    run_train_sd(*flags, "--output-dir", tmp_path / "c", "--no-flow")
    unet = load_unet(tmp_path / "c" / "best.pt")[0]
    assert (unet.conv_out.weight != 0).any() and unet.flow is None


def test_a_model_starts_with_the_weights_of_another(trained, tmp_path, small_models):
    """All weights are loaded, and all are trained."""
    flags = [*training_data(trained), "--init-from", trained / "b" / "best.pt"]
    run_train_sd(*flags, "--output-dir", tmp_path / "b", "--learning-rate", 1e-30)
    loaded, source = (load_unet(run / "best.pt")[0].state_dict() for run in (tmp_path / "b", trained / "b"))
    new = UNet(load_unet(trained / "b" / "best.pt")[0].config).state_dict()
    for name, weight in loaded.items():
        torch.testing.assert_close(weight, source[name])
    assert any((weight - new[name]).abs().max() > 0.05 for name, weight in loaded.items())
    flags += [
        "--output-dir",
        tmp_path / "c",
        "--learning-rate",
        0.1,
        "--flow-pretrain",
        0,
        "--warp",
        "bilinear",
        "--still-threshold",
        0.25,
    ]
    run_train_sd(*flags)
    config = load_unet(tmp_path / "c" / "final.pt")[0].config
    assert (config.warp, config.still_threshold) == ("bilinear", 0.25)  # whatever the other had
    weights = load_checkpoint(tmp_path / "c" / "last.pt", "model_run", "")["model"]
    unchanged = [name for name, weight in source.items() if (weights[name] - weight).abs().max() < 1e-4]
    # The embeddings have no gradient until the modulation, which begins at zero, has grown.
    assert all("embed" in name for name in unchanged), unchanged


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_both_scripts_on_a_gpu(tmp_path, small_models):
    """Only a second device reveals a tensor that was left on the wrong one."""
    data = ["--trajectories", record(tmp_path / "square.npz"), "--device", "cuda"]
    a, b = tmp_path / "a", tmp_path / "b"
    run_train_autoencoder(*data, "--output-dir", a)
    run_train_autoencoder(*data, "--output-dir", a, "--epochs", 2, "--resume")
    flags = [*data, "--autoencoder-dir", a, "--output-dir", b]
    run_train_sd(*flags, "--epochs", 2)
    run_train_sd(*flags, "--epochs", 3, "--resume")
    assert [row["step"] for row in metrics_rows(b)] == ["2", "4", "6"]
    paths = (a / "decoder.pt", b / "best.pt", b / "initial_sequence.npz")
    world_model = open_small_world_model(*paths, 2, 0, torch.device("cuda"))
    assert world_model.reset().shape == world_model.step(1).shape == (32, 48, 3)
