"""Videos and logs of the keys held, turned into recordings."""
