"""Builds Kart Cart, the project's own SNES cartridge, from kart_cart.asm and the built-in game's courses.

It keeps its race at Super Mario Kart's addresses: what works here works there. No file of anybody else's is needed.
"""

from pathlib import Path
from typing import Dict, Iterable, List, Tuple

import numpy as np

from player.games.kart_cart.art import CHECKPOINTS, course_art, kart_sprites, letter_tile
from player.games.kart_cart.assembler import assemble

ROM_SIZE = 512 * 1024
BANK = 0x8000  # bytes; the cartridge's memory appears at this address of each bank
NUM_COURSES = 3
SOURCE = Path(__file__).with_name("kart_cart.asm")

# Lines of the picture
SKY_LINES, HALF_LINE, HORIZON, KART_LINE = 24, 112, 20, 94
NEAREST = 0.55  # pixels of the course to a pixel of the lowest line of the race view
FORWARD = 70  # how far away a line is, in its own pixels of the course
HEADINGS = 64  # of the picture, to a turn
MATRIX_AB_BANK, MATRIX_CD_BANK, SPRITE_BANK, COURSE_BANK = 1, 2, 3, 4
# Within the second bank of a course, whose first has the map and the tiles
HEADINGS_AT, START_AT, COLOURS_AT, SURFACES_AT, SKY_MAP_AT, SKY_TILES_AT = (
    0x400,
    0x480,
    0x500,
    0x700,
    0x800,
    0x1800,
)

TEXT_SPRITES = 18
RACE_TEXT, MENU_TEXT = ((12, 8, "LAP 1/5"),), ((88, 40, "PRESS START"), (100, 52, "COURSE 1"))
VECTORS = {0x7FEA: "nmi", 0x7FEE: "irq", 0x7FFA: "irq", 0x7FFC: "reset", 0x7FFE: "irq"}


def build() -> bytes:
    """The cartridge, ROM_SIZE bytes."""
    courses = [course_art(index) for index in range(NUM_COURSES)]
    sprites = kart_sprites(np.zeros(256, np.uint16))
    ab, cd, size = matrices()
    symbols = {
        "SPRITE_BANK": SPRITE_BANK, "SPRITE_SIZE": len(sprites), "MATRIX_AB_BANK": MATRIX_AB_BANK,
        "MATRIX_CD_BANK": MATRIX_CD_BANK, "COURSE_BANK": COURSE_BANK, "NUM_COURSES": NUM_COURSES,
        "HALF_LINE": HALF_LINE, "MAP_SCROLL_X": -72 & 0x1FFF, "MAP_SCROLL_Y": -HALF_LINE & 0x1FFF,
        "KART_TOP": KART_LINE - 26, "DOT_TOP": HALF_LINE - 3, "DOT_TILE": letter_tile("."),
        "DIGITS": letter_tile("0"), "LAST_CHECK": CHECKPOINTS - 1, "HEADINGS": HEADINGS_AT, "START": START_AT,
        "SURFACES": SURFACES_AT, "COLOURS": BANK + COLOURS_AT, "SKY_MAP": BANK + SKY_MAP_AT,
        "SKY_TILES": BANK + SKY_TILES_AT, "SKY_SIZE": max(len(course.sky_tiles) for course in courses),
        "TEXT_SIZE": 4 * TEXT_SPRITES, "RACE_DIGIT": digit_at(RACE_TEXT), "MENU_DIGIT": digit_at(MENU_TEXT),
    }  # fmt: skip
    code, names = assemble(SOURCE.read_text(encoding="utf-8") + tables(size), BANK, symbols)
    banks = {0: code, MATRIX_AB_BANK: ab, MATRIX_CD_BANK: cd, SPRITE_BANK: sprites}
    for index, course in enumerate(courses):
        banks[COURSE_BANK + 2 * index] = course.tile_map.tobytes() + course.tiles.tobytes()
        banks[COURSE_BANK + 2 * index + 1] = about(course)
    return image(banks, {at: names[name] for at, name in VECTORS.items()})


