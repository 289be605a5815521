"""The mathematics of PPO: advantages, loss, minibatches and reward scaling, each against a slow reference."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from player.rl.agent import STACK, Agent, AgentConfig
from player.rl.behavior import BehaviorPolicies
from player.rl.collector import RolloutCollector
from player.rl.ppo import PPOConfig, ppo_loss, update
from player.rl.rollout_buffer import Minibatch, RewardScaler, Rollout, gae, minibatches
from ppo_helpers import CPU, NUM_ACTIONS


def test_gae_equals_its_definition_as_a_sum():
    """A_t = sum over l of (gamma lambda)^l delta_{t+l}, up to and including the step that ended the episode."""
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
            expected = 0.0
            for later in range(t, T):
                delta = rewards[later, n] + gamma * next_values[later, n] - values[later, n]
                expected += (gamma * gae_lambda) ** (later - t) * delta
                if done[later, n]:
                    break
            assert float(advantages[t, n]) == pytest.approx(float(expected), abs=1e-5)
    torch.testing.assert_close(returns, advantages + values)


@pytest.mark.parametrize("truncated", [False, True])
def test_gae_of_three_steps_by_hand(truncated):
    """The episode ends at the second step. If it is truncated there, the value of its last frame, 8, counts."""
    rewards, values = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[4.0], [2.0], [6.0]])
    next_values = torch.tensor([[2.0], [8.0 if truncated else 0.0], [10.0]])
    done = torch.tensor([[False], [True], [False]])
    advantages, _ = gae(rewards, values, next_values, done, gamma=0.5, gae_lambda=0.5)
    # Deltas: 1 + 1 - 4 = -2; 2 + (4 or 0) - 2 = 4 or 0; 4 + 5 - 6 = 3.
    expected = [-2 + 0.25 * 4, 4.0, 3.0] if truncated else [-2.0, 0.0, 3.0]
    assert advantages.flatten().tolist() == expected


def make_batch(actions, log_probs, advantages, returns) -> Minibatch:
    M = len(actions)
    views, values = torch.zeros(M, STACK, 1, 1, dtype=torch.uint8), torch.zeros(M)
    return Minibatch(views, actions, log_probs, values, advantages, returns)


def test_loss_equals_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    M, config = 50, PPOConfig(clip_ratio=0.2, ent_coef=0.03, vf_coef=0.7)
    logits = torch.randn(M, NUM_ACTIONS, generator=generator, dtype=torch.float64)
    values, returns, advantages = torch.randn(3, M, generator=generator, dtype=torch.float64)
    actions = torch.randint(NUM_ACTIONS, (M,), generator=generator)
    old_log_probs = logits.log_softmax(1)[torch.arange(M), actions] + 0.3 * torch.randn(
        M, generator=generator
    )
    loss, metrics = ppo_loss(logits, values, make_batch(actions, old_log_probs, advantages, returns), config)

    z = logits.numpy()
    scaled = (advantages.numpy() - advantages.numpy().mean()) / advantages.numpy().std()
    policy = value = entropy = clipped = 0.0
    for i in range(M):
        probabilities = np.exp(z[i]) / np.exp(z[i]).sum()
        ratio = probabilities[actions[i]] / np.exp(float(old_log_probs[i]))
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
    """Gradient of the policy loss (M, A) with these probability ratios to the old policy; the logits; the minibatch."""
    M, config = len(ratios), PPOConfig(ent_coef=0, vf_coef=0)
    logits = torch.randn(M, NUM_ACTIONS, generator=torch.Generator().manual_seed(2)).requires_grad_()
    actions = torch.arange(M) % NUM_ACTIONS
    log_probs = logits.detach().log_softmax(1)[torch.arange(M), actions]
    batch = make_batch(
        actions, log_probs - torch.tensor(ratios).log(), torch.tensor(advantages), torch.zeros(M)
    )
    ppo_loss(logits, torch.zeros(M), batch, config)[0].backward()
    return logits.grad, logits.detach(), batch


def test_unchanged_policy_has_the_plain_policy_gradient():
    advantages = [1.0, -1.0, 1.0, -1.0]  # mean 0 and standard deviation 1
    gradient, logits, batch = policy_gradient([1.0] * 4, advantages)
    log_prob_gradient = torch.nn.functional.one_hot(batch.actions, NUM_ACTIONS) - logits.softmax(1)
    torch.testing.assert_close(gradient, -batch.advantages[:, None] * log_prob_gradient / 4)


def test_clipping_stops_the_gradient_only_of_large_changes_in_the_direction_of_the_advantage():
    gradient, _, _ = policy_gradient([1.5, 0.5, 0.5, 1.5, 1.1, 0.9], [1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    has_gradient = gradient.abs().sum(dim=1) > 1e-6
    assert has_gradient.tolist() == [False, False, True, True, True, True]


@pytest.mark.parametrize(("batch_size", "sizes"), [(6, [6, 6]), (5, [5, 5]), (12, [12]), (99, [12])])
def test_minibatches_contain_every_step_once(batch_size, sizes):
    rollout = Rollout.empty(4, 3, CPU)
    rollout.actions = torch.arange(12).reshape(4, 3)
    rollout.log_probs = 10.0 * rollout.actions
    rollout.views[:] = rollout.actions[..., None, None, None].to(torch.uint8)
    advantages, returns = 100.0 * rollout.actions, 1000.0 * rollout.actions
    batches = list(minibatches(rollout, advantages, returns, batch_size, torch.Generator().manual_seed(0)))
    assert [len(batch.actions) for batch in batches] == sizes
    order = torch.cat([batch.actions for batch in batches]).tolist()
    assert len(set(order)) == sum(sizes) and order != sorted(order)
    for batch in batches:  # the values of a step stay together
        torch.testing.assert_close(batch.log_probs, 10.0 * batch.actions)
        torch.testing.assert_close(batch.advantages, 100.0 * batch.actions)
        torch.testing.assert_close(batch.returns, 1000.0 * batch.actions)
        assert (batch.views == batch.actions[:, None, None, None]).all()


def test_reward_scaler_equals_numpy_over_several_epochs():
    random = np.random.default_rng(0)
    scaler, running, history = RewardScaler(4, 0.9, CPU), np.zeros(4), []
    for _ in range(5):
        rewards = random.normal(3, 5, (30, 4)).astype(np.float32)
        done = random.random((30, 4)) < 0.1
        for reward, ended in zip(rewards, done, strict=True):
            running = 0.9 * running + reward
            history.append(running)
            running = np.where(ended, 0, running)
        scaled = scaler(torch.from_numpy(rewards), torch.from_numpy(done))
        np.testing.assert_allclose(scaled, rewards / np.std(history), rtol=1e-4)


class LitHalfEnv(gymnasium.Env):
    """One step per episode: the rewarded action is the number of the half of the picture that is lit."""

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
def test_agent_learns_to_react_to_the_picture():
    envs = SyncVectorEnv([LitHalfEnv] * 8, autoreset_mode=AutoresetMode.SAME_STEP)
    torch.manual_seed(0)
    agent = Agent(AgentConfig(2, ("left", "right"), "LitHalf", 1))
    optimizer = torch.optim.Adam(agent.parameters(), lr=3e-4, eps=1e-5)
    generator = torch.Generator().manual_seed(0)
    behaviors = BehaviorPolicies(["agent"] * 8, NUM_ACTIONS)
    collector, rollout = RolloutCollector(envs, 0, (), CPU, behaviors), Rollout.empty(16, 8, CPU)
    for _ in range(6):
        collector.collect(agent, rollout, generator, [])
        metrics = update(agent, optimizer, rollout, PPOConfig(batch_size=64, train_iters=2), generator)
    assert rollout.rewards.mean() > 0.9
    assert np.isfinite(list(metrics.values())).all()
