"""One emulator as a Gymnasium environment. Its package is imported only when one is made; a process holds only
one."""

import os
from typing import Any, Dict, Optional, Tuple

import gymnasium
import numpy as np

from player.common.errors import InputError
from player.games.game import Action
from player.games.retro.boot_script import read_script, run_script
from player.games.retro.compat import emulator_package, make, screen_of
from player.games.retro.known_games import UNKNOWN, KnownGame
from player.games.retro.roms import INTEGRATIONS, data_folder

FRAME_RATE = 60  # NTSC; every console here is within 0.5 % of it
POWER_ON = "power-on"  # a savestate's name: where the console is switched on
MAX_SECONDS = 600  # of the game: an episode without an end is truncated then


class RetroGame(gymnasium.Env):
    """One emulator: sees the cropped RGB screen, takes an index into `actions`, runs `frame_skip` frames a step.

    Every episode starts from the same savestate; the emulator has no randomness, so `seed` changes nothing.
    buttons_as_actions: the action is MultiBinary, one bit a button of `buttons`, in place of Discrete (for menus).
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
        known: KnownGame = UNKNOWN,
        frame_skip: int = 4,
        buttons_as_actions: bool = False,
        endless: bool = False,
        render_mode: Optional[str] = "rgb_array",
    ):
        """crop: x, y, width and height. scenario: one of known.scenarios, or a scenario file's name. state: a
        file's name, or one of known.boots. endless: no reward and no end, for who is no agent. Raises InputError
        where state or crop do not fit the game."""
        assert frame_skip >= 1
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": FRAME_RATE / frame_skip}
        self.render_mode, self.frame_skip = render_mode, frame_skip
        self._package = emulator_package(name)
        State = self._package.State
        self._crop, self._truth_names, self._screen_shape = crop, truth_names, None
        folders = use_folders(
            integrations
        )  # here too, not only in describe(): a spawned process starts with none
        start = state or State.DEFAULT
        if state == POWER_ON or state in known.boots:
            start = State.NONE
        self._endless = endless
        self._rules = known.scenarios[scenario]() if scenario in known.scenarios else None
        file = scenario if scenario and self._rules is None else "scenario"
        self._retro = make(self._package, name, state=start, scenario=file, inttype=folders)
        try:
            self._begin(name, state, known)
            self.buttons = tuple(self._retro.buttons)
            self._masks = np.array(
                [[b in a.buttons for b in self.buttons] for a in actions], np.uint8
            )  # (A, buttons)
            self._restart()  # some consoles change their resolution after switching on: take it from the game
            self._frame = self._observe()
            if crop and self._frame.shape[:2] != (crop[3], crop[2]):
                screen = "{1} x {0}".format(*self._screen_shape)
                raise InputError(
                    f"--crop {','.join(map(str, crop))} leaves the screen, which has {screen} pixels"
                )
        except BaseException:
            self.close()  # a process may hold only one
            raise
        self.observation_space = gymnasium.spaces.Box(0, 255, self._frame.shape, np.uint8)
        self.action_space: gymnasium.Space = gymnasium.spaces.Discrete(len(actions))
        if buttons_as_actions:
            self.action_space = gymnasium.spaces.MultiBinary(len(self.buttons))

    def _begin(self, name: str, state: Optional[str], known: KnownGame) -> None:
        """Where every episode starts: the savestate; or where the console is switched on; or where a script ends."""
        if self._retro.initial_state is None:
            if state in known.boots:
                self._retro.data.reset()
                self._retro.data.update_ram()
                self.run_script(known.boots[state])
            self._retro.initial_state = self._retro.em.get_state()
        elif not self._retro.em.set_state(self._retro.initial_state):
            raise InputError(f"the savestate {state or '(default)'} of {name} is of another emulator or game")

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None):
        super().reset(seed=seed)
        self._restart()
        self._frame = self._observe()
        return self._frame.copy(), self._info()

    def step(self, action: Any):
        # As RetroEnv.step, but screen, crop and info are made once a step and not once a frame: 1.3-1.9x as fast.
        em, data = self._retro.em, self._retro.data
        by_button = isinstance(self.action_space, gymnasium.spaces.MultiBinary)
        self._frames += self.frame_skip
        em.set_button_mask(np.asarray(action, np.uint8) if by_button else self._masks[action], 0)
        reward = 0.0
        for _ in range(self.frame_skip):
            em.step()
            data.update_ram()
            if self._endless:
                more, terminated = 0.0, False
            elif self._rules:
                more, terminated = self._rules.frame(data.lookup_value)
            else:
                more, terminated = data.current_reward(), bool(data.is_done())
            reward += more
            if terminated:
                break
        self._frame = self._observe()
        too_long = self._frames >= MAX_SECONDS * FRAME_RATE and not self._endless
        truncated = too_long and not terminated
        return self._frame.copy(), reward, terminated, truncated, self._info()

    def render(self) -> Optional[np.ndarray]:
        return self._frame.copy() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        if self._retro is not None:
            self._retro.close()
        self._retro = None

    def get_state(self) -> bytes:
        """The emulator's state; gzip of it is a .state file for the integration folder."""
        return self._retro.em.get_state()

    def set_state(self, state: bytes) -> None:
        """Goes on from `get_state()`; the frame on show stays until the next step.

        Memory, and so every later frame and every reward made from memory alone, is as it was. What a scenario's
        Lua script keeps in its own globals is not in the state: the script starts anew, as at a reset. Super Mario
        Kart's counts wall hits there (5 within 500 frames end an episode), so an episode may end up to 4 hits
        later; so do our own rules. The time limit counts on from where this environment was."""
        if not self._retro.em.set_state(state):
            raise ValueError(f"{len(state)} bytes that are no state of this emulator and game")
        # Twice: the script starts on the new memory, and the next reward counts changes from it.
        self._retro.data.update_ram()
        self._retro.data.reset()
        self._retro.data.update_ram()
        if self._rules:
            self._rules.restart(self._retro.data.lookup_value)

    def plain(self) -> Tuple[Any, Tuple[int, int, int, int]]:
        """The package's own environment, and what is seen of its screen: for whoever holds this one against it."""
        H, W, _ = self._screen_shape
        return self._retro, self._crop or (0, 0, W, H)

    def run_script(self, script: str) -> None:
        """Presses buttons as a script of `boot.py` says, outside of any episode. Raises InputError."""
        run_script(read_script(script, self._retro.buttons), self._press, self._read)

    def _press(self, buttons: Tuple[str, ...]) -> None:
        self._retro.em.set_button_mask(np.array([b in buttons for b in self._retro.buttons], np.uint8), 0)
        self._retro.em.step()
        self._retro.data.update_ram()

    def _read(self, name: str) -> int:
        known = self._retro.data.lookup_all()
        if name not in known:
            raise InputError(f"data.json has no variable {name}; it has {', '.join(sorted(known))}")
        return known[name]

    def _restart(self) -> None:
        self._retro.reset()
        self._frames = 0  # since then
        if self._rules:
            self._rules.restart(self._retro.data.lookup_value)

    def _observe(self) -> np.ndarray:
        screen = screen_of(self._package, self._retro)
        H, W, _ = self._screen_shape = self._screen_shape or screen.shape
        if (
            screen.shape != self._screen_shape
        ):  # some games switch resolution on the way (menus, high resolution)
            rows, columns = np.arange(H) * screen.shape[0] // H, np.arange(W) * screen.shape[1] // W
            screen = screen[rows[:, None], columns]
        x, y, width, height = self._crop or (0, 0, W, H)
        return np.ascontiguousarray(screen[y : y + height, x : x + width])

    def _info(self) -> Dict[str, Any]:
        if not self._truth_names:
            return {}
        truth = [self._retro.data.lookup_value(name) for name in self._truth_names]
        return {"truth": np.array(truth, np.float32)}


def use_folders(integrations: Optional[str]) -> Any:
    """Where games are looked for in this process: `integrations`, the user's data, ours; then the package's."""
    Integrations = emulator_package().data.Integrations
    Integrations.clear_custom_paths()
    for folder in (integrations, str(data_folder()), str(INTEGRATIONS)):
        if folder is not None and os.path.isdir(folder):
            Integrations.add_custom_path(folder)
    return Integrations.CUSTOM
