"""What the play window draws: frames, views, help, at any size and in full screen."""

import importlib

import numpy as np
import pytest
from dream.window.commands import VIEWS
from fakes import COLORS, FakeEnv, FakeRealEnv
from PIL import Image
from window_helpers import send


def test_frames_are_drawn_unchanged(make_window, tmp_path):
    """Swapped channels, a gamma or smoothing would go unnoticed by a user who does not know the game."""
    env = FakeEnv()
    frame_u8 = np.random.default_rng(0).integers(256, size=(28, 64, 3)).astype(np.uint8)
    env.step = lambda action: frame_u8
    window = make_window(env, scale=3)
    window.started_at -= 10
    window.waiting = False
    window.step()
    send(window, "f12")
    picture = np.asarray(Image.open(tmp_path / "output/dream_001.png").convert("RGB"))
    np.testing.assert_array_equal(picture[: 3 * 28], frame_u8.repeat(3, axis=0).repeat(3, axis=1))


def test_views_of_the_real_game(make_window):
    env, game = FakeEnv(), FakeRealEnv()
    window = make_window(env, real=game)
    assert game.game_states == [{"x": 0.0}] and window.view == "both"
    send(window, "up")
    window.step()
    assert env.actions == game.actions == [1]
    frame_names = {}
    for view in VIEWS:
        frame_names[view] = list(window.frames(view))
        window.draw()
        assert window.view in VIEWS
        send(window, "t")
    assert frame_names == {
        "world model": ["world model"],
        "game": ["game"],
        "both": ["game", "world model"],
        "difference": ["game", "world model", "difference"],
    }
    frames = window.frames("difference")
    np.testing.assert_array_equal(
        frames["difference"][0, 0], 128 + (COLORS[1] // 2 - COLORS[1].astype(int)) // 2
    )
    send(window, "b")  # a start state without game state
    assert game.game_states[-1] is None and "game (not in sync)" in window.frames("game")
    send(window, "n")
    window.step()
    window.step()
    window.rewind_frame()
    assert (game.frame_u8 == COLORS[1] // 2).all()  # it rewinds too
    send(make_window(env), "t")  # without a game: only a message


def test_drawn_at_any_size(make_window):
    import pygame

    window = make_window(FakeEnv())
    for size in ((1, 1), (90, 140), (300, 80), (1500, 300)):
        pygame.display.set_mode(size, pygame.RESIZABLE)
        window.paused = not window.paused
        window.say("hello")
        window.draw()


def test_the_bar_hides_and_full_screen_toggles(make_window):
    import pygame

    window = make_window(FakeEnv())
    window.started_at -= 10
    size = pygame.display.get_surface().get_size()
    window.draw()
    before = pygame.surfarray.array3d(pygame.display.get_surface())
    send(window, "f2")
    window.draw()
    assert (before != pygame.surfarray.array3d(pygame.display.get_surface())).any()
    send(window, "f11")
    assert pygame.display.get_surface().get_flags() & pygame.FULLSCREEN
    window.draw()
    send(window, "f")
    assert pygame.display.get_surface().get_size() == size
    assert not pygame.display.get_surface().get_flags() & pygame.FULLSCREEN


def test_letterbox_keeps_the_aspect():
    from dream.window.draw import letterbox

    assert letterbox((256, 112), (1024, 448)) == (0, 0, 1024, 448)
    # An integer scale is preferred to a slightly larger picture.
    assert letterbox((256, 112), (1040, 460)) == (8, 6, 1024, 448)
    assert letterbox((256, 112), (1000, 2000)) == (0, 781, 1000, 438)
    assert letterbox((256, 112), (128, 500)) == (0, 222, 128, 56)
    assert letterbox((256, 112), (3, 1)) == (0, 0, 2, 1) and letterbox((256, 112), (1, 1)) == (0, 0, 1, 1)


GAMES = {
    "the kart": (FakeEnv.action_names, FakeEnv.action_keys),
    "one with many buttons": (
        tuple(f"a long name of action {number}" for number in range(20)),
        tuple((key,) for key in "zxcvbnmasdfghjklqwer"),
    ),
}


@pytest.mark.parametrize("size", [(1024, 512), (512, 288), (1500, 300), (3840, 2160)])
@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("page", [1, 2])
def test_help_is_readable(make_window, monkeypatch, size, game, page):
    """All text is inside the area, no two lines overlap, and held keys are highlighted."""
    import pygame
    from dream.window import draw as drawing
    from dream.window import help as help_panel

    window = make_window(FakeEnv())
    window.env.action_names, window.env.action_keys = GAMES[game]
    window.help_page = page
    sections, footer = help_panel.help_page(window)
    lit = {sections["GAME" if page == 1 else "FILES"][2][1][0]}
    written, write = [], drawing.write

    def spy(surface, text, size, color, **position):
        rect = write(surface, text, size, color, **position)
        written.append((text, rect, drawing.font(size).size(text)))
        return rect

    monkeypatch.setattr(drawing, "write", spy)
    monkeypatch.setattr(help_panel, "write", spy)
    screen = pygame.display.set_mode(size, pygame.RESIZABLE)
    drawing.set_scale(size)
    area = pygame.Rect(0, 0, size[0], size[1] - drawing.px(drawing.BAR_HEIGHT))
    help_panel.draw_help(screen, area, sections, lit, footer)
    texts = [text for text, _, _ in written]
    for expected in (*(text for rows in sections.values() for text, _ in rows), *footer):
        assert any(expected.startswith(text.rstrip("…")) and text for text in texts), expected
    for number, (text, rect, (width, _)) in enumerate(written):
        assert area.contains(rect) and rect.width == width, text
        for other, other_rect, _ in written[:number]:
            assert not rect.inflate(0, -6).colliderect(other_rect.inflate(0, -6)), (text, other)
    below = [
        rect.left
        for line in footer
        for text, rect, _ in written
        if len(text) > 5 and line.startswith(text.rstrip("…"))
    ]
    assert len(set(below)) == 1, below  # not split over columns
    picture = pygame.surfarray.array3d(screen)
    assert (picture == drawing.ACCENT).all(axis=2).any()


@pytest.mark.parametrize("package", ["dream", "player"])
def test_fonts_do_not_outlive_pygame_quit(package):
    """Somebody else, such as a game, had started pygame again: the old font was a segmentation fault."""
    pygame = pytest.importorskip("pygame")
    draw = importlib.import_module(f"{package}.window.draw")
    first = draw.font(20)
    pygame.quit()
    pygame.font.init()
    assert draw.font(20) is not first and draw.font(20).size("text")[0] > 0
