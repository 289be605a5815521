"""Builds the Kart Cart cartridge from kart_cart.asm and the built-in game's tracks; no other file is needed.

The cartridge stores its race at the same addresses as Super Mario Kart, so that code for one works with the other.
"""

from pathlib import Path
from typing import Dict, Iterable, List, Tuple

import numpy as np

from player.games.kart_cart.art import CHECKPOINTS, TrackArt, kart_sprites, letter_tile, track_art
from player.games.kart_cart.assembler import assemble

ROM_SIZE = 512 * 1024
BANK = 0x8000  # bytes per bank, and the address at which the cartridge's memory begins in each bank
NUM_TRACKS = 3
SOURCE = Path(__file__).with_name("kart_cart.asm")

# Lines of the screen
SKY_LINES, HALF_LINE, HORIZON, KART_LINE = 24, 112, 20, 94
NEAREST_SCALE = 0.55  # track pixels per screen pixel in the lowest line of the race view
CAMERA_DISTANCE = 70  # distance of a line from the camera, in units of the line's scale
HEADINGS = 64  # view directions per full turn
MATRIX_AB_BANK, MATRIX_CD_BANK, SPRITE_BANK, TRACK_BANK = 1, 2, 3, 4
# Offsets in the second bank of a track; the first bank has the map and the tiles.
HEADINGS_OFFSET, START_OFFSET, COLORS_OFFSET = 0x400, 0x480, 0x500
SURFACES_OFFSET, SKY_MAP_OFFSET, SKY_TILES_OFFSET = 0x700, 0x800, 0x1800

TEXT_SPRITES = 18
RACE_TEXT, MENU_TEXT = ((12, 8, "LAP 1/5"),), ((88, 40, "PRESS START"), (100, 52, "COURSE 1"))
VECTORS = {0x7FEA: "nmi", 0x7FEE: "irq", 0x7FFA: "irq", 0x7FFC: "reset", 0x7FFE: "irq"}


def build() -> bytes:
    """Builds the cartridge, ROM_SIZE bytes; the result is the same on every machine."""
    tracks = [track_art(index) for index in range(NUM_TRACKS)]
    sprites = kart_sprites(np.zeros(256, np.uint16))
    ab, cd, size = matrices()
    symbols = {
        "SPRITE_BANK": SPRITE_BANK, "SPRITE_SIZE": len(sprites), "MATRIX_AB_BANK": MATRIX_AB_BANK,
        "MATRIX_CD_BANK": MATRIX_CD_BANK, "TRACK_BANK": TRACK_BANK, "NUM_TRACKS": NUM_TRACKS,
        "HALF_LINE": HALF_LINE, "MAP_SCROLL_X": -72 & 0x1FFF, "MAP_SCROLL_Y": -HALF_LINE & 0x1FFF,
        "KART_TOP": KART_LINE - 26, "DOT_TOP": HALF_LINE - 3, "DOT_TILE": letter_tile("."),
        "DIGITS": letter_tile("0"), "LAST_CHECK": CHECKPOINTS - 1, "HEADINGS": HEADINGS_OFFSET, "START": START_OFFSET,
        "SURFACES": SURFACES_OFFSET, "COLORS": BANK + COLORS_OFFSET, "SKY_MAP": BANK + SKY_MAP_OFFSET,
        "SKY_TILES": BANK + SKY_TILES_OFFSET, "SKY_SIZE": max(len(track.sky_tiles) for track in tracks),
        "TEXT_SIZE": 4 * TEXT_SPRITES, "RACE_DIGIT": digit_offset(RACE_TEXT), "MENU_DIGIT": digit_offset(MENU_TEXT),
    }  # fmt: skip
    code, names = assemble(SOURCE.read_text(encoding="utf-8") + lookup_tables(size), BANK, symbols)
    banks = {0: code, MATRIX_AB_BANK: ab, MATRIX_CD_BANK: cd, SPRITE_BANK: sprites}
    for index, track in enumerate(tracks):
        banks[TRACK_BANK + 2 * index] = track.tile_map.tobytes() + track.tiles.tobytes()
        banks[TRACK_BANK + 2 * index + 1] = second_track_bank(track)
    return make_rom(banks, {offset: names[name] for offset, name in VECTORS.items()})


def matrices() -> Tuple[bytes, bytes, int]:
    """HDMA tables of the mode 7 matrix, one per heading: its elements A and B, and its elements C and D, for each line.

    Returns the A/B tables of all headings, the C/D tables of all headings, and the size of one table in bytes.
    """
    lines = np.arange(SKY_LINES, HALF_LINE)
    scale = NEAREST_SCALE * (HALF_LINE - 1 - HORIZON) / (lines - HORIZON)  # track pixels per screen pixel
    ahead = CAMERA_DISTANCE * scale
    ahead -= ahead[KART_LINE - SKY_LINES]
    rows = ahead / (lines - 128)  # the PPU counts lines from the middle of a 256-line screen
    overview = (fixed(1024 / HALF_LINE), fixed(0))
    tables = (bytearray(), bytearray())
    for heading in range(HEADINGS):
        angle = 2 * np.pi * heading / HEADINGS
        sine, cosine = np.round((np.sin(angle), np.cos(angle)), 9)
        for table, across, along, below in (
            (tables[0], cosine, sine, overview),
            (tables[1], sine, -cosine, overview[::-1]),
        ):
            table += bytes([SKY_LINES]) + fixed(0) * 2 + bytes([0x80 | len(lines)])
            for a, b in zip((across * scale).tolist(), (along * rows).tolist()):
                table += fixed(a) + fixed(b)
            table += bytes([1]) + b"".join(below) + bytes([0])
    return bytes(tables[0]), bytes(tables[1]), len(tables[0]) // HEADINGS


