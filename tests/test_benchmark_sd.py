"""The benchmark of the backends, run once with few frames."""

import json
import sys

import benchmark_sd
import pytest


def test_the_benchmark(exported, tmp_path, capsys):
    pytest.importorskip("openvino")
    flags = ["--output", tmp_path / "b.json", "--rounds", 1, "--frames", 4, "--starts", 1, "--backends", "openvino",
             "--device", "cpu"]  # fmt: skip
    for option, path in zip(("decoder", "model", "trajectory"), exported, strict=True):
        flags += [f"--{option}-path", path]
    benchmark_sd.main(benchmark_sd.parse_args([*map(str, flags)]))
    report = json.loads((tmp_path / "b.json").read_text())
    stats = report["backends"]["openvino"]
    assert (
        0 < stats["frame_ms"]["median"] <= stats["frame_ms"]["p95"] <= stats["frame_ms"]["p99"]
        and stats["frames"] == 4
    )
    assert stats["ratio"] == pytest.approx(
        report["reference"]["frame_ms"]["median"] / stats["frame_ms"]["median"]
    )
    assert report["reference"]["steps"] == 7 and stats["steps"] == 2 and stats["start_up_s"] > 0
    if sys.platform.startswith("linux"):  # of the new process, without PyTorch
        assert 50 < stats["memory_mb"] < 600
    assert report["best"] == "openvino" and "times the reference" in capsys.readouterr().out
