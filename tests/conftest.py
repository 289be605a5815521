"""Tests keep out of the user's own data folder: ROMs and savestates go into one that ends with them."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("data")
    patch.setenv("DREAM_MARIO_KART_DATA", str(folder))  # scripts that tests start have it too
    yield folder
    patch.undo()
