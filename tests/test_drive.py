"""What is measured on a drive: standing under a held key, its length, its best ten seconds."""

import itertools

import numpy as np
import pytest
from dream.play.drive import Drive

FPS = 10


def frames(num_frames, change):
    """Frames uint8 (2, 4, 3), each of which differs from the one before by `change` levels."""
    return [np.full((2, 4, 3), 100 + change * (i % 2), np.uint8) for i in range(num_frames + 1)]


def play(drive, num_frames, change, is_person=True, is_noop=False):
    """Adds steps; returns after how many of them the drive was first standing, None if never."""
    pictures, stood_at = frames(num_frames, change), None
    for i in range(num_frames):
        drive.add(pictures[i], pictures[i + 1], is_person, is_noop)
        if stood_at is None and drive.is_standing():
            stood_at = i + 1
    return stood_at


def test_standing_under_a_held_key():
    """A fence: the picture still flickers a little."""
    drive = Drive(FPS)
    assert play(drive, 50, 20) is None
    stood_at = play(drive, 50, 1)
    assert 10 <= stood_at <= 20  # two seconds at most: the median of them
    assert drive.seconds == pytest.approx(5.0) and drive.best_s == pytest.approx(5.0)
    assert play(drive, 11, 20) is None or not drive.is_standing()  # steered free: a new drive
    assert drive.seconds < 5 and drive.best_s == pytest.approx(5.0)


def test_nothing_stands_without_a_key_nor_before_two_seconds_nor_under_the_agent():
    drive = Drive(FPS)
    assert play(drive, 50, 0, is_noop=True) is None
    assert play(drive, 50, 0, is_person=False) is None
    assert play(drive, 19, 0) is None
    assert play(drive, 1, 0) == 1  # a picture that has never changed, as in a game of turns


def test_slow_is_not_standing():
    drive = Drive(FPS)
    play(drive, 50, 20)
    assert play(drive, 50, 4) is None  # grass


def test_a_flash_is_no_speed():
    """One white frame would make everything after it look like standing."""
    drive = Drive(FPS)
    for _ in range(5):
        play(drive, 9, 4)
        drive.add(np.zeros((2, 4, 3), np.uint8), np.full((2, 4, 3), 255, np.uint8), True, False)
    assert drive.top_change == 4


def test_a_rewind_takes_the_time_back():
    drive = Drive(FPS)
    play(drive, 30, 20)
    for _ in range(10):
        drive.pop()
    assert drive.seconds == pytest.approx(2.0)
    for _ in range(100):  # more than the drive had
        drive.pop()
    assert drive.seconds == 0


def test_only_a_person_s_time_counts():
    drive = Drive(FPS)
    play(drive, 30, 20, is_person=False)
    assert drive.seconds == 0 and len(drive.best_clip()[0]) == 30  # but its clip can be saved


def test_the_best_ten_seconds_are_the_fastest_ones():
    drive = Drive(FPS)
    for change in (5, 50, 5):
        play(drive, 100, change)
    clip, which = drive.best_clip()
    assert len(clip) == 100 and which == "this drive"
    assert np.mean([abs(int(a[0, 0, 0]) - int(b[0, 0, 0])) for a, b in itertools.pairwise(clip)]) > 45


def test_after_a_restart_the_last_drive_is_offered_for_a_while():
    drive = Drive(FPS)
    assert drive.best_clip() == ([], "this drive")
    play(drive, 130, 20)
    assert drive.restart() == pytest.approx(13.0) and drive.restart() == 0
    play(drive, 20, 20)
    clip, which = drive.best_clip()
    assert len(clip) == 100 and which == "the last drive"
    play(drive, 20, 20)
    assert len(drive.best_clip()[0]) == 40 and drive.best_clip()[1] == "this drive"


def test_clips_of_large_frames_are_shorter():
    drive = Drive(60)
    frame_u8 = np.zeros((720, 1280, 3), np.uint8)
    drive.add(frame_u8, frame_u8, True, False)
    assert drive.steps.maxlen == 120  # two seconds, for is_standing, instead of 600 frames


@pytest.mark.slow
def test_the_first_bend_of_the_pretrained_model():
    """Holding up from the first start state ends at the fence; its own standing kart before the start does not."""
    import play_sd

    env = play_sd.load_env(play_sd.parse_args([]))
    up, before_u8, drive, stood = env.action_keys.index(("up",)), env.reset(0), Drive(env.fps), []
    for i in range(150):
        action = 0 if i < 30 else up
        after_u8 = env.step(action)
        drive.add(before_u8, after_u8, is_person=True, is_noop=not env.action_keys[action])
        stood.append(drive.is_standing())
        before_u8 = after_u8
    assert not any(stood[: 30 + 70]) and stood[-1] and 3 < drive.seconds < 6
