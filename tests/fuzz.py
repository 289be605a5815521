"""A fuzzer of the loaders: damaged copies of valid files, and what a loader does with each.

PYTHONPATH=ppo:sd:tests .venv/bin/python tests/fuzz.py --inputs 100000 --seed 1   # prints a table
"""

import argparse
import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import struct
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dream.common.errors
import player.common.errors

MAX_SECONDS = 20  # a loader that takes longer hangs
REFUSALS = (dream.common.errors.InputError, player.common.errors.InputError)
NUMBERS = (
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"9223372036854775808",
    b"1000000000",
    b"0.5",
    b'"x"',
    b"null",
    b"[]",
)


@dataclass(frozen=True)
class Target:
    """A loader and a folder of valid files for it.

    `make(folder)` writes the files and returns the one to damage. `load(path)` loads it, or the files around it, and
    returns something to compare, whose `repr` is short. `has_checksum`: every change of the content must be noticed;
    without it (text that people write) a changed file may be another valid one. `is_valid`: whether the result of a
    load is one that can be used.
    """

    make: Callable[[Path], Path]
    load: Callable[[Path], object]
    has_checksum: bool = True
    is_valid: Callable[[object], bool] = lambda result: True


class Hang(BaseException):
    """The loader has taken MAX_SECONDS. Not an Exception, so that no loader catches it."""


