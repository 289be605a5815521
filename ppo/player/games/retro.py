"""Any game of an emulator, through stable-retro: Super Mario Kart with your own ROM first of all.

stable-retro is optional and is imported only when such a game is asked for. It reads a game from an integration
folder, DIR/<game>/ with the ROM, data.json (where the variables lie in memory), scenario.json (reward and end of an
episode) and savestates; folders of your own come in with `--integrations DIR`. One process holds one emulator.
"""

import difflib
import functools
import gzip
import hashlib
import json
import os
import sys
from typing import Any, Callable, Dict, List, Optional, Tuple

import gymnasium
import numpy as np

from player.errors import BadInput
from player.games import DRIVING_ACTIONS, Action, Game

FRAME_RATE = 60  # NTSC; every console here is within 0.5 % of it
MAX_SECONDS = 600  # of the game: an episode without an end is truncated then

SHOOTER_ACTIONS = (
    Action("nothing"),
    Action("left", ("LEFT",), ("left",)),
    Action("right", ("RIGHT",), ("right",)),
    Action("fire", ("B",), ("space",)),  # one shot a press: held down it does not fire again
    Action("fire+left", ("B", "LEFT"), ("space", "left")),
    Action("fire+right", ("B", "RIGHT"), ("space", "right")),
)
RACE_VIEW = (0, 0, 256, 112)  # x, y, width, height: the upper half of the SNES screen; the lower one is a map
RACE_TRUTH = "kart1_X kart1_Y kart1_direction kart1_speed lap current_checkpoint surface isTurnedAround"

