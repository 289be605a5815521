"""Options of train_ppo.py that a resumed run must repeat."""

import argparse
import json
from typing import Any

# Options that --resume must repeat: the recording and the saved states of the games depend on them.
FIXED = [
    "game",
    "track",
    "rivals",
    "state",
    "scenario",
    "crop",
    "frame_size",
    "actions",
    "frame_skip",
    "n_envs",
    "n_steps",
    "record_envs",
    "explore_envs",
    "seed",
]


def options_that_must_match(args: argparse.Namespace, game: Any, tracks: list) -> dict:
    """Option -> value that --resume must repeat."""
    must_match = {"--" + name.replace("_", "-"): getattr(args, name) for name in FIXED}
    must_match["--frame-skip"] = game.frame_skip  # the game's own, where the user gave none
    must_match["--max-frames"] = game.max_frames if game.max_frames > 1 else None
    must_match["--game-settings"] = json.dumps(game.settings, sort_keys=True) if game.settings else None
    if args.state is not None:  # the names, because "all" may mean more savestates later
        must_match["--state"] = ",".join(track["state"] or args.state for track in tracks)
    if args.actions is not None:  # the content of the file, because it may change
        must_match["--actions"] = "; ".join(f"{one.name} {one.buttons} {one.keys}" for one in game.actions)
    return must_match