def outcome(target: Target, path: Path, expected: object, is_rewritten: bool) -> tuple[str, str]:
    """What the loader does with the damaged file at `path`, and details: refused, same, other, or one of FAULTS."""
    try:
        with (
            time_limit(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            result = target.load(path)
    except REFUSALS as refusal:
        line = str(refusal)
        is_short = line and len(line) <= player.common.errors.MAX_MESSAGE and line.isprintable()
        return ("refused", line) if is_short else ("long message", line)
    except Hang:
        return "hang", traceback.format_exc()
    except Exception:
        return "uncaught", traceback.format_exc()
    if result == expected:
        return "same", ""
    may_differ = is_rewritten or not target.has_checksum
    return ("other", "") if may_differ and target.is_valid(result) else ("taken", repr(result)[:2000])


FAULTS = ("uncaught", "taken", "hang", "long message")


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Raises Hang in the block after MAX_SECONDS."""

    def stop(*_: object) -> None:
        raise Hang

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def damage(content: bytes, rng: random.Random) -> bytes:
    """A damaged copy: flipped bits, zeros, missing, repeated or foreign bytes, an incomplete file."""
    data = bytearray(content)
    start = rng.randrange(len(data) + 1)
    # Half of the damage is near one of the ends, where formats have their headers and directories.
    if rng.random() < 0.5:
        start = (
            min(start, rng.randrange(512))
            if rng.random() < 0.5
            else max(start, len(data) - rng.randrange(512))
        )
    length = min(int(2 ** rng.uniform(0, 12)), len(data) - start)
    kind = rng.choice(
        ["bit", "bytes", "zeros", "cut", "delete", "insert", "repeat", "tail", "number", "empty"]
    )
    if kind == "bit" and data:
        data[min(start, len(data) - 1)] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        data[start : start + length] = rng.randbytes(length)
    elif kind == "zeros":
        data[start : start + length] = bytes(length)
    elif kind == "cut":
        del data[start:]
    elif kind == "delete":
        del data[start : start + length]
    elif kind == "insert":
        data[start:start] = rng.choice([rng.randbytes(length), bytes(length), b"\n" * length, b"9" * length])
    elif kind == "repeat":
        data[start:start] = data[start : start + length] * rng.randrange(1, 4)
    elif kind == "tail":
        data += rng.choice([bytes(length), rng.randbytes(length), b"\n,,,\n"])
    elif kind == "number":
        numbers = list(re.finditer(rb"-?\d+(\.\d+)?", content[:100_000]))
        if numbers:
            one = rng.choice(numbers)
            data[one.start() : one.end()] = rng.choice(NUMBERS)
    elif rng.random() < 0.1:
        data.clear()
    return bytes(data)


def damage_json(content: bytes, rng: random.Random) -> bytes:
    """A JSON text in which one value is replaced by one of another type or size, or is missing."""
    tree = json.loads(content)
    places = list(json_places(tree))
    parent, key = rng.choice(places)
    if rng.random() < 0.15:
        del parent[key]
    else:
        values = (
            None,
            True,
            -1,
            2**63,
            10**9,
            0.5,
            float("nan"),
            "",
            "x" * 5000,
            "\n\0",
            [],
            {},
            [[[[1]]]],
            {"a": None},
        )
        parent[key] = rng.choice(values)
    return json.dumps(tree).encode()


def json_places(tree: object) -> Iterator[tuple[dict | list, str | int]]:
    """Container and key of every value in a JSON document."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield tree, key
        yield from json_places(value)


def damage_zip(content: bytes, rng: random.Random) -> bytes:
    """A zip file in which one member is damaged and the checksums are right: what a hostile program would write."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        infos = old.infolist()
        chosen = rng.choice(infos)
        for info in infos:
            member = old.read(info)
            if info is chosen:
                if rng.random() < 0.1:
                    continue
                member = damage_npy_header(member, rng) if rng.random() < 0.5 else damage(member, rng)
            new.writestr(info, member)
    return out.getvalue()


def damage_npy_header(content: bytes, rng: random.Random) -> bytes:
    """An .npy file whose header has another dtype or shape; other content is damaged somewhere."""
    if not content.startswith(b"\x93NUMPY"):
        return damage(content, rng)
    (length,) = struct.unpack("<H", content[8:10])
    header, body = content[10 : 10 + length], content[10 + length :]
    if rng.random() < 0.5:
        header = re.sub(
            rb"'descr': '[^']*'",
            b"'descr': '%s'" % rng.choice([b"<f8", b"|O", b"<i4", b"<U9", b"|V3"]),
            header,
        )
    else:
        shape = rng.choice(
            [b"()", b"(0,)", b"(-1, 4)", b"(9223372036854775807,)", b"(2, 2, 2)", b"(1000000000, 9)"]
        )
        header = re.sub(rb"'shape': \([^)]*\)", b"'shape': " + shape, header)
    return content[:8] + struct.pack("<H", len(header)) + header + body


def fuzz(targets: dict[str, Target], count: int, seed: int) -> dict[str, Counter]:
    """Damages `count` files, evenly over the targets; outcomes by target. Faults are in `details`, (outcome, text)."""
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, target in targets.items():
            rng = random.Random(f"{seed} {name}")
            valid, folder = Path(temporary) / "valid", Path(temporary) / "damaged"
            valid.mkdir()
            path = target.make(valid)
            content, relative = path.read_bytes(), path.relative_to(valid)
            shutil.copytree(valid, folder, symlinks=True)
            with contextlib.redirect_stdout(io.StringIO()):
                expected = target.load(folder / relative)
            assert target.is_valid(expected), name
            results[name] = Counter()
            for _ in range(-(-count // len(targets))):
                kinds = [damage]
                if zipfile.is_zipfile(path):
                    kinds.append(damage_zip)
                if path.suffix == ".json":
                    kinds.append(damage_json)
                kind = rng.choice(kinds)
                shutil.rmtree(folder)
                shutil.copytree(valid, folder)
                damaged = kind(content, rng)
                (folder / relative).write_bytes(damaged)
                found, details = outcome(target, folder / relative, expected, is_rewritten=kind is damage_zip)
                results[name][found] += 1
                if found in FAULTS:
                    results[name][found, details] += 1
                    keep_input(name, damaged)
            shutil.rmtree(valid)
            shutil.rmtree(folder)
    return results


def keep_input(name: str, damaged: bytes) -> None:
    """Writes an input that a loader mishandles into the folder $FUZZ_KEEP, if that is set."""
    if folder := os.environ.get("FUZZ_KEEP"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}_{len(os.listdir(folder))}").write_bytes(damaged)


def main() -> None:
    from fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="names of targets, separated by commas")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(TARGETS)
    results = fuzz({name: TARGETS[name] for name in names}, args.inputs, args.seed)
    print(f"seed {args.seed}")
    kinds = ("refused", "same", "other", *FAULTS)
    print(f"{'':<24}" + "".join(f"{kind:>13}" for kind in kinds))
    for name, counts in results.items():
        print(f"{name:<24}" + "".join(f"{counts[kind]:>13}" for kind in kinds))
    for name, counts in results.items():
        for (found, details), number in [
            (key, value) for key, value in counts.items() if isinstance(key, tuple)
        ][:5]:
            print(f"\n{name}: {found}, {number} times\n{details[-1500:]}")


if __name__ == "__main__":
    main()
