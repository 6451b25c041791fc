"""A front in somebody else's hands: the supervisor takes what it says as hostile. The test speaks through a copy of the front's own channel."""

import ctypes
import os
import re
import select
import socket
import struct

import pytest

from lib import proc
from lib.client import Cut
from lib.server import ROOT
from lib.wait import wait_until

pytestmark = pytest.mark.fault

CONTROL_FD = 3  # src/link/inherit.h
CONTROL = re.findall(r"^CONTROL_MESSAGE\((\w+),", (ROOT / "src" / "link" / "control.def").read_text(), re.MULTILINE)
DIED, DRAIN, REPLACE, DRAINED, WANT, COMMIT = (1 + CONTROL.index(name) for name in ("DIED", "DRAIN", "REPLACE", "DRAINED", "WANT", "COMMIT"))
EXPORT, EXPORT_COMMIT = (1 + CONTROL.index(name) for name in ("EXPORT", "EXPORT_COMMIT"))
KIND_WRITER = 3  # src/link/inherit.h, enum worker_kind
DEATH_SPENT = 4  # src/link/control.h, enum death_reason
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438


@pytest.fixture
def server(start):
    s = start()
    s.settle()
    return s


@pytest.fixture
def channel(server):
    """The front's end of its control channel."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = libc.syscall(SYS_PIDFD_OPEN, server.front_pid, 0)
    assert pidfd >= 0
    fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, CONTROL_FD, 0)
    os.close(pidfd)
    if fd < 0:
        pytest.skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    with socket.socket(fileno=fd) as s:
        yield s


def assert_front_replaced(server, old, since, event="front_protocol"):
    server.wait_log(event, since=since, pid=old)

    def serves():
        try:
            return server.front_pid != old and server.client.query("SELECT 1").status == 200
        except (OSError, Cut, AssertionError):
            return False
    wait_until(serves, lambda: f"does not serve again:\n{server.log_text()}")
    assert proc.is_gone(old)
    server.settle()


def test_drained_without_being_asked_does_not_end_the_server(server, channel):
    front, since = server.front_pid, server.log_mark()
    channel.send(struct.pack("=II", DRAINED, 0))
    assert_front_replaced(server, front, since)
    assert server.log_contains("not asked", since=since)


@pytest.mark.parametrize("message", [
    b"", b"x", struct.pack("=I", REPLACE), struct.pack("=II", 0, 0), struct.pack("=II", 99, 0), struct.pack("=II", DRAIN, 0),
    struct.pack("=IIIIii", DIED, 1, 0, 0, 9, 0), struct.pack("=IIII", REPLACE, 1, DEATH_SPENT, 0) + b"more",
], ids=["empty", "one byte", "short", "no type", "unknown type", "the supervisor's own", "a death", "long"])
def test_what_is_no_message_of_a_front_ends_the_front(server, channel, message):
    front, since = server.front_pid, server.log_mark()
    channel.send(message)
    assert_front_replaced(server, front, since, "front_protocol" if message else "front_death")  # no bytes read like the channel's end


def test_replacements_of_unknown_workers_and_reasons_are_ignored(server, channel):
    pids = server.worker_pids()
    for worker, reason in ((0, DEATH_SPENT), (999, DEATH_SPENT), (1, 0), (1, 77), (2**32 - 1, 2**32 - 1)):
        channel.send(struct.pack("=IIII", REPLACE, worker, reason, 0))
    assert server.client.rows("SELECT 1") == [[1]]
    assert server.worker_pids() == pids


def test_writes_are_refused_where_there_are_no_admins(server, channel):
    header = (ROOT / "src" / "core" / "source.h").read_text()
    name_bytes, sources = (int(re.search(rf"#define {name} (\d+)", header)[1]) for name in ("SOURCE_NAME_BYTES", "SOURCES_PER_SET"))
    version = server.status()["database"]["version"]
    for writes in (0, 1):
        since = server.log_mark()
        channel.send(struct.pack("=IIII", WANT, 4_000_000 + writes, KIND_WRITER, writes) + bytes(name_bytes * sources))
        server.wait_log("dedicated_failed", since=since, code="forbidden")
    channel.send(struct.pack("=II", COMMIT, 999))  # a writer that there is not
    assert server.client.rows("SELECT 1") == [[1]]
    assert not [w for w in server.workers() if w["kind"] == "writer"] and not server.log_contains("write_copied")
    assert server.status()["database"]["version"] == version


class TestExports:
    """What a front asks the supervisor to write stays below the declared prefix, replaces nothing, and is bounded."""

    @pytest.fixture
    def drop(self, tmp_path):
        (tmp_path / "drop" / "out").mkdir(parents=True)
        (tmp_path / "drop" / "in").mkdir()
        (tmp_path / "drop" / "out" / "mine").write_text("mine")
        os.symlink(tmp_path, tmp_path / "drop" / "out" / "up")
        return tmp_path / "drop"

    @pytest.fixture
    def server(self, start, drop):
        s = start(set={"source.drop.type": "files", "source.drop.path": drop, "source.drop.writable_prefix": "out",
                       "source.closed.type": "files", "source.closed.path": drop})
        s.settle()
        return s

    @staticmethod
    def ask(channel, number, path, source=b"drop"):
        select.select([], [channel], [])  # the front's end does not block
        channel.send(struct.pack("=II32s1025s3x", EXPORT, number, source, path))

    def test_nothing_is_written_elsewhere(self, server, channel, drop):
        before = {p: p.read_text() for p in drop.parent.rglob("*") if p.is_file()}
        paths = [b"../x", b"out/../in/x", b"out/../../x", b"/tmp/x", b"in/x", b"out/up/x", b"out/mine", b"out//x", b"out/", b"", b"x" * 1024, b"out/\n"]
        for i, path in enumerate(paths):
            self.ask(channel, 1_000_000 + i, path)
        self.ask(channel, 2_000_000, b"out/x", b"closed")
        self.ask(channel, 2_000_001, b"out/x", b"nosuch")
        self.ask(channel, 4_000_000, b"out/good")

        def commit_all():  # again and again: what is not open yet can't be named
            for number in (*range(1_000_000, 1_000_000 + len(paths)), 2_000_000, 2_000_001, 3_000_000, 4_000_000):
                select.select([], [channel], [])
                channel.send(struct.pack("=II", EXPORT_COMMIT, number))
            return (drop / "out" / "good").exists()
        wait_until(commit_all, "what is allowed is not there")
        (drop / "out" / "good").unlink()
        assert {p: p.read_text() for p in drop.parent.rglob("*") if p.is_file()} == before
        assert server.client.rows("SELECT 1") == [[1]]

    def test_they_are_bounded_and_end_with_the_front(self, server, channel, drop):
        for i in range(300):
            self.ask(channel, 1_000_000 + i, b"out/file%d" % i)
            if i % 16 == 15:  # a front that does not read the answers would be killed for that
                assert server.client.rows("SELECT 1") == [[1]]

        def held():
            return sum(str(drop) in link for link in proc.fds(server.pid))
        wait_until(lambda: held() >= 64, lambda: f"it holds {held()}")
        assert held() <= 128  # each a file and its directory
        proc.kill(server.front_pid)
        wait_until(lambda: held() == 0, "they are kept")
        server.settle()
        assert sorted(p.name for p in (drop / "out").iterdir()) == ["mine", "up"]

    @pytest.mark.parametrize("message", [b"\0" * 20, b"\x01\0\0\0" + b"a" * 1057, b"\0" * 1061], ids=["short", "no end", "no number"])
    def test_what_is_no_such_message_ends_the_front(self, server, channel, message):
        front, since = server.front_pid, server.log_mark()
        channel.send(struct.pack("=I", EXPORT) + (message + bytes(3) if len(message) > 1000 else message))
        assert_front_replaced(server, front, since)


def test_replacements_without_end_end_the_front(server, channel):
    front, since = server.front_pid, server.log_mark()
    try:
        for _ in range(2000):
            channel.send(struct.pack("=IIII", REPLACE, 999, DEATH_SPENT, 0))
    except OSError:
        pass
    assert_front_replaced(server, front, since)
