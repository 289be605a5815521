"""Recognizes files of other kinds that carry the name of a ROM: text, web pages, pictures, blank files."""

import json
from typing import Optional, Tuple

MIN_ROM_BYTES = 1024  # no cartridge is smaller
CHECKED_BYTES = 65536  # how much of a file is checked for being text
MAGICS: Tuple[Tuple[bytes, str], ...] = (
    *((b"\x89PNG", "a PNG picture"), (b"\xff\xd8\xff", "a JPEG picture"), (b"GIF8", "a GIF picture")),
    *((b"%PDF", "a PDF document"), (b"MSCF", "a cabinet archive"), (b"ID3", "an MP3 file")),
    *((b"OggS", "an Ogg file"), (b"\x1aE\xdf\xa3", "a video"), (b"\x60\xea", "an ARJ archive")),
    *((b"SQLite format 3", "a database"), (b"ZSNES Save State", "a savestate of ZSNES")),
    *((b"GENPLUS-GX", "a savestate of Genesis Plus GX"), (b"\x04\x22\x4d\x18", "an LZ4 archive")),
    (b"L\0\0\0\x01\x14\x02\0", "a Windows shortcut"),
)
INSIDE = ((2, b"-lh", "an LHA archive"), (7, b"**ACE**", "an ACE archive"), (4, b"ftyp", "a video"),
          (8, b"WAVE", "a sound"), (8, b"WEBP", "a WebP picture"), (32769, b"CD001", "a CD image"))  # fmt: skip


def describe_other_file(content: bytes) -> Optional[str]:
    """What a file is that is certainly no ROM, and what to do; None if it may be one."""
    text = decode_text(content)
    if content and content.count(content[0]) == len(content) and text is None:
        return f"{len(content):,} bytes, all {content[0]:02X}, no ROM: copy or dump it again"
    for magic, kind in MAGICS:
        if content.startswith(magic):
            return f"{kind}: give the ROM"
    for offset, magic, kind in INSIDE:
        if content[offset : offset + len(magic)] == magic:
            return f"{kind}: give the ROM"
    if text is not None:
        return _describe_text(text)
    if len(content) < MIN_ROM_BYTES:
        return f"{len(content)} bytes, too small for a ROM: copy it again"
    return None


def decode_text(content: bytes) -> Optional[str]:
    """The beginning of a text file without white space in front; None if the content is no text.

    A ROM has control characters, which no text has, in its first CHECKED_BYTES.
    """
    start = content[:CHECKED_BYTES]
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = start[: len(start) // 2 * 2].decode("utf-16", "replace")
        is_text = len(text) > 1 and sum(" " <= c <= "~" or c in "\r\n\t" for c in text) > 0.6 * len(text)
        return text.strip() if is_text else None
    text = start.decode("utf-8-sig", "replace")
    control = any((byte < 32 and byte not in b"\t\n\r\f\x1a\x1b") or byte == 127 for byte in start)
    ascii_bytes = sum(byte < 128 for byte in start)
    return text.strip() if start and not control and 2 * ascii_bytes > len(start) else None


def _describe_text(text: str) -> str:
    lower = text[:200].lower()
    if lower.startswith(("<!doctype", "<html", "<head", "<?xml")) or "<html" in lower:
        return "a web page: download the ROM itself"
    if text.startswith("version https://git-lfs"):
        return "a pointer of Git LFS, not the file: `git lfs pull` gets it"
    if text.startswith(("{", "[")):
        try:
            json.loads(text)
            return "a JSON file: give the ROM"
        except ValueError:
            pass
    return "a text file: give the ROM"
