"""Emulator games through stable-retro or gym-retro: ROMs, savestates, integrations, rewards."""
