"""Plays a game, trains a PPO agent on it and records it. Importing the package registers Mode7Kart-v0."""

from player.common.startup import report_startup_errors

report_startup_errors(min_python=(3, 8))  # before any other package is imported

import gymnasium  # noqa: E402

gymnasium.register("Mode7Kart-v0", entry_point="player.games.mode7.env:Mode7Kart")
