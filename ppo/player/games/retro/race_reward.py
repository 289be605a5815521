"""Reward and end of a race of Super Mario Kart, and of any cartridge that keeps the race at the same addresses.

Reward of a frame: 10 per checkpoint forward, -10 per checkpoint backward, -1 on a wall, in a pit, in deep water or off
the track. A race ends after five laps, when the game leaves the race, or at the fifth hazard frame (the hundredth in
deep water). The count of hazard frames is reset to 0 every 500 frames.
"""

from typing import Callable, Tuple

Read = Callable[[str], int]  # variable of data.json -> value

RACE_MODE = 0x1C  # value of getGameMode during a race
FIRST_LAP, LAPS = 128, 5
WALL, OFF_TRACK, PIT, DEEP_WATER = 0x80, 0x28, 0x20, 0x22  # values of surface
HAZARDS = {WALL: 1.0, OFF_TRACK: 1.0, PIT: 1.0, DEEP_WATER: 0.05}  # surface -> weight of one frame
MAX_HAZARD, HAZARD_RESET_FRAMES = 5.0, 500
# Largest change of the game's frame counter in one frame; a larger or negative one is a cut to another scene.
MAX_CLOCK_STEP = 60
WRONG_WAY = 0x10  # value of isTurnedAround
VARIABLES = (
    *("current_checkpoint", "lap", "lapsize", "getFrame", "getGameMode", "surface"),
    *("kart1_speed", "isTurnedAround"),
)


class RaceReward:
    """Computes the reward of every frame of a race and detects its end."""

    def __init__(self, speed: bool = False) -> None:
        """speed: adds to every frame a reward for driving fast, and penalties for driving slowly or the wrong way."""
        self.speed = speed

    def reset(self, read: Read) -> None:
        """Starts a new race. Must also be called after a savestate has been loaded."""
        self.progress, self.clock = progress(read), read("getFrame")
        self.hazard, self.frames = 0.0, 0

    def step(self, read: Read) -> Tuple[float, bool]:
        """Returns the reward of a frame and whether the race is over. Must be called after every frame of the game."""
        before, clock_before = self.progress, self.clock
        self.progress, self.clock = progress(read), read("getFrame")
        cut = not 0 <= self.clock - clock_before <= MAX_CLOCK_STEP
        reward = 0.0 if cut else 10.0 * (self.progress - before)
        surface = read("surface")
        if surface in HAZARDS:
            reward -= 1
        if self.speed:
            reward += speed_reward(read("kart1_speed")) - 0.1 * (read("isTurnedAround") == WRONG_WAY)
        self.frames += 1
        if self.frames % HAZARD_RESET_FRAMES == 0:
            self.hazard = 0.0
        self.hazard += HAZARDS.get(surface, 0.0)
        finished = read("lap") >= FIRST_LAP + LAPS
        return reward, finished or read("getGameMode") != RACE_MODE or self.hazard >= MAX_HAZARD - 1e-9


def progress(read: Read) -> int:
    """Number of checkpoints passed since the start line."""
    return read("current_checkpoint") + (read("lap") - FIRST_LAP) * read("lapsize")


def speed_reward(speed: int) -> float:
    """Reward of a frame for the value of kart1_speed."""
    return 0.2 if speed > 900 else 0.1 if speed > 800 else 0.0 if speed > 600 else -0.1
