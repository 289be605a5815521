"""--real: well-known packages are imported by the name of their environment; what cannot be played is said with what to
type; frames are resized to those of the recording."""

import sys
import types

import cv2
import gymnasium
import numpy as np
import pytest
from dream.common.errors import InputError
from dream.play import gymnasium_open
from dream.play.frame_resize import resize_frame
from dream.play.real_env import RealEnv

ADVICE = "type --real player:Mode7Kart-v0 --real-path ppo"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Mode7Kart-v0", ADVICE),
        ("player:Mode7Kart-v0", ADVICE),
        ("KartCart-Snes", "emulator games cannot be shown"),
        ("NoSuchGame-v0", "type --real MODULE:NoSuchGame-v0 --real-path FOLDER"),
        ("mine/Game-v0", "type --real MODULE:mine/Game-v0 --real-path FOLDER"),
    ],
)
def test_a_name_that_is_not_registered(name, message, monkeypatch):
    for module in [one for one in sys.modules if one.split(".")[0] == "player"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if not folder.endswith("ppo")])
    for own in [one for one in gymnasium.registry if one.startswith("Mode7")]:
        monkeypatch.delitem(gymnasium.registry, own)
    with pytest.raises(InputError, match=message) as caught:
        RealEnv(name, 6)
    assert str(caught.value).startswith(f"--real {name}: ")


@pytest.mark.parametrize(("names", "module", "package"), gymnasium_open.PACKAGES)
def test_a_missing_package_is_named(names, module, package, monkeypatch):
    monkeypatch.setitem(sys.modules, module.split(".")[0], None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        InputError, match=f"--real {names[0]}Some-v0 needs another package: pip install {package}"
    ):
        RealEnv(f"{names[0]}Some-v0", 2)


def test_a_known_package_is_imported(monkeypatch):
    """`--real ALE/Breakout-v5` works without `ale_py:` in front of it."""
    package = types.ModuleType("ale_py")
    package.__getattr__ = lambda name: None
    monkeypatch.setitem(sys.modules, "ale_py", package)
    monkeypatch.setitem(gymnasium.registry, "ALE/Fake-v5", gymnasium.spec("CartPole-v1"))
    monkeypatch.setattr(gymnasium_open, "declared_modes", lambda name: ("rgb_array",))
    real = RealEnv("ALE/Fake-v5", 2)
    assert real.frame_u8.shape == (400, 600, 3)
    real.close()


def test_both_sides_know_the_same_packages():
    from player.games.gymnasium_open import PACKAGES

    assert PACKAGES == gymnasium_open.PACKAGES


def test_frames_have_the_size_of_the_recording():
    environment = {"game": "CartPole-v1", "settings": {}, "actions": [0, 1], "frame_skip": 1, "max_frames": 1,
                   "crop": None, "frame_size": [128, 192]}  # fmt: skip
    real = RealEnv("CartPole-v1", 2, recorded=environment)
    picture = real.env.render()
    expected = cv2.resize(picture, (192, 128), interpolation=cv2.INTER_AREA).astype(
        int
    )  # as the recorder does
    assert np.abs(real.frame_u8 - expected).max() <= 1 and real.frame_u8.dtype == np.uint8
    real.close()
    tiny = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    np.testing.assert_array_equal(resize_frame(tiny, (6, 9)), tiny.repeat(2, axis=0).repeat(3, axis=1))
    assert resize_frame(tiny, (3, 3)) is tiny
