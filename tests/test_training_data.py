"""Data of a training: the encoded recording, windows of training and validation episodes, crops of frames."""

import json
import re

import numpy as np
import pytest
import torch
import train_autoencoder
from dream.common.device import cache_on_device
from dream.common.errors import InputError
from dream.data.latents import encode_recording
from dream.data.splits import episode_ids, split_episodes, train_windows, window_starts
from dream.data.trajectories import open_trajectories
from dream.evaluation.validation import most_moving, validation_set
from small import CPU, moving_square, small_autoencoder
from training_helpers import L, record, seeded


@pytest.fixture
def encode(tmp_path):
    """Encodes a recording into tmp_path/run; returns the latents and how often the encoder ran."""
    encoder, _ = small_autoencoder()
    calls = []
    encoder.register_forward_hook(lambda *_: calls.append(1))

    def encode(data, fingerprint="abc"):
        calls.clear()
        return encode_recording(data, encoder, fingerprint, tmp_path / "run", CPU), len(calls)

    encode.encoder = encoder
    return encode


def test_latents_are_those_of_the_recording(tmp_path, encode):
    data = open_trajectories(record(tmp_path / "one.npz"))
    latents, num_calls = encode(data)
    assert num_calls and latents.shape == (6, 24, 4, 8, 12) and latents.dtype == np.float16
    expected = encode.encoder(torch.from_numpy(np.array(data.frames[4, 20:22])) / 255)
    torch.testing.assert_close(torch.from_numpy(latents[4, 20:22]).float(), expected, rtol=0.05, atol=0.05)


def test_latents_are_encoded_again_for_another_autoencoder_or_recording(tmp_path, encode):
    """A model trained on stale latents learns another game than the one it decodes."""
    data, other = (open_trajectories(record(tmp_path / f"{seed}.npz", seed=seed)) for seed in (0, 1))
    latents, _ = encode(data)
    assert encode(data)[1] == 0
    assert encode(data, "abd")[1] > 0
    assert encode(data, "abc")[1] > 0
    other_latents, num_calls = encode(other)
    assert num_calls and not np.array_equal(other_latents, latents)
    assert encode(other)[1] == 0
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["latents.json", "latents.npy"]


@pytest.mark.parametrize(
    "damage", ["a bit", "zeros", "cut short", "no metadata", "metadata of an older version"]
)
def test_damaged_latents_are_encoded_again(tmp_path, encode, damage):
    """After a power failure the file may be zeros behind its header: a model would be trained on them."""
    data = open_trajectories(record(tmp_path / "one.npz"))
    latents = np.array(encode(data)[0])
    path, metadata = tmp_path / "run" / "latents.npy", tmp_path / "run" / "latents.json"
    content = bytearray(path.read_bytes())
    if damage == "a bit":
        content[-1000] ^= 1
    elif damage == "zeros":
        content[128:] = bytes(len(content) - 128)
    elif damage == "cut short":
        del content[-5:]
    elif damage == "no metadata":
        metadata.write_text("{")
    else:
        metadata.write_text(re.sub(r', "crc32": \d+', "", metadata.read_text()))
    path.write_bytes(content)
    again, num_calls = encode(data)
    assert num_calls and np.array_equal(again, latents)
    assert encode(data)[1] == 0


def test_interrupted_encoding_leaves_no_latents(tmp_path, encode):
    data = open_trajectories(record(tmp_path / "one.npz"))

    def interrupt(*_):
        raise KeyboardInterrupt

    hook = encode.encoder.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        encode(data)
    hook.remove()
    assert not (tmp_path / "run" / "latents.json").exists() and encode(data)[1] > 0


def test_training_and_validation_windows_share_no_episode(tmp_path):
    """Neighbouring frames are almost equal: with a shared episode validation would measure memory."""
    rng = np.random.default_rng(0)
    frames, actions = moving_square(rows=6, steps=40)
    starts = rng.random((6, 40)) < 0.08
    starts[:, 0] = [True, False, True, False, True, False]
    meta = json.dumps({"fps": 15, "record_envs": 1})
    np.savez(tmp_path / "a.npz", frames=frames, actions=actions, episode_starts=starts, meta=meta)
    data = open_trajectories(tmp_path / "a.npz")
    ids = episode_ids(data)
    train_mask, validation_mask = split_episodes(data, seed=3)

    def episodes(windows) -> set[int]:
        per_window = [set(ids[row, t : t + L + 1].tolist()) for row, t in np.asarray(windows).tolist()]
        assert per_window and all(len(episodes) == 1 for episodes in per_window)
        return set.union(*per_window)

    validation_windows = window_starts(data.episode_starts, validation_mask, L + 1)
    assert not episodes(train_windows(data, train_mask, L)) & episodes(validation_windows)


