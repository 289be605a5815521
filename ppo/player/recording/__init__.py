"""Writes trajectories.npz: epochs as separate files that survive a crash, then one packed file."""
