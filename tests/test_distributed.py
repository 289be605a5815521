"""Data-parallel training: several processes learn the same as one process from the same batches."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from dream.common.distributed import SINGLE, Distributed
from dream.common.errors import InputError
from dream.models.checkpoints import load_autoencoder_part
from small import CPU, save_moving_square, save_small_autoencoder

SD = Path(__file__).resolve().parent.parent / "sd"
# AVX2 has no bfloat16, whose rounding would hide other differences.
FLOAT32 = {**os.environ, "OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}
TRAININGS = {
    "train_autoencoder.py": ["--epochs", "2", "--epoch-samples", "64", "--batch-size", "8", "--learning-rate", "0.05"],
    # Flow pretraining comes first; generated contexts and the discriminator begin after a quarter of the steps. Few
    # steps with a tight tolerance: by step 24 the discriminator amplifies a rounding error to 1e-2.
    "train_sd.py": ["--epochs", "2", "--epoch-samples", "64", "--batch-size", "8", "--channels", "16", "32",
                    "--rollout-length", "2", "--autoencoder-dir", "."],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    save_small_autoencoder(folder)
    starts = np.zeros((8, 40), bool)
    starts[:, [0, 20]] = True
    rewards = np.random.default_rng(0).random((8, 40))
    save_moving_square(folder / "a.npz", {"episode_starts": starts, "rewards": rewards}, rows=8, steps=40)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")
@pytest.mark.parametrize("script", TRAININGS)
def test_two_processes_learn_the_same_as_one(folder, script):
    """Finds noise that depends on the process, batch norm over half a batch, and gradients that are not averaged."""
    flags = [SD / script, *TRAININGS[script], "--trajectories", "a.npz", "--device", "cpu", "--output-dir"]
    curves, num_reports = [], []
    for number, launcher in enumerate(
        ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"])
    ):
        run_dir = f"{Path(script).stem}_{number + 1}"
        command = [sys.executable, *launcher, *map(str, flags), run_dir]
        completed = subprocess.run(
            command, cwd=folder, text=True, capture_output=True, check=False, env=FLOAT32
        )
        assert completed.returncode == 0, completed.stderr
        with open(folder / run_dir / "metrics.csv", newline="") as file:
            curves.append(list(csv.DictReader(file)))
        num_reports.append(completed.stdout.count("all epochs are done"))
        assert len(list((folder / run_dir).glob("events.*"))) == 1
    assert num_reports == [1, 1]  # only the main process prints
    if script == "train_autoencoder.py":
        parts = [
            load_autoencoder_part(folder / f"train_autoencoder_{number}" / "encoder.pt", "encoder")
            for number in (1, 2)
        ]
        variances = [part.latent_norm.running_var for part in parts]  # of half a batch they differ by 0.005
        torch.testing.assert_close(*variances, rtol=1e-3, atol=1e-3)
    assert len(curves[0]) == 2
    for single, double in zip(*curves, strict=True):
        assert single.keys() == double.keys()
        for name in single:
            assert float(double[name]) == pytest.approx(float(single[name]), rel=1e-3, abs=2e-5), name


class Batch(NamedTuple):
    frames: torch.Tensor
    actions: torch.Tensor


def test_a_batch_is_divided_evenly(monkeypatch):
    batch = torch.arange(12).reshape(6, 2)
    rows = [Distributed(rank, 3).local_rows(batch) for rank in range(3)]
    assert torch.equal(torch.cat(rows), batch) and all(len(local) == 2 for local in rows)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="--batch-size 6 is the total of all processes"):
        Distributed.open(CPU, 6)


def test_each_field_of_a_named_tuple_is_divided():
    batch = Batch(torch.arange(12).reshape(6, 2), torch.arange(6))
    local = Distributed(1, 3).local_rows(batch)
    assert type(local) is Batch
    assert local.frames.tolist() == [[4, 5], [6, 7]] and local.actions.tolist() == [2, 3]
    assert SINGLE.local_rows(batch) is batch


def test_a_single_process_has_no_overhead():
    """No copies, no communication: torch.distributed is not initialized."""
    batch = torch.ones(4, 3)
    assert Distributed.open(CPU, 5).count == 1 and SINGLE.is_main
    assert SINGLE.local_rows(batch) is batch and SINGLE.broadcast(0.3) == 0.3
    assert SINGLE.all_gather(batch).data_ptr() == batch.data_ptr() == SINGLE.mean(batch).data_ptr()
    assert not torch.distributed.is_initialized()
