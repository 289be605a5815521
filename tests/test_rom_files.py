"""ROMs as people have them: interleaved, swapped, with headers, in archives of all kinds; and what is no ROM."""

import bz2
import gzip
import hashlib
import io
import lzma
import zipfile

import import_game
import numpy as np
import pytest
from player.common.errors import InputError, first_line
from player.games.retro import rom_archives, rom_layouts
from player.games.retro.integration_files import check_rom
from player.games.retro.rom_layouts import rom_variants


def mega_drive_rom(blocks: int = 3) -> bytes:
    content = bytearray(np.random.default_rng(0).integers(0, 256, blocks * 16384, np.uint8))
    content[0x100:0x110] = b"SEGA MEGA DRIVE "
    content[0x120:0x150] = b"TEST CARTRIDGE".ljust(48)
    return bytes(content)


def hirom_rom() -> bytes:
    content = bytearray(np.random.default_rng(1).integers(0, 256, 4 * 65536, np.uint8))
    content[0xFFC0:0xFFE0] = b"TEST CARTRIDGE".ljust(21) + bytes([0x21, 0, 8, 0, 1, 0, 0, 0xFF, 0xFF, 0, 0])
    return bytes(content)


def interleave_smd(rom: bytes) -> bytes:
    """As the Super Magic Drive writes it: a header of 512 bytes, then blocks of 16 KiB, odd bytes first."""
    header = bytes([len(rom) // 16384, 3, 0, 0, 0, 0, 0, 0, 0xAA, 0xBB, 6]).ljust(512, b"\0")
    blocks = [rom[i : i + 16384] for i in range(0, len(rom), 16384)]
    return header + b"".join(block[1::2] + block[0::2] for block in blocks)


def swapped(content: bytes) -> bytes:
    return np.frombuffer(content, np.uint16).byteswap().tobytes()


ROM = mega_drive_rom()
HIROM = hirom_rom()
UPPER = b"".join(HIROM[i + 32768 : i + 65536] for i in range(0, len(HIROM), 65536))
LOWER = b"".join(HIROM[i : i + 32768] for i in range(0, len(HIROM), 65536))
N64 = b"\x80\x37\x12\x40" + ROM[4:]


@pytest.mark.parametrize(
    ("content", "rom", "change"),
    [
        (ROM, ROM, ""),
        (interleave_smd(ROM), ROM, "a header of 512 bytes removed, de-interleaved"),
        (interleave_smd(ROM)[512:], ROM, "de-interleaved"),  # the header has been cut off
        (ROM[0::2] + ROM[1::2], ROM, "de-interleaved"),
        (ROM[1::2] + ROM[0::2], ROM, "de-interleaved"),
        (swapped(ROM), ROM, "bytes swapped"),
        (HIROM, HIROM, ""),
        (bytes(512) + HIROM, HIROM, "a header of 512 bytes removed"),
        (UPPER + LOWER, HIROM, "de-interleaved"),
        (swapped(N64), N64, "bytes swapped"),
        (np.frombuffer(N64, np.uint32).byteswap().tobytes(), N64, "bytes swapped"),
    ],
)
def test_layouts_are_restored(content, rom, change):
    variant = next(rom_variants(content))
    assert variant.content == rom and variant.change == change


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", ".", 1), content)
    return stream.getvalue()


PACKED = {
    "game.md.gz": gzip.compress(ROM),
    "game.md.bz2": bz2.compress(ROM),
    "game.md.xz": lzma.compress(ROM),
    "game.zip": zipped(manual_pdf=bytes(300_000), game_md=ROM),
    "outer.zip": zipped(readme_txt=b"hello", inner_zip=zipped(game_smd=interleave_smd(ROM))),
    "game.zip.gz": gzip.compress(zipped(game_md=ROM)),
    "game.smd": interleave_smd(ROM),
    "game.dat": interleave_smd(ROM),
}


@pytest.fixture
def integrations(emulator, tmp_path):
    """A folder of integrations that knows ROM."""
    folder = tmp_path / "mine" / "MyGame-Genesis"
    folder.mkdir(parents=True)
    (folder / "rom.sha").write_text(hashlib.sha1(ROM).hexdigest() + "\n")
    return folder.parent


def run_import_game(path, integrations) -> None:
    import_game.main(import_game.parse_args([str(path), "--integrations", str(integrations)]))


@pytest.mark.emulator
@pytest.mark.parametrize("name", PACKED)
def test_packed_and_interleaved_roms_are_imported(integrations, tmp_path, data_folder, capsys, name):
    path = tmp_path / name
    path.write_bytes(PACKED[name])
    saved = data_folder / "MyGame-Genesis" / "rom.md"
    saved.unlink(missing_ok=True)
    run_import_game(path, integrations)
    assert saved.read_bytes() == ROM
    assert ("de-interleaved" in capsys.readouterr().out) == (name in ("game.smd", "game.dat", "outer.zip"))


def refusal(path, integrations) -> str:
    with pytest.raises(InputError) as caught:
        run_import_game(path, integrations)
    message = str(caught.value)
    assert "\n" not in message and len(message) <= 300
    return message


OTHER = mega_drive_rom(2)


@pytest.mark.emulator
@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(99), ["a 7-Zip archive", "unpack it"]),
        ("a.rar", b"Rar!\x1a\x07\x01\0" + bytes(99), ["a RAR archive", "unpack it"]),
        ("a.sfc", b"Rar!\x1a\x07\x01\0" + bytes(99), ["a RAR archive"]),  # whatever its name
        ("a.zip", zipped(x_rar=b"Rar!\x1a\x07\x01\0" + bytes(99)), ["x.rar is a RAR archive"]),
        ("a.tar", bytes(257) + b"ustar" + bytes(900), ["a tar archive"]),
        ("a.ips", b"PATCH" + bytes(99), ["IPS patch", "original ROM"]),
        ("a.md", b"<!DOCTYPE html><html></html>", ["a web page"]),
        ("a.md", b" <html></html>", ["a web page"]),
        # The SHA-1 of what the emulator would load, not of the file.
        ("a.smd", interleave_smd(OTHER), ["de-interleaved", "'TEST CARTRIDGE'", hashlib.sha1(OTHER).hexdigest()]),
        ("a.zip", zipped(manual_pdf=bytes(99_999), b_md=OTHER), ["b.md is", hashlib.sha1(OTHER).hexdigest()]),
        ("a.zip", zipped(manual_pdf=bytes(999)), ["manual.pdf is 999 bytes, all 00"]),
        ("a.gz", gzip.compress(ROM)[:-30], ["cannot be unpacked"]),
        ("a.gz", gzip.compress(bytes(70 * 2**20)), ["cannot be unpacked", "more than"]),
        ("a.zip", zipped(a_md=b""), ["contains no files"]),
    ],
)  # fmt: skip
def test_what_is_no_known_rom_is_described(integrations, tmp_path, name, content, parts):
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path, integrations)
    for part in parts:
        assert part in message


