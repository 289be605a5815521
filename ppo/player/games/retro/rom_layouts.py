"""ROMs as people have them: with copier headers, interleaved or byte-swapped; and files that are no ROMs."""

from dataclasses import dataclass
from typing import Iterator, Optional, Tuple

from player.games.retro.other_files import describe_other_file

HEADER_BYTES = 512  # size of the header that copiers of cartridges put in front of the ROM
SMD_BLOCK = 16 * 1024  # bytes of an interleaved block of a Super Magic Drive dump: odd bytes, then even bytes
BANK_HALF, HIROM_MODES = 32 * 1024, (0x21, 0x31, 0x25, 0x35)  # SNES: half a bank in bytes; map modes
LOROM_HEADER, HIROM_HEADER = 0x7FC0, 0xFFC0  # offsets of the header in a SNES ROM
UNPACK = "unpack it, and give the ROM or a zip of it"
# How other files begin that are given for ROMs: what it is, and what to do.
NO_ROMS: Tuple[Tuple[bytes, str, str], ...] = (
    (b"MComprHD", "a CHD disc image", "only cartridges can be imported"),
    (b"CISO", "a disc image", "only cartridges can be imported"),
    (b"PATCH", "an IPS patch", "apply it to the original ROM, and give the result"),
    (b"BPS1", "a BPS patch", "apply it to the original ROM, and give the result"),
    (b"UPS1", "a UPS patch", "apply it to the original ROM, and give the result"),
    (b"#!s9xsnp", "a savestate of Snes9x", "give the ROM"),
    (b"<!DOCTYPE", "a web page", "download the ROM itself"),
    (b"<html", "a web page", "download the ROM itself"),
    (b"MZ", "a Windows program", "give the ROM"),
    (b"\x7fELF", "a Linux program", "give the ROM"),
)


@dataclass(frozen=True)
class Archive:
    """A kind of archive: how it begins, and the command that unpacks it; "" if rom_archives.py does."""

    magic: bytes
    kind: str
    command: str = ""

    @property
    def is_unpacked(self) -> bool:
        """Whether import_game.py unpacks it."""
        return not self.command


ZIP, GZIP = Archive(b"PK\3\4", "zip archive"), Archive(b"\x1f\x8b", "gzip archive")
BZIP2, XZ = Archive(b"BZh", "bzip2 archive"), Archive(b"\xfd7zXZ\0", "xz archive")
ARCHIVES = (
    *(ZIP, GZIP, BZIP2, XZ),
    Archive(b"7z\xbc\xaf\x27\x1c", "7-Zip archive", "7z x FILE"),
    Archive(b"Rar!\x1a\x07", "RAR archive", "unrar x FILE"),
    Archive(b"\x28\xb5\x2f\xfd", "Zstandard archive", "zstd -d FILE"),
)


@dataclass(frozen=True)
class Variant:
    """A ROM that a file may stand for: `change` says what was done to it ("" = nothing)."""

    content: bytes
    change: str = ""


def find_archive(content: bytes) -> Optional[Archive]:
    """The kind of archive that a file is, by how it begins; None if it is none."""
    return next((archive for archive in ARCHIVES if content.startswith(archive.magic)), None)


def describe_no_rom(content: bytes) -> Optional[str]:
    """What a file is that cannot be a ROM, and what to do; None if it may be a ROM."""
    archive = find_archive(content)
    if archive and not archive.is_unpacked:
        return f"a {archive.kind}: {UNPACK} (`{archive.command}`)"
    start = content[:16].lstrip().lower()
    for magic, kind, remedy in NO_ROMS:
        if content.startswith(magic) or (magic.startswith(b"<") and start.startswith(magic.lower())):
            return f"{kind}: {remedy}"
    if content[257:262] == b"ustar":
        return f"a tar archive: {UNPACK}"
    return None if archive else describe_other_file(content)


def rom_variants(content: bytes) -> Iterator[Variant]:
    """The ROMs that a file may stand for, the most likely one first. Interleaved or swapped ones are recognized by
    what they contain, not by their names."""
    body, header = remove_header(content), ""
    if body is not content:
        header = "a header of 512 bytes removed"
    for change, restore in (("de-interleaved", deinterleave_smd), ("de-interleaved", deinterleave_mgd),
                            ("de-interleaved", deinterleave_snes), ("bytes swapped", swap_bytes)):  # fmt: skip
        restored = restore(body)
        if restored is not None:
            yield Variant(restored, ", ".join(filter(None, (header, change))))
    yield Variant(body, header)
    if header:
        yield Variant(content)


