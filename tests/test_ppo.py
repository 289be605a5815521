"""PPO: the maths against slow references, what is recorded against a game that tells, the script run for real."""

import csv
import itertools
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
import train_ppo
from dream.data.trajectories import open_trajectories
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from player.common.agent_view import GREY, OBS_SIZE, preprocess_frame, preprocess_frames
from player.common.errors import InputError, run_script
from player.common.runs import load_checkpoint, save_checkpoint
from player.envs.vector_env import SharedVectorEnv
from player.games.registry import find_game
from player.rl.agent import (
    STACK,
    Agent,
    AgentConfig,
    FrameStack,
    agent_checkpoint,
    load_agent,
)
from player.rl.behavior import BehaviorPolicies
from player.rl.collector import RolloutCollector
from player.rl.ppo import PPOConfig, ppo_loss, update
from player.rl.rollout_buffer import Minibatch, RewardScaler, Rollout, gae, minibatches

CPU = torch.device("cpu")
SCRIPT = Path(train_ppo.__file__)
TINY = ["--n-envs", "2", "--n-steps", "32", "--batch-size", "32", "--video-every", "0", "--device", "cpu"]
NUM_ACTIONS = 6


# -- generalised advantage estimation --------------------------------------------------------------------------------


def test_gae_against_the_sum_it_is_defined_as():
    """A_t = sum over l of (gamma lambda)^l delta_{t+l}, up to and with the step at which the episode ended."""
    generator = torch.Generator().manual_seed(0)
    T, N, gamma, gae_lambda = 40, 5, 0.97, 0.9
    rewards, values, next_values = torch.randn(3, T, N, generator=generator)
    terminated = torch.rand(T, N, generator=generator) < 0.1
    truncated = (torch.rand(T, N, generator=generator) < 0.1) & ~terminated
    next_values[terminated] = 0
    done = terminated | truncated
    assert terminated.any() and truncated.any()
    advantages, returns = gae(rewards, values, next_values, done, gamma, gae_lambda)
    for n in range(N):
        for t in range(T):
            wanted = 0.0
            for later in range(t, T):
                delta = rewards[later, n] + gamma * next_values[later, n] - values[later, n]
                wanted += (gamma * gae_lambda) ** (later - t) * delta
                if done[later, n]:
                    break
            assert float(advantages[t, n]) == pytest.approx(float(wanted), abs=1e-5)
    torch.testing.assert_close(returns, advantages + values)


@pytest.mark.parametrize("truncated", [False, True])
def test_gae_of_three_steps_by_hand(truncated):
    """The episode ends at the second step; where it is only cut short, the 8 it would have been worth still counts."""
    rewards, values = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[4.0], [2.0], [6.0]])
    next_values = torch.tensor([[2.0], [8.0 if truncated else 0.0], [10.0]])
    done = torch.tensor([[False], [True], [False]])
    advantages, _ = gae(rewards, values, next_values, done, gamma=0.5, gae_lambda=0.5)
    # Deltas: 1 + 1 - 4 = -2; 2 + (4 or 0) - 2 = 4 or 0; 4 + 5 - 6 = 3.
    wanted = [-2 + 0.25 * 4, 4.0, 3.0] if truncated else [-2.0, 0.0, 3.0]
    assert advantages.flatten().tolist() == wanted


# -- a game that tells: its frame is one shade, which is the last action and the number of the frame ------------------


