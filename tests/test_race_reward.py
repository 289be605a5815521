"""RaceReward: reward and end of a race, computed from the variables of a fake memory."""

import pytest
from player.games.retro.race_reward import RaceReward


class Memory(dict):
    """Variables of a race that has not yet crossed the start line."""

    def __init__(self) -> None:
        super().__init__(current_checkpoint=23, lap=127, lapsize=24, getFrame=100, getGameMode=0x1C, surface=0x40,
                         kart1_speed=0, isTurnedAround=0)  # fmt: skip

    def next_frame(self, **changed) -> "Memory":
        self.update(getFrame=self["getFrame"] + 1, **changed)
        return self


def start_race(**options):
    """The memory, and a function that changes it by one frame and returns the frame's reward and end."""
    reward, memory = RaceReward(**options), Memory()
    reward.reset(memory.__getitem__)
    return memory, lambda **changed: reward.step(memory.next_frame(**changed).__getitem__)


def test_checkpoints_are_rewarded_in_both_directions():
    _, frame = start_race()
    assert frame() == (0.0, False)
    assert frame(lap=128, current_checkpoint=0) == (10.0, False)  # over the line: one checkpoint
    assert frame(current_checkpoint=2) == (20.0, False)
    assert frame(lap=127, current_checkpoint=23) == (-30.0, False)
    assert frame(lap=133, current_checkpoint=0) == (1210.0, True)  # five laps


def test_jump_of_the_clock_gives_no_reward():
    memory, frame = start_race()
    memory["getFrame"] += 100
    assert frame(current_checkpoint=22) == (0.0, False)
    memory["getFrame"] = 3
    assert frame(current_checkpoint=20) == (0.0, False)
    assert frame(current_checkpoint=21) == (10.0, False)


def test_fifth_hazard_frame_ends_the_race():
    _, frame = start_race()
    assert [frame(surface=0x80)[1] for _ in range(5)] == [False] * 4 + [True]
    _, frame = start_race()
    assert frame(surface=0x28)[0] == frame(surface=0x22)[0] == -1
    for _ in range(3):
        frame(surface=0x20)
    assert not any(frame(surface=0x40)[1] for _ in range(494))
    assert not any(frame(surface=0x80)[1] for _ in range(4))  # the 500th frame reset the count
    assert start_race()[1](getGameMode=0x0E) == (0.0, True)


def test_speed_reward():
    _, frame = start_race(speed=True)
    rewards = [frame(kart1_speed=speed)[0] for speed in (0, 601, 801, 901)]
    assert rewards == [-0.1, 0.0, 0.1, 0.2]
    assert frame(isTurnedAround=0x10)[0] == pytest.approx(0.1)