# game: actions, crop (None = whole screen), variables of data.json that are recorded as the true state
KNOWN_GAMES = {
    "SuperMarioKart-Snes": (DRIVING_ACTIONS, RACE_VIEW, RACE_TRUTH),
    "KartCart-Snes": (DRIVING_ACTIONS, RACE_VIEW, RACE_TRUTH),
    "Airstriker-Genesis-v0": (SHOOTER_ACTIONS, None, "score lives"),
}
MARIO_KART_FILES = "https://github.com/esteveste/gym-SuperMarioKart-Snes"
MARIO_KART_ROM = (
    "the ROM of your own Super Mario Kart (USA), 524,288 bytes without header, SHA-1 "
    "47e103d8398cf5b7cbb42b95df3a3c270691163b (of a .smc with a 512-byte header: `tail -c +513 game.smc > rom.sfc`)"
)


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
        frame_skip: int = 4,
        buttons_as_actions: bool = False,
        render_mode: Optional[str] = "rgb_array",
    ):
        import stable_retro

        assert frame_skip >= 1
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": FRAME_RATE / frame_skip}
        self.render_mode, self.frame_skip = render_mode, frame_skip
        self._crop, self._truth_names, self._screen_shape = crop, truth_names, None
        folders = _use_folders(
            integrations
        )  # here too, not only in describe(): a spawned process starts with none
        start = stable_retro.State.DEFAULT if state is None else state
        self._retro = stable_retro.make(name, state=start, inttype=folders, render_mode=None)
        if (
            self._retro.initial_state is None
        ):  # no savestate: an episode starts where the console is switched on
            self._retro.initial_state = self._retro.em.get_state()
        elif not self._retro.em.set_state(self._retro.initial_state):
            self.close()
            raise BadInput(f"the savestate {state or '(default)'} of {name} is of another emulator or game")
        self.buttons = tuple(self._retro.buttons)
        self._masks = np.array(
            [[b in a.buttons for b in self.buttons] for a in actions], np.uint8
        )  # (A, buttons)
        self._retro.reset()  # some consoles change their resolution after switching on: take it from the game
        self._frames = 0  # since the reset
        self._frame = self._observe()
        self.observation_space = gymnasium.spaces.Box(0, 255, self._frame.shape, np.uint8)
        self.action_space: gymnasium.Space = gymnasium.spaces.Discrete(len(actions))
        if buttons_as_actions:
            self.action_space = gymnasium.spaces.MultiBinary(len(self.buttons))

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None):
        super().reset(seed=seed)
        self._retro.reset()
        self._frames = 0
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
            reward += data.current_reward()
            terminated = bool(data.is_done())
            if terminated:
                break
        self._frame = self._observe()
        truncated = not terminated and self._frames >= MAX_SECONDS * FRAME_RATE
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

        Memory, and so every later frame and every reward made from memory alone, is as it was. What a scenario's Lua
        script keeps in its own globals is not in the state: the script starts anew, as at a reset. Super Mario Kart's
        counts wall hits there (5 within 500 frames end an episode), so an episode may end up to 4 hits later.
        """
        if not self._retro.em.set_state(state):
            raise ValueError(f"{len(state)} bytes that are no state of this emulator and game")
        # Twice: the script starts on the new memory, and the next reward counts changes from it.
        self._retro.data.update_ram()
        self._retro.data.reset()
        self._retro.data.update_ram()

    def _observe(self) -> np.ndarray:
        screen = self._retro.get_screen(apply_rotation=True)  # (H, W, 3), a copy
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


def describe(name: str, integrations: Optional[str] = None, state: Optional[str] = None) -> Game:
    """Checks everything that the game needs and opens no emulator. Raises BadInput that says what to do."""
    try:
        from stable_retro import get_romfile_system, get_system_info
        from stable_retro.data import get_file_path, get_original_romfile_path, list_states
    except ImportError:
        raise BadInput(
            f"{name} needs stable-retro: `pip install stable-retro` (Linux x86_64, macOS on Apple silicon; on "
            "Windows inside WSL); the built-in Mode7Kart-v0 needs nothing"
        ) from None
    if integrations is not None:
        integrations = os.path.abspath(os.path.expanduser(integrations))
        if not os.path.isdir(integrations):
            raise BadInput(f"--integrations {integrations} is not a folder")
    folders = _use_folders(integrations)
    find = functools.partial(get_file_path, name, inttype=folders)  # a file's path, or None
    folder = find("")
    if folder is None or name in ("", ".", "..") or os.path.basename(name) != name:
        raise BadInput(_game_is_missing(name, integrations))

    try:
        rom = get_original_romfile_path(name, folders)
    except FileNotFoundError:
        raise BadInput(_rom_is_missing(name, folder)) from None
    _check_rom(rom, find("rom.sha"))
    variables = _read_json(find("data.json"), folder + "data.json").get("info", {})
    for script in _read_json(find("scenario.json"), folder + "scenario.json").get("scripts", []):
        if find(script) is None:
            raise BadInput(f"{folder}{script} is missing: scenario.json names it")
    if state is None and find("metadata.json"):
        metadata = _read_json(find("metadata.json"), folder + "metadata.json")
        default_state = (metadata.get("default_player_state") or [metadata.get("default_state")])[0]
        _check_state(
            default_state, "the default state of metadata.json", folder, list_states(name, folders), find
        )
    _check_state(state, "--state", folder, list_states(name, folders), find)

    buttons = get_system_info(get_romfile_system(rom))["buttons"]
    actions, crop, truth = KNOWN_GAMES.get(name, (generic_actions(buttons), None, ""))
    truth_names = tuple(variable for variable in truth.split() if variable in variables)
    make = functools.partial(RetroGame, name, actions, crop, truth_names, integrations, state)
    return Game(name, actions, FRAME_RATE, make, truth_names)


def generic_actions(buttons: List[Optional[str]]) -> Tuple[Action, ...]:
    """For a game nobody has described: the main button, left and right, as far as the console has them."""
    fire = next((button for button in ("B", "BUTTON", "I", "A") if button in buttons), "B")
    keys = {fire: "space", "LEFT": "left", "RIGHT": "right"}
    choices = ((), (fire,), ("LEFT",), ("RIGHT",), (fire, "LEFT"), (fire, "RIGHT"))
    return tuple(
        Action("+".join(held).lower() or "nothing", held, tuple(keys[button] for button in held))
        for held in choices
        if all(button in buttons for button in held)
    )


def _use_folders(integrations: Optional[str]) -> Any:
    """Makes `integrations` the one folder of the user's own in this process; says where games are looked for."""
    from stable_retro.data import Integrations

    Integrations.clear_custom_paths()
    if integrations is None:
        return Integrations.ALL
    Integrations.add_custom_path(integrations)
    return Integrations.CUSTOM  # the user's own first, then those of the package


