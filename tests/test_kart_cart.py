"""The Kart Cart cartridge, from its assembler to races on the emulator; race reward, import_game.py, make_state.py."""

import gzip
import hashlib
import json
import zipfile

import import_game
import make_state
import numpy as np
import pytest
import record_trajectories
import train_ppo
from dream.data.trajectories import open_trajectories
from player.common.errors import InputError
from player.games.game import read_actions
from player.games.kart_cart.assembler import assemble
from player.games.kart_cart.build import ROM_SIZE, build
from player.games.mode7.geometry import CONTROL_POINTS, sample_spline
from player.games.registry import find_game, find_tracks
from player.games.retro.boot_script import read_script, run_script
from player.games.retro.known_games import KART_CART_TRACKS, kart_cart_boot_script
from player.games.retro.race_reward import RaceReward
from player.games.retro.roms import KART_CART, KART_CART_SHA1, MARIO_KART

TRACK_NAMES = list(KART_CART_TRACKS)
BUTTONS = ("B", "Y", "SELECT", "START", "LEFT", "RIGHT")
ROM_BYTES = 1024 * 8


@pytest.fixture(scope="module")
def emulator():
    return pytest.importorskip("stable_retro", reason="stable-retro is not installed")


@pytest.fixture
def make(emulator):
    """Makes environments and closes them at the end of the test, because a process can hold only one."""
    made = []

    def make_one(*game, frame_skip=1, **options):
        made.append(find_game(*game, **options).make(frame_skip=frame_skip))
        return made[-1]

    yield make_one
    for env in made:
        env.close()


# -- the cartridge -------------------------------------------------------------------------------------------


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


# -- race reward ---------------------------------------------------------------------------------------------


class Memory(dict):
    """Variables of a race that has not yet crossed the start line."""

    def __init__(self) -> None:
        super().__init__(current_checkpoint=23, lap=127, lapsize=24, getFrame=100, getGameMode=0x1C, surface=0x40,
                         kart1_speed=0, isTurnedAround=0)  # fmt: skip

    def next_frame(self, **changed) -> "Memory":
        self.update(getFrame=self["getFrame"] + 1, **changed)
        return self


def start_race(**options):
    """The memory, and a function that changes it by one frame and returns the frame's reward and end."""
    reward, memory = RaceReward(**options), Memory()
    reward.reset(memory.__getitem__)
    return memory, lambda **changed: reward.step(memory.next_frame(**changed).__getitem__)


def test_checkpoints_are_rewarded_in_both_directions():
    _, frame = start_race()
    assert frame() == (0.0, False)
    assert frame(lap=128, current_checkpoint=0) == (10.0, False)  # over the line: one checkpoint
    assert frame(current_checkpoint=2) == (20.0, False)
    assert frame(lap=127, current_checkpoint=23) == (-30.0, False)
    assert frame(lap=133, current_checkpoint=0) == (1210.0, True)  # five laps


def test_jump_of_the_clock_gives_no_reward():
    memory, frame = start_race()
    memory["getFrame"] += 100
    assert frame(current_checkpoint=22) == (0.0, False)
    memory["getFrame"] = 3
    assert frame(current_checkpoint=20) == (0.0, False)
    assert frame(current_checkpoint=21) == (10.0, False)


def test_fifth_hazard_frame_ends_the_race():
    _, frame = start_race()
    assert [frame(surface=0x80)[1] for _ in range(5)] == [False] * 4 + [True]
    _, frame = start_race()
    assert frame(surface=0x28)[0] == frame(surface=0x22)[0] == -1
    for _ in range(3):
        frame(surface=0x20)
    assert not any(frame(surface=0x40)[1] for _ in range(494))
    assert not any(frame(surface=0x80)[1] for _ in range(4))  # the 500th frame reset the count
    assert start_race()[1](getGameMode=0x0E) == (0.0, True)


def test_speed_reward():
    _, frame = start_race(speed=True)
    rewards = [frame(kart1_speed=speed)[0] for speed in (0, 601, 801, 901)]
    assert rewards == [-0.1, 0.0, 0.1, 0.2]
    assert frame(isTurnedAround=0x10)[0] == pytest.approx(0.1)


# -- boot scripts and files of actions -----------------------------------------------------------------------


def test_script_presses_and_waits():
    pressed, mode = [], iter([4] * 20 + [28] * 5)
    presses = read_script("none 2\nB+LEFT 1 # a comment\n\nSTART until mode 28", BUTTONS)
    run_script(presses, pressed.append, lambda name: next(mode))
    assert pressed[:3] == [(), (), ("B", "LEFT")]
    assert pressed[3:6] == [("START",)] * 3 and set(pressed[6:18]) == {()}  # tapped, not held down
    assert pressed[18:21] == [("START",)] * 3 and len(pressed) == 3 + 20
    with pytest.raises(InputError, match="did not become 3"):
        run_script(read_script("B until mode 3", BUTTONS), pressed.append, lambda name: 1)


