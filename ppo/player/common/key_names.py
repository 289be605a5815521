"""Names of keys: translates the spellings of other programs to pygame's, and splits a text into the keys it names.

The result is what `pygame.key.name` returns: "up", "left shift", "space", "return", "w", "[4]" (keypad), "+".
Known spellings: pynput (`Key.up`, `'w'`), browsers (`ArrowUp`, `KeyW`), X11 and Tk (`Shift_L`, `KP_4`), Minecraft
(`key.keyboard.left.control`), Windows (`VK_LEFT`), Linux evdev (`KEY_UP`), pygame and SDL (`K_LEFT`, `Left Shift`),
AutoHotkey (`NumpadAdd`, `PgUp`), Unity (`UpArrow`, `Alpha1`).
sd/dream/common/key_names.py has the same code; the two sides share no Python, and a test keeps the copies equal.
"""

import re
from typing import Dict, List, Optional

MAX_NAME = 40  # characters of a key's name
# Texts for no key at all, in lower case with spaces in place of "_" and "-".
NO_KEY_WORDS = frozenset(
    ["none", "nothing", "nan", "null", "nil", "na", "n/a", "no", "undefined", "noop", "no op", "idle", "released",
     "no key", "no keys", "no input", "nokey", "not pressed", "not held", "none pressed", "none held",
     "nothing pressed", "no key pressed", "no keys pressed", "no keys held", "all released", "key released"]
)  # fmt: skip
ARROWS = ("up", "down", "left", "right")
# Names of pygame's constants K_*; a single printable character is a name too.
PYGAME_KEYS = frozenset(
    [*ARROWS, *(f"f{number}" for number in range(1, 16)), *(f"[{key}]" for key in "0123456789+-*/."),
     *(f"{side} {key}" for side in ("left", "right") for key in ("shift", "ctrl", "alt", "meta")),
     "space", "return", "tab", "escape", "backspace", "delete", "insert", "home", "end", "page up", "page down",
     "caps lock", "scroll lock", "print screen", "alt gr", "sys req", "numlock", "enter", "equals", "break", "clear",
     "help", "menu", "power", "euro", "AC Back", "CurrencySubUnit"]
)  # fmt: skip
# What other programs call the main keyboard's keys is in pygame a key of the keypad, or one that few keyboards have.
AMBIGUOUS = {"enter": "return", "equals": "=", "alt gr": "right alt"}

_MODIFIERS = {
    "shift": ("shift", "shft", "shiftkey"),
    "ctrl": ("ctrl", "control", "controlkey", "ctl"),
    "alt": ("alt", "option", "opt"),
    "meta": ("meta", "super", "win", "windows", "cmd", "command", "gui", "os", "logo", "windowskey"),
}
_KEYPAD = {
    "+": "add plus", "-": "subtract sub minus", "*": "multiply mult mul asterisk star", "/": "divide div slash",
    ".": "decimal dot period separator delete del comma", "8": "up", "2": "down", "4": "left", "6": "right",
    "7": "home", "1": "end", "9": "pageup pgup prior", "3": "pagedown pgdn pgdown next", "0": "insert ins",
    "5": "begin clear center",
}  # fmt: skip
_WORDS = {
    "return": "return enter ret", "space": "space spacebar", "escape": "escape esc", "tab": "tab",
    "backspace": "backspace bs backspacekey", "delete": "delete del", "insert": "insert ins", "home": "home",
    "end": "end", "page up": "pageup pgup prior", "page down": "pagedown pgdn pgdown next",
    "caps lock": "capslock capital", "scroll lock": "scrolllock scrollock scroll", "numlock": "numlock numlockclear",
    "print screen": "printscreen prtsc prtscn prtscr print snapshot sysrq", "break": "break pause pausebreak",
    "menu": "menu contextmenu apps appskey application compose", "help": "help", "power": "power",
    "right alt": "altgr altgraph isolevel3shift altr ralt rmenu", "left alt": "lmenu",
    "=": "equal equals oemplus", "-": "minus hyphen dash oemminus", ",": "comma oemcomma",
    ".": "period dot fullstop oemperiod", ";": "semicolon oem1 oemsemicolon", "/": "slash oem2 oemquestion",
    "`": "grave graveaccent backquote backtick oem3 oemtilde", "[": "leftbracket bracketleft lbracket leftbrace oem4 "
    "oemopenbrackets", "\\": "backslash oem5 oempipe", "]": "rightbracket bracketright rbracket rightbrace oem6 "
    "oemclosebrackets", "'": "apostrophe quote singlequote oem7 oemquotes", "+": "plus", "!": "exclam exclamation "
    "exclaim", '"': "quotedbl doublequote", "#": "numbersign hash", "$": "dollar", "%": "percent", "&": "ampersand",
    "(": "parenleft leftparen", ")": "parenright rightparen", "*": "asterisk", "_": "underscore", ":": "colon",
    "<": "less intlbackslash 102nd", ">": "greater", "?": "question", "@": "at", "^": "asciicircum caret",
    "{": "braceleft", "|": "bar", "}": "braceright", "~": "asciitilde tilde",
}  # fmt: skip
# Without a prefix such as VK_ these are words of games.
_PREFIX_ONLY = {
    "back": "backspace", "add": "[+]", "subtract": "[-]", "multiply": "[*]", "divide": "[/]", "decimal": "[.]",
}  # fmt: skip
_PREFIX = re.compile(
    r"(?:pygame|pynput|keyboard|key|keys|keycode|keysym|k|kc|vk|vkey|xk|dik|sdl2?|sdlk|scancode|glfw|obs|qt|ecodes|"
    r"win32con|tcod|event|console|code)[._](?=.)",
    re.IGNORECASE,
)
_PYNPUT_REPR = re.compile(r"<(Key\.\w+): .*?>(?:>)?(?=\s*(?:[,\]})+;|&]|$))")  # str([Key.up]) in Python
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])+'|"(?:\\.|[^"\\])+\"""")
_STATE = re.compile(  # `'w': True` of a dict, `w=1`
    rf"""\s*({_QUOTED.pattern}|[^\s:='"]+)\s*[:=]\s*(?:(true|1|1\.0)|false|0|0\.0)\s*(?:[,;|&\s]|$)""",
    re.IGNORECASE,
)
# A colon or equals sign that is attached to something else, so that it is no key of its own.
_ASSIGNMENT = re.compile(
    r"[^\s,;|&+\[({][:=]|[:=][^\s,;|&+\])}]|[:=]\s*(?:true|false|0|1)\b|''\s*[:=]", re.IGNORECASE
)
_ARROW_SIGNS = {"↑": "up", "↓": "down", "←": "left", "→": "right"}


