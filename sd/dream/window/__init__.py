"""The pygame windows: playing (play_sd.py) and looking at recordings (inspect_trajectories.py)."""
