"""Recordings (trajectories.npz), their latents, training and held-out splits, start states."""
