"""Metrics, probes and long rollouts of evaluate_sd.py; validation and previews during training."""
