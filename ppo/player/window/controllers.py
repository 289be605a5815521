"""Controllers (keyboard, random policy, trained agent) and GameSession, which plays one game frame by frame.

A controller has `choose(frame_u8, first, held) -> action`: `frame_u8` is the current RGB frame, uint8 (H, W, 3);
`first` is true on the first frame of an episode; `held` is the set of names of the keys held down. GameSession repeats
the action for the controller's `hold_frames` game frames before it calls `choose` again.
"""

from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Tuple

import numpy as np

from player.common.agent_view import preprocess_frame
from player.envs.vector_env import make_env
from player.games.game import BUILT_IN_GAME, DRIVING_ACTIONS, Game, check_agent
from player.games.registry import find_game

MIN_COUNTDOWN_RATE = 8.0  # decisions a second; slower games are turn-based
RANDOM_HOLD_FRAMES = 4  # game frames per random action: the agent's default frame skip

MENU_KEYS = {"return": "START", "backspace": "SELECT"}
DRIVING_KEYS = {"up": "B", "down": "Y", "left": "LEFT", "right": "RIGHT", "space": "R", "x": "R", "z": "A"}
DRIVING_KEYS.update(MENU_KEYS, w="UP", s="DOWN")  # UP and DOWN of the pad navigate menus
# The meaning of the buttons for games with DRIVING_ACTIONS.
DRIVING_NAMES = {"B": "gas", "Y": "brake, reverse", "LEFT": "steer left", "RIGHT": "steer right", "R": "hop",
                 "A": "item"}  # fmt: skip
ARROWS_OF_WASD = {"w": "up", "a": "left", "s": "down", "d": "right"}
PAD_KEYS = {"up": "UP", "down": "DOWN", "left": "LEFT", "right": "RIGHT"}
PAD_KEYS.update(MENU_KEYS, z="B", x="A", a="Y", s="X")


class ButtonController:
    """Keyboard control of the console's buttons: every frame, the action is the set of buttons held."""

    hold_frames = 1

    def __init__(self, game: Game, buttons: Tuple[str, ...], table: Optional[Dict[str, str]] = None) -> None:
        """`buttons`: the environment's button names, in the order of its MultiBinary action. `table`: key name ->
        button name; by default DRIVING_KEYS for games with DRIVING_ACTIONS, and PAD_KEYS for all others."""
        self.buttons = buttons
        if table is None:
            table = DRIVING_KEYS if game.actions == DRIVING_ACTIONS else PAD_KEYS
            if game.name == BUILT_IN_GAME:  # it has no menus and no items
                drive = {
                    key: button for key, button in table.items() if button in ("B", "Y", "LEFT", "RIGHT", "R")
                }
                table = {**drive, **{key: drive[arrow] for key, arrow in ARROWS_OF_WASD.items()}}
        self.names = DRIVING_NAMES if game.actions == DRIVING_ACTIONS else {}
        self.button_of_key = {key: button for key, button in table.items() if button in buttons}
        for action in game.actions:  # add the game's own single keys, e.g. space fires
            if len(action.keys) == len(action.buttons) == 1:
                self.button_of_key.setdefault(action.keys[0], action.buttons[0])

    def choose(self, frame_u8: np.ndarray, first: bool, held: FrozenSet[str]) -> np.ndarray:
        """Returns int8 (number of buttons,), 1 for each button held. Opposite directions cancel each other."""
        down = {self.button_of_key[key] for key in held if key in self.button_of_key}
        for pair in ({"LEFT", "RIGHT"}, {"UP", "DOWN"}):
            if pair <= down:
                down -= pair
        return np.array([button in down for button in self.buttons], np.int8)

    def key_rows(self) -> List[Tuple[str, List[str]]]:
        """What each key does, for the help: its button, and all keys that press it."""
        keys_of: Dict[str, List[str]] = {}
        for key, button in self.button_of_key.items():
            keys_of.setdefault(button, []).append(key)
        return [(self.names.get(button, button), keys) for button, keys in keys_of.items()]

    @property
    def used_keys(self) -> FrozenSet[str]:
        """The keys that mean something to the game."""
        return frozenset(self.button_of_key)


