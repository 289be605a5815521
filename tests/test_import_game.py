"""import_game.py: ROMs that are imported and ROMs that are refused; missing files of Super Mario Kart."""

import gzip
import hashlib
import zipfile

import import_game
import numpy as np
import pytest
from player.common.errors import InputError
from player.games.registry import find_game
from player.games.retro.roms import MARIO_KART

ROM_BYTES = 1024 * 8


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
     (bytes(range(250)) * 8, "2,000 bytes, SHA-1"), (b"", "is empty")],
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
def test_missing_files_of_mario_kart_are_named(emulator, data_folder):
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
