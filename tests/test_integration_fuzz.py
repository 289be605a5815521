"""Damaged files of an emulator integration: one line each, no other exception, no hang. The damage is seeded."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from integration_fuzz import FILES, NAME, make_integration, mutate
from player.common.errors import InputError
from player.games.registry import find_game
from player.games.retro import trial
from player.games.retro.trial import try_game

pytestmark = pytest.mark.emulator
MAX_SECONDS = 20


@pytest.fixture
def folder(emulator, tmp_path):
    stock = Path(emulator.data.get_file_path("Airstriker-Genesis-v0", "rom.md")).parent
    make_integration(stock, tmp_path)
    return tmp_path


def play(folder):
    """Opens the game and plays some steps, as every script does."""
    env = find_game(NAME, integrations=str(folder)).make(frame_skip=4)
    try:
        env.reset()
        for action in (3, 0, 4):
            env.step(action)
    finally:
        env.close()


def check_damaged_files(folder, seed: int, count: int) -> Counter:
    """Plays with one damaged file after the other; returns how many were played and how many refused."""
    whole = {name: (folder / NAME / name).read_bytes() for name in FILES}
    results = Counter()
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        name = FILES[i % len(FILES)]
        (folder / NAME / name).write_bytes(mutate(whole[name], name, rng))
        start = time.monotonic()
        try:
            play(folder)
            results["played"] += 1
        except InputError as problem:
            message = str(problem)
            assert "\n" not in message and len(message.replace(str(folder), "")) <= 300, (seed, i, message)
            results["refused"] += 1
        except Exception as problem:
            raise AssertionError(f"input {i} of seed {seed}, {name}: {problem!r}") from problem
        assert time.monotonic() - start < MAX_SECONDS, (seed, i)
        (folder / NAME / name).write_bytes(whole[name])
    return results


def test_damaged_files_are_refused_in_one_line(folder, capsys):
    play(folder)
    results = check_damaged_files(folder, 0, 36)
    assert results["refused"] > 15 and results["played"] > 5  # rom.sha, and what does not matter
    play(folder)


@pytest.mark.slow
@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.long)])
def test_many_damaged_files(folder, capsys, count):
    check_damaged_files(folder, 1, count)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("metadata.json", '{"default_state": 5}', "must be the name of a savestate"),
        ("metadata.json", '{"default_player_state": 5}', "must be the name of a savestate"),
        ("metadata.json", '{"original_rom_name": "../../x"}', "original_rom_name"),
        ("metadata.json", '{"default_state": "../x"}', "is not in"),
        ("metadata.json", "5", "not a JSON object"),
        ("metadata.json", "\ufeff{}", "not JSON"),
        ("metadata.json", "[" * 100_000, "not JSON"),
        ("data.json", '{"info": {"score": {"address": -1, "type": "|u1"}}}', "'score' needs an address"),
        ("data.json", '{"info": {"score": {"address": 1e9, "type": "|u1"}}}', "'score' needs an address"),
        ("data.json", '{"info": {"score": {"address": 1, "type": "u1!"}}}', "'score' needs a type"),
        ("data.json", '{"info": {"score": 5}}', "'score' must be an object"),
        ("data.json", '{"info": [' + "[" * 30 + "]" * 30 + "]}", "nested deeper"),
        ("data.json", " " * (2**22 + 9), "more than 4,194,304 bytes"),
        ("scenario.json", '{"reward": 5}', "reward must be an object"),
        ("scenario.json", '{"scripts": "reward.lua"}', "scripts must be a list"),
        ("scenario.json", '{"scripts": ["../../x.lua"]}', "in its folder"),
        ("scenario.json", '{"done": {"variables": {"lives": {"op": 5}}}}', "op in done of 'lives' must be a string"),
        ("scenario.json", '{"done": {"variables": {"lives": {"op": "zero", "reference": "x"}}}}', "must be a number"),
        ("scenario.json", '{"done": {"nodes": {"a": {"variables": 5}}}}', "variables of done must be an object"),
        ("scenario.json", '{"crop": ["a"]}', "crop must be four numbers"),
        ("scenario.json", '{"crop": []}', "crop must be four numbers"),  # crashes the emulator
        ("scenario.json", '{"reward": {"script": "ua:reward"}}', "must be lua:FUNCTION"),  # crashes it, too
        ("scenario.json", '{"actions": [["A"]]}', "actions must be a list of lists of lists"),
        ("scenario.json", '{"rewards": [5]}', "rewards must be a list of objects"),
        ("reward.lua", "function reward() error('x') end", "the emulator fails (Lua call failed"),
        ("reward.lua", "function reward(", "the emulator fails (Lua call failed"),
    ],
)  # fmt: skip
def test_wrong_types_are_named(folder, file, text, message):
    (folder / NAME / file).write_text(text)
    with pytest.raises(InputError) as caught:
        play(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert file.endswith(".lua") or file in str(caught.value)


def test_a_damaged_rom_sha_is_only_a_warning(folder, capsys):
    (folder / NAME / "rom.sha").write_bytes(b"\xff\0" * 99)
    play(folder)
    assert "is not the ROM of rom.sha" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("magic", "kind"), [(b"PK\3\4", "zip"), (b"7z\xbc\xaf\x27\x1c", "7-Zip"), (b"Rar!\x1a\x07", "RAR")]
)
def test_an_archive_under_the_name_of_a_rom_is_refused(folder, magic, kind):
    """The emulator would start it without an error."""
    (folder / NAME / "rom.md").write_bytes(magic + bytes(9999))
    with pytest.raises(InputError, match=f"is a {kind} archive, not a ROM"):
        play(folder)


def crash(**settings):
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes end otherwise on Windows")
def test_a_crash_of_the_emulator_is_one_line():
    with pytest.raises(InputError, match=r"MyGame: the emulator crashes \(signal 11\)"):
        try_game("MyGame", crash)
    try_game("MyGame", lambda **settings: 1 / 0)  # what can be reported is reported later


def test_a_script_that_never_returns_is_one_line(folder, monkeypatch):
    monkeypatch.setattr(trial, "TRIAL_SECONDS", 0.5)
    (folder / NAME / "reward.lua").write_text("function reward() while true do end end")
    with pytest.raises(InputError, match="the emulator does not answer"):
        play(folder)
