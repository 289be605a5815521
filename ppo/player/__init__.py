"""Plays a game, trains a PPO agent on it and records it. Importing the package registers Mode7Kart-v0."""

import gymnasium

gymnasium.register("Mode7Kart-v0", entry_point="player.games.mode7.env:Mode7Kart")
