"""Mode7Kart-v0: the built-in kart race in the style of the SNES. It needs no ROM; numpy draws it.

    gymnasium.make("Mode7Kart-v0", track=0, rivals=0, frame_skip=4)        # after `import player`

The game runs at 60 frames per second and is controlled by the twelve buttons of a SNES pad: B accelerates, Y brakes and
reverses, LEFT and RIGHT steer, L or R hops and, if still held on landing while steering, slides. The agent's six
actions (DRIVING_ACTIONS) are combinations of these buttons.
"""

import json
import math
from functools import partial
from typing import Any, Dict, Optional, Tuple

import gymnasium
import numpy as np

from player.common.frame_size import Size, fit_frame
from player.games.game import BUILT_IN_GAME, DRIVING_ACTIONS, Game
from player.games.mode7 import physics
from player.games.mode7.geometry import OFF_ROAD, ROAD_HALF_WIDTH, SIZE
from player.games.mode7.renderer import HEIGHT, WIDTH, Renderer
from player.games.mode7.rivals import make_rivals, move_rivals, rival_pose, sway
from player.games.mode7.tracks import load_track

FRAME_RATE = 60
# In the order of the SNES pad
BUTTONS = ("B", "Y", "SELECT", "START", "UP", "DOWN", "LEFT", "RIGHT", "A", "X", "L", "R")
TRUTH_NAMES = ("x", "y", "heading", "speed", "lap", "progress", "off_road", "wall", "place")
SETTABLE_NAMES = ("x", "y", "heading", "speed", "progress")  # those that `set_game_state` sets

# Reward of one frame. A step of four frames at full speed earns 1 for its progress.
REWARD_PER_PIXEL = 1 / 8
OFF_ROAD_PENALTY = 0.06  # the penalties of walls and water are in physics.py


