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
    found = json.loads((tmp_path / "b.json").read_text())
    one = found["backends"]["openvino"]
    assert (
        0 < one["frame_ms"]["median"] <= one["frame_ms"]["p95"] <= one["frame_ms"]["p99"]
        and one["frames"] == 4
    )
    assert one["ratio"] == pytest.approx(found["reference"]["frame_ms"]["median"] / one["frame_ms"]["median"])
    assert found["reference"]["steps"] == 7 and one["steps"] == 2 and one["start_up_s"] > 0
    if sys.platform.startswith("linux"):  # of its own process, not of this one, which holds torch
        assert 50 < one["memory_mb"] < 600
    assert found["best"] == "openvino" and "times the reference" in capsys.readouterr().out
