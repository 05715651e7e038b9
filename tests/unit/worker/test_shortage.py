"""Which errors say that the machine is short of something."""

from __future__ import annotations

import errno

import pytest

from naq_core.errors import DecodeError, UnknownTaskError
from naq_worker._shortage import ShortageError, lack_of, noticing, starting


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.ENFILE, "Too many open files in system"), "fs.file-max"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (MemoryError(), "memory"),
        (RuntimeError("can't start new thread"), "threads"),
        (ImportError("libshop.so: cannot open shared object file: Too many open files"), "ulimit -n"),
        (caused(DecodeError("the arguments cannot be unpickled here"), MemoryError()), "memory"),
        (caused(UnknownTaskError("shop:pay", "cannot import"), OSError(errno.EMFILE, "")), "ulimit -n"),
    ],
)
def test_a_shortage_names_what_is_missing(error: Exception, word: str) -> None:
    assert word in (lack_of(error) or "")
    with (
        pytest.raises(ShortageError, match=r"^the job cannot be read: .*The worker is short of "),
        noticing("the job cannot be read"),
    ):
        raise error


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOENT, "No such file"), RuntimeError("no"), ImportError("No module named 'shop'"), ValueError()]
)
def test_other_errors_are_none(error: Exception) -> None:
    assert lack_of(error) is None
    with pytest.raises(type(error)), noticing("the job cannot be read"):
        raise error


def test_a_process_that_cannot_be_started_is_a_shortage_whatever_the_system_says() -> None:
    with pytest.raises(ShortageError, match=r"no child process can start: .*short of processes"), starting("child process"):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    with pytest.raises(ShortageError, match=r"no child process can start: .*No such file"), starting("child process"):
        raise FileNotFoundError(errno.ENOENT, "No such file")
