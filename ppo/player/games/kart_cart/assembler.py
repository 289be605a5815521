"""An assembler for the 65816, the processor of the SNES; it has only the instructions that the cartridge uses.

A line is a `label:`, `NAME = sum`, `.byte sum, sum ...`, `.a8 .a16 .i8 .i16` (the width of the registers from here on;
SEP and REP set it by themselves), or an instruction. A sum consists of numbers (`12`, `$0C`) and names, joined by + and
-. `;` starts a comment.
"""

import re
from typing import Callable, Dict, List, Mapping, Optional, Tuple

IMPLIED = {
    "CLC": 0x18, "SEC": 0x38, "SEI": 0x78, "CLD": 0xD8, "XCE": 0xFB, "TXS": 0x9A, "TCD": 0x5B, "TAX": 0xAA, "TAY": 0xA8,
    "TXA": 0x8A, "TYA": 0x98, "INX": 0xE8, "INY": 0xC8, "DEX": 0xCA, "DEY": 0x88, "PHA": 0x48, "PLA": 0x68, "PHX": 0xDA,
    "PLX": 0xFA, "PHY": 0x5A, "PLY": 0x7A, "PHP": 0x08, "PLP": 0x28, "RTI": 0x40, "RTS": 0x60, "NOP": 0xEA, "XBA": 0xEB,
    "INC": 0x1A, "DEC": 0x3A, "ASL": 0x0A, "LSR": 0x4A, "ROL": 0x2A, "ROR": 0x6A,
}  # fmt: skip
BRANCHES = {
    "BNE": 0xD0, "BEQ": 0xF0, "BCC": 0x90, "BCS": 0xB0, "BMI": 0x30, "BPL": 0x10, "BRA": 0x80,
}  # fmt: skip
# Pattern of an operand and the index it means; the first match counts. The group is a sum.
OPERANDS = ((r"\[(.+)\],Y", "[dp],y"), (r"(.+),X", "x"), (r"(.+),Y", "y"), (r"(.+)", ""))
# Addressing modes: immediate, then one (dp), two (abs) or three (long) bytes of address, with their index register.
MODES = ("#", "dp", "abs", "dp,x", "abs,x", "abs,y", "long", "long,x", "[dp],y")
OPCODES = {  # instruction -> opcode of each of MODES, None if it does not exist
    "LDA": (0xA9, 0xA5, 0xAD, 0xB5, 0xBD, 0xB9, 0xAF, 0xBF, 0xB7),
    "STA": (None, 0x85, 0x8D, 0x95, 0x9D, 0x99, 0x8F, 0x9F, 0x97),
    "ADC": (0x69, 0x65, 0x6D, 0x75, 0x7D, 0x79, 0x6F, 0x7F, 0x77),
    "SBC": (0xE9, 0xE5, 0xED, 0xF5, 0xFD, 0xF9, 0xEF, 0xFF, 0xF7),
    "AND": (0x29, 0x25, 0x2D, 0x35, 0x3D, 0x39, 0x2F, 0x3F, 0x37),
    "ORA": (0x09, 0x05, 0x0D, 0x15, 0x1D, 0x19, 0x0F, 0x1F, 0x17),
    "EOR": (0x49, 0x45, 0x4D, 0x55, 0x5D, 0x59, 0x4F, 0x5F, 0x57),
    "CMP": (0xC9, 0xC5, 0xCD, 0xD5, 0xDD, 0xD9, 0xCF, 0xDF, 0xD7),
    "BIT": (0x89, 0x24, 0x2C, 0x34, 0x3C),
    "STZ": (None, 0x64, 0x9C, 0x74, 0x9E),
    "LDX": (0xA2, 0xA6, 0xAE, None, None, 0xBE),
    "LDY": (0xA0, 0xA4, 0xAC, 0xB4, 0xBC),
    "STX": (None, 0x86, 0x8E),
    "STY": (None, 0x84, 0x8C),
    "CPX": (0xE0, 0xE4, 0xEC),
    "CPY": (0xC0, 0xC4, 0xCC),
    "INC": (None, 0xE6, 0xEE, 0xF6, 0xFE),
    "DEC": (None, 0xC6, 0xCE, 0xD6, 0xDE),
    "ASL": (None, 0x06, 0x0E, 0x16, 0x1E),
    "LSR": (None, 0x46, 0x4E, 0x56, 0x5E),
    "JMP": (None, None, 0x4C),
    "JSR": (None, None, 0x20),
    "REP": (0xC2,),
    "SEP": (0xE2,),
}
INDEX_INSTRUCTIONS = ("LDX", "LDY", "CPX", "CPY")