def fixed(number: float) -> bytes:
    """A signed 8.8 fixed-point number, little-endian, clipped to its range."""
    return max(-32768, min(32767, round(number * 256))).to_bytes(2, "little", signed=True)


def lookup_tables(matrix_size: int) -> str:
    """The tables of bank 0, as assembler source."""
    sines = [round(float(np.round(np.sin(2 * np.pi * a / HEADINGS), 9)) * 127) for a in range(HEADINGS)]
    views = [0, 4, 8, 12, 64]  # first tile of each view of the kart, left to right
    contents = {
        "modes": [SKY_LINES, 0x01, 1, 0x07, 0],
        "layers": [SKY_LINES, 0x12, 1, 0x11, 0],
        "sines": [abs(sine) for sine in sines],
        "signs": [255 if sine < 0 else 0 for sine in sines],
        "matrices": [
            byte for a in range(HEADINGS) for byte in (BANK + a * matrix_size).to_bytes(2, "little")
        ],
        "leaning": [views[(lean + 2) // 4] for lean in range(17)],
        "race_text": text_sprites(RACE_TEXT),
        "menu_text": text_sprites(MENU_TEXT),
    }
    lines = [f"{name}:\n  .byte {','.join(map(str, numbers))}" for name, numbers in contents.items()]
    return "\n" + "\n".join(lines) + "\n"


def place_letters(text: Iterable[Tuple[int, int, str]]) -> List[Tuple[int, int, str]]:
    """Position and character of every letter of lines of text (x, y, line); spaces are left out."""
    return [(x + 7 * i, y, letter) for x, y, line in text for i, letter in enumerate(line) if letter != " "]


def text_sprites(text: Iterable[Tuple[int, int, str]]) -> List[int]:
    """Sprite data of a text, four bytes per letter: x, y, tile, attributes (second palette, in front of everything).

    Unused sprites are put below the screen.
    """
    letters = [[x, y, letter_tile(letter), 0x32] for x, y, letter in place_letters(text)]
    assert len(letters) <= TEXT_SPRITES
    letters += [[0, 240, 0, 0]] * (TEXT_SPRITES - len(letters))
    return [byte for letter in letters for byte in letter]


def digit_offset(text: Iterable[Tuple[int, int, str]]) -> int:
    """Offset of the tile of the first "1" in the sprite data, after the sprites of the kart and the dot."""
    return 8 + 4 * [letter for _, _, letter in place_letters(text)].index("1") + 2


def second_track_bank(track: TrackArt) -> bytes:
    """The second bank of a track: everything but the map and the tiles of the ground."""
    parts = {
        0: track.checkpoints.tobytes(),
        HEADINGS_OFFSET: track.headings.tobytes(),
        START_OFFSET: b"".join(part.to_bytes(2, "little") for part in track.start),
        COLORS_OFFSET: track.palette.astype("<u2").tobytes(),
        SURFACES_OFFSET: track.surfaces.tobytes(),
        SKY_MAP_OFFSET: track.sky_map.astype("<u2").tobytes(),
        SKY_TILES_OFFSET: track.sky_tiles,
    }
    bank = bytearray(BANK)
    for offset, part in parts.items():
        bank[offset : offset + len(part)] = part
    return bytes(bank)


def make_rom(banks: Dict[int, bytes], vectors: Dict[int, int]) -> bytes:
    """A LoROM cartridge with header and checksum. vectors: offset in the ROM -> address of the interrupt handler."""
    rom = bytearray(b"\xff" * ROM_SIZE)
    for bank, content in banks.items():
        assert len(content) <= (0x7FC0 if bank == 0 else BANK), (bank, len(content))
        rom[bank * BANK : bank * BANK + len(content)] = content
    rom[0x7FC0:0x7FD5] = b"KART CART".ljust(21)
    rom[0x7FD5:0x7FDC] = bytes((0x20, 0, (ROM_SIZE // 1024).bit_length() - 1, 0, 1, 0x33, 0))
    for offset, address in vectors.items():
        rom[offset : offset + 2] = address.to_bytes(2, "little")
    rom[0x7FDC:0x7FE0] = b"\xff\xff\0\0"
    checksum = sum(rom) & 0xFFFF
    rom[0x7FDC:0x7FE0] = (checksum ^ 0xFFFF).to_bytes(2, "little") + checksum.to_bytes(2, "little")
    return bytes(rom)
