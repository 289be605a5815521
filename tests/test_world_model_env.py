"""The world model as an environment, on a small random model; and the pretrained model of the repository."""

import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from dream.data.latents import to_u8
from dream.inference.world_model_env import WorldModelEnv
from dream.models.autoencoder import decode
from pretrained import PRETRAINED, PRETRAINED_FILES, moved_right
from small import open_small_world_model

ROOT = Path(__file__).resolve().parent.parent


def play(env: WorldModelEnv, actions) -> np.ndarray:
    return np.stack([env.step(action) for action in actions])


def test_frames_are_pictures_for_a_screen(paths):
    """Another order of axes or type would be calls as stripes, or refused by a video file only at its end."""
    env = open_small_world_model(**paths, steps=None)
    assert env.backend.steps == 2  # of the file
    assert env.frame_shape == (32, 48) and env.num_starts == 3 and env.fps == 15.0
    assert env.action_names == ("nothing", "left", "right") and env.action_keys == ((), ("left",), ("right",))
    for frame_u8 in (env.reset(1), env.step(2)):
        assert frame_u8.shape == (32, 48, 3) and frame_u8.dtype == np.uint8 and frame_u8.flags.c_contiguous


def test_the_same_seed_generates_the_same_frames(paths):
    """Otherwise neither a bug nor a picture in the README could be reproduced."""
    actions = [0, 1, 2, 2, 1, 0]
    one, same, other = (play(open_small_world_model(**paths, seed=seed), actions) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_actions_steer(paths):
    """Actions that never reach the network would leave frames that still look good."""
    frames = [play(open_small_world_model(**paths), [action] * 3) for action in range(3)]
    assert (frames[0] != frames[1]).any() and (frames[1] != frames[2]).any()


def test_reset_goes_back_to_the_start(paths):
    """A start state that play changes would be different at every restart."""
    env = open_small_world_model(**paths)
    starts = [env.reset(start) for start in range(env.num_starts)]
    assert (starts[0] != starts[1]).any() and (starts[1] != starts[2]).any()
    saved = env.start_states.latents.copy(), env.start_states.actions.copy()
    env.reset(1)
    first = env.state.context.clone(), env.state.actions.clone()
    play(env, [2, 1, 2, 1, 0, 1, 2])
    np.testing.assert_array_equal(env.reset(1), starts[1])
    assert torch.equal(env.state.context, first[0]) and torch.equal(env.state.actions, first[1])
    np.testing.assert_array_equal(env.start_states.latents, saved[0])
    np.testing.assert_array_equal(env.start_states.actions, saved[1])
    last = torch.from_numpy(saved[0][1:2, -1])
    np.testing.assert_array_equal(env.reset(1), to_u8(decode(env.backend.decoder, last))[0])


def test_an_action_counts_for_the_frame_that_is_returned(paths):
    """The action given to `step` is the last input action of the network; a delay of a frame would spoil steering."""
    env = open_small_world_model(**paths)
    calls = []
    env.backend.unet.register_forward_pre_hook(
        lambda _, inputs: calls.append((inputs[2].clone(), inputs[3].tolist()[0]))
    )
    env.reset(2)
    latents, before = (
        list(torch.from_numpy(env.start_states.latents[2])),
        env.start_states.actions[2].tolist(),
    )
    actions = [1, 2, 0, 2, 1, 1]
    for action in actions:
        frame_u8 = env.step(action)
        context = env.state.context
        latents.append(context[0, -1])
        np.testing.assert_array_equal(frame_u8, to_u8(decode(env.backend.decoder, context[:, -1]))[0])
    for i, (context, inputs_actions) in enumerate(calls):
        # The last action of the start state is replaced by the player's.
        assert inputs_actions == [*before[:3], *actions][i : i + 4]
        torch.testing.assert_close(context[0], torch.stack(latents[i : i + 4]))  # the context rolls


@pytest.mark.parametrize("action", [-1, 3])
def test_an_action_out_of_range_is_refused(action, paths):
    """Python would accept -1 as the index of the last action."""
    env = open_small_world_model(**paths)
    with pytest.raises(ValueError, match=f"action {action}"):
        env.step(action)


# ------------------------------------------------------------------------------------------------- the pretrained model


@pytest.fixture(scope="module")
def pretrained():
    if not all((PRETRAINED / name).exists() for name in PRETRAINED_FILES.values()):
        pytest.fail("no model in sd/pretrained/: make play has nothing to show")
    return {option: PRETRAINED / name for option, name in PRETRAINED_FILES.items()}


def test_the_pretrained_model_plays_and_steers(pretrained):
    """It must load with this code, produce motion, and turn both ways."""
    frames = {}
    for side in ("left", "right"):
        env = open_small_world_model(**pretrained)
        held = next(i for i, keys in enumerate(env.action_keys) if side in keys and "up" in keys)
        frames[side] = play(env, [held] * 30).astype(int)
        assert frames[side].std() > 5 and np.abs(np.diff(frames[side], axis=0)).mean() > 0.2
    assert np.abs(frames["left"][-1] - frames["right"][-1]).mean() > 3
    for start in range(env.num_starts):
        assert env.reset(start).std() > 5


@pytest.mark.parametrize("start", [1, 5])
@pytest.mark.parametrize(("side", "sign"), [("left", 1), ("right", -1)])
def test_in_the_pretrained_model_steering_left_turns_the_world_right(pretrained, side, sign, start):
    env = open_small_world_model(**pretrained)
    held = next(i for i, keys in enumerate(env.action_keys) if side in keys and "up" in keys)
    frames = [env.reset(start), *play(env, [held] * 12)]
    moved = [moved_right(*pair) for pair in itertools.pairwise(frames)]
    assert sign * sum(moved) > 60, moved


@pytest.mark.slow
@pytest.mark.parametrize("start", [1, 3, 6])
def test_in_the_pretrained_model_no_gas_comes_to_a_stop(pretrained, start):
    """The picture must stay intact: an earlier model diverged when no key was held."""
    env = open_small_world_model(**pretrained)
    env.reset(start)
    nothing = next(i for i, keys in enumerate(env.action_keys) if not keys)
    frames = play(env, [nothing] * 150).astype(int)
    change = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert change[-30:].mean() < 0.1 * change[:10].mean() and change[-30:].max() < 1, change


def test_pretrained_files_are_small(pretrained):
    """The repository must stay quick to clone."""
    for path in PRETRAINED.iterdir():
        assert path.stat().st_size <= 16 * 2**20, path


def test_the_repository_is_small():
    """Weights and recordings that are committed by mistake stay in the history."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    sizes = {path: path.stat().st_size for path in paths if path.is_file()}
    assert sum(sizes.values()) <= 40 * 2**20, sorted(sizes, key=sizes.get)[-5:]
