"""The pygame window in which a person or an agent plays the real game."""