def assemble(source: str, base: int, symbols: Mapping[str, int]) -> Tuple[bytes, Dict[str, int]]:
    """Assembles machine code for address `base`. Returns it and the values of all names, `symbols` included.

    Raises ValueError that quotes the wrong line.
    """
    names = dict(symbols)
    for last_pass in (False, True):  # the second pass knows the labels further down
        code, widths = bytearray(), {"A": 1, "I": 1}
        for number, line in enumerate(source.splitlines(), 1):
            text = line.split(";")[0].strip()
            try:
                code += assemble_line(text, base + len(code), base, names, widths, last_pass) if text else b""
            except (ValueError, KeyError) as problem:
                raise ValueError(f"line {number}, {text!r}: {problem}") from None
    return bytes(code), names


def assemble_line(
    text: str, here: int, base: int, names: Dict[str, int], widths: Dict[str, int], last_pass: bool
) -> bytes:
    """Machine code of one line at address `here`. Updates `names` (labels, constants) and `widths` (of A and I)."""

    def value(expression: str) -> int:
        return evaluate_sum(expression, names, None if last_pass else base)

    if text.endswith(":"):
        names[text[:-1]] = here
        return b""
    head, _, operand = (part.strip() for part in text.partition(" "))
    if operand.startswith("="):
        names[head] = value(operand[1:])
        return b""
    head = head.upper()
    if head in (".A8", ".A16", ".I8", ".I16"):
        widths[head[1]] = int(head[2:]) // 8
        return b""
    if head == ".BYTE":
        return bytes(value(each) & 255 for each in operand.split(","))
    if not operand:
        return bytes([IMPLIED[head]])
    if head in BRANCHES:
        distance = value(operand) - (here + 2)
        if last_pass and not -128 <= distance < 128:
            raise ValueError(f"the branch is too far: {distance} bytes")
        return bytes([BRANCHES[head], distance & 255])
    if operand.startswith("#"):
        number, size = value(operand[1:]), widths["I" if head in INDEX_INSTRUCTIONS else "A"]
        if head in ("REP", "SEP"):
            size = 1
            for flag, register in ((0x20, "A"), (0x10, "I")):
                if number & flag:
                    widths[register] = 2 if head == "REP" else 1
        return bytes([opcode(head, "#")]) + (number & (256**size - 1)).to_bytes(size, "little")
    return encode_address(head, operand, value)


def encode_address(head: str, operand: str, value: Callable[[str], int]) -> bytes:
    """An instruction with an address; the size of the address decides how many bytes it takes."""
    pattern, index = next(each for each in OPERANDS if re.fullmatch(each[0], operand))
    number = value(re.fullmatch(pattern, operand).group(1))
    if index == "[dp],y":
        return bytes([opcode(head, index), number])
    size = 1 if number < 0x100 else 2 if number < 0x10000 else 3
    mode = ("dp", "abs", "long")[size - 1] + ("," + index if index else "")
    if mode == "dp,y" or (mode == "dp" and head in ("JMP", "JSR")):
        mode, size = mode.replace("dp", "abs"), 2
    return bytes([opcode(head, mode)]) + number.to_bytes(size, "little")


def opcode(head: str, mode: str) -> int:
    """The opcode of an instruction in an addressing mode. Raises ValueError if it does not exist."""
    code = dict(zip(MODES, OPCODES[head])).get(mode)
    if code is None:
        raise ValueError(f"{head} has no addressing mode {mode}")
    return code


def evaluate_sum(expression: str, names: Mapping[str, int], default: Optional[int]) -> int:
    """The value of a sum such as `SPEED+1` or `$80-2`. Undefined names have the value `default`.

    Raises ValueError if the text is not a sum, or if a name is undefined and `default` is None.
    """
    total = 0
    parts: List[Tuple[str, str]] = re.findall(r"([+-]?)\s*([$\w]+)", expression)
    if not parts or "".join(sign + part for sign, part in parts) != re.sub(r"\s", "", expression):
        raise ValueError(f"{expression!r} is not a sum")
    for sign, part in parts:
        if part.startswith("$"):
            number = int(part[1:], 16)
        elif part.isdigit():
            number = int(part)
        else:
            number = names.get(part, default)
            if number is None:
                raise ValueError(f"undefined name {part}")
        total += -number if sign == "-" else number
    return total