class ActionController:
    """Keyboard control limited to the agent's actions, so that the recording contains actions sd/ can train on."""

    def __init__(self, game: Game, hold_frames: int) -> None:
        """`hold_frames`: game frames per action."""
        self.actions, self.hold_frames = game.actions, hold_frames
        self.keys = [set(action.keys) for action in game.actions]
        has_arrows = bool(self.action_keys & set(ARROWS_OF_WASD.values()))
        is_free = has_arrows and not self.action_keys & set(ARROWS_OF_WASD)
        self.arrow_of_key = ARROWS_OF_WASD if is_free else {}

    @property
    def action_keys(self) -> FrozenSet[str]:
        """The keys of the actions."""
        return frozenset().union(*self.keys)

    @property
    def used_keys(self) -> FrozenSet[str]:
        """The keys that mean something to the game: those of the actions, and W, A, S and D in place of arrows."""
        return self.action_keys | frozenset(self.arrow_of_key)

    def key_rows(self) -> List[Tuple[str, Tuple[str, ...]]]:
        """What can be chosen, for the help: each action and the keys that are held together for it."""
        return [(action.name, tuple(action.keys)) for action in self.actions]

    def choose(self, frame_u8: np.ndarray, first: bool, held: FrozenSet[str]) -> int:
        """Returns the index of the action with the most keys among the actions whose keys are all held down.

        Left and right cancel each other, as do up and down. Returns 0 if no action matches.
        """
        down = {self.arrow_of_key.get(key, key) for key in held}
        for pair in ({"left", "right"}, {"up", "down"}):
            if pair <= down:
                down -= pair
        matching = [action for action, keys in enumerate(self.keys) if keys <= down]
        return max(matching, key=lambda action: len(self.keys[action]), default=0)  # ties: the first


class RandomController:
    """Random policy: a uniformly random action, held for RANDOM_HOLD_FRAMES frames."""

    hold_frames = RANDOM_HOLD_FRAMES

    def __init__(self, game: Game, seed: int) -> None:
        self.num_actions, self.random = len(game.actions), np.random.default_rng(seed)

    def choose(self, frame_u8: np.ndarray, first: bool, held: FrozenSet[str]) -> int:
        """Returns the index of a random action."""
        return int(self.random.integers(self.num_actions))


class AgentController:
    """A trained agent. It observes one frame and samples one action every `frame_skip` frames, as in training.

    `path` is a saved agent (best.pt). Raises InputError if the agent was trained on a game with other actions.
    """

    def __init__(self, game: Game, path: str, seed: int) -> None:
        import torch  # importing torch takes seconds and the keyboard does not need it

        from player.rl.agent import FrameStack, load_agent

        self.agent = load_agent(Path(path))
        config = self.agent.config
        check_agent(path, config, game, f"choose --game {config.game}")
        self.hold_frames, self.max_frames = config.frame_skip, config.max_frames
        self.stack = FrameStack(1, torch.device("cpu"))
        self.generator = torch.Generator().manual_seed(seed)

    def choose(self, frame_u8: np.ndarray, first: bool, held: FrozenSet[str]) -> int:
        """Returns the index of an action sampled from the policy."""
        views = self.stack.push(preprocess_frame(frame_u8)[None], np.array([first]))
        actions, _, _ = self.agent.act(views, self.generator)
        return int(actions[0])