@pytest.mark.parametrize("line", ["Q 3", "B", "B x", "B 0", "B until mode", "B 99999",
                                  "B ²", "B -1", "B 1.5", "B until x --5", "B until x ²", "B until x 5 6", "B+ 3",
                                  "B " + "9" * 5000, "B until x " + "9" * 5000])  # fmt: skip
def test_script_error_names_the_line(line):
    """isdigit() accepts characters that int() does not, and int() refuses very long numbers."""
    with pytest.raises(InputError, match="line 2, ") as caught:
        read_script("none 1\n" + line, BUTTONS)
    assert "\n" not in str(caught.value)


def test_actions_from_a_file(tmp_path):
    file = tmp_path / "actions.txt"
    file.write_text("# comment\nrest none none\njump B+LEFT space+left\n")
    rest, jump = read_actions(str(file), list(BUTTONS))
    assert (rest.buttons, jump.buttons, jump.keys) == ((), ("B", "LEFT"), ("space", "left"))
    for text, message in (
        ("a B", "expected NAME"),
        ("a Q q", "no button Q"),
        ("a B b\na B c", "a is used twice"),
        ("a B b", "defines 1 actions"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            read_actions(str(file), list(BUTTONS))
    with pytest.raises(InputError, match="cannot be read"):
        read_actions(str(tmp_path / "none"), list(BUTTONS))


# -- on the emulator -----------------------------------------------------------------------------------------


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
def test_five_laps_of_each_track(make, track):
    env = make(KART_CART, state=TRACK_NAMES[track])
    assert env.reset()[0].shape == (112, 256, 3)
    reward, frames, state = drive(env, track)
    assert reward == 1210  # 121 checkpoints: five laps and the line
    assert state["lap"] == 133 and 2500 < frames < 3600  # at top speed, 50 to 54 seconds


@pytest.mark.emulator
def test_driving_straight_ends_at_the_wall(make):
    env = make(KART_CART)
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
def test_integration_files_of_the_user(make, tmp_path, monkeypatch):
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
    env = make(KART_CART, "mine", "MeadowCircuit", scenario="fast")
    env.reset()
    assert sum(env.step(1)[1] for _ in range(150)) == 30.0
    env.close()
    env = make(KART_CART, "mine", "MeadowCircuit")  # the user's scenario.json, without any reward
    assert sum(env.step(1)[1] for _ in range(150)) == 0.0
    with pytest.raises(InputError, match="fast"):
        find_game(KART_CART, "mine", scenario="slow")
    (folder / "script.lua").unlink()
    with pytest.raises(InputError, match=r"script\.lua is missing"):
        find_game(KART_CART, "mine", scenario="fast")


@pytest.mark.emulator
def test_set_state_continues_with_the_race_reward(make):
    env = make(KART_CART, scenario="checkpoints+speed", frame_skip=4)
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


@pytest.fixture
def fake_mario_kart(make, tmp_path, monkeypatch):
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
def test_all_savestates_without_a_default(fake_mario_kart, make, tmp_path):
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
        env = make(MARIO_KART, state=state)
        frame, info = env.reset()
        env.close()
        assert (data.frames[row, 0] == frame.transpose(2, 0, 1)).all()
        assert data.extras["truth/kart1_X"][row, 0] == info["truth"][game.truth_names.index("kart1_X")]
    assert (data.frames[0, 0] != data.frames[1, 0]).mean() > 0.3


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


# -- make_state.py and import_game.py ------------------------------------------------------------------------


@pytest.mark.emulator
def test_savestate_by_script(make, tmp_path, capsys):
    script = tmp_path / "boot.txt"
    script.write_text("none 20\nRIGHT 3\nnone 10\nSTART until getGameMode 28\nB 60\n")
    flags = ["--game", KART_CART, "--name", "Rolling", "--script", str(script)]
    make_state.main(make_state.parse_args(flags))
    assert "--state Rolling" in capsys.readouterr().out
    env = make(KART_CART, state="Rolling")
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
@pytest.mark.parametrize("name", TRACK_NAMES)
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
def own_game(emulator, tmp_path):
    """Integration files of a user's game, and its ROM: random bytes."""
    content = bytes(np.random.default_rng(0).integers(0, 256, ROM_BYTES, np.uint8))
    folder = tmp_path / "mine" / "MyGame-Snes"
    folder.mkdir(parents=True)
    (folder / "rom.sha").write_text(hashlib.sha1(content).hexdigest() + "\n")
    (folder / "Level1.state").write_bytes(gzip.compress(b""))
    return content, folder.parent


def run_import_game(path, *more) -> None:
    import_game.main(import_game.parse_args([str(path), *map(str, more)]))


@pytest.mark.emulator
@pytest.mark.parametrize("kind", ["plain", "with a copier's header", "zipped"])
def test_rom_is_saved_in_the_data_folder(own_game, tmp_path, data_folder, capsys, kind):
    content, integrations = own_game
    path = tmp_path / "Game (USA).smc"
    path.write_bytes(bytes(512) * (kind == "with a copier's header") + content)
    if kind == "zipped":
        with zipfile.ZipFile(tmp_path / "game.zip", "w") as archive:
            archive.writestr("readme.txt", "hello")
            archive.write(path, path.name)
        path = tmp_path / "game.zip"
    saved = data_folder / "MyGame-Snes" / "rom.sfc"
    saved.unlink(missing_ok=True)
    run_import_game(path, "--integrations", integrations)
    assert saved.read_bytes() == content
    output = capsys.readouterr().out
    assert str(saved) in output and "--game MyGame-Snes --state Level1" in output


def snes_header(title: str, region: int, revision: int) -> bytes:
    content = bytearray(64 * 1024)
    content[0xFFC0:0xFFD5] = title.encode().ljust(21)
    content[0xFFD9], content[0xFFDB] = region, revision
    content[0xFFDC:0xFFE0] = b"\xff\xff\0\0"
    return bytes(content)


@pytest.mark.emulator
@pytest.mark.parametrize(
    ("content", "message"),
    [(snes_header("SUPER MARIO KART", 2, 1), "Europe, revision 1.1"), (snes_header("F-ZERO", 1, 0), "called 'F-ZERO'"),
     (b"x" * 1000, "1,000 bytes, SHA-1"), (b"", "is empty")],
)  # fmt: skip
def test_unknown_roms_are_described(emulator, tmp_path, data_folder, content, message):
    path = tmp_path / "rom.sfc"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        run_import_game(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (data_folder / MARIO_KART).exists()


@pytest.mark.emulator
def test_missing_rom_is_refused(emulator, tmp_path):
    for path in (tmp_path / "none.sfc", tmp_path):
        with pytest.raises(InputError, match="no file"):
            run_import_game(path)


def flip_byte(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


@pytest.mark.emulator
@pytest.mark.parametrize("suffix", [".zip", ".npz"])
@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_damaged_zips_are_refused_in_one_line(emulator, tmp_path, method, suffix):
    """Each compression method and each position of the damage raises another exception in zipfile."""
    path = tmp_path / f"game{suffix}"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("röm.sfc", np.random.default_rng(0).integers(0, 9, 5000, np.uint8).tobytes())
    whole = path.read_bytes()
    listed = whole.index(b"PK\1\2")
    damages = {
        "content": (flip_byte(whole, listed // 2), "cannot be unpacked"),
        "its settings": (flip_byte(whole, 34 + len("röm.sfc".encode())), "cannot be unpacked"),
        "a name": (whole.replace("ö".encode(), b"\xff\xff"), "cannot be unpacked"),
        "the list": (flip_byte(whole, listed), "cannot be unpacked"),
        "a password": (flip_byte(whole, listed + 8), "unpack it yourself"),
        "its end": (whole[: len(whole) * 2 // 3], "copy it again"),
    }
    for damage, (content, message) in damages.items():
        path.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            run_import_game(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value), damage


@pytest.mark.emulator
def test_mario_kart_says_what_is_missing(emulator, data_folder):
    with pytest.raises(InputError, match=r"import_game\.py FILE.* 524,288 bytes, SHA-1 47e103d8"):
        find_game(MARIO_KART)
    rom = data_folder / MARIO_KART / "rom.sfc"
    rom.parent.mkdir()
    try:
        rom.write_bytes(bytes(524_288))
        with pytest.raises(
            InputError, match=r"no savestate yet: `python ppo/make_state\.py --game SuperMarioKart"
        ):
            find_game(MARIO_KART)
        game = find_game(MARIO_KART, state="power-on")
        assert [action.name for action in game.actions][4] == "forward+left" and "lap" in game.truth_names
        (rom.parent / "MarioCircuit.state").write_bytes(gzip.compress(b"state"))
        with pytest.raises(InputError, match="by --state: MarioCircuit"):
            find_game(MARIO_KART)
    finally:
        for path in rom.parent.iterdir():
            path.unlink()
        rom.parent.rmdir()
