"""A ride: a world that is driven through, who drives, the way back, what is recorded. No screen, no pygame, no torch.

The window turns keys into calls of a Ride and shows what it says; without a window play_sd.py does the same.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dream.common.errors import InputError
from dream.play.controllers import SEEN, Driver, Person, drivers_of
from dream.play.real_env import Real
from dream.play.recording import Take
from dream.play.timing import Playable

BACK_S = 20.0  # of the way that can be gone back: 0.5 MB a frame of the dream that ships


@dataclass(frozen=True)
class Moment:
    """Before a step: enough to stand there again."""

    world: Any
    frame_u8: np.ndarray
    action: int
    real: Any
    take: Take | None  # that it went into


@dataclass
class Ride:
    dream: Playable
    start: int = 0
    drivers: list[Driver] = field(default_factory=list)
    real: Real | None = None  # the game itself, under the same actions
    take: Take | None = None  # what is recorded as .npz

    def __post_init__(self) -> None:
        self.drivers = self.drivers or drivers_of(self.dream)
        self.driver = self.drivers[0]
        self.back: deque[Moment] = deque(maxlen=round(BACK_S * self.dream.fps))
        if self.real:
            self.real.try_truths(self.dream.game_state(place) for place in range(self.dream.num_starts))
        self.restart()

    # -- where -----------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """To the place again."""
        self.frame_u8 = self.dream.reset(self.start)
        self.age, self.action = 0, 0
        self.back.clear()
        if self.real:
            self.real.reset(self.dream.game_state(self.start))
        if self.take:
            self.take.begin(self.dream)
        self.driver.take_over([self.frame_u8], self.age)

    def go_to_place(self, step: int) -> None:
        """The next place (1) or the one before (-1)."""
        self.start = (self.start + step) % self.dream.num_starts
        self.restart()

    def go_back(self) -> bool:
        """One frame; False at the end of the way back. What is recorded goes back with it."""
        if not self.back:
            return False
        moment = self.back.pop()
        self.dream.set_state(moment.world)
        self.frame_u8, self.action, self.age = moment.frame_u8, moment.action, self.age - 1
        if self.real:
            self.real.set_state(moment.real)
        if self.take and moment.take is self.take:
            self.take.drop_last()
        elif self.take:
            self.take.begin(self.dream)
        self.driver.take_over(self.last_frames(), self.age)
        return True

    def last_frames(self) -> list[np.ndarray]:
        """Those seen last, oldest first."""
        before = [self.back[i].frame_u8 for i in range(max(0, len(self.back) - SEEN + 1), len(self.back))]
        return [*before, self.frame_u8]

    # -- on --------------------------------------------------------------------------------------------------------

    def step(self, held: Collection[str] = ()) -> np.ndarray:
        """One frame on; `held`: keys. Returns it, uint8 (H, W, 3). Raises NoRoom where it cannot be recorded;
        nothing has moved then."""
        return self.go_on(self.driver.choose(held, self.age))

    def dream_again(self) -> None:
        """The last frame once more, by the knobs as they are now."""
        action = self.action
        if self.go_back():
            self.go_on(action)

    def go_on(self, action: int) -> np.ndarray:
        world, real = self.dream.get_state(), self.real and self.real.get_state()
        before = Moment(world, self.frame_u8, self.action, real, self.take)
        if self.take:
            self.take.add(self.frame_u8, action, self.dream)
        frame_u8 = self.dream.step(action)
        if self.real:
            self.real.step(action)
        self.back.append(before)
        self.frame_u8, self.action, self.age = frame_u8, action, self.age + 1
        self.driver.see(frame_u8)
        return frame_u8

    @property
    def person_drives(self) -> bool:
        return isinstance(self.driver, Person)

    def put_at_the_wheel(self, driver: Driver) -> None:
        """Raises BadInput where he cannot drive here."""
        driver.take_over(self.last_frames(), self.age)
        self.driver = driver

    def next_driver(self) -> str:
        """Who can drive takes over; returns what to say."""
        told, first = "", self.drivers.index(self.driver)
        for number in range(1, len(self.drivers)):
            driver = self.drivers[(first + number) % len(self.drivers)]
            try:
                self.put_at_the_wheel(driver)
            except InputError as problem:
                told = f"{problem}; "
                continue
            return f"{told}at the wheel: {driver.name}"
        return f"{told}nobody else can drive here"

    # -- what is recorded --------------------------------------------------------------------------------------------

    def record(self, take: Take) -> None:
        self.take = take
        take.begin(self.dream)

    def stop_recording(self) -> Take:
        take, self.take = self.take, None
        take.close()
        return take
