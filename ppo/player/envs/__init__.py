"""Many games in parallel in worker processes."""
