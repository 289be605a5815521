"""ROMs with bytes after their end, and files of other kinds that carry the name of a ROM."""

import hashlib
import io
import zipfile

import import_game
import numpy as np
import pytest
from player.common.errors import InputError
from player.games.retro.rom_layouts import describe_no_rom, rom_variants
from player.games.retro.rom_padding import known_length

ROM = np.random.default_rng(3).integers(0, 256, 40_001, np.uint8).tobytes() + b"\1\0\0\0\xff\xff"
HASHES = {hashlib.sha1(ROM).hexdigest()}


@pytest.mark.parametrize("rest", [b"\0", b"\xff", b"\0" * 100, b"\xff" * 999_999, b"\0" * 200_000, ROM])
def test_bytes_after_a_known_rom_are_found(rest):
    assert known_length(ROM + rest, HASHES) == len(ROM)


def test_a_byte_too_many_is_found_whatever_it_is():
    rom = ROM[: 39 * 1024]
    assert known_length(rom + b"x", {hashlib.sha1(rom).hexdigest()}) == len(rom)


@pytest.mark.parametrize("content", [ROM[:-3] + b"x\0\0", bytes(100_000), b"\xff" * 5000, b"a", b"", ROM])
def test_nothing_is_found_in_other_files(content):
    assert known_length(content, HASHES) is None


@pytest.mark.parametrize("is_odd_first", [True, False])
def test_both_orders_of_interleaved_blocks(is_odd_first):
    rom = bytearray(ROM[:32768])
    rom[0x100:0x104] = b"SEGA"
    blocks = [bytes(rom[i : i + 16384]) for i in (0, 16384)]
    halves = [(block[1::2], block[::2]) if is_odd_first else (block[::2], block[1::2]) for block in blocks]
    dump = bytes(512) + b"".join(first + second for first, second in halves)
    assert next(rom_variants(dump)).content == bytes(rom)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"# Readme\nThis is a text file\n" * 200, "text file"),
        ("Umlaute äöü\r\n".encode("cp1252") * 400, "text file"),
        ("Umlaute äöü\r\n".encode("utf-16") * 40, "text file"),
        (b'{"error":"not found"}', "JSON"),
        (b"\x89PNG\r\n\x1a\n" + bytes(9000), "PNG"),
        (b"%PDF-1.4\n" + bytes(9000), "PDF"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aaaa\nsize 1048576\n", "Git LFS"),
        (b"\xef\xbb\xbf<!DOCTYPE html><html>404", "web page"),
        (b"\n\n<!doctype html><html>404", "web page"),
        (b"\0", "1 bytes, all 00"),
        (b"a", "text file"),
        (ROM[:600], "too small"),
        (bytes(524288), "all 00"),
        (b"\xff" * 524288, "all FF"),
    ],
)
@pytest.mark.parametrize("suffix", [".md", ".sfc", ".bin"])
def test_other_files_are_named(tmp_path, content, kind, suffix):
    path = tmp_path / f"game{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=kind) as caught:
        import_game.main(import_game.parse_args([str(path)]))
    assert "rom.sha" not in str(caught.value)


def test_a_rom_may_be_a_rom():
    assert describe_no_rom(ROM) is None and describe_no_rom(b"\xff" * 9000 + ROM) is None


def test_an_archive_counts_more_than_a_larger_text(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("game.7z", b"7z\xbc\xaf\x27\x1c" + bytes(5000))
        archive.writestr("info.txt", "z" * 100_000)
    with pytest.raises(InputError, match="7-Zip"):
        import_game.main(import_game.parse_args([str(path)]))


@pytest.mark.parametrize(("suffix", "part"), [(".001", slice(20_000)), (".002", slice(20_000, None))])
def test_parts_of_a_split_archive(tmp_path, suffix, part):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("game.md", ROM)
    path = tmp_path / f"game{suffix}"
    path.write_bytes(whole.getvalue()[part])
    with pytest.raises(InputError, match="join its parts"):
        import_game.main(import_game.parse_args([str(path)]))


def test_a_padded_rom_is_imported_without_its_padding(tmp_path, monkeypatch, capsys):
    saved = []
    monkeypatch.setattr(import_game, "known_hashes", lambda folder: dict.fromkeys(HASHES, "Test-Genesis"))
    monkeypatch.setattr(import_game, "import_rom", lambda content, game, *_: saved.append((content, game)))
    path = tmp_path / "game.md"
    path.write_bytes(ROM + b"\xff" * (2**17 - len(ROM)))
    import_game.main(import_game.parse_args([str(path)]))
    assert saved == [(ROM, "Test-Genesis")] and "bytes after its end removed" in capsys.readouterr().out
