"""Reward and end of a race of Super Mario Kart, and of any cartridge that keeps its race at the same addresses.

Every frame of the game counts: 10 for each checkpoint further, -10 for each one back, -1 on a wall, in a pit, in deep
water or off the course. A race ends after five laps, where the game leaves it, or at the fifth frame of such trouble
(the hundredth in deep water); what was before is forgotten in each 500th frame of a race.
"""

from typing import Callable, Tuple

Read = Callable[[str], int]  # the value of a variable of data.json

RACING = 0x1C  # of getGameMode
FIRST_LAP, LAPS = 128, 5
WALL, OFF_COURSE, PIT, DEEP_WATER = 0x80, 0x28, 0x20, 0x22
TROUBLE = {WALL: 1.0, OFF_COURSE: 1.0, PIT: 1.0, DEEP_WATER: 0.05}  # how much of it a frame is
TROUBLE_ENDS, TROUBLE_FORGOTTEN = 5.0, 500  # and in how many frames
CLOCK_JUMP = 60  # frames of the game's own counter: more, or backwards, is a cut, not driving
WRONG_WAY = 0x10  # of isTurnedAround
READS = (
    *("current_checkpoint", "lap", "lapsize", "getFrame", "getGameMode", "surface"),
    *("kart1_speed", "isTurnedAround"),
)


class RaceRules:
    def __init__(self, speed: bool = False) -> None:
        """speed: fast driving is rewarded in every frame too, slow driving and the wrong way punished."""
        self.speed = speed

    def restart(self, read: Read) -> None:
        """A race begins, or goes on from a savestate, with the memory as it is now."""
        self.progress, self.clock = progress(read), read("getFrame")
        self.trouble, self.frames = 0.0, 0

    def frame(self, read: Read) -> Tuple[float, bool]:
        """After a frame of the game: its reward, and whether the race is over."""
        before, clock_before = self.progress, self.clock
        self.progress, self.clock = progress(read), read("getFrame")
        cut = not 0 <= self.clock - clock_before <= CLOCK_JUMP
        reward = 0.0 if cut else 10.0 * (self.progress - before)
        surface = read("surface")
        if surface in TROUBLE:
            reward -= 1
        if self.speed:
            reward += speed_reward(read("kart1_speed")) - 0.1 * (read("isTurnedAround") == WRONG_WAY)
        self.frames += 1
        if self.frames % TROUBLE_FORGOTTEN == 0:
            self.trouble = 0.0
        self.trouble += TROUBLE.get(surface, 0.0)
        finished = read("lap") >= FIRST_LAP + LAPS
        return reward, finished or read("getGameMode") != RACING or self.trouble >= TROUBLE_ENDS - 1e-9


def progress(read: Read) -> int:
    """Checkpoints since the first line."""
    return read("current_checkpoint") + (read("lap") - FIRST_LAP) * read("lapsize")


def speed_reward(speed: int) -> float:
    return 0.2 if speed > 900 else 0.1 if speed > 800 else 0.0 if speed > 600 else -0.1