def matrices() -> Tuple[bytes, bytes, int]:
    """For each heading two HDMA tables, one after the other: of the matrix's A and B, and of C and D, a pair a line.
    And the bytes of one table."""
    lines = np.arange(SKY_LINES, HALF_LINE)
    scale = NEAREST * (HALF_LINE - 1 - HORIZON) / (lines - HORIZON)  # pixels of the course to one of the line
    ahead = FORWARD * scale
    ahead -= ahead[KART_LINE - SKY_LINES]
    rows = ahead / (lines - 128)  # the PPU counts lines from the middle of a screen of 256
    overview = (fixed(1024 / HALF_LINE), fixed(0))
    both = (bytearray(), bytearray())
    for heading in range(HEADINGS):
        angle = 2 * np.pi * heading / HEADINGS
        sine, cosine = np.round((np.sin(angle), np.cos(angle)), 9)
        for table, across, along, below in (
            (both[0], cosine, sine, overview),
            (both[1], sine, -cosine, overview[::-1]),
        ):
            table += bytes([SKY_LINES]) + fixed(0) * 2 + bytes([0x80 | len(lines)])
            for a, b in zip((across * scale).tolist(), (along * rows).tolist()):
                table += fixed(a) + fixed(b)
            table += bytes([1]) + b"".join(below) + bytes([0])
    return bytes(both[0]), bytes(both[1]), len(both[0]) // HEADINGS


def fixed(number: float) -> bytes:
    """Signed, 8 bits behind the point."""
    return max(-32768, min(32767, round(number * 256))).to_bytes(2, "little", signed=True)


def tables(matrix_size: int) -> str:
    """Of bank 0, as assembler source."""
    sines = [round(float(np.round(np.sin(2 * np.pi * a / HEADINGS), 9)) * 127) for a in range(HEADINGS)]
    views = [0, 4, 8, 12, 64]  # tiles of the kart's, left to right
    found = {
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
    lines = [f"{name}:\n  .byte {','.join(map(str, numbers))}" for name, numbers in found.items()]
    return "\n" + "\n".join(lines) + "\n"


def letters_of(text: Iterable[Tuple[int, int, str]]) -> List[Tuple[int, int, str]]:
    return [(x + 7 * i, y, letter) for x, y, line in text for i, letter in enumerate(line) if letter != " "]


def text_sprites(text: Iterable[Tuple[int, int, str]]) -> List[int]:
    """Four bytes a letter: x, y, tile, second palette and in front of all. What is left over lies below the screen."""
    letters = [[x, y, letter_tile(letter), 0x32] for x, y, letter in letters_of(text)]
    assert len(letters) <= TEXT_SPRITES
    letters += [[0, 240, 0, 0]] * (TEXT_SPRITES - len(letters))
    return [byte for letter in letters for byte in letter]


def digit_at(text: Iterable[Tuple[int, int, str]]) -> int:
    """Where among the sprites' bytes the tile of the first 1 is; the kart and the dot come first."""
    return 8 + 4 * [letter for _, _, letter in letters_of(text)].index("1") + 2


def about(course) -> bytes:
    """The second bank of a course."""
    parts = {
        0: course.checkpoints.tobytes(),
        HEADINGS_AT: course.headings.tobytes(),
        START_AT: b"".join(part.to_bytes(2, "little") for part in course.start),
        COLOURS_AT: course.palette.astype("<u2").tobytes(),
        SURFACES_AT: course.surfaces.tobytes(),
        SKY_MAP_AT: course.sky_map.astype("<u2").tobytes(),
        SKY_TILES_AT: course.sky_tiles,
    }
    bank = bytearray(BANK)
    for at, part in parts.items():
        bank[at : at + len(part)] = part
    return bytes(bank)


def image(banks: Dict[int, bytes], vectors: Dict[int, int]) -> bytes:
    """A LoROM cartridge with its header and checksum."""
    rom = bytearray(b"\xff" * ROM_SIZE)
    for bank, content in banks.items():
        assert len(content) <= (0x7FC0 if bank == 0 else BANK), (bank, len(content))
        rom[bank * BANK : bank * BANK + len(content)] = content
    rom[0x7FC0:0x7FD5] = b"KART CART".ljust(21)
    rom[0x7FD5:0x7FDC] = bytes((0x20, 0, (ROM_SIZE // 1024).bit_length() - 1, 0, 1, 0x33, 0))
    for at, address in vectors.items():
        rom[at : at + 2] = address.to_bytes(2, "little")
    rom[0x7FDC:0x7FE0] = b"\xff\xff\0\0"
    total = sum(rom) & 0xFFFF
    rom[0x7FDC:0x7FE0] = (total ^ 0xFFFF).to_bytes(2, "little") + total.to_bytes(2, "little")
    return bytes(rom)
