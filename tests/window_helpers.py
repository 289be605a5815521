"""Helpers of the window tests: key events, the window's loop, a virtual X display."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from dream.play.session import PlaySession
from fakes import FakeEnv

ROOT = Path(__file__).resolve().parent.parent


def send(window, *names, up=False):
    """Presses, or with `up` releases, the keys of these names; the window handles the events."""
    import pygame

    for name in names:
        event = pygame.KEYUP if up else pygame.KEYDOWN
        pygame.event.post(pygame.event.Event(event, key=pygame.key.key_code(name)))
    window.handle_events(0)


def run_for(window, num_draws, keys_before_draw):
    """Runs the window's loop for `num_draws` draws; after draw number i, presses keys_before_draw[i].

    Returns the number of frames that had been generated before each draw.
    """
    draw, draws = window.draw, []

    def draw_and_press():
        draws.append(window.times.num_frames)
        draw()
        send(window, *keys_before_draw.get(len(draws), ()))
        if len(draws) >= num_draws:
            send(window, "q")

    window.draw = draw_and_press
    window.run()
    return draws


def show_window(folder):
    """Opens a window of a fake environment until a key quits it; run in a new process, on the display DISPLAY."""
    from dream.window.window import PlayWindow

    env = FakeEnv()
    env.frame_shape = (56, 128)
    PlayWindow(PlaySession(env), scale=4, output_dir=Path(folder)).run()
    print(*sorted(set(env.actions)))


class Screen:
    """A virtual display (Xvfb), and a process with a window on it."""

    def __init__(self, folder, size="800x500x24"):
        read_end, write_end = os.pipe()
        command = [
            "Xvfb",
            "-displayfd",
            str(write_end),
            "-screen",
            "0",
            size,
            "-fbdir",
            str(folder),
            "-nolisten",
            "tcp",
        ]
        self.server = subprocess.Popen(command, pass_fds=[write_end], stderr=subprocess.DEVNULL)
        os.close(write_end)
        with os.fdopen(read_end) as file:
            display = f":{file.readline().strip()}"
        self.env = {
            key: value for key, value in os.environ.items() if not key.startswith(("SDL_", "WAYLAND_"))
        }
        self.env |= {"DISPLAY": display, "PYTHONPATH": f"{ROOT}/sd:{ROOT}/tests"}
        self.memory, self.window = folder / "Xvfb_screen0", None

    def start(self, *command):
        """Starts Python with these arguments on the display."""
        self.window = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def press(self, *words):
        """Sends keys or mouse events; `words`: arguments of xdotool."""
        subprocess.run(["xdotool", *words], env=self.env, check=True, stdout=subprocess.DEVNULL)

    def picture(self):
        """The display's pixels, uint8 (H, W, 3), from the memory of Xvfb in XWD format."""
        data = self.memory.read_bytes()
        header_size, _, _, _, width, height = np.frombuffer(data, ">u4", 6)
        bytes_per_line, num_colors = np.frombuffer(data, ">u4", 20)[[12, 19]]
        pixels = np.frombuffer(data, np.uint8, height * bytes_per_line, header_size + 12 * num_colors)
        return pixels.reshape(height, bytes_per_line // 4, 4)[:, :width, 2::-1]  # BGRx -> RGB

    def shows(self, color, x=300, y=200):
        """Whether the pixel at x, y has this color; SDL centers the window."""
        return np.array_equal(self.picture()[y, x], color)

    def close(self):
        for process in (self.window, self.server):
            if process and process.poll() is None:
                process.kill()
                process.wait()


def wait_until(what, timeout_s=3600):
    """Waits until `what()` is true."""
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "timeout"
        time.sleep(0.05)
