"""Plays a game, trains a PPO agent on it and records it. Importing this package registers Mode7Kart-v0 with Gymnasium."""

import gymnasium

gymnasium.register("Mode7Kart-v0", entry_point="player.games.mode7.env:Mode7Kart")
