"""Mode7Kart-v0: a kart race in the manner of the SNES, built in, no ROM needed; numpy alone draws it.

    gymnasium.make("Mode7Kart-v0", track=0, rivals=0, frame_skip=4)        # after `import player`

Sixty times a second the twelve buttons of a SNES pad move the kart: B accelerates, Y brakes and backs up, LEFT and
RIGHT steer, L or R hops and, held on landing, slides. Over them lie the six actions of DRIVING_ACTIONS.
"""

import json
import math
from functools import partial
from typing import Any, Dict, List, Optional, Tuple

import gymnasium
import numpy as np

from player.games.game import DRIVING_ACTIONS, Game
from player.games.mode7.renderer import HEIGHT, WIDTH, Renderer
from player.games.mode7.tracks import BOOST, OFF_ROAD, ROAD_HALF_WIDTH, SIZE, WALL, WATER, load_track

FRAME_RATE = 60
BUTTONS = (
    "B",
    "Y",
    "SELECT",
    "START",
    "UP",
    "DOWN",
    "LEFT",
    "RIGHT",
    "A",
    "X",
    "L",
    "R",
)  # the SNES pad's order
SET_BY_TRUTH = ("x", "y", "heading", "speed", "progress")  # the rest follows from these
TRUTH_NAMES = ("x", "y", "heading", "speed", "lap", "progress", "off_road", "wall", "place")

TOP_SPEED = 2.0  # pixels a frame; a lap is about 2,300 pixels
OFF_ROAD_TOP_SPEED = 0.8
BOOST_SPEED = 2.7
ACCELERATION = 0.035
TURN_RATE = 0.034  # radians a frame
SINK_FRAMES = 50  # from falling into the water until the kart stands on the road again
RIVAL_REACH = 13.0  # pixels between two karts that touch
RIVAL_LANES = (-21.0, 9.0, -6.0, 22.0)  # pixels right of the middle; neighbours at the start have lanes apart
RIVAL_STRETCH = (
    0.0006  # share of its speed that a rival gains for each pixel it lies behind the player, and loses ahead
)

# The reward of one frame; a decision at full speed (four frames) earns 1 for its way along the track.
REWARD_PER_PIXEL = 1 / 8
WALL_PENALTY, WATER_PENALTY, OFF_ROAD_PENALTY = 1.0, 5.0, 0.06


