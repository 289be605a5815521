"""Kart Cart: the assembler, the reproducible cartridge, and races on the emulator."""

import hashlib
import json

import numpy as np
import pytest
import record_trajectories
from dream.data.trajectories import open_trajectories
from player.common.errors import InputError
from player.games.kart_cart.assembler import assemble
from player.games.kart_cart.build import ROM_SIZE, build
from player.games.mode7.geometry import CONTROL_POINTS, sample_spline
from player.games.registry import find_game, find_tracks
from player.games.retro.known_games import KART_CART_TRACKS
from player.games.retro.roms import KART_CART, KART_CART_SHA1

TRACK_NAMES = list(KART_CART_TRACKS)


def test_assembler_encodes_as_in_the_manual():
    source = """
    SPEED = $10EA
    start:
      REP #$30          ; 16 bits
      LDA #$1234
      SEP #$20
      LDA #$12
      STA SPEED+1,X
      LDA [$F0],Y
      LDX SPEED
      JSR over
      BNE start
    over:
      INC
      STA $7E0010
      .byte 1, $FF, over-start
    """
    code, names = assemble(source, 0x8000, {})
    assert code.hex(" ").upper() == (
        "C2 30 A9 34 12 E2 20 A9 12 9D EB 10 B7 F0 AE EA 10 20 16 80 D0 EA 1A 8F 10 00 7E 01 FF 16"
    )
    assert names["over"] == 0x8016


@pytest.mark.parametrize(
    ("line", "message"),
    [("LDA nowhere", "undefined name nowhere"), ("STA #1", "no addressing mode"), ("LDQ $10", "LDQ"),
     ("LDA 1 +* 2", "is not a sum"), ("BRA $9000", "too far")],
)  # fmt: skip
def test_assembler_quotes_the_wrong_line(line, message):
    with pytest.raises(ValueError, match="line 1, ") as caught:
        assemble(line, 0x8000, {})
    assert message in str(caught.value)


def test_cartridge_is_reproducible():
    rom = build()
    assert len(rom) == ROM_SIZE and hashlib.sha1(rom).hexdigest() == KART_CART_SHA1
    assert sum(rom) & 0xFFFF == int.from_bytes(rom[0x7FDE:0x7FE0], "little")  # the checksum in its header


def drive(env, track: int) -> tuple:
    """Drives along the center line until the race is over: sum of rewards, number of frames, last game state."""
    x, y = sample_spline(np.array(CONTROL_POINTS[track], float))[0].T
    state, total, done, frames = env.reset()[1]["truth"], 0.0, False, 0
    while not done:
        here = np.hypot(x - state[0], y - state[1]).argmin()
        ahead = (here + 14) % len(x)
        heading = np.arctan2(x[ahead] - state[0], state[1] - y[ahead]) * 128 / np.pi
        turn = (heading - state[2] + 128) % 256 - 128
        _, reward, done, _, info = env.step(5 if turn > 3 else 4 if turn < -3 else 1)
        state, total, frames = info["truth"], total + reward, frames + 1
        assert frames < 5000
    return total, frames, dict(zip(find_game(KART_CART).truth_names, state, strict=True))


@pytest.mark.emulator
@pytest.mark.parametrize("track", range(3))
def test_five_laps_of_each_track(make_retro_env, track):
    env = make_retro_env(KART_CART, state=TRACK_NAMES[track])
    assert env.reset()[0].shape == (112, 256, 3)
    reward, frames, state = drive(env, track)
    assert reward == 1210  # 121 checkpoints: five laps and the line
    assert state["lap"] == 133 and 2500 < frames < 3600  # at top speed, 50 to 54 seconds


@pytest.mark.emulator
def test_driving_straight_ends_at_the_wall(make_retro_env):
    env = make_retro_env(KART_CART)
    env.reset()
    rewards, done = [], False
    while not done:
        _, reward, done, _, info = env.step(1)
        rewards.append(reward)
    assert (
        rewards.count(-1.0) == 5 and rewards[-1] == -1.0 and info["truth"][6] == 0x80 and sum(rewards) == 25.0
    )


LUA = """
last = data.current_checkpoint + (data.lap - 128) * data.lapsize
function reward()
  local now = data.current_checkpoint + (data.lap - 128) * data.lapsize
  local change = now - last
  last = now
  return 10 * change
end
function over() return data.lap >= 133 end
"""


@pytest.mark.emulator
def test_integration_files_of_the_user(make_retro_env, tmp_path, monkeypatch):
    """The user's data.json and a scenario with a Lua script; the ROM comes from the data folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine" / KART_CART
    folder.mkdir(parents=True)
    variables = {"lap": (4289, "|u1"), "current_checkpoint": (4316, "|u1"), "lapsize": (328, "|u1"),
                 "getGameMode": (181, "|u1")}  # fmt: skip
    info = {name: {"address": address, "type": kind} for name, (address, kind) in variables.items()}
    (folder / "data.json").write_text(json.dumps({"info": info}))
    scenario = {"reward": {"script": "lua:reward"}, "done": {"script": "lua:over"}, "scripts": ["script.lua"]}
    (folder / "scenario.json").write_text("{}")
    (folder / "fast.json").write_text(json.dumps(scenario))
    (folder / "script.lua").write_text(LUA)
    env = make_retro_env(KART_CART, "mine", "MeadowCircuit", scenario="fast")
    env.reset()
    assert sum(env.step(1)[1] for _ in range(150)) == 30.0
    env.close()
    env = make_retro_env(KART_CART, "mine", "MeadowCircuit")  # the user's scenario.json, without any reward
    assert sum(env.step(1)[1] for _ in range(150)) == 0.0
    with pytest.raises(InputError, match="fast"):
        find_game(KART_CART, "mine", scenario="slow")
    (folder / "script.lua").unlink()
    with pytest.raises(InputError, match=r"script\.lua is missing"):
        find_game(KART_CART, "mine", scenario="fast")


@pytest.mark.emulator
def test_set_state_continues_with_the_race_reward(make_retro_env):
    env = make_retro_env(KART_CART, scenario="checkpoints+speed", frame_skip=4)
    env.reset()
    for _ in range(12):
        env.step(1)
    state, rewards = env.get_state(), [env.step(1)[1] for _ in range(15)]
    env.reset()
    env.set_state(state)
    assert [env.step(1)[1] for _ in range(15)] == rewards and max(rewards) > 10


@pytest.mark.emulator
def test_recording_with_several_savestates(emulator, tmp_path):
    assert [track["state"] for track in find_tracks(KART_CART, states="all")[1]][:3] == TRACK_NAMES
    with pytest.raises(InputError, match="--state Nowhere is not in"):
        find_tracks(KART_CART, states="MeadowCircuit,Nowhere")
    output = tmp_path / "a.npz"
    flags = ["--game", KART_CART, "--state", "CoralCove,AuroraLake", "--policy", "random", "--frames", 64,
             "--n-envs", 4, "--output", output]  # fmt: skip
    record_trajectories.main(record_trajectories.parse_args([*map(str, flags)]))
    data = open_trajectories(output)
    assert (data.extras["track"] == np.array([0, 1, 0, 1])[:, None]).all()
    first = data.frames[:, 0].astype(int)
    assert (first[0] == first[2]).all() and (first[0] != first[1]).mean() > 0.3
    with np.load(output, allow_pickle=False) as file:
        assert [each["state"] for each in json.loads(str(file["meta"]))["courses"]] == [
            "CoralCove",
            "AuroraLake",
        ]