class Mode7Kart(gymnasium.Env):
    """A race of `laps` laps. The observation is the RGB frame after `frame_skip` game frames, uint8 (112, 256, 3).

    track: number of the track, from 0: four drawn by hand, then generated ones. The seed of `reset` does not change
    the track, only the start and the rivals.
    rivals: number of other karts, 0-12. start: "line", or "anywhere" on the track (for training).
    buttons_as_actions: the action space is MultiBinary(12), one bit per button of BUTTONS, instead of Discrete(6).
    max_seconds: game time after which an episode is truncated.
    stall_seconds: an episode is truncated after so much game time without progress (0 = never).
    frame_size: height and width that the frames are scaled to (None: they are not).

    An episode terminates when the last lap is complete. `info["truth"]` is the game state, float32 (9,), with the names
    TRUTH_NAMES: x and y in pixels, heading in radians, speed in pixels per frame, lap from 1, progress in pixels since
    the start of lap 1, off_road: the fraction of the step's frames off the road, wall: in how many of them a wall was
    hit or water entered, place: the position along the track as a fraction of a lap, in [0, 1).

    Raises ValueError for settings out of range and for an unknown name in reset(options={"state": {...}}).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FRAME_RATE}  # noqa: RUF012 (Gymnasium's convention)
    buttons = BUTTONS
    truth_names = TRUTH_NAMES

    def __init__(
        self,
        track: int = 0,
        rivals: int = 0,
        frame_skip: int = 4,
        laps: int = 3,
        start: str = "line",
        buttons_as_actions: bool = False,
        max_seconds: float = 180.0,
        stall_seconds: float = 0.0,
        frame_size: Optional[Size] = None,
        render_mode: Optional[str] = None,
    ) -> None:
        if track < 0 or not 0 <= rivals <= 12 or frame_skip < 1 or not 1 <= laps <= 9:
            raise ValueError("Mode7Kart needs track >= 0, rivals 0-12, frame_skip >= 1 and laps 1-9")
        if start not in ("line", "anywhere"):
            raise ValueError(f'Mode7Kart needs start="line" or "anywhere", not {start!r}')
        self.track = load_track(track)
        self.renderer = Renderer(self.track)
        self.num_rivals, self.frame_skip, self.laps, self.start = rivals, frame_skip, laps, start
        self.max_frames, self.stall_frames = int(max_seconds * FRAME_RATE), int(stall_seconds * FRAME_RATE)
        self.render_mode, self.frame_size = render_mode, tuple(frame_size or (HEIGHT, WIDTH))
        self.metadata = {**self.metadata, "render_fps": FRAME_RATE / frame_skip}
        self.observation_space = gymnasium.spaces.Box(0, 255, (*self.frame_size, 3), np.uint8)
        self.action_space: gymnasium.Space = gymnasium.spaces.Discrete(len(DRIVING_ACTIONS))
        if buttons_as_actions:
            self.action_space = gymnasium.spaces.MultiBinary(len(BUTTONS))
        self.frame = np.zeros(self.observation_space.shape, np.uint8)

    # -- the Gymnasium interface --------------------------------------------------------------------------------

    def reset(
        self, *, seed: Optional[int] = None, options: Optional[Dict[str, Any]] = None
    ) -> Tuple[np.ndarray, Dict[str, Any]]:
        """Starts an episode. `options={"state": {"x": ..., "y": ..., "heading": ..., "speed": ...}}` sets the game
        state, see `set_game_state`."""
        super().reset(seed=seed)
        # Everything that changes during a race (see physics.py); plain numbers, so that it can be saved as JSON.
        self.state: physics.State = dict.fromkeys(physics.STANDSTILL, 0.0)
        self.state.update(dict.fromkeys(("frames", "boost", "sinking", "off_road", "wall", "best_frame"), 0))
        position, lateral, turn = self.track.length - 24.0, 0.0, 0.0  # just before the line
        if self.start == "anywhere":
            position = float(self.np_random.uniform(0, self.track.length))
            lateral = float(self.np_random.uniform(-0.6, 0.6)) * ROAD_HALF_WIDTH
            turn = float(self.np_random.uniform(-0.35, 0.35))
        physics.put_on_track(self.state, self.track, position, lateral, turn)
        # Lap 1 begins at the line, so the progress before it is negative.
        self.state["progress"] = self.state["best"] = position - self.track.length
        self.state["rivals"] = make_rivals(self.num_rivals, position, self.np_random)
        if options and "state" in options:
            self.set_game_state(options["state"])
        self.draw()
        return self.frame, {"truth": self.game_state()}

    def step(self, action: Any) -> Tuple[np.ndarray, float, bool, bool, Dict[str, Any]]:
        """Runs `frame_skip` frames with the same action, fewer if the episode ends; the reward is their sum."""
        held = self.held_buttons(action)
        self.state["off_road"] = self.state["wall"] = 0
        reward, terminated, truncated = 0.0, False, False
        for _ in range(self.frame_skip):
            reward += self.step_frame(held)
            terminated = self.state["progress"] >= self.laps * self.track.length
            stalled = (
                self.stall_frames and self.state["frames"] - self.state["best_frame"] >= self.stall_frames
            )
            truncated = not terminated and (self.state["frames"] >= self.max_frames or bool(stalled))
            if terminated or truncated:
                break
        self.draw()
        return self.frame, float(reward), bool(terminated), bool(truncated), {"truth": self.game_state()}

    def render(self) -> Optional[np.ndarray]:
        """The current frame, uint8 (112, 256, 3); None unless render_mode is "rgb_array"."""
        return self.frame if self.render_mode == "rgb_array" else None

    def get_state(self) -> bytes:
        """Everything that determines the rest of the race, including the random generator, as JSON."""
        return json.dumps({"state": self.state, "random": self.np_random.bit_generator.state}).encode()

    def set_state(self, state: bytes) -> None:
        """Continues exactly from a state of `get_state`."""
        saved = json.loads(state.decode())
        self.state = saved["state"]
        self.np_random.bit_generator.state = saved["random"]
        self.draw()

    # -- the game state -----------------------------------------------------------------------------------------

    def game_state(self) -> np.ndarray:
        """The values of TRUTH_NAMES, float32 (9,)."""
        s = self.state
        values = (s["x"], s["y"], s["heading"], s["speed"], self.lap(), s["progress"])
        lap_fraction = s["progress"] / self.track.length % 1.0
        return np.array((*values, s["off_road"] / self.frame_skip, s["wall"], lap_fraction), np.float32)

    def set_game_state(self, values: Dict[str, float]) -> None:
        """Sets the game state from name -> value. Names are those of TRUTH_NAMES (as in a recording); only
        SETTABLE_NAMES have an effect. Slip, hop and the rivals stay as they are.

        Raises ValueError for an unknown name and for values that are not finite or outside of the world.
        """
        unknown = set(values) - set(TRUTH_NAMES)
        if unknown:
            raise ValueError(f"reset(options): unknown state {sorted(unknown)}, not of {TRUTH_NAMES}")
        self.state.update({name: float(value) for name, value in values.items() if name in SETTABLE_NAMES})
        finite = all(math.isfinite(self.state[name]) for name in SETTABLE_NAMES)
        if not (finite and 0 <= self.state["x"] < SIZE and 0 <= self.state["y"] < SIZE):
            raise ValueError(
                f"reset(options): x and y must be at least 0 and below {SIZE}, and all values must be finite"
            )
        self.state["heading"] %= 2 * math.pi
        self.state["sample"] = physics.nearest_sample(self.state, self.track)
        if "progress" not in values:  # assume lap 1, or the last tenth of a lap before the line
            position = self.state["sample"] * self.track.spacing
            length = self.track.length
            self.state["progress"] = position if position < 0.9 * length else position - length
        self.state["best"] = self.state["progress"]

    def lap(self) -> int:
        """The current lap, from 1 to `laps`."""
        return min(max(int(self.state["progress"] // self.track.length) + 1, 1), self.laps)

    # -- one frame ----------------------------------------------------------------------------------------------

    def held_buttons(self, action: Any) -> frozenset:
        """Names of the buttons that an action holds down."""
        if isinstance(self.action_space, gymnasium.spaces.Discrete):
            return frozenset(DRIVING_ACTIONS[int(action)].buttons)
        return frozenset(name for name, down in zip(BUTTONS, action) if down)

    def step_frame(self, held: frozenset) -> float:
        """Moves everything by one frame and returns the frame's reward."""
        s = self.state
        s["frames"] += 1
        move_rivals(s, self.track)
        if s["sinking"]:
            s["sinking"] -= 1
            if s["sinking"] == 0:
                physics.put_on_track(s, self.track, s["sample"] * self.track.spacing)
            return 0.0
        surface = self.track.surface[int(s["y"]) * SIZE + int(s["x"])]
        physics.accelerate_and_steer(s, self.track, held, surface)
        reward = physics.move_and_collide(s, self.track)
        if surface == OFF_ROAD and s["hop"] == 0:
            s["off_road"] += 1
            reward -= OFF_ROAD_PENALTY
        return reward + REWARD_PER_PIXEL * physics.update_progress(s, self.track)

    def draw(self) -> None:
        """Draws the current state into a new `self.frame`."""
        s = self.state
        rivals = [
            (*rival_pose(rival, self.track, sway(rival)), 1 + i % 4) for i, rival in enumerate(s["rivals"])
        ]
        height = s["hop"] if not s["sinking"] else -0.35 * (physics.SINK_FRAMES - s["sinking"])
        yaw = s["yaw_rate"] / physics.TURN_RATE * 0.5 - 0.25 * s["slip"]
        lap = f"LAP {self.lap()}/{self.laps}"
        speed = s["speed"] / physics.TOP_SPEED
        picture = self.renderer.draw(s["x"], s["y"], s["heading"], yaw, height, lap, speed, rivals)
        self.frame = fit_frame(picture, self.frame_size)


def make_env(track: int, rivals: int, frame_skip: int = 4, start: str = "anywhere", **settings) -> Mode7Kart:
    """The environment with its settings for training: random starts, and truncation after 12 s without progress."""
    settings = {"stall_seconds": 12.0, **settings}
    return Mode7Kart(track=track, rivals=rivals, frame_skip=frame_skip, start=start, **settings)


def make_game(track: int = 0, rivals: int = 0, frame_size: Optional[Size] = None) -> Game:
    """The Game of Mode7Kart-v0 on one track."""
    return Game(
        name=BUILT_IN_GAME,
        actions=DRIVING_ACTIONS,
        frame_rate=FRAME_RATE,
        make=partial(make_env, track=track, rivals=rivals, frame_size=frame_size),
        truth_names=TRUTH_NAMES,
        shares_process=True,
    )