class Mode7Kart(gymnasium.Env):
    """A race of `laps` laps. Observation: RGB frame, uint8 (112, 256, 3), drawn after `frame_skip` frames.

    track: 0, 1, 2, ...: courses drawn by hand first, then generated; `seed` (of reset) moves only the start and rivals.
    rivals: karts that race along. start: "line", or "anywhere" on the course (for training).
    buttons_as_actions: the action is MultiBinary(12), one bit a button of BUTTONS, in place of Discrete(6).
    max_seconds: time limit, then truncated; stall_seconds: truncated after so long without getting on (0 = never).

    Terminated when the last lap is done. info["truth"]: float32 (9,), TRUTH_NAMES; `off_road` is the share of this
    step's frames off the road and `wall` the number of its frames in which a wall was hit or water fallen into.
    Raises ValueError for settings out of range and for an unknown key of reset(options={"state": {...}}).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FRAME_RATE}  # noqa: RUF012 (Gymnasium's convention)
    buttons = BUTTONS

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
        render_mode: Optional[str] = None,
    ) -> None:
        if track < 0 or not 0 <= rivals <= 12 or frame_skip < 1 or not 1 <= laps <= 9:
            raise ValueError("Mode7Kart wants track >= 0, rivals 0-12, frame_skip >= 1 and laps 1-9")
        if start not in ("line", "anywhere"):
            raise ValueError(f'Mode7Kart wants start="line" or "anywhere", not {start!r}')
        self.track = load_track(track)
        self.renderer = Renderer(self.track)
        self.num_rivals, self.frame_skip, self.laps, self.start = rivals, frame_skip, laps, start
        self.max_frames, self.stall_frames = int(max_seconds * FRAME_RATE), int(stall_seconds * FRAME_RATE)
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": FRAME_RATE / frame_skip}
        self.observation_space = gymnasium.spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        self.action_space: gymnasium.Space = gymnasium.spaces.Discrete(len(DRIVING_ACTIONS))
        if buttons_as_actions:
            self.action_space = gymnasium.spaces.MultiBinary(len(BUTTONS))
        self.frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)

    # -- the Gymnasium interface --------------------------------------------------------------------------------

    def reset(
        self, *, seed: Optional[int] = None, options: Optional[Dict[str, Any]] = None
    ) -> Tuple[np.ndarray, Dict[str, Any]]:
        """`options={"state": {"x": ..., "y": ..., "heading": ..., "speed": ...}}` puts the kart into a true state."""
        super().reset(seed=seed)
        # All that moves; plain numbers, so that it can be written down as JSON.
        self.s: Dict[str, Any] = dict.fromkeys(("speed", "slip", "yaw_rate", "hop", "hop_speed"), 0.0)
        self.s.update(dict.fromkeys(("frames", "boost", "sinking", "off_road", "wall", "best_frame"), 0))
        place, side, turn = self.track.length - 24.0, 0.0, 0.0  # just before the line
        if self.start == "anywhere":
            place = float(self.np_random.uniform(0, self.track.length))
            side = float(self.np_random.uniform(-0.6, 0.6)) * ROAD_HALF_WIDTH
            turn = float(self.np_random.uniform(-0.35, 0.35))
        self.put_on_track(place, side, turn)
        self.s["progress"] = self.s["best"] = place - self.track.length  # the first lap begins at the line
        self.s["rivals"] = [
            [place + 40.0 * (i + 1), RIVAL_LANES[i % 4], 1.72 + 0.2 * float(self.np_random.random()), 0.0]
            for i in range(self.num_rivals)
        ]  # place along the track, sideways offset, speed, bump speed
        if options and "state" in options:
            self.set_true_state(options["state"])
        self.draw()
        return self.frame, {"truth": self.truth()}

    def step(self, action: Any) -> Tuple[np.ndarray, float, bool, bool, Dict[str, Any]]:
        held = self.held_buttons(action)
        self.s["off_road"] = self.s["wall"] = 0
        reward, terminated, truncated = 0.0, False, False
        for _ in range(self.frame_skip):
            reward += self.tick(held)
            terminated = self.s["progress"] >= self.laps * self.track.length
            stalled = self.stall_frames and self.s["frames"] - self.s["best_frame"] >= self.stall_frames
            truncated = not terminated and (self.s["frames"] >= self.max_frames or bool(stalled))
            if terminated or truncated:
                break
        self.draw()
        return self.frame, float(reward), bool(terminated), bool(truncated), {"truth": self.truth()}

    def render(self) -> Optional[np.ndarray]:
        return self.frame if self.render_mode == "rgb_array" else None

    def get_state(self) -> bytes:
        """Everything that decides what follows, the random generator too."""
        return json.dumps({"state": self.s, "random": self.np_random.bit_generator.state}).encode()

    def set_state(self, state: bytes) -> None:
        saved = json.loads(state.decode())
        self.s = saved["state"]
        self.np_random.bit_generator.state = saved["random"]
        self.draw()

    # -- the true state -----------------------------------------------------------------------------------------

    def truth(self) -> np.ndarray:
        s = self.s
        values = (s["x"], s["y"], s["heading"], s["speed"], self.lap(), s["progress"])
        place = s["progress"] / self.track.length % 1.0
        return np.array((*values, s["off_road"] / self.frame_skip, s["wall"], place), np.float32)

    def set_true_state(self, state: Dict[str, float]) -> None:
        """By TRUTH_NAMES, as in a recording, or some of SET_BY_TRUTH. Slip, hop and rivals are no part of it."""
        unknown = set(state) - set(TRUTH_NAMES)
        if unknown:
            raise ValueError(f"reset(options): unknown state {sorted(unknown)}, not of {TRUTH_NAMES}")
        self.s.update({name: float(value) for name, value in state.items() if name in SET_BY_TRUTH})
        whole = all(math.isfinite(self.s[name]) for name in SET_BY_TRUTH)
        if not (whole and 0 <= self.s["x"] < SIZE and 0 <= self.s["y"] < SIZE):
            raise ValueError(
                f"reset(options): x and y lie in the world, from 0 to below {SIZE}; all are finite"
            )
        self.s["heading"] %= 2 * math.pi
        self.s["sample"] = self.nearest_sample()
        if "progress" not in state:  # in the first lap, or just before the line that begins it
            place = self.s["sample"] * self.track.spacing
            self.s["progress"] = place if place < 0.9 * self.track.length else place - self.track.length
        self.s["best"] = self.s["progress"]

    def lap(self) -> int:
        return min(max(int(self.s["progress"] // self.track.length) + 1, 1), self.laps)

    def put_on_track(self, place: float, side: float = 0.0, turn: float = 0.0) -> None:
        """Stands the kart still at a place along the track, `side` pixels right of the middle, turned by `turn`."""
        index = int(place / self.track.spacing) % len(self.track.centre)
        heading = float(self.track.direction[index])
        x, y = self.track.centre[index]
        self.s.update(
            x=float(x - side * math.sin(heading)),
            y=float(y + side * math.cos(heading)),
            heading=(heading + turn) % (2 * math.pi),
            sample=index,
            **dict.fromkeys(("speed", "slip", "yaw_rate", "hop", "hop_speed"), 0.0),
        )

    def nearest_sample(self) -> int:
        return int(self.track.nearest[int(self.s["y"]) // 4, int(self.s["x"]) // 4])

    # -- one sixtieth of a second ----------------------------------------------------------------------------------

    def held_buttons(self, action: Any) -> frozenset:
        if isinstance(self.action_space, gymnasium.spaces.Discrete):
            return frozenset(DRIVING_ACTIONS[int(action)].buttons)
        return frozenset(name for name, down in zip(BUTTONS, action) if down)

    def tick(self, held: frozenset) -> float:
        """Moves everything by one frame; returns its reward."""
        s = self.s
        s["frames"] += 1
        self.move_rivals()
        if s["sinking"]:
            s["sinking"] -= 1
            if s["sinking"] == 0:
                self.put_on_track(s["sample"] * self.track.spacing)
            return 0.0
        surface = self.track.surface[int(s["y"]) * SIZE + int(s["x"])]
        self.drive(held, surface)
        reward = self.move_and_collide()
        if surface == OFF_ROAD and s["hop"] == 0:
            s["off_road"] += 1
            reward -= OFF_ROAD_PENALTY
        return reward + REWARD_PER_PIXEL * self.advance()

    def drive(self, held: frozenset, surface: int) -> None:
        """Buttons and ground to speed, slip (sideways speed) and heading."""
        s = self.s
        steer = ("RIGHT" in held) - ("LEFT" in held)
        hop_held = "L" in held or "R" in held
        if hop_held and s["hop"] == 0 and s["hop_speed"] == 0 and not s.get("hop_held"):
            s["hop_speed"] = 0.7
        s["hop_held"] = hop_held
        if s["hop_speed"] or s["hop"]:
            s["hop"] += s["hop_speed"]
            s["hop_speed"] -= 0.09
            if s["hop"] <= 0:
                s["hop"] = s["hop_speed"] = 0.0
        if surface == BOOST and s["hop"] == 0:
            s["boost"] = 40
        s["boost"] = max(0, s["boost"] - 1)
        top = BOOST_SPEED if s["boost"] else OFF_ROAD_TOP_SPEED if surface == OFF_ROAD else TOP_SPEED
        speed = s["speed"]
        if s["boost"]:
            speed += 0.1 * (top - speed)
        elif "B" in held and speed < top:
            speed += ACCELERATION * (1.06 - speed / top)
        elif "Y" in held:
            speed = max(speed - 0.06, -0.5)
        else:
            speed = math.copysign(max(0.0, abs(speed) * 0.985 - 0.006), speed)
        if speed > top and not s["boost"]:
            speed = max(top, speed * 0.965)
        sliding = hop_held and s["hop"] == 0 and steer != 0
        rate = (
            TURN_RATE
            * (1.25 if sliding else 1.0)
            * min(1.0, abs(speed) / 0.5)
            * (1 - 0.22 * abs(speed) / TOP_SPEED)
        )
        s["yaw_rate"] += 0.22 * (steer * rate - s["yaw_rate"])
        # Turning the kart turns the axes that speed and slip are measured on: the way it goes lags behind its nose.
        cos, sin = math.cos(s["yaw_rate"]), math.sin(s["yaw_rate"])
        speed, slip = speed * cos + s["slip"] * sin, s["slip"] * cos - speed * sin
        s["heading"] = (s["heading"] + s["yaw_rate"]) % (2 * math.pi)
        s["speed"] = min(speed, BOOST_SPEED)
        s["slip"] = slip * (1 - self.track.theme.grip * (0.35 if sliding else 1.0))

    def move_and_collide(self) -> float:
        """Speed to place; walls throw the kart back towards the road, water swallows it. Returns the penalty."""
        s = self.s
        cos, sin = math.cos(s["heading"]), math.sin(s["heading"])
        velocity_x, velocity_y = s["speed"] * cos - s["slip"] * sin, s["speed"] * sin + s["slip"] * cos
        x = min(max(s["x"] + velocity_x, 1.0), SIZE - 2.0)
        y = min(max(s["y"] + velocity_y, 1.0), SIZE - 2.0)
        ground = self.track.surface[int(y) * SIZE + int(x)]
        if ground == WATER and s["hop"] == 0:
            s.update(x=x, y=y, sinking=SINK_FRAMES, speed=0.0, slip=0.0, yaw_rate=0.0)
            s["wall"] += 1
            return -WATER_PENALTY
        if ground != WALL:
            s["x"], s["y"] = x, y
            return 0.0
        centre_x, centre_y = self.track.centre[self.nearest_sample()]
        inward_x, inward_y = centre_x - s["x"], centre_y - s["y"]
        norm = math.hypot(inward_x, inward_y) or 1.0
        inward_x, inward_y = inward_x / norm, inward_y / norm
        into_wall = min(velocity_x * inward_x + velocity_y * inward_y, 0.0)
        velocity_x = 0.8 * (velocity_x - 1.5 * into_wall * inward_x) + 0.3 * inward_x
        velocity_y = 0.8 * (velocity_y - 1.5 * into_wall * inward_y) + 0.3 * inward_y
        s["speed"], s["slip"] = velocity_x * cos + velocity_y * sin, velocity_y * cos - velocity_x * sin
        s["wall"] += 1
        return -WALL_PENALTY

    def advance(self) -> float:
        """Pixels gained along the centre line. Leaps of over a quarter lap do not count."""
        s = self.s
        sample = self.nearest_sample()
        total = len(self.track.centre)
        gained = (sample - s["sample"] + total // 2) % total - total // 2
        if abs(gained) > total // 4:
            return 0.0
        # Between two samples the way along the centre line is told by the foot of the perpendicular.
        direction = float(self.track.direction[sample])
        centre_x, centre_y = self.track.centre[sample]
        beyond = (s["x"] - centre_x) * math.cos(direction) + (s["y"] - centre_y) * math.sin(direction)
        beyond = min(max(beyond, -self.track.spacing), self.track.spacing)
        laps_done = round((s["progress"] - s["sample"] * self.track.spacing) / self.track.length)
        if s["sample"] + gained >= total:
            laps_done += 1
        elif s["sample"] + gained < 0:
            laps_done -= 1
        before, s["sample"] = s["progress"], sample
        s["progress"] = laps_done * self.track.length + sample * self.track.spacing + beyond
        if s["progress"] > s["best"] + 8.0:
            s["best"], s["best_frame"] = s["progress"], s["frames"]
        return s["progress"] - before

    # -- the others, and the picture -----------------------------------------------------------------------------------

    def move_rivals(self) -> None:
        s = self.s
        for rival in s["rivals"]:
            sway = 6.0 * math.sin(rival[0] / 90.0)
            behind = s["progress"] + self.track.length - rival[0]
            stretch = 1 + min(max(RIVAL_STRETCH * behind, -0.1), 0.12)  # a race that stays a race
            rival[0] += rival[2] * stretch + rival[3]
            rival[3] *= 0.92
            x, y, heading = self.rival_place(rival, sway)
            away_x, away_y = s["x"] - x, s["y"] - y
            if away_x * away_x + away_y * away_y < RIVAL_REACH**2 and s["hop"] < 4:
                ahead = away_x * math.cos(heading) + away_y * math.sin(heading)
                rival[3] = -0.6 if ahead > 0 else 0.8  # who is behind loses way, who is in front is pushed on
                s["speed"] = min(s["speed"] + 0.15, TOP_SPEED) if ahead > 0 else s["speed"] * 0.85
                side = away_y * math.cos(s["heading"]) - away_x * math.sin(s["heading"])
                s["slip"] += math.copysign(0.25, side)

    def rival_place(self, rival: List[float], sway: float) -> Tuple[float, float, float]:
        index = int(rival[0] / self.track.spacing) % len(self.track.centre)
        heading = float(self.track.direction[index])
        side = rival[1] + sway
        x, y = self.track.centre[index]
        return float(x) - side * math.sin(heading), float(y) + side * math.cos(heading), heading

    def draw(self) -> None:
        s = self.s
        rivals = [
            (*self.rival_place(rival, 6.0 * math.sin(rival[0] / 90.0)), 1 + i % 4)
            for i, rival in enumerate(s["rivals"])
        ]
        height = s["hop"] if not s["sinking"] else -0.35 * (SINK_FRAMES - s["sinking"])
        yaw = s["yaw_rate"] / TURN_RATE * 0.5 - 0.25 * s["slip"]
        lap = f"LAP {self.lap()}/{self.laps}"
        speed = s["speed"] / TOP_SPEED
        self.frame = self.renderer.draw(s["x"], s["y"], s["heading"], yaw, height, lap, speed, rivals)


def make_game(track: int, rivals: int, frame_skip: int = 4, start: str = "anywhere", **settings) -> Mode7Kart:
    """As it is trained on: starts from anywhere on the course, and no waiting for a kart that does not get on."""
    settings = {"stall_seconds": 12.0, **settings}
    return Mode7Kart(track=track, rivals=rivals, frame_skip=frame_skip, start=start, **settings)


def describe(track: int = 0, rivals: int = 0) -> Game:
    return Game(
        name="Mode7Kart-v0",
        actions=DRIVING_ACTIONS,
        frame_rate=FRAME_RATE,
        make=partial(make_game, track=track, rivals=rivals),
        truth_names=TRUTH_NAMES,
        shares_process=True,
    )
