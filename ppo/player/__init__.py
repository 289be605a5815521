"""Plays a game and records it. Importing this registers the built-in game with Gymnasium."""

import gymnasium

gymnasium.register("Mode7Kart-v0", entry_point="player.games.mode7.env:Mode7Kart")