def _game_is_missing(name: str, integrations: Optional[str]) -> str:
    from stable_retro.data import list_games

    if name == "SuperMarioKart-Snes" and integrations is None:
        clone = MARIO_KART_FILES.split("/")[-1]
        return (
            f"{name} needs --integrations DIR: `git clone {MARIO_KART_FILES}`, put {MARIO_KART_ROM} "
            f"at {clone}/{name}/rom.sfc and pass --integrations {clone}"
        )
    if integrations is not None and os.path.basename(integrations) == name:
        return f"--integrations wants the folder that holds {name}/: {os.path.dirname(integrations)}"
    own = [] if integrations is None else sorted(os.listdir(integrations))
    where = f"no game {name!r} in stable-retro; your own: --integrations DIR, which holds DIR/{name}/"
    if integrations is not None:
        where = f"no folder {name!r} in --integrations {integrations} (there: {', '.join(own[:20])})"
    near = difflib.get_close_matches(
        name, {"Mode7Kart-v0", *own, *list_games(_use_folders(integrations))}, n=3
    )
    return where + (f"; did you mean {' or '.join(near)}?" if near else "")


def _rom_is_missing(name: str, folder: str) -> str:
    from stable_retro.data import EMU_INFO

    console = next((part for part in name.split("-")[1:] if part in EMU_INFO), None)
    rom = "rom." + (EMU_INFO[console]["ext"][0] if console else "<the console's extension>")
    what = MARIO_KART_ROM if name == "SuperMarioKart-Snes" else "your own (its SHA-1 is in rom.sha)"
    return f"no ROM of {name}: put {what} at {folder}{rom}"


def _check_rom(rom: str, sha_path: Optional[str]) -> None:
    """The emulator itself would start the wrong kind of file without a word."""
    with open(rom, "rb") as file:
        content = file.read()
    if rom.endswith(".sfc") and (not content or len(content) % 32768):
        cure = "copy it again"
        if len(content) % 1024 == 512:
            cure = "take off its 512-byte header: `tail -c +513 rom.sfc > new.sfc && mv new.sfc rom.sfc`"
        raise BadInput(f"{rom} has {len(content):,} bytes, which is no multiple of 32,768: {cure}")
    if sha_path is not None:
        with open(sha_path) as file:
            known = file.read().lower().split()
        sha1 = hashlib.sha1(content[16:] if rom.endswith(".nes") else content).hexdigest()
        if sha1 not in known:
            print(f"warning: {rom} (SHA-1 {sha1}) is not the ROM of rom.sha (a hack?)", file=sys.stderr)


def _check_state(state: Optional[str], said: str, folder: str, states: List[str], find: Callable) -> None:
    if state is None:
        return
    path = find(state if state.endswith(".state") else state + ".state")
    if path is None:
        raise BadInput(f"{said} {state} is not in {folder}; the states there: {', '.join(states) or 'none'}")
    try:
        with gzip.open(path) as file:
            file.read()
    except (OSError, EOFError) as problem:
        raise BadInput(f"{path} is not a savestate (gzip of the emulator's state): {problem}") from None


def _read_json(path: Optional[str], wanted: str) -> Dict[str, Any]:
    if path is None:
        raise BadInput(f"{wanted} is missing: it is one of the game's integration files")
    try:
        with open(path) as file:
            content = json.load(file)
    except ValueError as problem:  # broken JSON, broken text
        raise BadInput(f"{path} is not JSON: {problem}") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path} is not a JSON object")
    return content
