"""An agent for the tests of view_mario_kart_env.py and evaluate_ppo.py."""

from pathlib import Path

import torch
from player.common.runs import save_checkpoint
from player.games.game import DRIVING_ACTIONS
from player.rl.agent import Agent, AgentConfig, agent_checkpoint

DRIVING_NAMES = tuple(action.name for action in DRIVING_ACTIONS)


def save_forward_agent(path: Path) -> Path:
    """Saves an agent that almost always chooses forward."""
    torch.manual_seed(0)
    agent = Agent(AgentConfig(6, DRIVING_NAMES, "Mode7Kart-v0", 4))
    with torch.no_grad():
        agent.policy.bias[1] = 8.0
    save_checkpoint(agent_checkpoint(agent), path)
    return path
