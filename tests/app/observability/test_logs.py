"""A log file that lines are appended to."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.listeners.peer import registered
from app.observability.logs import LogFile


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes: what is written is cut there, and then refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_two_that_write_to_one_file_keep_their_lines_whole(tmp_path: Path) -> None:
    first, second = LogFile(tmp_path / "log"), LogFile(tmp_path / "log")
    for _ in range(3):
        first.write("one\n" * 2)
        second.write("two\n")
    assert (tmp_path / "log").read_text() == "one\none\ntwo\n" * 3


def test_a_line_that_was_cut_is_ended_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path)
    with room(6), pytest.raises(OSError):
        file.write("1234\n6789\n")
    file.write("next\n")
    assert path.read_text() == "1234\n6\nnext\n"


def test_a_fifo_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError):
        LogFile(tmp_path / "fifo")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        LogFile(tmp_path)


@pytest.mark.parametrize(
    ("openssl", "name"),
    [
        ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        ("ECDHE-RSA-AES256-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
        ("DHE-RSA-AES256-GCM-SHA384", "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    ],
)
def test_ciphers_have_their_registered_names(openssl: str, name: str) -> None:
    assert registered(openssl) == name
