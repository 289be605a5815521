"""The frame rate of a cartridge is the emulator's: 50 frames per second for PAL, 60 for NTSC."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from player.common.frame_size import FULL_SIZE
from player.games.registry import find_game
from player.games.retro import integration
from player.games.retro.compat import nominal_frame_rate
from player.games.retro.roms import build_kart_cart

AIRSTRIKER = "Airstriker-Genesis-v0"


def emulator_at(rate) -> SimpleNamespace:
    return SimpleNamespace(get_screen_rate=lambda: rate)


@pytest.mark.parametrize(
    ("rate", "nominal"),
    [(60.0988, 60), (59.7275, 60), (59.9227, 60), (50.007, 50), (49.7015, 50), (57.5, 57.5), (75.47, 75.47)],
)
def test_rates_of_consoles_are_nominal(rate, nominal):
    assert nominal_frame_rate(emulator_at(rate)) == nominal


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_rate_that_cannot_be_is_refused(rate):
    with pytest.raises(ValueError, match="frame rate"):
        nominal_frame_rate(emulator_at(rate))


@pytest.fixture
def pal_folder(emulator, tmp_path):
    """Integrations of two PAL cartridges: Airstriker and Kart Cart, with the region of their headers changed."""
    stock = Path(emulator.data.get_file_path(AIRSTRIKER, "rom.md")).parent
    shutil.copytree(stock, tmp_path / "Shooter-Genesis")
    rom = bytearray((tmp_path / "Shooter-Genesis" / "rom.md").read_bytes())
    rom[0x1F0:0x1F3] = b"E  "
    (tmp_path / "Shooter-Genesis" / "rom.md").write_bytes(rom)
    shutil.copytree(build_kart_cart(), tmp_path / "Kart-Snes")
    rom = bytearray((tmp_path / "Kart-Snes" / "rom.sfc").read_bytes())
    rom[0x7FD9] = 2  # Europe
    (tmp_path / "Kart-Snes" / "rom.sfc").write_bytes(rom)
    return tmp_path


@pytest.mark.emulator
@pytest.mark.parametrize(("name", "state"), [("Shooter-Genesis", None), ("Kart-Snes", "power-on")])
def test_a_pal_cartridge_is_recorded_at_12_5_steps_per_second(pal_folder, name, state):
    game = find_game(name, str(pal_folder), state)
    assert game.frame_rate == 50 and game.recording_meta([], [], 0)["fps"] == 12.5
    assert "the emulator runs this cartridge at 50 frames per second" in game.describe()
    env = game.make(frame_skip=4)
    try:
        assert env.metadata["render_fps"] == 12.5 and env.frame_rate == 50
    finally:
        env.close()


@pytest.mark.emulator
def test_a_ntsc_cartridge_is_recorded_at_15_steps_per_second(emulator):
    game = find_game(AIRSTRIKER)
    assert game.frame_rate == 60 and game.recording_meta([], [], 0)["fps"] == 15
    assert game.describe() == "60 frames per second, frame skip 4: 15 steps per second"


@pytest.mark.emulator
def test_the_rate_is_known_while_another_emulator_runs(make_retro_env):
    env = make_retro_env(AIRSTRIKER)
    assert find_game(AIRSTRIKER).frame_rate == 60 and not find_game(AIRSTRIKER).notes
    integration._frame_rates.clear()
    assert "assumed: 60 frames per second" in find_game(AIRSTRIKER).describe()  # cannot be asked now
    env.close()


@pytest.mark.emulator
def test_an_emulator_game_can_have_the_maximum_of_frames(make_retro_env):
    """`chosen` for Atari and NES; for all others the user's choice."""
    game = find_game(AIRSTRIKER, max_frames=2)  # before frames are scaled
    assert game.max_frames == 2 and game.recording_meta([], [], 0)["max_frames"] == 2
    actions = [4, 1, 5, 2] * 3
    frames = []
    for max_frames in (1, 2):
        env = find_game(AIRSTRIKER, max_frames=max_frames, frame_size=FULL_SIZE).make(
            frame_skip=4 if max_frames == 2 else 1
        )
        frames.append([env.reset()[0]])
        for action in actions:
            frames[-1] += [env.step(action)[0] for _ in range(1 if max_frames == 2 else 4)]
        env.close()
    ones, fours = frames
    for i in range(1, len(actions) + 1):
        np.testing.assert_array_equal(fours[i], np.maximum(ones[4 * i], ones[4 * i - 1]))


@pytest.mark.emulator
@pytest.mark.parametrize(
    ("console", "suffix", "max_frames"), [("Nes", "nes", 2), ("Atari2600", "a26", 2), ("Snes", "sfc", 1)]
)
def test_frames_of_flickering_consoles_are_merged(emulator, tmp_path, console, suffix, max_frames):
    """Their games draw their sprites in turn; the ROM is empty, as only the console counts."""
    folder = tmp_path / f"Mine-{console}"
    folder.mkdir()
    header = b"NES\x1a\x02\x01".ljust(16, b"\0") if console == "Nes" else b""
    (folder / f"rom.{suffix}").write_bytes(header + bytes(32768 + 8192 * (console == "Nes")))
    (folder / "data.json").write_text('{"info": {}}')
    (folder / "scenario.json").write_text("{}")
    game = find_game(folder.name, str(tmp_path), "power-on")
    assert game.max_frames == max_frames and ("maximum of 2 frames" in game.describe()) == (max_frames == 2)
    assert game.recording_meta([], [], 0).get("max_frames", 1) == max_frames
    assert find_game(folder.name, str(tmp_path), "power-on", max_frames=1).max_frames == 1
    assert find_game(folder.name, str(tmp_path), "power-on", frame_skip=1).max_frames == 1
