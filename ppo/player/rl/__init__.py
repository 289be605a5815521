"""PPO: network, rollout buffer, update, collecting steps, behaviour policies."""
