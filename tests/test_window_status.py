"""What the play window tells a person: hints, laps, the time of a drive, the best ten seconds, help that pauses."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
from dream.play.keys import has_gas, key_aliases, lacks_brake
from dream.window import overlays
from dream.window.bar import format_time, slow_text, status_items
from dream.window.hud import standing_hint, start_hint
from fakes import FakeClock, FakeEnv, FakeRealEnv
from PIL import Image
from window_helpers import run_for, send


@pytest.fixture
def hints(monkeypatch):
    """Texts of all hints that are drawn."""
    texts, draw_hint = [], overlays.draw_hint
    monkeypatch.setattr(
        "dream.window.hud.draw_hint",
        lambda screen, rect, rows: (
            texts.append([text for row in rows for _, text in row]) or draw_hint(screen, rect, rows)
        ),
    )
    return texts


def drive(window, num_frames, *keys):
    window.keyboard, window.waiting = set(keys), False
    for _ in range(num_frames):
        window.step()


def pixels():
    import pygame

    return pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2).copy()


def test_a_hint_after_two_seconds_at_a_fence(make_window, hints):
    window = make_window(FakeEnv())
    window.draw()
    assert hints == [["drive", "help"]]  # no agent here
    drive(window, 119, "up")
    window.draw()
    assert len(hints) == 1
    drive(window, 2, "up")
    window.draw()
    assert hints[1:] == [["again", "back", "steer with gas"]]
    drive(window, 1)  # released: no advice
    window.draw()
    assert len(hints) == 2


def test_the_hint_of_a_game_without_gas_names_its_own_keys(make_window):
    env = FakeEnv()
    env.action_names, env.action_keys = ("nothing", "reload"), ((), ("r",))
    window = make_window(env)
    assert standing_hint(window) == [(("return",), "again"), (("z",), "back"), ((), "or another key")]
    assert start_hint(window)[0] == [(["r"], "play")]


def test_gas_and_brake_are_known_from_the_keys():
    kart, car = FakeEnv.action_keys, (*FakeEnv.action_keys, ("down",))
    lander, grid = ((), ("left",), ("up",), ("right",)), (("left",), ("right",), ("up",), ("space",))
    assert [has_gas(keys) for keys in (kart, car, lander, grid)] == [True, True, False, False]
    assert [lacks_brake(keys) for keys in (kart, car, lander)] == [True, False, False]
    assert not lacks_brake((*kart, ("b",)))  # any other key may be one


def test_wasd_drives_unless_the_game_uses_a_letter(make_window):
    env = FakeEnv()
    window = make_window(env)
    send(window, "w", "a")
    window.step()
    send(window, "w", up=True)
    window.step()
    assert env.actions == [4, 2] and os.listdir(window.output_dir.parent) == []
    assert key_aliases((("up",), ("a",))) == {} and key_aliases((("z",), ())) == {}


def test_laps_and_times(make_window):
    window = make_window(FakeEnv())
    drive(window, 60 * 75, "up")
    assert [item.name for item in status_items(window)] == ["drive"]
    window.drive.num_moving, window.drive.best_s = 75 * 60, 75.0
    items = {item.name: item.value for item in status_items(window)}
    assert items == {"drive": "1:15", "longest": "1:15"}
    window.session.lap_timer = SimpleNamespace(laps=0, lap_s=None, last_lap_s=None, best_lap_s=None)
    assert [(item.name, item.value) for item in status_items(window)][:2] == [("lap", "1"), ("drive", "1:15")]
    window.session.lap_timer = SimpleNamespace(laps=2, lap_s=3.21, last_lap_s=17.96, best_lap_s=17.0)
    items = [(item.name, item.value) for item in status_items(window)]
    assert items[:4] == [("lap", "3"), ("", "0:03.2"), ("last lap", "0:17.9"), ("best lap", "0:17.0")]
    window.draw()


def test_time_is_written_as_on_a_clock():
    assert [format_time(s) for s in (0, 59.99, 60, 3599.9)] == ["0:00", "0:59", "1:00", "59:59"]
    assert [format_time(s, 1) for s in (0, 9.96, 59.99, 61.25)] == ["0:00.0", "0:09.9", "0:59.9", "1:01.2"]


def test_a_slow_machine_is_told_in_words(make_window):
    clock = FakeClock()
    window = make_window(FakeEnv(), now=clock)
    for fps, text in ((60, ""), (20, "slow: 20 of 60 frames/s")):
        for _ in range(70):
            clock.time_s += 1 / fps
            window.times.add(clock.time_s, 0.01)
        assert slow_text(window) == text
    window.draw()
    window.paused = True
    assert slow_text(window) == ""


def test_help_pauses_and_has_two_pages(make_window):
    env = FakeEnv()
    env.fps = 500.0
    window = make_window(env)
    counts = run_for(window, 9, {1: ["up"], 3: ["h"], 5: ["h"], 7: ["h"]})
    assert counts == [0, 1, 2, 2, 2, 2, 2, 3, 4]
    other = make_window(FakeEnv())
    for key in ("p", "r"):
        send(other, "h", key)
        assert not other.help_page and not other.paused
    send(other, "h", "up")
    assert not other.pressed_since_frame  # the kart moved when the help was closed
    send(other, "escape")
    assert other.running and not other.help_page
    send(other, "escape")
    assert not other.running


def test_the_best_ten_seconds_are_saved_while_the_game_goes_on(make_window, tmp_path, capsys):
    window = make_window(FakeEnv())
    send(window, "g")
    assert "drive first" in window.message
    for keys in (["up"], ["left"]) * 20:
        drive(window, 1, *keys)
    send(window, "g")
    drive(window, 1, "up")
    window.clip_thread.join()
    assert os.listdir(tmp_path / "output") == ["dream_001.gif"] and "dream_001.gif" in window.message
    assert Image.open(tmp_path / "output/dream_001.gif").n_frames == 40
    window.output_dir = tmp_path / "output/dream_001.gif"  # a file, no folder
    send(window, "g")
    window.clip_thread.join()
    assert "not saved" in window.message


def test_the_gif_is_offered_after_a_long_drive_until_it_is_known(make_window, capsys):
    env = FakeEnv()
    window = make_window(env)
    for expected in (False, True):
        for i in range(60 * (13 if expected else 5)):
            drive(window, 1, "up" if i % 2 else "left")
        window.message = ""
        send(window, "r")
        assert window.message.startswith("G saves the best ten seconds") == expected
    assert "G saves" not in capsys.readouterr().out
    window.clip_saved = True
    for i in range(60 * 13):
        drive(window, 1, "up" if i % 2 else "left")
    window.message = ""
    send(window, "r")
    assert window.message == ""


def test_a_rewind_is_seen(make_window):
    clock = FakeClock()
    env = FakeEnv()
    env.frame_shape = (112, 256)
    window = make_window(env, now=clock)
    clock.time_s += 10
    drive(window, 30, "up")
    window.draw()
    before = pixels()
    send(window, "z")
    window.draw()
    changed = (pixels() != before).any(axis=2)
    H, W = changed.shape
    assert changed[: H // 2, W // 3 : 2 * W // 3].any() and changed.mean() < 0.1
    window.rewind_frame()
    send(window, "z", up=True)
    window.draw()
    assert (pixels() != before).sum() < changed.sum()


def test_the_fade_in_covers_both_views_and_no_name(make_window, monkeypatch):
    clock, named = FakeClock(), []
    window = make_window(FakeEnv(), real=FakeRealEnv(), now=clock)
    covered = []
    monkeypatch.setattr(
        "dream.window.hud.draw_fade_in", lambda screen, rect, progress: covered.append(rect.copy())
    )
    monkeypatch.setattr(
        "dream.window.hud.draw_badge", lambda screen, text, *_, **position: named.append(len(covered))
    )
    window.draw()
    assert len(covered) == 2 and not covered[0].colliderect(covered[1])
    assert named[:2] == [2, 2]  # drawn after both are covered


def test_text_grows_with_the_window(make_window):
    import pygame
    from dream.window.draw import font, px

    window, heights = make_window(FakeEnv()), []
    for size in ((512, 288), (1024, 528), (1920, 1080), (3840, 2160)):
        pygame.display.set_mode(size)
        window.draw()
        heights.append(font(18).get_height() / size[1])
    assert px(10) > 40 and min(heights) > 0.018, heights


def test_a_wide_window_shows_a_larger_picture(make_window):
    import pygame

    env = FakeEnv()
    env.frame_shape = (112, 256)
    window = make_window(env, now=lambda: 1000.0)
    window.started_at, window.waiting = 0.0, False
    drive(window, 1, "up")
    pygame.display.set_mode((1600, 500))
    window.draw()
    assert (pixels() == (200, 0, 0)).all(axis=2).any(axis=1).sum() == 500  # its full height
    pygame.display.set_mode((1024, 528))
    window.draw()
    assert (pixels() == (200, 0, 0)).all(axis=2).any(axis=0).sum() == 1024  # its full width
    send(window, "i")
    window.draw()
    assert np.abs(pixels()[-20:].astype(int) - pixels()[-20, 0]).max() > 50  # the technical line
