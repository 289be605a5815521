"""An emulator game as a Gymnasium environment.

The emulator package is imported when an environment is made; a process can hold only one emulator.
"""

import math
import os
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional, Tuple

import gymnasium
import numpy as np

from player.common.errors import InputError, shorten
from player.common.frame_size import FULL_SIZE, Size, fit_frame, resolve_frame_size
from player.games.flicker import FrameMaximum
from player.games.game import Action
from player.games.retro.boot_script import read_script, run_script
from player.games.retro.compat import emulator_package, get_screen, make_retro_env, nominal_frame_rate
from player.games.retro.known_games import UNKNOWN_GAME, KnownGame
from player.games.retro.roms import INTEGRATIONS, data_folder

POWER_ON = "power-on"  # name of the state in which the console has just been switched on
MAX_SECONDS = 600  # game time after which an episode is truncated


class RetroGame(gymnasium.Env):
    """One emulator. The observation is the cropped RGB screen, uint8 (H, W, 3); the action is an index into `actions`.

    One step runs `frame_skip` frames. Every episode starts from the same savestate. The emulator is deterministic, so
    the seed of `reset` has no effect.
    """

    def __init__(
        self,
        name: str,
        actions: Tuple[Action, ...],
        crop: Optional[Tuple[int, int, int, int]] = None,
        truth_names: Tuple[str, ...] = (),
        integrations: Optional[str] = None,
        state: Optional[str] = None,
        scenario: Optional[str] = None,
        known: KnownGame = UNKNOWN_GAME,
        frame_skip: int = 4,
        max_frames: int = 1,
        frame_size: Optional[Size] = FULL_SIZE,
        buttons_as_actions: bool = False,
        endless: bool = False,
        render_mode: Optional[str] = "rgb_array",
    ):
        """
        crop: x, y, width and height of the visible part of the screen, in pixels.
        truth_names: variables of data.json that are returned as `info["truth"]`.
        state: name of a savestate file, of one of known.boot_scripts, or POWER_ON; None: the game's default.
        scenario: name of one of known.scenarios, or of a scenario file.
        known: the game's settings.
        max_frames: each picture is the maximum of so many frames, against flicker.
        frame_size: of the observed frames, see `resolve_frame_size`.
        buttons_as_actions: the action space is MultiBinary, one bit per button of `buttons`, instead of Discrete.
        endless: no reward and no end of an episode, for making savestates.

        Raises InputError if the savestate or the crop does not fit the game.
        """
        assert frame_skip >= 1
        self.render_mode, self.frame_skip, self.max_frames = render_mode, frame_skip, max_frames
        self._maximum, self._frame_size = FrameMaximum(max_frames), frame_size
        self._package = emulator_package(name)
        State = self._package.State
        self._crop, self._truth_names, self._screen_shape = crop, truth_names, None
        # Done here too, not only in make_game(): a spawned worker process starts without any registered folder.
        folders = register_integrations(integrations)
        start = state or State.DEFAULT
        if state == POWER_ON or state in known.boot_scripts:
            start = State.NONE
        self._endless = endless
        self._race_reward = known.scenarios[scenario]() if scenario in known.scenarios else None
        file = scenario if scenario and self._race_reward is None else "scenario"
        self._name, self._retro = name, None
        try:
            with emulator_errors(name):
                self._retro = make_retro_env(self._package, name, state=start, scenario=file, inttype=folders)
            self.frame_rate = nominal_frame_rate(self._retro.em)
            self.metadata = {"render_modes": ["rgb_array"], "render_fps": self.frame_rate / frame_skip}
            self._load_start_state(name, state, known)
            self.buttons = tuple(self._retro.buttons)
            masks = [[button in action.buttons for button in self.buttons] for action in actions]
            self._masks = np.array(masks, np.uint8)  # (A, number of buttons)
            self._restart()  # some consoles change their resolution after power-on, so run the game before observing
            self._frame = self._observe()
            if crop and self._frame.shape[:2] != (crop[3], crop[2]):
                screen = "{1} x {0}".format(*self._screen_shape)
                raise InputError(
                    f"--crop {','.join(map(str, crop))} does not fit into the screen, which has {screen} pixels"
                )
            self.native_size = self._frame.shape[:2]
            self._frame_size = resolve_frame_size(frame_size, *self.native_size)
            self._frame = fit_frame(self._frame, self._frame_size)
        except BaseException:
            self.close()  # a process can hold only one emulator
            raise
        self.observation_space = gymnasium.spaces.Box(0, 255, self._frame.shape, np.uint8)
        self.action_space: gymnasium.Space = gymnasium.spaces.Discrete(len(actions))
        if buttons_as_actions:
            self.action_space = gymnasium.spaces.MultiBinary(len(self.buttons))

    def _load_start_state(self, name: str, state: Optional[str], known: KnownGame) -> None:
        """Sets the state in which every episode starts: a savestate, power-on, or the end of a boot script."""
        if self._retro.initial_state is None:
            if state in known.boot_scripts:
                self._retro.data.reset()
                self._retro.data.update_ram()
                self.run_script(known.boot_scripts[state])
            self._retro.initial_state = self._retro.em.get_state()
        elif not self._retro.em.set_state(self._retro.initial_state):
            raise InputError(f"the savestate {state or '(default)'} of {name} is of another emulator or game")

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None):
        super().reset(seed=seed)
        self._restart()
        self._maximum.clear()
        self._frame = fit_frame(self._maximum.push(self._observe()), self._frame_size)
        return self._frame.copy(), self._info()

    def step(self, action: Any):
        # Same as RetroEnv.step, except that screen and info are read once per step, not per frame: 1.3-1.9x as fast.
        em, data = self._retro.em, self._retro.data
        by_button = isinstance(self.action_space, gymnasium.spaces.MultiBinary)
        self._frames += self.frame_skip
        em.set_button_mask(np.asarray(action, np.uint8) if by_button else self._masks[action], 0)
        reward = 0.0
        if self.frame_skip >= self.max_frames:
            self._maximum.clear()
        for i in range(self.frame_skip):
            em.step()
            frame_reward, terminated = self._frame_reward(data)
            reward += frame_reward
            if terminated or i >= self.frame_skip - self.max_frames:
                picture = self._maximum.push(self._observe())
            if terminated:
                break
        self._frame = fit_frame(picture, self._frame_size)
        too_long = self._frames >= MAX_SECONDS * self.frame_rate and not self._endless
        truncated = too_long and not terminated
        return self._frame.copy(), reward, terminated, truncated, self._info()

    def _frame_reward(self, data: Any) -> Tuple[float, bool]:
        """Reward of a frame, and whether the episode has ended. Raises InputError if a script fails."""
        with emulator_errors(self._name):
            data.update_ram()
            if self._endless:
                return 0.0, False
            if self._race_reward:
                return self._race_reward.step(data.lookup_value)
            reward = data.current_reward()
            return reward if math.isfinite(reward) else 0.0, bool(data.is_done())

    def render(self) -> Optional[np.ndarray]:
        return self._frame.copy() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        if self._retro is not None:
            self._retro.close()
        self._retro = None

    def get_state(self) -> bytes:
        """The emulator's state. Compressed with gzip it is the content of a .state file."""
        return self._retro.em.get_state()

    def set_state(self, state: bytes) -> None:
        """Continues from a state of `get_state`. The current frame is not updated before the next step.

        The memory is restored, and with it all later frames and all rewards that depend on memory alone. Variables of a
        scenario's Lua script are not part of the state: the script restarts, as after a reset. Nor is the hazard count
        of RaceReward, so an episode may end up to 4 hazard frames later. The time limit is not reset.

        Raises ValueError if the bytes are not a state of this emulator and game.
        """
        if not self._retro.em.set_state(state):
            raise ValueError(f"{len(state)} bytes are not a state of this emulator and game")
        # Update twice: the script restarts with the new memory, and the next reward is the change from it.
        self._retro.data.update_ram()
        self._retro.data.reset()
        self._retro.data.update_ram()
        if self._race_reward:
            self._race_reward.reset(self._retro.data.lookup_value)

    def retro_env_and_crop(self) -> Tuple[Any, Tuple[int, int, int, int]]:
        """The package's own RetroEnv, and x, y, width and height of the crop; for benchmarks that compare the two."""
        H, W, _ = self._screen_shape
        return self._retro, self._crop or (0, 0, W, H)

    def run_script(self, script: str) -> None:
        """Runs a boot script (see boot_script.py) outside of any episode. Raises InputError if it is wrong or fails."""
        run_script(read_script(script, self._retro.buttons), self._run_frame, self._read_variable)

    def _run_frame(self, buttons: Tuple[str, ...]) -> None:
        mask = np.array([button in buttons for button in self._retro.buttons], np.uint8)
        self._retro.em.set_button_mask(mask, 0)
        self._retro.em.step()
        self._retro.data.update_ram()

    def _read_variable(self, name: str) -> int:
        values = self._retro.data.lookup_all()
        if name not in values:
            raise InputError(f"data.json has no variable {name}; it has {', '.join(sorted(values))}")
        return values[name]

    def _restart(self) -> None:
        with emulator_errors(self._name):
            self._retro.reset()
        self._frames = 0  # since the start of the episode
        if self._race_reward:
            self._race_reward.reset(self._retro.data.lookup_value)

    def _observe(self) -> np.ndarray:
        """The cropped screen, uint8 (H, W, 3), always of the resolution of the first one."""
        screen = get_screen(self._package, self._retro)
        H, W, _ = self._screen_shape = self._screen_shape or screen.shape
        if screen.shape != self._screen_shape:  # some games switch resolution, for example in menus
            rows, columns = np.arange(H) * screen.shape[0] // H, np.arange(W) * screen.shape[1] // W
            screen = screen[rows[:, None], columns]
        x, y, width, height = self._crop or (0, 0, W, H)
        return np.ascontiguousarray(screen[y : y + height, x : x + width])

    def _info(self) -> Dict[str, Any]:
        if not self._truth_names:
            return {}
        values = [self._retro.data.lookup_value(name) for name in self._truth_names]
        return {"truth": np.array(values, np.float32)}


@contextmanager
def emulator_errors(name: str) -> Iterator[None]:
    """Turns an exception of the emulator package into an InputError with one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as problem:  # C++ code that raises whatever it likes
        line = shorten(problem, 180) or type(problem).__name__  # not its first line: that is a title
        raise InputError(f"{name}: the emulator fails ({line}): check the files of its integration") from None


def register_integrations(integrations: Optional[str]) -> Any:
    """Sets the folders in which the emulator package searches for games in this process; returns their `inttype`.

    The folders, in this order: `integrations` (if given), the user's data folder, the project's own, the package's.
    """
    Integrations = emulator_package().data.Integrations
    Integrations.clear_custom_paths()
    for folder in (integrations, str(data_folder()), str(INTEGRATIONS)):
        if folder is not None and os.path.isdir(folder):
            Integrations.add_custom_path(folder)
    return Integrations.CUSTOM
