"""The agent of sd/, which repeats the network of ppo/ because the two sides share no Python code."""

import numpy as np
import pytest
import torch
from dream.common.errors import InputError
from dream.common.runs import save_checkpoint
from dream.models import agent as dream_agent
from player.common.agent_view import preprocess_frames
from player.rl.agent import Agent, AgentConfig, FrameStack, agent_checkpoint
from small import CPU, GAME, randomize_weights, seeded


def test_both_sides_build_the_same_agent(tmp_path):
    """sd/ has a copy of the agent of ppo/: observations and actions must be identical."""
    torch.manual_seed(0)
    ppo_agent = randomize_weights(Agent(AgentConfig(3, GAME.action_names, "Test-v0", 4))).eval()
    save_checkpoint(agent_checkpoint(ppo_agent), tmp_path / "best.pt")
    sd_agent = dream_agent.load_agent(tmp_path / "best.pt", GAME.action_names)
    stack = FrameStack(2, CPU)
    for t in range(6):
        frames = torch.randint(256, (2, 50, 70, 3), dtype=torch.uint8, generator=seeded(t))
        views = stack.push(preprocess_frames(frames.numpy()), np.array([t == 0] * 2))
        sd_agent.observe(frames)
        assert torch.equal(sd_agent.views, views)
    for seed in range(20):
        expected = torch.cat([ppo_agent.act(views[i : i + 1], seeded(seed + i))[0] for i in range(2)])
        assert torch.equal(sd_agent.act([seeded(seed), seeded(seed + 1)]), expected)
    logits = sd_agent(views).detach()
    torch.testing.assert_close(logits, ppo_agent.policy(ppo_agent.features(views.float() / 255)).detach())
    with pytest.raises(InputError, match="has the actions"):
        dream_agent.load_agent(tmp_path / "best.pt", ("jump",))
