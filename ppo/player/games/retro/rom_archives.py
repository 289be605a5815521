"""Unpacks the archives in which people have their ROMs: zip, gz, bz2 and xz, also in one another."""

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Iterator, List, Tuple

from player.common.errors import InputError, first_line
from player.games.retro.rom_layouts import BZIP2, GZIP, XZ, ZIP, find_archive

MAX_BYTES = 64 * 2**20  # size limit of a file, also unpacked
MAX_TOTAL_BYTES = 512 * 2**20  # of all files in an archive together
JOIN = "join its parts, as by `cat x.001 x.002 > x.zip`, and give that"
MAX_ARCHIVES = 3  # archives in one another
# Exceptions of zipfile and the other unpackers for a damaged archive; which one depends on where the wrong byte is.
ARCHIVE_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, LookupError, NotImplementedError),
)
ROM_SUFFIXES = (
    *(
        ".sfc",
        ".smc",
        ".swc",
        ".fig",
        ".md",
        ".gen",
        ".smd",
        ".mgd",
        ".bin",
        ".nes",
        ".unf",
        ".gb",
        ".gbc",
        ".gba",
    ),
    *(".sms", ".gg", ".sg", ".pce", ".a26", ".32x", ".n64", ".z64", ".v64", ".nds"),
)


def read_roms(path: Path) -> Iterator[Tuple[str, bytes]]:
    """Yields name and content of the file, or of each file in an archive, also in archives within it.

    Raises InputError if it is missing, damaged, too large, or an archive of a kind that cannot be unpacked here.
    """
    if not path.is_file():
        raise InputError(f"no file {path}: give the path of your ROM")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(f"{path} has {size:,} bytes: too large for a cartridge")
    if size == 0:
        raise InputError(f"{path} is empty: copy your ROM again")
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise InputError(f"{path} cannot be read: {problem.strerror}") from None
    yield from _unpack(path.name, content, str(path), MAX_ARCHIVES, [MAX_TOTAL_BYTES])


def _unpack(
    name: str, content: bytes, label: str, levels: int, budget: List[int]
) -> Iterator[Tuple[str, bytes]]:
    """The files in `content`, or itself. `label`: for messages. `levels`: archives in one another that are left."""
    archive = find_archive(content)
    unpacker = UNPACKERS.get(archive)
    is_zip = zipfile.is_zipfile(io.BytesIO(content))
    if not is_zip and archive is ZIP:  # a zip archive without the list of files at its end
        remedy = JOIN if PurePosixPath(name).suffix[1:].isdigit() else "copy it again"
        raise InputError(f"{label} is a zip file whose end is missing or damaged: {remedy}")
    if not is_zip and unpacker is None:
        yield name, content
        return
    if levels == 0:
        raise InputError(f"{label} has more than {MAX_ARCHIVES} archives in one another: unpack it yourself")
    if unpacker:
        try:
            unpacked = unpacker(content)
        except ARCHIVE_ERRORS as problem:
            raise InputError(
                f"{label} cannot be unpacked ({first_line(problem, 100)}): copy it again"
            ) from None
        yield from _unpack(PurePosixPath(name).stem, unpacked, label, levels - 1, budget)
        return
    for inner_name, inner in _unzip(content, label, budget):
        yield from _unpack(inner_name, inner, f"{label}, {inner_name}", levels - 1, budget)


def _unzip(content: bytes, label: str, budget: List[int]) -> Iterator[Tuple[str, bytes]]:
    """Name and content of each file in a zip archive, those with the suffix of a ROM first."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            files = [info for info in files if 0 < info.file_size <= MAX_BYTES]
            files = [info for info in files if not _is_hidden(info.filename)]
            for info in sorted(files, key=lambda info: not is_rom_name(info.filename)):
                budget[0] -= info.file_size
                if budget[0] < 0:
                    raise InputError(f"{label} has too many files: give the ROM")
                with archive.open(info) as file:  # its size may be wrong in the list
                    yield info.filename, _limited(file)
    except InputError:
        raise
    except RuntimeError as problem:  # a password, or an unknown compression method
        raise InputError(
            f"{label} cannot be unpacked ({first_line(problem, 100)}): unpack it yourself and give the ROM"
        ) from None
    except ARCHIVE_ERRORS as problem:
        if not content.startswith(ZIP.magic):
            raise InputError(f"{label} is a part of a split zip archive, or damaged: {JOIN}") from None
        raise InputError(f"{label} cannot be unpacked ({first_line(problem, 100)}): copy it again") from None


def _limited(file) -> bytes:
    """All bytes of a file that is unpacked while it is read. Raises ValueError for more than MAX_BYTES."""
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    return content


def _gunzip(content: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        return _limited(file)


def _unbzip(content: bytes) -> bytes:
    with bz2.BZ2File(io.BytesIO(content)) as file:
        return _limited(file)


def _unxz(content: bytes) -> bytes:
    with lzma.LZMAFile(io.BytesIO(content)) as file:
        return _limited(file)


UNPACKERS = {GZIP: _gunzip, BZIP2: _unbzip, XZ: _unxz}


def is_rom_name(name: str) -> bool:
    """Whether a file's suffix is that of a ROM."""
    return PurePosixPath(name).suffix.lower() in ROM_SUFFIXES


def _is_hidden(name: str) -> bool:
    """Whether a file in an archive is one that macOS adds, such as __MACOSX/._game.sfc."""
    return name.startswith("__MACOSX/") or PurePosixPath(name).name.startswith("._")