def _spellings() -> Dict[str, str]:
    """Spelling (lower case, without spaces, hyphens, underscores and dots) -> pygame's name."""
    table = {word: key for key, words in _WORDS.items() for word in words.split()}
    for arrow in ARROWS:
        for word in (arrow, f"arrow{arrow}", f"{arrow}arrow", f"cursor{arrow}"):
            table[word] = arrow
    for key, words in _MODIFIERS.items():
        for word in words:
            table[word] = f"left {key}"
            for side in ("left", "right"):
                for spelling in (side + word, word + side, side[0] + word, word + side[0]):
                    table[spelling] = f"{side} {key}"
    keypad = {number: f"[{number}]" for number in "0123456789"}
    keypad.update((word, f"[{key}]") for key, words in _KEYPAD.items() for word in words.split())
    keypad.update(enter="enter", equal="equals", equals="equals", **{"return": "enter"})
    for prefix in ("kp", "numpad", "keypad", "num"):
        table.update((prefix + word, key) for word, key in keypad.items())
    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    for number, word in enumerate(digits):
        table.update(
            (spelling, str(number)) for spelling in (word, f"digit{number}", f"alpha{number}", f"d{number}")
        )
    table.update((f"key{letter}", letter) for letter in "abcdefghijklmnopqrstuvwxyz")
    return table


_TABLE = _spellings()


def is_no_key(text: str) -> bool:
    """Whether `text` says that no key is held, such as "none" or "no key"; an empty text does not."""
    return " ".join(re.split(r"[\s_-]+", text.strip().lower())) in NO_KEY_WORDS


def is_printable_name(name: str) -> bool:
    """Whether `name` can be displayed and typed: 1 to MAX_NAME printable characters."""
    return 0 < len(name) <= MAX_NAME and name.isprintable() and not name.isspace()


def to_pygame_key(name: str, foreign: bool = False) -> Optional[str]:
    """pygame's name of the key that another program calls `name`; None if no keyboard has it, such as a mouse button.

    A name of pygame's stays as it is. `foreign`: the name comes from another program, so that "enter" is the main Enter
    key, which pygame calls "return" ("enter" is the keypad's), and "equals" is "=".
    """
    if name in AMBIGUOUS and foreign:
        return AMBIGUOUS[name]
    if name in PYGAME_KEYS:
        return name
    if len(name) == 1:
        return _character(name) if name.isprintable() else None
    quoted = _QUOTED.fullmatch(name.strip())
    name = _unescape(quoted.group()[1:-1]) if quoted else name.strip()
    if len(name) == 1 or name in PYGAME_KEYS:
        return _character(name) if len(name) == 1 else name
    if not is_printable_name(name):
        return None
    keypad = re.fullmatch(r"(?:kp|numpad|keypad|num)[ _]?([-+*/.=])", name, re.IGNORECASE)
    if keypad:
        return "equals" if keypad.group(1) == "=" else f"[{keypad.group(1)}]"
    words = re.split(r"[\s-]+", name.lower())
    if len(words) == 2 and words[0] in _TABLE and words[1] in ("left", "right", "l", "r"):
        return None  # "ctrl left" and "ctrl-left" are two keys; "ctrl_left" and "ctrlLeft" are one
    return _look_up(name) or _without_prefix(name)


def _look_up(name: str) -> Optional[str]:
    spelling = re.sub(r"[\s_.-]+", "", name.lower())
    return _TABLE.get(spelling) or (name.lower() if name.lower() in PYGAME_KEYS else None)


