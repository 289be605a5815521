"""The benchmark of the training scripts, run once with a small recording."""

import json

import benchmark_training
import pytest
from training_helpers import train_small_models, training_data


@pytest.mark.slow
def test_benchmark_training(tmp_path, tmp_path_factory, capsys):
    data = training_data(train_small_models(tmp_path_factory.mktemp("trained")))
    flags = [*data, "--device", "cpu", "--output", tmp_path / "b.json", "--seconds", 0.5, "--rounds", 1,
             "--processes", 2]  # fmt: skip
    benchmark_training.main(benchmark_training.parse_args([*map(str, flags)]))
    report = json.loads((tmp_path / "b.json").read_text())
    rates = report["samples_per_second"]
    assert len(rates) == 6 and all(rate > 0 for rate in rates.values())
    assert report["scaling"]["train_sd.py"] == pytest.approx(
        rates["train_sd.py by 2 processes"] / rates["train_sd.py"]
    )
    assert report["ratio"]["diffusion"] == pytest.approx(rates["train_sd.py"] / rates["plain diffusion"])
    assert "times the plain loop" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.json"]
