"""Signatures of extensions: the server has each file checked once, and no state of a file that was not checked is ever loaded unchecked."""

import os
import re
import shutil

import pytest

from lib.server import BUILD, Server
from lib.session import Session, open_session
from lib.sources import Sources

NAME = "postgres_scanner.duckdb_extension"
COUNT = "SELECT count(*) FROM pg1.public.users"


@pytest.fixture
def extensions(tmp_path):
    """A directory with a PostgreSQL extension of its own, last changed long ago as far as a file system lets one say so."""
    directory = tmp_path / "extensions"
    directory.mkdir()
    shutil.copy2(BUILD / "extensions" / NAME, directory / NAME)
    return directory


@pytest.fixture
def settings(tmp_path, pg, extensions):
    return {**Sources(tmp_path).postgres("pg1", pg).settings, "database.extension_directory": str(extensions)}


def flip_signature(path):
    """The code stays what it was: nothing but the check of the signature can refuse it. Size and time of change stay, too."""
    before = path.stat()
    with open(path, "r+b") as f:
        f.seek(-1, os.SEEK_END)
        last = f.read(1)[0]
        f.seek(-1, os.SEEK_END)
        f.write(bytes([last ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns


def refused(server):
    answer = open_session(server.client, sources=["pg1"])
    assert answer.problem(502, "source_error")["source"] == "pg1"
    assert re.search("signature", answer.text), answer.text


def state_of(path):
    s = path.stat()
    parts = [s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns // 10**9, s.st_mtime_ns % 10**9, s.st_ctime_ns // 10**9, s.st_ctime_ns % 10**9]
    return ".".join(f"{p:x}" for p in parts)


def command_line(server, session):
    pid = next(w["pid"] for w in server.status()["workers"] if w["kind"] in ("session", "sources"))
    with open(f"/proc/{pid}/cmdline") as f:
        return f.read().split("\0")


def test_each_file_is_checked_once_and_workers_are_told(settings, extensions):
    with Server(set=settings) as server:
        server.wait_log(r"extension_verified.*postgres_scanner")
        session = Session(server.client, sources=["pg1"])
        assert session.rows(COUNT) == [[2000]]
        assert state_of(extensions / NAME) in command_line(server, session)[7].split(",")
        session.delete()
        assert server.log_text().count("extension_verified") == 1


def test_a_file_that_fails_the_check_is_never_loaded(settings, extensions):
    flip_signature(extensions / NAME)
    with Server(set=settings) as server:
        refused(server)  # whoever comes before the check is over has the file checked by the worker itself
        server.wait_log(r"extension_not_verified.*signature")
        refused(server)
        assert "extension_verified" not in server.log_text()


def test_a_file_that_is_changed_after_the_check_is_checked_again(settings, extensions):
    with Server(set=settings) as server:
        server.wait_log(r"extension_verified.*postgres_scanner")
        mark = server.log_mark()
        flip_signature(extensions / NAME)
        refused(server)
        server.wait_log(r"extension_not_verified.*signature", since=mark)
        refused(server)
        mark = server.log_mark()
        flip_signature(extensions / NAME)  # back to what it was
        session = Session(server.client, sources=["pg1"])
        assert session.rows(COUNT) == [[2000]]
        session.delete()
        server.wait_log(r"extension_verified.*postgres_scanner", since=mark)


def test_another_file_in_its_place_is_checked(settings, extensions, tmp_path):
    bad = tmp_path / NAME
    shutil.copy2(extensions / NAME, bad)
    flip_signature(bad)
    with Server(set=settings) as server:
        server.wait_log(r"extension_verified.*postgres_scanner")
        os.replace(bad, extensions / NAME)
        refused(server)


def test_extensions_of_every_worker_are_checked_once_too(settings, extensions):
    with Server(set={"database.extensions": str(extensions / NAME), "pool.workers": 1}) as server:
        server.wait_log(r"extension_verified.*postgres_scanner")
        server.settle()
        old = server.worker_pids()
        flip_signature(extensions / NAME)
        os.kill(server.workers()[0]["pid"], 9)
        server.wait_log(r"worker_start_failed.*signature")
        flip_signature(extensions / NAME)
        server.settle()
        assert set(server.worker_pids()) != set(old)
