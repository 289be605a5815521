"""From a game to a playable world model: the scripts of both sides, run one after another within one time budget."""
