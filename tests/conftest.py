"""Fixtures that several test modules use. Test modules import the code under test; here it is imported where used."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory):
    """A data folder (ROMs, savestates) for the tests, so that the user's own is neither read nor changed."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("data")
    patch.setenv("DREAM_MARIO_KART_DATA", str(folder))  # also used by scripts that tests start
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def emulator():
    """The module stable_retro; the test is skipped if it is not installed."""
    return pytest.importorskip("stable_retro", reason="stable-retro is not installed")


@pytest.fixture
def make_retro_env(emulator):
    """make(name, integrations=None, state=None, frame_skip=1, buttons_as_actions=False, **options of find_game).

    The environments are closed at the end of the test, because a process can hold only one emulator.
    """
    from player.games.registry import find_game

    envs = []

    def make(name, integrations=None, state=None, frame_skip=1, buttons_as_actions=False, **options):
        game = find_game(name, integrations, state, **options)
        envs.append(game.make(frame_skip=frame_skip, buttons_as_actions=buttons_as_actions))
        return envs[-1]

    yield make
    for env in envs:
        env.close()


@pytest.fixture
def own_folder(emulator, tmp_path):
    """A folder of integrations such as a user makes: Airstriker's files under the name MyShooter-Genesis."""
    stock_folder = Path(emulator.data.get_file_path("Airstriker-Genesis-v0", "rom.md")).parent
    shutil.copytree(stock_folder, tmp_path / "MyShooter-Genesis")
    return tmp_path
