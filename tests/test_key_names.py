"""key_names.py: the spellings of other programs, and texts that name several keys."""

import os

import pytest
from player.common.key_names import PYGAME_KEYS, is_printable_name, split_keys, to_pygame_key

# (pygame's name, the spellings of pynput, browsers, X11/Tk, Minecraft, Windows, evdev, pygame/SDL, AutoHotkey, words)
SPELLINGS = [
    ("up", "Key.up ArrowUp Up key.keyboard.up VK_UP KEY_UP K_UP UP UpArrow Keys.ARROW_UP Qt.Key_Up ↑"),
    ("left", "Key.left ArrowLeft Left key.keyboard.left VK_LEFT KEY_LEFT K_LEFT pygame.K_LEFT LeftArrow"),
    ("w", "w W KeyW key.keyboard.w VK_W KEY_W K_w"),
    ("1", "1 Digit1 key.keyboard.1 VK_1 KEY_1 K_1 Alpha1 D1"),
    ("space", "Key.space Space space key.keyboard.space VK_SPACE KEY_SPACE K_SPACE SpaceBar"),
    ("return", "Key.enter Enter Return key.keyboard.enter VK_RETURN KEY_ENTER K_RETURN"),
    ("left shift", "Key.shift Key.shift_l ShiftLeft Shift_L key.keyboard.left.shift VK_LSHIFT VK_SHIFT KEY_LEFTSHIFT "
     "K_LSHIFT LShift LShiftKey Shift"),
    ("right shift", "Key.shift_r ShiftRight Shift_R key.keyboard.right.shift VK_RSHIFT KEY_RIGHTSHIFT K_RSHIFT"),
    ("left ctrl", "Key.ctrl Key.ctrl_l ControlLeft Control_L key.keyboard.left.control VK_LCONTROL KEY_LEFTCTRL "
     "K_LCTRL LControl LCtrl Control"),
    ("left alt", "Key.alt Key.alt_l AltLeft Alt_L key.keyboard.left.alt VK_MENU VK_LMENU KEY_LEFTALT K_LALT"),
    ("right alt", "Key.alt_gr AltRight AltGraph ISO_Level3_Shift VK_RMENU KEY_RIGHTALT K_RALT RAlt"),
    ("left meta", "Key.cmd MetaLeft Super_L key.keyboard.left.win VK_LWIN KEY_LEFTMETA K_LMETA K_LSUPER LWin"),
    ("escape", "Key.esc Escape key.keyboard.escape VK_ESCAPE KEY_ESC K_ESCAPE Esc"),
    ("backspace", "Key.backspace Backspace BackSpace VK_BACK KEY_BACKSPACE K_BACKSPACE BS"),
    ("page up", "Key.page_up PageUp Prior Page_Up key.keyboard.page.up VK_PRIOR KEY_PAGEUP K_PAGEUP PgUp"),
    ("caps lock", "Key.caps_lock CapsLock Caps_Lock VK_CAPITAL KEY_CAPSLOCK K_CAPSLOCK"),
    ("menu", "Key.menu ContextMenu Menu VK_APPS KEY_COMPOSE K_MENU AppsKey"),
    ("[4]", "Numpad4 KP_4 KP_Left key.keyboard.keypad.4 VK_NUMPAD4 KEY_KP4 K_KP4 K_KP_4 NumpadLeft Keypad4"),
    ("[+]", "NumpadAdd KP_Add key.keyboard.keypad.add VK_ADD KEY_KPPLUS K_KP_PLUS"),
    ("[.]", "NumpadDecimal KP_Decimal key.keyboard.keypad.decimal VK_DECIMAL KEY_KPDOT K_KP_PERIOD NumpadDot"),
    ("enter", "NumpadEnter KP_Enter key.keyboard.keypad.enter KEY_KPENTER K_KP_ENTER"),
    ("+", "+ plus K_PLUS"),
    ("-", "- Minus minus key.keyboard.minus VK_OEM_MINUS KEY_MINUS K_MINUS"),
    ("=", "= Equal equal key.keyboard.equal VK_OEM_PLUS KEY_EQUAL K_EQUALS"),
    ("`", "` Backquote grave key.keyboard.grave.accent VK_OEM_3 KEY_GRAVE K_BACKQUOTE"),
    ("[", "[ BracketLeft bracketleft key.keyboard.left.bracket VK_OEM_4 KEY_LEFTBRACE K_LEFTBRACKET"),
    (";", "; Semicolon semicolon VK_OEM_1 KEY_SEMICOLON K_SEMICOLON"),
    ("f5", "Key.f5 F5 key.keyboard.f5 VK_F5 KEY_F5 K_F5"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spellings"), SPELLINGS, ids=[name for name, _ in SPELLINGS])
def test_spellings_of_other_programs(name, spellings):
    for spelling in spellings.split():
        assert to_pygame_key(spelling, foreign=True) == name, spelling
        assert split_keys(spelling) == [spelling]


@pytest.mark.parametrize(
    ("text", "name"),
    [("Left Arrow", "left"), ("left shift", "left shift"), ("Left Shift", "left shift"), ("Page Up", "page up"),
     ("Keypad +", "[+]"), ("num 4", "[4]"), ("alt gr", "right alt"), ("enter", "return"), ("equals", "="),
     ("'w'", "w"), ("' '", "space"), ('"\'"', "'"), (r"'\x17'", "w"), ("ö", "ö")],
)  # fmt: skip
def test_names_of_several_words_and_quoted_ones(text, name):
    assert to_pygame_key(text, foreign=True) == name


@pytest.mark.parametrize(
    "name",
    ["Button.left", "BTN_LEFT", "key.mouse.left", "VK_LBUTTON", "mouse1", "jump", "back", "<65437>",
     "key.keyboard.unknown", "F25", "keyup", "", " x" * 50, "\x01", "\ud800", "Key.", "shift left"],
)  # fmt: skip
def test_names_that_no_keyboard_has(name):
    assert to_pygame_key(name) is None


def test_names_of_pygame_stay(monkeypatch):
    assert all(to_pygame_key(name) == name for name in PYGAME_KEYS)
    monkeypatch.setenv("SDL_VIDEODRIVER", os.environ.get("SDL_VIDEODRIVER", "dummy"))
    pygame = pytest.importorskip("pygame")
    pygame.display.init()  # names are known only then
    try:
        codes = {value for constant, value in vars(pygame).items() if constant.startswith("K_")}
        names = {pygame.key.name(code) for code in codes} - {""}
        assert {name for name in names if len(name) > 1} == PYGAME_KEYS
        assert all(to_pygame_key(name) == name for name in names)
        without = {"K_UNKNOWN", "K_AC_BACK", "K_CURRENCYSUBUNIT", "K_CURRENCYUNIT", "K_MODE", "K_SYSREQ"}
        for constant in {constant for constant in vars(pygame) if constant.startswith("K_")} - without:
            assert to_pygame_key(constant) == pygame.key.name(getattr(pygame, constant)), constant
    finally:
        pygame.display.quit()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []), ("none", []), ("NaN", []), ("null", []), ("None", []), ("[]", []), ("set()", []), ("()", []),
        ("up+left", ["up", "left"]), ("up,left", ["up", "left"]), ("up left", ["up", "left"]),
        ("up; left", ["up", "left"]), ("up|left", ["up", "left"]), ("up & left", ["up", "left"]),
        ("up-left", ["up", "left"]), ("['up', 'left']", ["up", "left"]), ('["up","left"]', ["up", "left"]),
        ("{'up', 'left'}", ["up", "left"]), ("frozenset({'up'})", ["up"]), ("('up',)", ["up"]),
        ("[Key.up, 'w']", ["Key.up", "w"]), ("{<Key.up: <65362>>, 'w'}", ["Key.up", "w"]),
        ("+", ["+"]), ("up++", ["up", "+"]), ("++up", ["+", "up"]), ("up+++left", ["up", "+", "left"]),
        ("['+', ',']", ["+", ","]), ("'w'+'a'", ["w", "a"]), ("'w','a'", ["w", "a"]), ("[4]", ["[4]"]),
        ("left shift up", ["left shift", "up"]), ("left_shift+up", ["left_shift", "up"]),
        ("ctrl left", ["ctrl", "left"]), ("shift+left", ["shift", "left"]), ("None+up", ["up"]),
        ("no key", []), ("No Keys", []), ("no_key", []), ("not pressed", []), ("released", []), ("['no key']", []),
        ("{'w': True, 'a': False}", ["w"]), ('{"w":true,"Key.up":1}', ["w", "Key.up"]), ("w=1,a=0", ["w"]),
        ("left_shift:1 a:0", ["left_shift"]), ("{}", []), ("dict(w=True, a=False)", ["w"]), ("{':': True}", [":"]),
        ("[':', '=']", [":", "="]), (":", [":"]), ("shift+=", ["shift", "="]), ("a, :", ["a", ":"]),
        ("shift =", ["shift", "="]),
    ],
)  # fmt: skip
def test_texts_of_several_keys(text, names):
    assert split_keys(text) == names


@pytest.mark.parametrize("text", ["up++left", "up+", "+up", "+up+"])
def test_a_separator_without_a_key_is_refused(text):
    with pytest.raises(ValueError, match="a key is missing"):
        split_keys(text)


@pytest.mark.parametrize(
    "text", ["w=5", "{'w': None}", "{'w' : 2}", "w:left", "sc:0x48", "w=1,a", "keys: up"]
)
def test_a_value_that_is_not_true_or_false_is_refused(text):
    """They gave the keys "w", ":" and "5"."""
    with pytest.raises(ValueError, match="stand next to a name"):
        split_keys(text)


def test_printable_names():
    assert is_printable_name("left shift") and is_printable_name("w")
    assert not any(map(is_printable_name, ["", " ", "a\n", "\x00", "\ud800", "x" * 41, "\u200b"]))
