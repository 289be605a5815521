"""Playing with a gamepad."""

from fakes import FakeEnv
from window_helpers import send


def test_a_gamepad_plays(make_window):
    """By pygame's events: a test machine has no gamepad."""
    import pygame

    env = FakeEnv()
    window = make_window(env)

    def pad(kind, **what):
        pygame.event.post(pygame.event.Event(kind, instance_id=3, **what))
        window.handle_events(0)

    pad(pygame.JOYBUTTONDOWN, button=0)  # the kart uses arrow keys only: the first button is up
    pad(pygame.JOYAXISMOTION, axis=0, value=-0.9)
    window.step()
    pad(pygame.JOYAXISMOTION, axis=0, value=0.1)  # within the dead zone
    window.step()
    pad(pygame.JOYHATMOTION, hat=0, value=(1, 0))
    window.step()
    pad(pygame.JOYBUTTONDOWN, button=7)
    assert window.paused
    pad(pygame.JOYBUTTONDOWN, button=7)
    send(window, "left")  # left on the keyboard and right on the gamepad cancel
    window.step()
    pad(pygame.JOYDEVICEREMOVED)  # unplugged with up and right held
    window.step()
    assert env.actions == [4, 1, 5, 1, 2]
