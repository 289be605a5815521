"""A play session without a window: keys, controllers, rewind, recording, the real game in parallel."""
