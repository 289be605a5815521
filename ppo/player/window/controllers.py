"""Somebody at the wheel of one game, frame by frame: a person's keys, chance, or a trained agent."""

from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Optional, Tuple

import numpy as np

from player.common.agent_view import preprocess_frame
from player.common.errors import InputError
from player.envs.vector_env import make_env
from player.games.game import DRIVING_ACTIONS, Game
from player.games.registry import find_game

RANDOM_HOLD_FRAMES = 4  # game frames a random choice lasts, as long as an agent's

MENU_KEYS = {"return": "START", "backspace": "SELECT"}
DRIVING_KEYS = {"up": "B", "down": "Y", "left": "LEFT", "right": "RIGHT", "space": "R", "x": "R", "z": "A"}
DRIVING_KEYS.update(MENU_KEYS, w="UP", s="DOWN")  # the pad's own up and down move through an emulator's menus
PAD_KEYS = {"up": "UP", "down": "DOWN", "left": "LEFT", "right": "RIGHT"}
PAD_KEYS.update(MENU_KEYS, z="B", x="A", a="Y", s="X")

# A driver has choose(frame, first, held keys) -> an action, which lasts `hold_frames` frames of the game.


class ButtonController:
    """A person. Held keys are the console's buttons, so all that the game can do is at hand, sixty times a second."""

    hold_frames = 1

    def __init__(self, game: Game, buttons: Tuple[str, ...], table: Optional[Dict[str, str]] = None) -> None:
        """table: key -> button, where it is not the one that suits the game."""
        self.buttons = buttons
        if table is None:
            table = DRIVING_KEYS if game.actions == DRIVING_ACTIONS else PAD_KEYS
        self.button_of_key = {key: button for key, button in table.items() if button in buttons}
        for action in game.actions:  # what the game itself says, e.g. space fires
            if len(action.keys) == len(action.buttons) == 1:
                self.button_of_key.setdefault(action.keys[0], action.buttons[0])

    def choose(self, frame_u8: np.ndarray, first: bool, held: FrozenSet[str]) -> np.ndarray:
        down = {self.button_of_key[key] for key in held if key in self.button_of_key}
        for pair in ({"LEFT", "RIGHT"}, {"UP", "DOWN"}):
            if pair <= down:
                down -= pair
        return np.array([button in down for button in self.buttons], np.int8)


class ActionController:
    """A person whose keys mean the agent's actions, so that a dream can learn what they do."""

    def __init__(self, game: Game, hold_frames: int) -> None:
        self.keys, self.hold_frames = [set(action.keys) for action in game.actions], hold_frames

    def choose(self, frame_u8: np.ndarray, first: bool, held: FrozenSet[str]) -> int:
        """Of the actions whose keys are all held the one with most; left and right, up and down cancel."""
        down = set(held)
        for pair in ({"left", "right"}, {"up", "down"}):
            if pair <= down:
                down -= pair
        fitting = [action for action, keys in enumerate(self.keys) if keys <= down]
        return max(fitting, key=lambda action: len(self.keys[action]), default=0)  # the first of equals


class RandomController:
    hold_frames = RANDOM_HOLD_FRAMES

    def __init__(self, game: Game, seed: int) -> None:
        self.num_actions, self.random = len(game.actions), np.random.default_rng(seed)

    def choose(self, frame_u8: np.ndarray, first: bool, held: FrozenSet[str]) -> int:
        return int(self.random.integers(self.num_actions))


class AgentController:
    """A trained agent, sampled as in training: it sees a frame, and decides, once in its own frame skip."""

    def __init__(self, game: Game, path: str, seed: int) -> None:
        import torch  # seconds to import: a person at the keys need not wait

        from player.rl.agent import FrameStack, load_agent

        self.agent = load_agent(Path(path))
        config = self.agent.config
        if config.action_names != tuple(action.name for action in game.actions):
            raise InputError(f"{path} learned {config.game}, not {game.name}: choose --game {config.game}")
        self.hold_frames = config.frame_skip
        self.stack = FrameStack(1, torch.device("cpu"))
        self.generator = torch.Generator().manual_seed(seed)

    def choose(self, frame_u8: np.ndarray, first: bool, held: FrozenSet[str]) -> int:
        views = self.stack.push(preprocess_frame(frame_u8)[None], np.array([first]))
        actions, _, _ = self.agent.act(views, self.generator)
        return int(actions[0])