def remove_header(content: bytes) -> bytes:
    """Removes a copier's header, which is recognized by the file's size."""
    return content[HEADER_BYTES:] if len(content) % 1024 == HEADER_BYTES < len(content) else content


def deinterleave_smd(content: bytes) -> Optional[bytes]:
    """A Mega Drive ROM from a Super Magic Drive dump without its header, or None if it is not one.

    Each block of 16 KiB holds the bytes at odd addresses and then those at even addresses; some
    programs write them in the other order.
    """
    if len(content) % SMD_BLOCK or not content:
        return None
    blocks = [content[i : i + SMD_BLOCK] for i in range(0, len(content), SMD_BLOCK)]
    halves = [(block[: SMD_BLOCK // 2], block[SMD_BLOCK // 2 :]) for block in blocks]
    for is_odd_first in (True, False):
        if is_mega_drive(_weave(*halves[0][:: -1 if is_odd_first else 1])):
            return b"".join(_weave(*half[:: -1 if is_odd_first else 1]) for half in halves)
    return None


def deinterleave_mgd(content: bytes) -> Optional[bytes]:
    """The same of a Multi Game Doctor dump, whose whole first half holds the bytes at even (or odd) addresses."""
    if len(content) % 2 or len(content) < 1024:
        return None
    first, second = content[: len(content) // 2], content[len(content) // 2 :]
    for even, odd in ((first, second), (second, first)):
        restored = _weave(even[:512], odd[:512])
        if is_mega_drive(restored):
            return _weave(even, odd)
    return None


def deinterleave_snes(content: bytes) -> Optional[bytes]:
    """A HiROM cartridge of the SNES from a Game Doctor dump, or None if it is not one.

    Such a dump holds the upper 32 KiB of all banks of 64 KiB, and then the lower ones.
    """
    half = len(content) // 2
    if half % BANK_HALF or half == 0 or not _is_hirom(read_snes_header(content, LOROM_HEADER)):
        return None
    upper, lower = content[:half], content[half:]
    starts = range(0, half, BANK_HALF)
    restored = b"".join(lower[i : i + BANK_HALF] + upper[i : i + BANK_HALF] for i in starts)
    return restored if _is_hirom(read_snes_header(restored, HIROM_HEADER)) else None


@dataclass(frozen=True)
class SnesHeader:
    """What a SNES cartridge says about itself. `map_mode`: how it is mapped into the console's memory."""

    title: str
    map_mode: int
    region: int
    revision: int


def read_snes_header(content: bytes, offset: int) -> Optional[SnesHeader]:
    """The header at `offset`; None if there is no valid one."""
    header = content[offset : offset + 32]
    if len(header) < 32:
        return None
    checksums = int.from_bytes(header[28:30], "little"), int.from_bytes(header[30:32], "little")
    if sum(checksums) != 0xFFFF or not all(32 <= byte < 127 for byte in header[:21]):
        return None
    return SnesHeader(header[:21].decode("ascii").strip(), header[21], header[25], header[27])


def find_snes_header(content: bytes) -> Optional[SnesHeader]:
    """The header of a SNES cartridge; None if it has no valid one."""
    return read_snes_header(content, LOROM_HEADER) or read_snes_header(content, HIROM_HEADER)


def _is_hirom(header: Optional[SnesHeader]) -> bool:
    return header is not None and header.map_mode in HIROM_MODES


def swap_bytes(content: bytes) -> Optional[bytes]:
    """A Mega Drive or Nintendo 64 ROM whose bytes are swapped in pairs or words; None if it is neither."""
    if len(content) % 4 or len(content) < 1024:
        return None
    pairs = _weave(content[1::2], content[::2])
    if is_mega_drive(pairs) or content[:4] == b"\x37\x80\x40\x12":
        return pairs
    if content[:4] == b"\x40\x12\x37\x80":
        restored = bytearray(len(content))
        for i in range(4):
            restored[i::4] = content[3 - i :: 4]
        return bytes(restored)
    return None


def is_mega_drive(content: bytes) -> bool:
    """Whether a ROM has the header of a Mega Drive or Genesis cartridge."""
    return content[0x100:0x104] == b"SEGA" or content[0x101:0x105] == b"SEGA"


def _weave(even: bytes, odd: bytes) -> bytes:
    woven = bytearray(len(even) + len(odd))
    woven[::2], woven[1::2] = even, odd
    return bytes(woven)