def _without_prefix(name: str) -> Optional[str]:
    prefix = ""
    while True:
        match = _PREFIX.match(name)
        if not match:
            return None
        prefix, name = match.group().lower(), name[match.end() :]
        lower = name.lower()
        if prefix == "vk_" and lower == "menu":
            return "left alt"
        if len(name) == 1:
            return _character(name)
        if lower in _PREFIX_ONLY:
            return _PREFIX_ONLY[lower]
        key = _look_up(name)
        if key:
            return key


def _character(char: str) -> Optional[str]:
    """The key of a single character. With Ctrl held, pynput names the letters by their control characters."""
    if "\x01" <= char <= "\x1a" and char not in "\t\r\n":
        return chr(ord(char) + 96)
    if char.isspace() or not char.isprintable():
        return "space" if char == " " else None
    return _ARROW_SIGNS.get(char, char.lower()[:1])


def _unescape(text: str) -> str:
    """The character behind an escape of Python's repr, such as the four characters \\x17; other texts unchanged."""
    escape = re.fullmatch(r"\\x([0-9a-fA-F]{2})|\\(['\"\\])", text)
    return text if escape is None else chr(int(escape.group(1), 16)) if escape.group(1) else escape.group(2)


def split_keys(text: str) -> List[str]:
    """The names of the keys in a text such as `up+left`, `up,left`, `up left`, `['up', 'left']`, `+`, `up++`.

    Of states such as `{'up': True, 'left': False}` or `up=1,left=0`, those that are true. No names for the words of
    NO_KEY_WORDS and an empty text or list. "left shift" is one key. Raises ValueError if a separator stands where a key
    should be, as in `up++left`, and for another ":" or "=" next to a name.
    """
    text = _PYNPUT_REPR.sub(r"\1", text.strip())
    if not text or is_no_key(text):
        return []
    if to_pygame_key(text) is not None:
        return [text]
    if _ASSIGNMENT.search(_QUOTED.sub("''", text)):
        return _split_states(text)
    items = re.fullmatch(r"(?:frozenset|set|list|tuple|deque)?\(?([\[({])(.*?)[\])}]\)?", text, re.DOTALL)
    if items or re.fullmatch(r"(?:frozenset|set|list|tuple)\(\)", text):
        return _split_items(items.group(2)) if items else []
    if _QUOTED.fullmatch(text):
        return split_keys(text[1:-1])
    if _QUOTED.search(text):
        return _split_items(text)
    if "+" not in text:
        return _split_words(text)
    parts = re.findall(r"(\+|[^+]+)(?:\+(?=.)|$)", text)
    if "+".join(parts) != text:
        raise ValueError(f"{text!r}: a key is missing next to a '+'")
    return [name for part in parts for name in (["+"] if part == "+" else _split_words(part))]


def _split_states(text: str) -> List[str]:
    """The keys whose value is true in `{'up': True, 'left': False}` or `up=1,left=0`."""
    braces = re.fullmatch(r"(?:dict\()?\{(.*)\}\)?|dict\((.*)\)", text, re.DOTALL)
    rest = (braces.group(1) or braces.group(2) or "") if braces else text
    names: List[str] = []
    while rest.strip():
        match = _STATE.match(rest)
        if match is None:
            raise ValueError(
                f"{text!r}: ':' and '=' stand next to a name: write the keys held, such as up+left"
            )
        name, is_held = match.group(1), match.group(2) is not None
        if is_held:
            names.append(name[1:-1] if name[0] in "'\"" and len(name) > 2 and "\\" not in name else name)
        rest = rest[match.end() :]
    return names


def _split_items(text: str) -> List[str]:
    """The items of a list. A quoted item is one key, whatever characters it has."""
    names: List[str] = []
    for match in re.finditer(_QUOTED.pattern + r"|[^,;|&+'\"\s][^,;|&+'\"]*", text):
        item = match.group()
        is_quoted = item[0] in "'\"" and len(item) > 2
        names += _split_words(item) if not is_quoted else [item if "\\" in item else item[1:-1]]
    return [name for name in names if not is_no_key(name)]


def _split_words(text: str) -> List[str]:
    """The keys of a text without '+'; two words that are one key's name, such as "left shift", stay together."""
    names: List[str] = []
    for part in re.split(r"[,;|&]", text):
        part = part.strip()
        if part and to_pygame_key(part) is not None:
            names.append(part)
            continue
        words = part.split()
        while words:
            pair = " ".join(words[:2])
            size = 2 if len(words) > 1 and to_pygame_key(pair) is not None else 1
            names.append(" ".join(words[:size]))
            words = words[size:]
    split = [word for name in names for word in _split_hyphens(name)]
    return [name for name in split if not is_no_key(name)]


def _split_hyphens(name: str) -> List[str]:
    words = name.split("-")
    are_keys = len(words) > 1 and all(word and to_pygame_key(word) is not None for word in words)
    return words if are_keys and to_pygame_key(name) is None else [name]