def recording_of_episodes(path, length: int):
    frames, actions = moving_square(rows=4, steps=24)
    starts = np.tile(np.arange(24) % length == 0, (4, 1))
    np.savez(path, frames=frames, actions=actions, episode_starts=starts)
    return open_trajectories(path)


def test_episodes_too_short_to_train_on_are_refused(tmp_path):
    mask = np.ones((4, 24), bool)
    assert len(train_windows(recording_of_episodes(tmp_path / "five.npz", 5), mask, L)) == 4 * 4
    data = recording_of_episodes(tmp_path / "four.npz", 4)
    with pytest.raises(InputError, match="record longer episodes"):
        train_windows(data, mask, L)
    with pytest.raises(InputError, match="held-out"):
        validation_set(data, cache_on_device(data.frames, CPU), torch.zeros(4, 24, 4, 8, 12), mask, L, CPU)


def test_validation_compares_predictions_with_the_right_frames(tmp_path):
    """A target one step off makes a perfect model look bad, and one that repeats its last frame look good."""
    frames, actions = moving_square(rows=2, steps=40)
    np.savez(tmp_path / "a.npz", frames=frames, actions=actions)
    data = open_trajectories(tmp_path / "a.npz")
    mask = np.zeros((2, 40), bool)
    mask[1, 3:] = True
    latents = torch.arange(40.0).expand(2, 40)[..., None, None, None].expand(2, 40, 4, 8, 12)  # latent t is t
    held_out = validation_set(data, cache_on_device(data.frames, CPU), latents, mask, L, CPU)
    assert held_out.horizons == (4, 16)
    real = torch.from_numpy(frames) / 255
    for i, t in enumerate(held_out.context[:, 0, 0, 0, 0].int().tolist()):
        assert t >= 3
        torch.testing.assert_close(held_out.last[i], real[1, t + 3])
        torch.testing.assert_close(held_out.target[i], real[1, t + 4])
        assert held_out.target_latent[i, 0, 0, 0] == t + 4
        assert held_out.actions[i].tolist() == actions[1, t : t + 4].tolist()
    for i, t in enumerate(held_out.long_context[:, 0, 0, 0, 0].int().tolist()):
        torch.testing.assert_close(held_out.long_frames[i], real[1, t + 3 : t + 20])
        assert held_out.long_actions[i].tolist() == actions[1, t : t + 19].tolist()


@pytest.mark.parametrize("size", [(112, 256), (66, 131), (30, 37)])
def test_crops_lie_on_the_grid_of_patches(size):
    """Each pixel holds its own row and column; crops reach the last ones, also where the size is no multiple of 4."""
    H, W = size
    frames = np.zeros((1, 2, 3, H, W), np.uint8)
    frames[:, :, 0], frames[:, :, 1] = np.arange(H)[:, None] % 256, np.arange(W) % 256
    positions = torch.tensor([[0, 0], [0, 1]])
    crops, crop_origin = train_autoencoder.draw_crops(torch.from_numpy(frames), positions, 200, seeded(), CPU)
    h, w = crops.shape[-2:]
    assert (h, w) == (min(64, H), min(128, W)) and crop_origin.shape == (200, 2)
    crops = (crops * 255).round().long()
    rows, columns = crop_origin.T[:, :, None] * 4 + torch.arange(max(h, w))
    assert (crops[:, 0] == rows[:, :h, None].clamp(max=H - 1) % 256).all()
    assert (crops[:, 1] == columns[:, None, :w].clamp(max=W - 1) % 256).all()
    assert rows[:, :h].max() >= H - 1 and columns[:, :w].max() >= W - 1 and crop_origin.min() == 0


def test_rollouts_are_measured_where_something_moves(tmp_path):
    """Where a car stands, a still picture is exact: a mean over such windows says that no model is better."""
    frames = np.full((20, 24, 3, 16, 16), 7, np.uint8)
    moving = [3, 4, 8, 9, 11, 12, 18, 19]
    frames[moving] += (np.arange(24) * 5).astype(np.uint8)[:, None, None, None]
    np.savez(tmp_path / "a.npz", frames=frames, actions=np.zeros((20, 24), int))
    data = open_trajectories(tmp_path / "a.npz")
    starts = torch.tensor([[row, row % 3] for row in range(20)])
    assert most_moving(data, starts, 20)[:, 0].tolist() == moving
    assert most_moving(data, starts[:5], 20).tolist() == starts[:5].tolist()  # there are no more
