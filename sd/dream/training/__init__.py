"""What a training step consists of: batches from a pool of rollouts, noise, losses, optimizers, schedules."""
