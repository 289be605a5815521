"""Damaged and hostile files through all loaders: refused in one line, or loaded as they were (tests/fuzz.py)."""

import pytest
from fuzz import FAULTS, fuzz
from fuzz_targets import TARGETS


def check(targets: list[str], count: int, seed: int) -> None:
    results = fuzz({name: TARGETS[name] for name in targets}, count, seed)
    faults = {
        name: [key for key in counts if isinstance(key, tuple)]
        for name, counts in results.items()
        if any(counts[fault] for fault in FAULTS)
    }
    assert not faults
    assert all(counts.total() >= count // len(targets) for counts in results.values())


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files(name):
    """The same 2,000 inputs in every run."""
    check([name], count=-(-2000 // len(TARGETS)), seed=0)


@pytest.mark.long
@pytest.mark.slow
def test_a_hundred_thousand_damaged_files():
    check(list(TARGETS), count=100_000, seed=1)