class GameSession:
    """One game, played frame by frame by one controller.

    `frame_u8`: the current RGB frame, uint8 (H, W, 3). `truth`: name -> value of the game state. `ended`: "" while the
    episode runs, "finished" once it has terminated, "out of time" once it was truncated. `invitation`: what the window
    says while it waits for the first key.
    """

    invitation = "press a key to start"

    def __init__(
        self,
        name: str = BUILT_IN_GAME,
        integrations: Optional[str] = None,
        state: Optional[str] = None,
        track: int = 0,
        rivals: int = 0,
        policy: Optional[str] = None,
        seed: int = 0,
        decision_frames: Optional[int] = None,
        options: Optional[Dict[str, Any]] = None,
        settings: Optional[Dict[str, Any]] = None,
    ) -> None:
        """`name`, `integrations`, `state`, `track`, `rivals`: see `find_game`.

        `policy`: "random", the path of an agent's best.pt, or None for keyboard control.
        `decision_frames`: if given, the keyboard selects one of the agent's actions every `decision_frames` frames;
        if None, the keyboard controls the console's buttons.
        `options`: further keyword arguments of `find_game`. `settings`: further keyword arguments of `Game.make`.
        """
        self.policy, self.seed, self.decision_frames = policy, seed, decision_frames
        self.env: Any = None
        self.finished = False  # set by a subclass to close the window
        self.status = ""  # text that the window shows next to the game's name
        self.settings = settings or {}
        self.waits_for_key = policy is None  # before the first frame
        self.hotkeys: Dict[str, Callable[[], None]] = {}  # key name -> function the window calls
        self.find = partial(find_game, name, integrations, state, rivals=rivals, **(options or {}))
        self.open(track)

    def open(self, track: int) -> None:
        """Opens track number `track`, creates the controller and starts an episode. Closes the previous environment."""
        self.track, self.game = track, self.find(track=track)
        settings = dict(self.settings)
        if self.game.has_buttons:
            settings["buttons_as_actions"] = self.policy is None and self.decision_frames is None
        if self.game.name == BUILT_IN_GAME:
            settings.update(start="line", stall_seconds=0.0, max_seconds=600.0)
        if self.env is not None:
            self.env.close()  # only one emulator may exist per process
        self.controller: Any = None
        if self.policy == "random":
            self.controller = RandomController(self.game, self.seed)
        elif self.policy is not None:
            self.controller = AgentController(self.game, self.policy, self.seed)
            if self.controller.max_frames != self.game.max_frames:  # what it was trained on
                self.game = self.find(track=track, max_frames=self.controller.max_frames)
        elif self.decision_frames is not None or not self.game.has_buttons:
            self.controller = ActionController(self.game, self.decision_frames or 1)
        # frame_skip=1 so that every frame can be shown; `step` repeats an action for the controller's hold_frames.
        self.env = make_env(self.game, frame_skip=1, **settings)
        if self.controller is None:
            self.controller = ButtonController(self.game, tuple(self.env.unwrapped.buttons))
        self.restart()

    @property
    def name(self) -> str:
        """The track's name if the game has tracks, otherwise the game's name."""
        track = getattr(self.env.unwrapped, "track", None)
        return track.name if track else self.game.name

    @property
    def has_more_tracks(self) -> bool:
        """Whether the player may switch to another track. Always false in a recording, which covers one track."""
        return self.game.name == BUILT_IN_GAME and self.decision_frames is None

    @property
    def has_countdown(self) -> bool:
        """Whether a person plays a game that does not wait for a decision, and wants to be ready."""
        return self.waits_for_key and self.game.frame_rate / self.controller.hold_frames >= MIN_COUNTDOWN_RATE

    def restart(self) -> None:
        """Starts a new episode and resets the counters."""
        self.frame_u8, info = self.env.reset(seed=self.seed)
        self.seed += 1  # different opponents in the next episode
        self.truth = dict(zip(self.game.truth_names, info.get("truth", ())))
        self.num_frames, self.total_reward, self.ended = 0, 0.0, ""

    def step(self, held: FrozenSet[str] = frozenset()) -> None:
        """Advances the game by one frame. `held`: names of the keys held down. Does nothing after the episode's end."""
        if self.ended:
            return
        if self.num_frames % self.controller.hold_frames == 0:
            self.action = self.controller.choose(self.frame_u8, self.num_frames == 0, held)
        self.frame_u8, reward, terminated, truncated, info = self.env.step(self.action)
        self.truth = dict(zip(self.game.truth_names, info.get("truth", ())))
        self.num_frames += 1
        self.total_reward += float(reward)
        self.ended = "finished" if terminated else "out of time" if truncated else ""

    def seconds(self) -> float:
        """Game time since the start of the episode."""
        return self.num_frames / self.game.frame_rate

    def position(self) -> Optional[Tuple[int, int]]:
        """The player's rank (1 = first) and the number of karts, or None in a game without opponents."""
        rivals = getattr(self.env.unwrapped, "state", {}).get("rivals")
        if not rivals:
            return None
        length = self.env.unwrapped.track.length  # opponents' positions are offset by one lap
        progress = float(self.truth["progress"])
        ahead = sum(rival[0] - length > progress for rival in rivals)
        return ahead + 1, len(rivals) + 1
