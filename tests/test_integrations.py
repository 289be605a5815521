"""Integrations of emulator games: default actions, and one-line errors for missing and damaged files."""

import gzip
import json
import sys
from types import SimpleNamespace

import pytest
from player.common.errors import InputError
from player.games.game import Action
from player.games.registry import find_game
from player.games.retro.compat import package_game_name
from player.games.retro.known_games import generic_actions
from player.games.retro.race_reward import VARIABLES

pytestmark = [pytest.mark.emulator, pytest.mark.usefixtures("emulator")]

AIRSTRIKER = "Airstriker-Genesis-v0"
MARIO_KART = "SuperMarioKart-Snes"


@pytest.fixture
def mario_kart_folder(tmp_path):
    """Integration files of Super Mario Kart, with zeros as ROM."""
    folder = tmp_path / MARIO_KART
    folder.mkdir()
    (folder / "data.json").write_text('{"info": {"lap": {"address": 4289, "type": "|u1"}}}')
    (folder / "scenario.json").write_text("{}")
    (folder / "metadata.json").write_text('{"default_state": "MarioCircuit_M"}')
    (folder / "MarioCircuit_M.state").write_bytes(gzip.compress(b"state"))
    (folder / "rom.sha").write_text("47e103d8398cf5b7cbb42b95df3a3c270691163b\n")
    (folder / "rom.sfc").write_bytes(bytes(524_288))
    return folder


def test_generic_actions_use_available_buttons():
    assert generic_actions([None, "LEFT", "RIGHT"]) == (
        Action("nothing"),
        Action("left", ("LEFT",), ("left",)),
        Action("right", ("RIGHT",), ("right",)),
    )
    assert generic_actions(["BUTTON", "LEFT", "RIGHT"])[4] == Action(
        "button+left", ("BUTTON", "LEFT"), ("space", "left")
    )


