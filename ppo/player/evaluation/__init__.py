"""How well an agent plays: episodes of a game and their statistics."""