class TellTale(gymnasium.Env):
    """Episodes of the given lengths in turn, terminated or truncated. Shade: 36 (action + 1) + steps; 0 at a reset."""

    observation_space = gymnasium.spaces.Box(0, 255, (12, 16, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(NUM_ACTIONS)
    saved_state = b""

    def __init__(self, episodes: list[tuple[int, bool]]) -> None:
        self.episodes, self.number = episodes, -1

    def frame(self, shade: int) -> tuple[np.ndarray, dict]:
        return np.full((12, 16, 3), shade, np.uint8), {"truth": np.array([shade], np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number, self.steps = self.number + 1, 0
        return self.frame(0)

    def step(self, action):
        self.steps += 1
        length, terminated = self.episodes[self.number % len(self.episodes)]
        over = self.steps == length
        frame, info = self.frame(36 * (int(action) + 1) + self.steps)
        return frame, float(self.steps), over and terminated, over and not terminated, info


class ValueOfShades:
    """In place of an agent: chance for a policy, and a value that tells every picture of the stack apart."""

    weights = torch.tensor([1.0, 3.0, 7.0, 11.0])

    def predict_values(self, views: torch.Tensor) -> torch.Tensor:
        return views.float().mean(dim=(2, 3)) @ self.weights

    def act(self, views: torch.Tensor, generator: torch.Generator):
        actions = torch.randint(NUM_ACTIONS, (len(views),), generator=generator)
        return actions, torch.zeros(len(views)), self.predict_values(views)


GAMES = (
    [(3, True), (5, False)],
    [(2, False), (1, True), (1, False)],
    [(7, True)],
)


MAKERS = [lambda episodes=episodes: TellTale(episodes) for episodes in GAMES]


def collect(num_steps: int, recorded: tuple = (0, 1, 2), explore_envs: int = 0, envs=None):
    envs = envs or SyncVectorEnv(MAKERS, autoreset_mode=AutoresetMode.SAME_STEP)
    kinds = ["agent"] * (envs.num_envs - explore_envs) + ["wander"] * explore_envs
    collector = RolloutCollector(envs, 0, ("shade",), CPU, BehaviorPolicies(kinds, NUM_ACTIONS))
    rollout = Rollout.empty(num_steps, len(GAMES) - explore_envs, CPU)
    stats = collector.collect(ValueOfShades(), rollout, torch.Generator().manual_seed(1), list(recorded))
    return rollout, stats, collector


def test_next_values_are_those_before_a_reset():
    """Terminated: 0. Truncated: the value of the true last frame, not of the reset's. Else: of the next state."""
    rollout, _, _ = collect(40)
    for n, episodes in enumerate(GAMES):
        number, steps, history = 0, 0, [0] * STACK
        for t in range(40):
            assert rollout.views[t, n].float().mean(dim=(1, 2)).tolist() == history
            length, terminated = episodes[number % len(episodes)]
            steps += 1
            following = [*history[1:], 36 * (int(rollout.actions[t, n]) + 1) + steps]
            over = steps == length
            value = sum(w * shade for w, shade in zip((1, 3, 7, 11), following, strict=True))
            assert rollout.next_values[t, n] == (0 if over and terminated else value)
            assert bool(rollout.done[t, n]) == over
            assert rollout.rewards[t, n] == steps
            history = following
            if over:
                number, steps, history = number + 1, 0, [0] * STACK


class EndsBothWays(TellTale):
    """Terminates in the step in which the time limit cuts it short."""

    def step(self, action):
        frame, reward, terminated, truncated, info = super().step(action)
        return frame, reward, terminated or truncated, terminated or truncated, info


def test_terminated_at_the_time_limit_bootstraps_with_zero():
    """A terminal state is worth 0. The collector used the value of the last frame whenever `truncated` was set."""
    env_fns = [lambda episodes=episodes: EndsBothWays(episodes) for episodes in GAMES]
    rollout, _, _ = collect(20, envs=SyncVectorEnv(env_fns, autoreset_mode=AutoresetMode.SAME_STEP))
    assert rollout.done.any() and (rollout.next_values[rollout.done] == 0).all()
    assert (rollout.next_values[~rollout.done] > 0).all()


def test_recorded_action_leads_from_its_frame_to_the_next():
    rollout, stats, collector = collect(40, recorded=(0, 1))
    rows = stats.rows
    assert rows["frames"].shape == (2, 40, 3, 12, 16)
    assert rows["episode_starts"].sum() > 10 and rows["episode_starts"][:, 0].all()
    for n in range(2):
        for t in range(40):
            shades = np.unique(rows["frames"][n, t])
            assert len(shades) == 1 and shades[0] == rows["truth/shade"][n, t]
            if rows["episode_starts"][n, t]:
                assert shades[0] == 0
            else:
                action, steps = divmod(int(shades[0]), 36)
                assert action - 1 == rows["actions"][n, t - 1]
                assert (
                    rows["rewards"][n, t - 1] == steps
                )  # the reward, too, is of the action it stands beside
    np.testing.assert_array_equal(rows["actions"], rollout.actions[:, :2].T)
    assert stats.episode_lengths.count(7) == 5 and sorted(set(stats.episode_lengths)) == [1, 2, 3, 5, 7]
    assert collector.frames[2, 0, 0, 0] % 36 == 40 % 7


def test_views_that_the_games_processes_make_are_those_of_their_frames():
    """Gymnasium's own vector environments bring frames alone; ours must lead to the same rollout and recording."""
    envs = SharedVectorEnv(MAKERS, 1, num_processes=2)
    try:
        rollout, stats, collector = collect(40, envs=envs)
        state = collector.state_dict()
    finally:
        envs.close()
    wanted, theirs, others = collect(40)
    for name in Rollout.__dataclass_fields__:
        assert torch.equal(getattr(rollout, name), getattr(wanted, name)), name
    for key, rows in theirs.rows.items():
        np.testing.assert_array_equal(stats.rows[key], rows, err_msg=key)
    assert_same({**state, "games": []}, {**others.state_dict(), "games": []})


def test_a_state_stays_as_it_was_when_the_games_go_on():
    """The frames lie where the next step writes."""
    envs = SharedVectorEnv(MAKERS, 1, num_processes=1)
    try:
        rollout, _, collector = collect(10, envs=envs)
        state, before = collector.state_dict(), collector.frames.copy()
        collector.collect(ValueOfShades(), rollout, torch.Generator().manual_seed(2), [])
        assert (collector.frames != before).any()
        np.testing.assert_array_equal(state["frames"], before)
    finally:
        envs.close()


def test_a_wandering_game_is_recorded_and_not_learned_from():
    """The rollout holds the agent's own games alone; the stranger's keys are what the recording says was pressed."""
    rollout, stats, _ = collect(400, recorded=(0, 2), explore_envs=1)
    rows = stats.rows
    assert rollout.rewards.shape == (400, 2) and 7 not in stats.episode_lengths
    np.testing.assert_array_equal(rows["actions"][0], rollout.actions[:, 0])
    steps = np.flatnonzero(~rows["episode_starts"][1])
    told = (
        rows["truth/shade"][1, steps].astype(int) // 36 - 1
    )  # by the game: the action that led to its frame
    np.testing.assert_array_equal(told, rows["actions"][1, steps - 1])
    longest = [max(len(list(run)) for _, run in itertools.groupby(row)) for row in rows["actions"].tolist()]
    assert longest[0] < 8 < longest[1]  # chance alone drives game 0; in game 2 keys are held


def test_no_rows_where_nothing_is_recorded():
    assert collect(4, recorded=())[1].rows == {}


# -- what the agent sees -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("H", "W"), [(112, 256), (224, 320), (60, 50)])
def test_agent_view_against_a_slow_area_average(H, W):
    frame = np.random.default_rng(1).integers(256, size=(H, W, 3), dtype=np.uint8)
    view = preprocess_frame(frame)
    assert view.shape == (OBS_SIZE, OBS_SIZE) and view.dtype == np.uint8
    grey = frame @ np.array(GREY)
    for row, column in np.random.default_rng(0).integers(OBS_SIZE, size=(12, 2)):
        total = area = 0.0
        for r in range(H):
            for c in range(W):
                tall = min(r + 1, (row + 1) * H / OBS_SIZE) - max(r, row * H / OBS_SIZE)
                wide = min(c + 1, (column + 1) * W / OBS_SIZE) - max(c, column * W / OBS_SIZE)
                if tall > 0 and wide > 0:
                    total, area = total + tall * wide * grey[r, c], area + tall * wide
        assert abs(total / area - int(view[row, column])) <= 0.5001


def test_a_lit_pixel_lands_where_it_should():
    """The original scrambled the pixels by a reshape in place of a permute."""
    for r, c in ((0, 0), (0, 255), (111, 0), (50, 200), (77, 31)):
        frames = np.zeros((2, 112, 256, 3), np.uint8)
        frames[1, r, c] = 255
        dark, lit = preprocess_frames(frames)
        assert dark.max() == 0
        brightest = divmod(int(lit.argmax()), OBS_SIZE)
        assert brightest == (int((r + 0.5) * OBS_SIZE / 112), int((c + 0.5) * OBS_SIZE / 256))
        assert (lit > 0).sum() <= 6


def test_stack_order_and_reset():
    def shades(*values: int) -> np.ndarray:
        return np.tile(np.uint8(values)[:, None, None], (1, OBS_SIZE, OBS_SIZE))

    stack = FrameStack(2, CPU)
    stack.push(shades(1, 101), np.array([True, True]))
    for number in (2, 3, 4):
        views = stack.push(shades(number, 100 + number), np.array([False, False]))
    assert views[:, :, 5, 7].tolist() == [[1, 2, 3, 4], [101, 102, 103, 104]]  # the oldest first
    peeked = stack.preview(shades(200), np.array([1]))
    assert peeked[:, :, 0, 0].tolist() == [[102, 103, 104, 200]]
    assert stack.views[1, :, 0, 0].tolist() == [101, 102, 103, 104]  # peeking adds nothing
    views = stack.push(shades(5, 9), np.array([False, True]))
    assert views[:, :, 0, 0].tolist() == [[2, 3, 4, 5], [9, 9, 9, 9]]


def new_agent(seed: int = 0) -> Agent:
    torch.manual_seed(seed)
    names = ("nothing", "forward", "left", "right", "forward+left", "forward+right")
    return Agent(AgentConfig(NUM_ACTIONS, names, "Mode7Kart-v0", 4))


def test_agent_samples_its_own_policy():
    agent = new_agent()
    with torch.no_grad():
        agent.policy.bias.copy_(torch.tensor([0.0, 2.0, 0.0, -9.0, 0.0, 1.0]))
    views = torch.randint(256, (1, STACK, OBS_SIZE, OBS_SIZE), dtype=torch.uint8).expand(400, -1, -1, -1)
    actions, log_probs, values = agent.act(views, torch.Generator().manual_seed(0))
    logits, _ = agent(views)
    torch.testing.assert_close(log_probs, logits.log_softmax(dim=1)[torch.arange(400), actions])
    shares = torch.bincount(actions, minlength=NUM_ACTIONS) / 400
    assert (shares - logits.softmax(dim=1).mean(dim=0)).abs().max() < 0.08
    assert values.shape == (400,)


# -- the loss ----------------------------------------------------------------------------------------------------------


def batch_of(actions, log_probs, advantages, returns) -> Minibatch:
    M = len(actions)
    views, values = torch.zeros(M, STACK, 1, 1, dtype=torch.uint8), torch.zeros(M)
    return Minibatch(views, actions, log_probs, values, advantages, returns)


def test_loss_against_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    M, config = 50, PPOConfig(clip_ratio=0.2, ent_coef=0.03, vf_coef=0.7)
    logits = torch.randn(M, NUM_ACTIONS, generator=generator, dtype=torch.float64)
    values, returns, advantages = torch.randn(3, M, generator=generator, dtype=torch.float64)
    actions = torch.randint(NUM_ACTIONS, (M,), generator=generator)
    played = logits.log_softmax(1)[torch.arange(M), actions] + 0.3 * torch.randn(M, generator=generator)
    loss, metrics = ppo_loss(logits, values, batch_of(actions, played, advantages, returns), config)

    z = logits.numpy()
    scaled = (advantages.numpy() - advantages.numpy().mean()) / advantages.numpy().std()
    policy = value = entropy = clipped = 0.0
    for i in range(M):
        probabilities = np.exp(z[i]) / np.exp(z[i]).sum()
        ratio = probabilities[actions[i]] / np.exp(float(played[i]))
        limited = min(max(ratio, 0.8), 1.2)
        policy -= min(ratio * scaled[i], limited * scaled[i]) / M
        value += 0.5 * float(values[i] - returns[i]) ** 2 / M
        entropy -= (probabilities * np.log(probabilities)).sum() / M
        clipped += (abs(ratio - 1) > 0.2) / M
    assert float(loss) == pytest.approx(policy + 0.7 * value - 0.03 * entropy, rel=1e-6)
    assert float(metrics["policy/entropy"]) == pytest.approx(entropy)
    assert float(metrics["policy/clip_fraction"]) == pytest.approx(clipped)
    assert 0 < clipped < 1


def policy_gradient(
    ratios: list[float], advantages: list[float]
) -> tuple[torch.Tensor, torch.Tensor, Minibatch]:
    """Gradient of the policy's part of the loss where the policy has moved by these ratios since it played."""
    M, config = len(ratios), PPOConfig(ent_coef=0, vf_coef=0)
    logits = torch.randn(M, NUM_ACTIONS, generator=torch.Generator().manual_seed(2)).requires_grad_()
    actions = torch.arange(M) % NUM_ACTIONS
    now = logits.detach().log_softmax(1)[torch.arange(M), actions]
    batch = batch_of(actions, now - torch.tensor(ratios).log(), torch.tensor(advantages), torch.zeros(M))
    ppo_loss(logits, torch.zeros(M), batch, config)[0].backward()
    return logits.grad, logits.detach(), batch


def test_unmoved_policy_gets_the_plain_policy_gradient():
    advantages = [1.0, -1.0, 1.0, -1.0]  # mean 0 and spread 1 already
    gradient, logits, batch = policy_gradient([1.0] * 4, advantages)
    log_prob_gradient = torch.nn.functional.one_hot(batch.actions, NUM_ACTIONS) - logits.softmax(1)
    torch.testing.assert_close(gradient, -batch.advantages[:, None] * log_prob_gradient / 4)


def test_clipping_stops_the_gradient_only_where_the_policy_has_moved_far_the_right_way():
    gradient, _, _ = policy_gradient([1.5, 0.5, 0.5, 1.5, 1.1, 0.9], [1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    moves = gradient.abs().sum(dim=1) > 1e-6
    assert moves.tolist() == [False, False, True, True, True, True]


# -- the buffer --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "sizes"), [(6, [6, 6]), (5, [5, 5]), (12, [12]), (99, [12])])
def test_minibatches_take_every_step_once(batch_size, sizes):
    rollout = Rollout.empty(4, 3, CPU)
    rollout.actions = torch.arange(12).reshape(4, 3)
    rollout.log_probs = 10.0 * rollout.actions
    rollout.views[:] = rollout.actions[..., None, None, None].to(torch.uint8)
    advantages, returns = 100.0 * rollout.actions, 1000.0 * rollout.actions
    batches = list(minibatches(rollout, advantages, returns, batch_size, torch.Generator().manual_seed(0)))
    assert [len(batch.actions) for batch in batches] == sizes
    order = torch.cat([batch.actions for batch in batches]).tolist()
    assert len(set(order)) == sum(sizes) and order != sorted(order)
    for batch in batches:  # each row's parts belong together
        torch.testing.assert_close(batch.log_probs, 10.0 * batch.actions)
        torch.testing.assert_close(batch.advantages, 100.0 * batch.actions)
        torch.testing.assert_close(batch.returns, 1000.0 * batch.actions)
        assert (batch.views == batch.actions[:, None, None, None]).all()


def test_return_scale_against_numpy_over_several_epochs():
    random = np.random.default_rng(0)
    scale, running, seen = RewardScaler(4, 0.9, CPU), np.zeros(4), []
    for _ in range(5):
        rewards = random.normal(3, 5, (30, 4)).astype(np.float32)
        done = random.random((30, 4)) < 0.1
        for reward, over in zip(rewards, done, strict=True):
            running = 0.9 * running + reward
            seen.append(running)
            running = np.where(over, 0, running)
        scaled = scale(torch.from_numpy(rewards), torch.from_numpy(done))
        np.testing.assert_allclose(scaled, rewards / np.std(seen), rtol=1e-4)


# -- learning ----------------------------------------------------------------------------------------------------------


class LeftOrRight(gymnasium.Env):
    """One step an episode: the right action is the half of the picture that is lit."""

    observation_space = gymnasium.spaces.Box(0, 255, (12, 16, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.lit = int(self.np_random.integers(2))
        frame = np.zeros((12, 16, 3), np.uint8)
        frame[:, 8 * self.lit : 8 * self.lit + 8] = 255
        return frame, {}

    def step(self, action):
        return np.zeros((12, 16, 3), np.uint8), float(int(action) == self.lit), True, False, {}


@pytest.mark.slow
def test_learns_what_a_picture_asks_for():
    envs = SyncVectorEnv([LeftOrRight] * 8, autoreset_mode=AutoresetMode.SAME_STEP)
    torch.manual_seed(0)
    agent = Agent(AgentConfig(2, ("left", "right"), "LeftOrRight", 1))
    optimizer = torch.optim.Adam(agent.parameters(), lr=3e-4, eps=1e-5)
    generator = torch.Generator().manual_seed(0)
    behaviors = BehaviorPolicies(["agent"] * 8, NUM_ACTIONS)
    collector, rollout = RolloutCollector(envs, 0, (), CPU, behaviors), Rollout.empty(16, 8, CPU)
    for _ in range(6):
        collector.collect(agent, rollout, generator, [])
        metrics = update(agent, optimizer, rollout, PPOConfig(batch_size=64, train_iters=2), generator)
    assert rollout.rewards.mean() > 0.9
    assert np.isfinite(list(metrics.values())).all()


# -- the script --------------------------------------------------------------------------------------------------------


def train(*flags) -> None:
    train_ppo.main(train_ppo.parse_args([*TINY, *map(str, flags)]))


def run_cli(*flags) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *TINY, *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)


@pytest.mark.slow
def test_tiny_run_of_the_script(tmp_path):
    cv2 = pytest.importorskip("cv2")
    run = tmp_path / "run"
    done = run_cli(
        "--n-epochs", 2, "--track", 1, 3, 2, "--rivals", 1, "--video-every", 2, "--output-dir", run
    )
    assert done.returncode == 0, done.stderr
    recording = open_trajectories(run / "trajectories.npz")
    assert (
        recording.frames.shape == (4, 32, 3, 112, 256) and recording.frames.any()
    )  # 2 epochs x (1 + 1 wandering)
    assert recording.actions.shape == (4, 32) and set(np.unique(recording.actions)) <= set(range(6))
    assert recording.episode_starts[:2, 0].all() and not recording.episode_starts[2:, 0].any()
    assert recording.meta["game"] == "Mode7Kart-v0" and recording.meta["fps"] == 15
    assert recording.action_names[1] == "forward"
    assert {"truth/x", "truth/lap"} <= set(recording.extras)
    tracks = recording.extras[
        "track"
    ]  # of game 0 and of the wandering one behind the games that are learned from
    assert (tracks[::2] == 1).all() and (tracks[1::2] == 2).all()
    assert load_agent(run / "best.pt").config.game == "Mode7Kart-v0"
    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2"]
    assert all(np.isfinite(float(row["loss/policy"])) for row in rows)
    video = cv2.VideoCapture(str(run / "videos" / "epoch_0002.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 32
    video.release()


class Stopped(Exception):
    """In place of a Ctrl-C."""


@pytest.fixture
def stop_after(monkeypatch):
    def stop_after_epochs(number: int) -> None:
        def save_and_stop(checkpoint: dict, path: Path) -> None:
            save_checkpoint(checkpoint, path)
            if checkpoint.get("epochs_done") == number:
                monkeypatch.undo()
                raise Stopped

        monkeypatch.setattr(train_ppo, "save_checkpoint", save_and_stop)

    return stop_after_epochs


def assert_same(one, other, where: str = "") -> None:
    """Two checkpoints, bit for bit."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    elif isinstance(one, dict):
        assert set(one) == set(other), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{i}")
    else:
        assert one == other, where


@pytest.mark.slow
def test_stopped_and_resumed_equals_straight(tmp_path, stop_after):
    """Weights, optimizer, the games, the recording: as if it had never stopped."""
    flags = ("--n-epochs", 4, "--rivals", 2, "--record-envs", 1, "--explore-envs", 1, "--seed", 5)
    train(*flags, "--output-dir", tmp_path / "straight")
    stop_after(2)
    with pytest.raises(Stopped):
        train(*flags, "--output-dir", tmp_path / "stopped")
    assert load_checkpoint(tmp_path / "stopped" / "last.pt", "ppo_run", "")["epochs_done"] == 2
    train(*flags, "--output-dir", tmp_path / "stopped", "--resume")
    straight, resumed = (
        load_checkpoint(tmp_path / name / "last.pt", "ppo_run", "") for name in ("straight", "stopped")
    )
    assert_same(straight, resumed)
    one, other = (open_trajectories(tmp_path / name / "trajectories.npz") for name in ("straight", "stopped"))
    assert one.frames.shape[0] == 8
    for found, wanted in ((other.frames, one.frames), (other.actions, one.actions)):
        np.testing.assert_array_equal(found, wanted)
    for key, wanted in one.extras.items():
        np.testing.assert_array_equal(other.extras[key], wanted, err_msg=key)
    assert one.meta == other.meta


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs a POSIX kill")
def test_a_killed_run_is_packed_and_goes_on(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, str(SCRIPT), *TINY, "--n-epochs", "100000", "--output-dir", str(run)]
    # So long a run would want more disk than there is: record only the beginning.
    killed = subprocess.Popen(
        [*command, "--recording-end", "40"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 3600
    while not (run / "trajectories.partial" / "epoch_000002").exists():
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    train("--pack-only", "--output-dir", run)
    packed = open_trajectories(run / "trajectories.npz")
    assert len(packed.frames) >= 6 and packed.meta["epochs"] == list(range(len(packed.frames) // 2))
    before = np.array(packed.frames[:2])
    done = load_checkpoint(run / "last.pt", "ppo_run", "")["epochs_done"]
    assert done >= 2
    train("--n-epochs", done + 2, "--output-dir", run, "--resume")
    whole = open_trajectories(run / "trajectories.npz")
    assert whole.meta["epochs"] == list(range(done + 2))
    np.testing.assert_array_equal(whole.frames[:2], before)
    assert not (run / "trajectories.partial").exists()


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("ppo") / "run"
    train("--n-epochs", 1, "--output-dir", run)
    return run


def test_a_run_is_not_written_over(finished_run):
    before = (finished_run / "last.pt").read_bytes()
    with pytest.raises(InputError, match="--resume, or choose another --output-dir"):
        train("--n-epochs", 1, "--output-dir", finished_run)
    assert (finished_run / "last.pt").read_bytes() == before


def test_best_is_the_agent_that_played(finished_run):
    """Saved after the update, a good epoch followed by a bad update would keep the bad agent."""
    args = train_ppo.parse_args([*map(str, TINY)])
    train_ppo.seed_everything(args.seed)
    began = train_ppo.make_agent(args, find_game("Mode7Kart-v0"))
    best, last = load_agent(finished_run / "best.pt"), torch.load(finished_run / "last.pt", weights_only=True)
    assert_same(dict(best.state_dict()), dict(began.state_dict()))
    assert not torch.equal(last["agent"]["model"]["policy.weight"], best.policy.weight)


@pytest.mark.parametrize("flag", ["--seed", "--n-steps", "--rivals"])
def test_a_run_goes_on_only_as_it_began(finished_run, flag):
    with pytest.raises(InputError, match=f"began with {flag} "):
        train("--n-epochs", 2, "--output-dir", finished_run, "--resume", flag, 7)


def test_resume_wants_something_to_go_on_with(tmp_path):
    with pytest.raises(InputError, match="no checkpoint at"):
        train("--output-dir", tmp_path / "nothing", "--resume")
    with pytest.raises(InputError, match="nothing is recorded"):
        train("--output-dir", tmp_path / "nothing", "--pack-only")


def test_starts_from_a_given_agent(finished_run, tmp_path):
    args = train_ppo.parse_args([*TINY, "--checkpoint-model", str(finished_run / "best.pt")])
    game = find_game("Mode7Kart-v0")
    given = load_agent(finished_run / "best.pt")
    assert_same(dict(train_ppo.make_agent(args, game).state_dict()), dict(given.state_dict()))
    fewer = agent_checkpoint(Agent(AgentConfig(2, ("a", "b"), "Other-v0", 4)))
    save_checkpoint(fewer, tmp_path / "fewer.pt")
    args.checkpoint_model = tmp_path / "fewer.pt"
    with pytest.raises(InputError, match="has the actions"):
        train_ppo.make_agent(args, game)


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["missing", "garbage", "pickle", "torch"])
def test_an_agent_that_cannot_be_read_is_refused_and_never_run(kind, tmp_path):
    path, harm = tmp_path / "agent.pt", tmp_path / "harm"
    if kind == "garbage":
        path.write_bytes(b"not a checkpoint" * 99)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Hostile(harm), protocol=2))
    elif kind == "torch":
        torch.save({"kind": "agent", "config": Hostile(harm), "model": {}}, path)
    with pytest.raises(SystemExit) as stopped:
        run_script(
            lambda: train("--n-epochs", 1, "--checkpoint-model", path, "--output-dir", tmp_path / "run")
        )
    assert str(stopped.value.code).startswith("error: ") and "\n" not in stopped.value.code
    assert str(path) in stopped.value.code
    assert not harm.exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_one_clear_line(tmp_path):
    done = run_cli("--device", "cuda", "--output-dir", tmp_path / "run")
    assert done.returncode not in (0, None)
    assert len(done.stderr.strip().splitlines()) == 1 and "--device cpu" in done.stderr


@pytest.mark.parametrize(
    "flags", [("--n-envs", 0), ("--record-envs", 3), ("--gamma", 1.5), ("--rivals", 13), ("--track", -1)]
)
def test_flags_out_of_range_are_refused_at_once(flags, capsys):
    with pytest.raises(SystemExit) as stopped:
        train_ppo.parse_args([*TINY, *map(str, flags)])
    assert stopped.value.code == 2 and flags[0] in capsys.readouterr().err
