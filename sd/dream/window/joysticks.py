"""Gamepads as SDL sees them: opens them and turns their events into keys and commands (gamepad.py)."""

import os
from collections.abc import Collection, Sequence

from dream.window.gamepad import Gamepads

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame  # after the line above, which silences a banner on stdout


class Joysticks:
    """All connected gamepads; `held` is the set of keys that are pressed on any of them."""

    def __init__(self, action_keys: Sequence[Collection[str]]) -> None:
        self.gamepads, self.opened = Gamepads(action_keys), {}
        pygame.joystick.init()

    @property
    def held(self) -> set[str]:
        return self.gamepads.held

    def handle(self, event: pygame.event.Event) -> tuple[set[str], str | None, str]:
        """Handles an event of any kind; returns the keys that it has pressed, the name of the command of its button,
        and a message for the user."""
        held_before, command, message = self.held, None, ""
        if event.type == pygame.JOYDEVICEADDED:
            message = self._open(event.device_index)
        elif event.type == pygame.JOYDEVICEREMOVED:
            self.opened.pop(event.instance_id, None)
            self.gamepads.unplugged(event.instance_id)
        elif event.type == pygame.JOYAXISMOTION:
            self.gamepads.axis(event.instance_id, event.axis, event.value)
        elif event.type == pygame.JOYHATMOTION:
            self.gamepads.hat(event.instance_id, *event.value)
        elif event.type in (pygame.JOYBUTTONDOWN, pygame.JOYBUTTONUP):
            down = event.type == pygame.JOYBUTTONDOWN
            command = self.gamepads.button(event.instance_id, event.button, down)
        return self.held - held_before, command, message

    def _open(self, device_index: int) -> str:
        try:
            joystick = pygame.joystick.Joystick(device_index)
        except pygame.error:  # it has been unplugged since the event
            return ""
        self.opened[joystick.get_instance_id()] = joystick  # without a reference pygame closes it
        return f"connected {joystick.get_name()}"
