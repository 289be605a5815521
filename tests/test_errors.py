"""The one line in which a script ends after an error, and which errors of a loader mean a damaged file."""

import errno
import os

import pytest
import torch
from dream.common.errors import MAX_MESSAGE, InputError, refuse_damaged, run_script, shorten
from dream.common.runs import save_checkpoint


@pytest.mark.parametrize("text", ["a\nb\tc\0d", "x" * 100_000 + ": make it again", "\udc80 odd \x1b[31m"])
def test_a_message_is_one_short_printable_line(text):
    """Bytes of a damaged file get into messages: escape sequences, and names of 100,000 characters."""
    line = str(InputError(text))
    assert line.isprintable() and len(line) <= MAX_MESSAGE
    line.encode("utf-8")
    if "again" in text:
        assert line.endswith("x: make it again") and line.startswith("xxx") and len(line) == MAX_MESSAGE


def test_shorten_keeps_what_fits():
    assert shorten("left  and\nright", 14) == "left and right"
    assert shorten("0123456789abcdef", 15) == "012 ... 9abcdef"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        KeyError("x"),
        RecursionError(),
        OSError(errno.EINVAL, "seek"),
        OSError(),
    ],
)
def test_errors_about_the_content_mean_a_damaged_file(error):
    with (
        pytest.raises(InputError, match=r"^a\.npz is damaged .*: record it again$"),
        refuse_damaged("a.npz", "record it again"),
    ):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "no"),
        OSError(errno.ENOSPC, "full"),
        KeyboardInterrupt(),
        InputError("x"),
    ],
)
def test_errors_about_the_disk_or_the_user_pass_through(error):
    """A full disk during packing must not be reported as a damaged recording: a user would delete that."""
    with pytest.raises(type(error)) as caught, refuse_damaged("a.npz", "record it again"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "error, wanted",
    [
        (InputError("no file"), "error: no file"),
        (OSError(errno.ENOSPC, "full", "a.pt"), "error: the disk is full (a.pt): free some space and "),
        (
            OSError(errno.EROFS, "Read-only file system", "a"),
            "error: a: Read-only file system: choose another path",
        ),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "x" * 999),
            "File name too long: choose another path",
        ),
        (MemoryError(), "error: out of memory"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
@pytest.mark.parametrize("can_resume", [False, True])
def test_a_script_ends_in_one_line_with_an_exit_code(error, wanted, can_resume):
    """`--resume` is advised only by scripts that have it."""

    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        run_script(main, can_resume)
    line = caught.value.code
    assert wanted in line and "\n" not in line and len(line) < 320
    assert "--resume" not in line or can_resume


def test_too_little_memory_is_not_called_damage():
    """A user whose GPU is full must not throw a run away; a damaged header may also ask for more than there is."""
    with (
        pytest.raises(InputError, match="does not fit in memory"),
        refuse_damaged("a.npz", "record it again"),
    ):
        raise MemoryError
    with pytest.raises(torch.OutOfMemoryError), refuse_damaged("last.pt", "start a new run"):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(SystemExit, match="the GPU is out of memory"):
        run_script(lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_named_when_a_checkpoint_is_saved(tmp_path, monkeypatch):
    """torch.save hides why a write has failed behind "RuntimeError: ... unexpected pos"."""
    import dream.common.files

    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115  closed by atomic_write
    monkeypatch.setattr(dream.common.files, "open", lambda *_, **__: full, raising=False)
    with pytest.raises(OSError) as caught:
        save_checkpoint({"kind": "x", "weights": torch.zeros(100_000)}, tmp_path / "a.pt")
    assert caught.value.errno == errno.ENOSPC
