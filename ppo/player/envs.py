"""A game in worker processes, and what of its frames the agent sees. No torch: the workers stay light."""

import multiprocessing
import signal
from functools import partial
from typing import Any, Sequence

import gymnasium
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from player.games import Game


class PlayedGame(gymnasium.Wrapper):
    """Lets a vector environment read and write the games' states, one each, as the attribute `saved_state`."""

    @property
    def saved_state(self) -> bytes:
        """What `set_state` of the game takes; empty where the game cannot be saved."""
        save = getattr(self.env.unwrapped, "get_state", None)
        return save() if save else b""

    @saved_state.setter
    def saved_state(self, state: bytes) -> None:
        if state:
            self.env.unwrapped.set_state(state)


def make_env(game: Game, frame_skip: int, **settings: Any) -> gymnasium.Env:
    """One environment of `game`, in this process. `settings` go to the game's own `make`."""
    if multiprocessing.parent_process() is not None:
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # Ctrl-C is the parent's to answer; it closes its workers
    return PlayedGame(game.make(frame_skip=frame_skip, **settings))


def make_vector_env(
    game: Game, num_envs: int, frame_skip: int, tracks: Sequence[int] = (), **settings: Any
) -> AsyncVectorEnv:
    """`num_envs` of them, each in a process of its own (an emulator allows no other way). They take the `tracks`, where
    more than one is given, in turn.

    Observations are uint8 (num_envs, H, W, 3) in shared memory that the next step overwrites: copy what must last.
    An episode's end resets in the same step: `infos["final_obs"]` then holds the last frame, the observation the
    first of the next episode.
    """
    each = (
        [{**settings, "track": tracks[i % len(tracks)]} for i in range(num_envs)] if len(tracks) > 1 else None
    )
    return AsyncVectorEnv(
        [partial(make_env, game, frame_skip, **one) for one in each or [settings] * num_envs],
        copy=False,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