def refusal(name, **options):
    """The error message, which must be one line."""
    with pytest.raises(InputError) as caught:
        find_game(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_stable_retro_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_retro", None)
    message = refusal(AIRSTRIKER)
    assert "pip install stable-retro" in message and "Mode7Kart-v0" in message and "WSL" in message


def test_unknown_game_suggests_similar_names(own_folder):
    assert AIRSTRIKER in refusal("Airstriker-Genesis")
    assert "Mode7Kart-v0" in refusal("Mode7Kart")
    assert "--integrations DIR" in refusal("NoSuchGame-Snes")
    assert "MyShooter-Genesis" in refusal("MyShooter", integrations=str(own_folder))
    for name in ("", ".", "../stable/" + AIRSTRIKER):
        assert "no game" in refusal(name)


def test_wrong_integrations_folders_are_refused(own_folder):
    assert "is not a folder" in refusal("MyShooter-Genesis", integrations=str(own_folder / "nowhere"))
    inside = str(own_folder / "MyShooter-Genesis")
    assert refusal("MyShooter-Genesis", integrations=inside).endswith(str(own_folder))


def test_mario_kart_rom_warning_and_missing_rom(mario_kart_folder, capsys):
    folder = str(mario_kart_folder.parent)
    game = find_game(MARIO_KART, integrations=folder)
    assert [action.name for action in game.actions][4] == "forward+left" and game.truth_names == ("lap",)
    assert "warning" in capsys.readouterr().err  # zeros are not the ROM of rom.sha

    (mario_kart_folder / "rom.sfc").unlink()
    message = refusal(MARIO_KART, integrations=folder)
    for part in ("import_game.py", "524,288", "47e103d8398cf5b7cbb42b95df3a3c270691163b"):
        assert part in message


@pytest.mark.parametrize(
    ("size", "remedy"), [(524_800, "import_game.py"), (524_287, "copy it"), (0, "copy it")]
)
def test_rom_of_wrong_size_is_refused(mario_kart_folder, size, remedy):
    (mario_kart_folder / "rom.sfc").write_bytes(bytes(size))
    assert remedy in refusal(MARIO_KART, integrations=str(mario_kart_folder.parent))


def test_unknown_and_damaged_savestates_are_refused(own_folder):
    options = {"name": "MyShooter-Genesis", "integrations": str(own_folder)}
    folder = own_folder / "MyShooter-Genesis"
    assert "Level1" in refusal(**options, state="Level9")
    (folder / "Broken.state").write_bytes(b"not gzip")
    assert "not a savestate" in refusal(**options, state="Broken")
    packed = bytearray(gzip.compress(bytes(range(256)) * 99, mtime=0))
    packed[11] ^= 255
    (folder / "Damaged.state").write_bytes(packed)
    assert "not a savestate" in refusal(**options, state="Damaged")
    (folder / "Foreign.state").write_bytes(gzip.compress(b"of another emulator"))
    with pytest.raises(InputError, match="another emulator"):
        find_game(**options, state="Foreign").make()
    (folder / "metadata.json").write_text(json.dumps({"default_state": "Gone"}))
    assert "metadata.json" in refusal(**options)
    find_game(**options, state="Level1").make().close()  # the refusals left no emulator open


@pytest.mark.parametrize("file_name", ["data.json", "scenario.json", "metadata.json"])
def test_missing_and_invalid_json_files_are_refused(own_folder, file_name):
    options = {"name": "MyShooter-Genesis", "integrations": str(own_folder)}
    path = own_folder / "MyShooter-Genesis" / file_name
    path.write_text("{")
    assert "is not JSON" in refusal(**options)
    path.write_text("[]")
    assert "is not a JSON object" in refusal(**options)
    if file_name == "data.json":
        path.write_text('{"info": null}')
        assert f"{path}: its info" in refusal(**options)
    path.unlink()
    if file_name != "metadata.json":  # metadata.json is optional
        assert f"{path} is missing" in refusal(**options)


def test_missing_lua_script_is_refused(own_folder):
    scenario = {"reward": {"script": "lua:reward"}, "scripts": ["reward.lua"]}
    (own_folder / "MyShooter-Genesis" / "scenario.json").write_text(json.dumps(scenario))
    assert "reward.lua is missing" in refusal("MyShooter-Genesis", integrations=str(own_folder))


@pytest.mark.parametrize("name", ["data", "metadata", "data.json", "./data", "../MyShooter-Genesis/data"])
def test_other_json_files_are_not_scenarios(own_folder, name):
    """The emulator would accept data.json as a scenario without reward or end."""
    message = refusal("MyShooter-Genesis", integrations=str(own_folder), scenario=name)
    assert f"--scenario {name} is not in" in message and message.endswith("available: scenario")


@pytest.mark.parametrize("scenario", [None, "checkpoints", "checkpoints+speed"])
def test_missing_race_variables_are_refused(mario_kart_folder, scenario):
    """Otherwise RaceReward would raise a KeyError in the first frame, in a worker process."""
    # Then the project's own scenario.json is used, whose default is "checkpoints".
    (mario_kart_folder / "scenario.json").unlink()
    message = refusal(MARIO_KART, integrations=str(mario_kart_folder.parent), scenario=scenario)
    missing = ", ".join(name for name in VARIABLES if name != "lap")
    assert f"reads {missing}, which {mario_kart_folder / 'data.json'} does not have" in message


def test_game_names_of_gym_retro(emulator):
    """gym-retro's own games have no version suffix; the user's folders keep their full name."""
    folders = {"Airstriker-Genesis", "MyShooter-Genesis-v0"}
    data = SimpleNamespace(
        get_file_path=lambda name, file, inttype: name if name in folders else None,
        Integrations=emulator.data.Integrations,
    )
    old, new = SimpleNamespace(__name__="retro", data=data), emulator
    for name, expected in ((AIRSTRIKER, "Airstriker-Genesis"), ("Airstriker-Genesis", "Airstriker-Genesis"),
                        ("MyShooter-Genesis-v0", "MyShooter-Genesis-v0"), (MARIO_KART, MARIO_KART)):  # fmt: skip
        assert (package_game_name(old, name), package_game_name(new, name)) == (expected, name)
