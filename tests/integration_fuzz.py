"""Damages the files of an emulator integration: bytes, JSON values, text."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np

SCRIPT = """
previous = 0
function reward()
  local gained = data.score - previous
  previous = data.score
  return gained
end
function finished()
  return data.lives == 0
end
"""
SCENARIO = {
    "scripts": ["reward.lua"],
    "reward": {"script": "lua:reward"},
    "done": {"variables": {"gameover": {"op": "equal", "reference": 1}, "lives": {"op": "zero"}}, "condition": "all"},
    "crop": [0, 0, 320, 224],
}  # fmt: skip
NAME = "MyShooter-Genesis"
FILES = ("data.json", "scenario.json", "metadata.json", "rom.sha", "reward.lua", "Level1.state")
STRANGE = (None, True, -1, 0, 1, 2**31, 2**63, 10**400, 1e308, float("nan"), "", "x", "\0", "../x", "a" * 9999,
           [], [1], {}, {"a": {}}, "lua:nothing", "|u9", "rom.md")  # fmt: skip


def make_integration(stock: Path, folder: Path) -> None:
    """Airstriker under another name, with a Lua script. `stock`: the folder of Airstriker-Genesis-v0."""
    shutil.copytree(stock, folder / NAME)
    (folder / NAME / "scenario.json").write_text(json.dumps(SCENARIO))
    (folder / NAME / "reward.lua").write_text(SCRIPT)


def mutate(content: bytes, name: str, rng: np.random.Generator) -> bytes:
    """The content of a file with some damage."""
    if name.endswith(".json") and rng.random() < 0.7:
        value = json.loads(content)
        for _ in range(rng.integers(1, 4)):
            value = mutate_json(value, rng)
        return json.dumps(value).encode()
    if name.endswith(".state") and rng.random() < 0.5:
        return gzip.compress(mutate_bytes(gzip.decompress(content), rng), 1)
    return mutate_bytes(content, rng)


def mutate_json(value, rng: np.random.Generator):
    """A JSON value of which a random part is replaced, removed or renamed."""
    if rng.random() < 0.2 or not isinstance(value, (dict, list)) or not value:
        if rng.random() < 0.03:
            return json.loads("[" * 500 + "]" * 500)
        return STRANGE[rng.integers(len(STRANGE))]
    value = value.copy()
    key = rng.choice([*value]) if isinstance(value, dict) else int(rng.integers(len(value)))
    choice = rng.random()
    if choice < 0.1:
        value.pop(key)
    elif choice < 0.2 and isinstance(value, dict):
        value["renamed" if rng.random() < 0.5 else "\udcff" * 3] = value.pop(key)
    else:
        value[key] = mutate_json(value[key], rng)
    return value


def mutate_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(damaged) + 1))
        choice = rng.integers(6)
        if choice == 0 and at < len(damaged):
            damaged[at] ^= 1 << int(rng.integers(8))
        elif choice == 1:
            damaged[at:at] = bytes(rng.integers(0, 256, rng.integers(1, 30), np.uint8))
        elif choice == 2:
            del damaged[at:]
        elif choice == 3:
            del damaged[at : at + int(rng.integers(1, 50))]
        elif choice == 4:
            damaged[at : at + 8] = bytes(8)
        else:
            other = int(rng.integers(len(damaged) + 1))
            damaged[at:at] = damaged[other : other + 40]
    return bytes(damaged)