class GameSession:
    """The game, frame by frame, with somebody driving. `ended` is why it is over: "", "finished" or "out of time"."""

    def __init__(
        self,
        name: str = "Mode7Kart-v0",
        integrations: Optional[str] = None,
        state: Optional[str] = None,
        track: int = 0,
        rivals: int = 0,
        policy: Optional[str] = None,
        seed: int = 0,
        decision_frames: Optional[int] = None,
        emulator: Optional[Dict[str, Any]] = None,
        settings: Optional[Dict[str, Any]] = None,
    ) -> None:
        """`policy`: "random", the path of an agent's best.pt, or None for a person's keys. `decision_frames`: a person
        chooses among the agent's actions, once in so many frames, in place of pressing the console's buttons.
        `emulator`: options of `retro.describe`. `settings`: more for the game's `make`."""
        self.policy, self.seed, self.env, self.decision_frames = policy, seed, None, decision_frames
        self.done = False  # is all over that was wanted?
        self.note = ""  # what a window says beside the game's name
        self.settings = settings or {}
        self.hotkeys: Dict[str, Callable[[], None]] = {}  # what else a window's keys do
        self.find = partial(find_game, name, integrations, state, rivals=rivals, **(emulator or {}))
        self.open(track)

    def open(self, track: int) -> None:
        self.track, self.game = track, self.find(track=track)
        settings = dict(self.settings)
        if self.game.has_buttons:
            settings["buttons_as_actions"] = self.policy is None and self.decision_frames is None
        if self.game.name == "Mode7Kart-v0":
            settings.update(start="line", stall_seconds=0.0, max_seconds=600.0)
        if self.env is not None:
            self.env.close()  # an emulator game must be gone before the next one is there
        self.driver: Any = None
        if self.policy == "random":
            self.driver = RandomController(self.game, self.seed)
        elif self.policy is not None:
            self.driver = AgentController(self.game, self.policy, self.seed)
        elif self.decision_frames is not None or not self.game.has_buttons:
            self.driver = ActionController(self.game, self.decision_frames or 1)
        # Every frame is played and shown; a policy's choice is held as long as its own frame skip.
        self.env = make_env(self.game, frame_skip=1, **settings)
        if self.driver is None:
            self.driver = ButtonController(self.game, tuple(self.env.unwrapped.buttons))
        self.restart()

    @property
    def name(self) -> str:
        """Of the course where the game has courses, else of the game."""
        course = getattr(self.env.unwrapped, "track", None)
        return course.name if course else self.game.name

    @property
    def has_more_tracks(self) -> bool:
        """May the player go on to another course? Not in a recording, which is of one."""
        return self.game.name == "Mode7Kart-v0" and self.decision_frames is None

    def restart(self) -> None:
        self.frame_u8, info = self.env.reset(seed=self.seed)
        self.seed += 1  # the rivals are other ones next time
        self.truth = dict(zip(self.game.truth_names, info.get("truth", ())))
        self.num_frames, self.total_reward, self.ended = 0, 0.0, ""

    def step(self, held: FrozenSet[str] = frozenset()) -> None:
        """One frame of the game; nothing where it is over."""
        if self.ended:
            return
        if self.num_frames % self.driver.hold_frames == 0:
            self.action = self.driver.choose(self.frame_u8, self.num_frames == 0, held)
        self.frame_u8, reward, terminated, truncated, info = self.env.step(self.action)
        self.truth = dict(zip(self.game.truth_names, info.get("truth", ())))
        self.num_frames += 1
        self.total_reward += float(reward)
        self.ended = "finished" if terminated else "out of time" if truncated else ""

    def seconds(self) -> float:
        return self.num_frames / self.game.frame_rate

    def position(self) -> Optional[Tuple[int, int]]:
        """Place in the field and number of karts, where the game has rivals."""
        rivals = getattr(self.env.unwrapped, "s", {}).get("rivals")
        if not rivals:
            return None
        length = self.env.unwrapped.track.length  # a rival's place counts from a lap before the line
        progress = float(self.truth["progress"])
        ahead = sum(rival[0] - length > progress for rival in rivals)
        return ahead + 1, len(rivals) + 1
