"""make_state.py, and training and recording with several savestates."""

import make_state
import numpy as np
import pytest
import record_trajectories
import train_ppo
from dream.data.trajectories import open_trajectories
from player.common.errors import InputError
from player.games.kart_cart.build import build
from player.games.registry import find_game, find_tracks
from player.games.retro.known_games import KART_CART_TRACKS, kart_cart_boot_script
from player.games.retro.roms import KART_CART, MARIO_KART


@pytest.mark.emulator
def test_savestate_by_script(make_retro_env, tmp_path, capsys):
    script = tmp_path / "boot.txt"
    script.write_text("none 20\nRIGHT 3\nnone 10\nSTART until getGameMode 28\nB 60\n")
    flags = ["--game", KART_CART, "--name", "Rolling", "--script", str(script)]
    make_state.main(make_state.parse_args(flags))
    assert "--state Rolling" in capsys.readouterr().out
    env = make_retro_env(KART_CART, state="Rolling")
    state = dict(zip(find_game(KART_CART).truth_names, env.reset()[1]["truth"], strict=True))
    assert state["kart1_speed"] > 500 and state["kart1_X"] > 700  # Coral Cove starts on the right
    env.close()
    with pytest.raises(InputError, match="already exists"):
        make_state.main(make_state.parse_args(flags))
    script.write_text("START until coinz 3")
    with pytest.raises(InputError, match=r"no variable coinz; it has .*coins"):
        make_state.main(make_state.parse_args([*flags[:3], "Another", *flags[4:]]))
    with pytest.raises(SystemExit):
        make_state.parse_args(["--game", KART_CART, "--name", "../x"])


@pytest.mark.emulator
@pytest.mark.parametrize("name", KART_CART_TRACKS)
def test_names_of_boot_scripts_are_reserved(emulator, data_folder, name):
    """`--state` would select the boot script of that name, never the file."""
    with pytest.raises(InputError, match=f"--name {name}: .*choose another"):
        make_state.main(make_state.parse_args(["--game", KART_CART, "--name", name, "--script", "none.txt"]))
    assert not (data_folder / KART_CART / f"{name}.state").exists()


@pytest.mark.emulator
def test_savestate_by_hand(emulator, data_folder, monkeypatch):
    """All buttons work, also in menus; each press of F5 makes another savestate."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame = pytest.importorskip("pygame")
    keys = {5: ("KEYDOWN", "return"), 9: ("KEYUP", "return"), 30: ("KEYDOWN", "z"), 60: ("KEYDOWN", "f5"),
            61: ("KEYDOWN", "f5"), 62: ("KEYDOWN", "q")}  # fmt: skip
    frame = {"number": 0}
    get_events = pygame.event.get

    def events():
        frame["number"] += 1
        kind, key = keys.get(frame["number"] - 20, (None, None))
        queue = get_events()
        if kind:
            queue.append(pygame.event.Event(getattr(pygame, kind), key=pygame.key.key_code(key)))
        return queue

    monkeypatch.setattr(pygame.event, "get", events)
    flags = ["--game", KART_CART, "--name", "ByHand"]
    make_state.main(make_state.parse_args(flags))
    states = [data_folder / KART_CART / f"{name}.state" for name in ("ByHand", "ByHand-2")]
    env = find_game(KART_CART, state="ByHand-2").make()
    state = dict(zip(find_game(KART_CART).truth_names, env.reset()[1]["truth"], strict=True))
    env.close()
    assert all(path.exists() for path in states) and 200 < state["kart1_speed"] < 600
    for path in states:
        path.unlink()
    frame["number"] = 81
    with pytest.raises(InputError, match="nothing was saved"):
        make_state.main(make_state.parse_args(flags))


@pytest.fixture
def fake_mario_kart(make_retro_env, tmp_path, monkeypatch):
    """Super Mario Kart without a default state, with Kart Cart as its ROM, in a data folder of its own.

    Returns a function that makes a savestate of a name on one of the tracks.
    """
    monkeypatch.setenv("DREAM_MARIO_KART_DATA", str(tmp_path))
    (tmp_path / MARIO_KART).mkdir()
    (tmp_path / MARIO_KART / "rom.sfc").write_bytes(build())
    script = tmp_path / "boot.txt"

    def make_one(name: str, track: int) -> None:
        script.write_text(kart_cart_boot_script(track))
        flags = ["--game", MARIO_KART, "--name", name, "--script", str(script)]
        make_state.main(make_state.parse_args(flags))

    return make_one


@pytest.mark.emulator
def test_all_savestates_without_a_default(fake_mario_kart, make_retro_env, tmp_path):
    fake_mario_kart("Third", 2)
    fake_mario_kart("Second", 1)
    game, tracks = find_tracks(MARIO_KART, states="all")
    assert tracks == [{"state": "Second"}, {"state": "Third"}]
    with pytest.raises(InputError, match="by --state: Second, Third"):
        find_game(MARIO_KART)
    output = tmp_path / "a.npz"
    flags = ["--game", MARIO_KART, "--state", "all", "--policy", "random", "--frames", 48, "--n-envs", 3,
             "--output", output]  # fmt: skip
    record_trajectories.main(record_trajectories.parse_args([*map(str, flags)]))
    data = open_trajectories(output)
    assert (data.extras["track"] == np.array([0, 1, 0])[:, None]).all()
    for row, state in enumerate(("Second", "Third", "Second")):
        env = make_retro_env(MARIO_KART, state=state)
        frame, info = env.reset()
        env.close()
        assert (data.frames[row, 0] == frame.transpose(2, 0, 1)).all()
        assert data.extras["truth/kart1_X"][row, 0] == info["truth"][game.truth_names.index("kart1_X")]
    assert (data.frames[0, 0] != data.frames[1, 0]).mean() > 0.3


@pytest.mark.slow
@pytest.mark.emulator
def test_resume_needs_the_same_savestates(fake_mario_kart, tmp_path):
    """`all` means the savestates that existed at the start of the run; a new one would change the recording."""
    fake_mario_kart("Second", 1)

    def train(states: str, *more) -> None:
        flags = ["--game", MARIO_KART, "--state", states, "--n-envs", 1, "--explore-envs", 1, "--n-steps", 8,
                 "--batch-size", 8, "--video-every", 0, "--device", "cpu", "--output-dir", tmp_path / "run",
                 *more]  # fmt: skip
        train_ppo.main(train_ppo.parse_args([*map(str, flags)]))

    train("all", "--n-epochs", 1)
    train("all", "--n-epochs", 2, "--resume")
    fake_mario_kart("Third", 2)
    for states in ("all", "Second,Third", "Third"):
        with pytest.raises(InputError, match="began with --state Second: resume it with the same"):
            train(states, "--n-epochs", 3, "--resume")
    train("Second", "--n-epochs", 3, "--resume")
    assert len(open_trajectories(tmp_path / "run" / "trajectories.npz").frames) == 6