@pytest.mark.emulator
def test_archives_in_archives_have_a_limit(integrations, tmp_path, monkeypatch):
    content = zipped(a_md=ROM)
    for _ in range(rom_archives.MAX_ARCHIVES):
        content = zipped(a_zip=content)
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    assert "archives in one another" in refusal(path, integrations)
    monkeypatch.setattr(rom_archives, "MAX_TOTAL_BYTES", 1000)
    path.write_bytes(zipped(a_md=ROM))
    assert "too many files" in refusal(path, integrations)


@pytest.mark.emulator
def test_a_nes_rom_without_its_header_is_refused(emulator, tmp_path):
    """The emulator's SHA-1 is that of the ROM without its header, but it needs the header."""
    content = bytes(np.random.default_rng(3).integers(0, 256, 16384 + 8192, np.uint8))
    folder = tmp_path / "mine" / "MyGame-Nes"
    folder.mkdir(parents=True)
    (folder / "rom.sha").write_text(hashlib.sha1(content).hexdigest() + "\n")
    path = tmp_path / "game.nes"
    path.write_bytes(content)
    assert "without the 16 bytes of its iNES header" in refusal(path, folder.parent)
    path.write_bytes(b"NES\x1a\x01\x01".ljust(16, b"\0") + content)
    run_import_game(path, folder.parent)


@pytest.mark.parametrize("archive", rom_layouts.ARCHIVES, ids=lambda archive: archive.kind)
def test_an_archive_in_the_place_of_a_rom_is_refused(archive, tmp_path):
    """The emulator would take it for a ROM; the advice is what import_game.py can do with it."""
    rom = tmp_path / "rom.sfc"
    rom.write_bytes(archive.magic + bytes(32768 - len(archive.magic)))
    with pytest.raises(InputError, match=f"is a {archive.kind}, not a ROM") as caught:
        check_rom(str(rom), None)
    assert ("import_game.py` unpacks it" in str(caught.value)) == (archive in rom_archives.UNPACKERS or (
        archive is rom_layouts.ZIP))  # fmt: skip


def test_messages_show_the_first_line_of_an_exception():
    assert first_line(ValueError("a\nb")) == "a" and first_line(KeyError()) == "KeyError"
    assert first_line(ValueError("\n a\x00" + "b" * 99 + "end"), 20).startswith("a?bb")
    assert first_line(ValueError("x" * 99 + "end"), 20).endswith("end")
