"""Training by several processes: what they learn is what one would learn of the same batches."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from dream.common.distributed import SINGLE, Distributed
from dream.common.errors import InputError
from dream.common.runs import save_checkpoint
from dream.models.checkpoints import autoencoder_checkpoint, fingerprint, load_autoencoder_part
from small import CPU, moving_square, small_autoencoder

SD = Path(__file__).resolve().parent.parent / "sd"
# AVX2 has no bfloat16: what differs is then no rounding.
FLOAT32 = {**os.environ, "OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}
TRAININGS = {
    "train_autoencoder.py": ["--epochs", "2", "--epoch-samples", "64", "--batch-size", "8", "--learning-rate", "0.05"],
    # own frames, walks astray and the discriminator come after a quarter of the steps, the flow alone before
    # few steps, and a tight comparison: the discriminator makes 1e-2 of a rounding error by step 24
    "train_sd.py": ["--epochs", "2", "--epoch-samples", "64", "--batch-size", "8", "--channels", "16", "32",
                    "--own-frames", "2", "--autoencoder-dir", "."],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    encoder, decoder = small_autoencoder()
    save_checkpoint(autoencoder_checkpoint("encoder", encoder, fingerprint(decoder)), folder / "encoder.pt")
    save_checkpoint(autoencoder_checkpoint("decoder", decoder), folder / "decoder.pt")
    frames, actions = moving_square(rows=8, steps=40)
    starts = np.zeros(actions.shape, bool)
    starts[:, 0] = True
    np.savez(folder / "a.npz", frames=frames, actions=actions, episode_starts=starts)
    return folder


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")
@pytest.mark.parametrize("script", TRAININGS)
def test_two_processes_learn_what_one_learns(folder, script):
    """Noise that depends on the process, statistics of half a batch, or gradients that are not shared: other curves."""
    flags = [SD / script, *TRAININGS[script], "--trajectories", "a.npz", "--device", "cpu", "--output-dir"]
    curves, said = [], []
    for number, launcher in enumerate(
        ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"])
    ):
        run_dir = f"{Path(script).stem}_{number + 1}"
        command = [sys.executable, *launcher, *map(str, flags), run_dir]
        ran = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False, env=FLOAT32)
        assert ran.returncode == 0, ran.stderr
        with open(folder / run_dir / "metrics.csv", newline="") as file:
            curves.append(list(csv.DictReader(file)))
        said.append(ran.stdout.count("all epochs are done"))
        assert len(list((folder / run_dir).glob("events.*"))) == 1
    assert said == [1, 1]  # the others are silent
    if script == "train_autoencoder.py":
        parts = [
            load_autoencoder_part(folder / f"train_autoencoder_{number}" / "encoder.pt", "encoder")
            for number in (1, 2)
        ]
        variances = [part.latent_norm.running_var for part in parts]  # half a batch gives others by 0.005
        torch.testing.assert_close(*variances, rtol=1e-3, atol=1e-3)
    assert len(curves[0]) == 2
    for alone, shared in zip(*curves, strict=True):
        assert alone.keys() == shared.keys()
        for name in alone:
            assert float(shared[name]) == pytest.approx(float(alone[name]), rel=1e-3, abs=2e-5), name


def test_a_batch_is_shared_out_without_rest(monkeypatch):
    batch = torch.arange(12).reshape(6, 2)
    rows = [Distributed(rank, 3).local_rows(batch) for rank in range(3)]
    assert torch.equal(torch.cat(rows), batch) and all(len(each) == 2 for each in rows)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="--batch-size 6 is of all processes"):
        Distributed.open(CPU, 6)


def test_a_lone_process_pays_nothing():
    """No copy, no communication: torch.distributed is not even begun."""
    batch = torch.ones(4, 3)
    assert Distributed.open(CPU, 5).count == 1 and SINGLE.is_main
    assert SINGLE.local_rows(batch) is batch and SINGLE.broadcast(0.3) == 0.3
    assert SINGLE.all_gather(batch).data_ptr() == batch.data_ptr() == SINGLE.mean(batch).data_ptr()
    assert not torch.distributed.is_initialized()
