"""A server whose workers carry out injected code (test/escape/inject.c), as root or as an ordinary user."""

import os
import pwd
import re
import shutil
import tempfile
from pathlib import Path

from lib.db import Db
from lib.server import BUILD, ROOT, Server
from lib.wait import wait_until

PROGRAMS = BUILD / "escape"
TABLE = re.compile(r"^CALL\((\w+), (\w+), (\w+), (\w+)\)", re.MULTILINE)


def table():
    """name -> what the sandbox's table says of it in a worker."""
    return {m[1]: m[2] for m in TABLE.finditer((ROOT / "src" / "sandbox" / "syscalls.def").read_text())}


class Home:
    """A directory that every user can enter, with programs and a database that `user` (None: whoever runs the tests) can read."""

    def __init__(self, user, programs=PROGRAMS):
        self.path = Path(tempfile.mkdtemp(prefix="bh-escape-", dir="/tmp"))
        self.path.chmod(0o755)
        (self.path / "lib").mkdir()
        shutil.copy(programs / "bulkhead", self.path)
        shutil.copy(programs / "bulkhead-worker", self.path)
        shutil.copy(os.path.realpath(programs / "lib" / "libduckdb.so"), self.path / "lib" / "libduckdb.so")
        if (BUILD / "extensions").exists():
            os.symlink(os.path.realpath(BUILD / "extensions"), self.path / "extensions")
        data = self.path / "data"
        data.mkdir()
        self.database = Db(data, "data.duckdb").make().path
        (data / "secret").write_text("not for queries\n")
        os.mkfifo(data / "fifo")
        if user:
            for place in (data, *data.iterdir()):
                os.chown(place, user.pw_uid, user.pw_gid)

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)


def ordinary_user():
    """None when the tests' own user is one."""
    return pwd.getpwnam("nobody") if os.getuid() == 0 else None


def becomes(user):
    """A preexec function; None when the process stays who it is."""
    def become():
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    return become if user else None


class Attacked(Server):
    """`run("sys kill 1 9")` carries steps out in a worker and gives their results, or the problem that came instead."""

    def __init__(self, home, user=None, **how):
        self.home, self.user = home, user
        super().__init__(home.database, binary=home.path / "bulkhead", **{"preexec": becomes(user), **how})

    @staticmethod
    def text(*steps, then=""):
        return "--escape\n" + "".join(f"--{step}\n" for step in steps) + then

    def try_steps(self, *steps, then="", **fields):
        return self.client.query(self.text(*steps, then=then), **fields)

    def run(self, *steps, **fields):
        """[(result, bytes shown)] of each step."""
        response = self.try_steps(*steps, **fields)
        assert response.status == 200, (steps, response)
        return [(int(row[0].split(" ")[0]), row[0].partition(" ")[2]) for row in response.json()["data"]]

    def results(self, *steps):
        return [r for r, _ in self.run(*steps)]

    def dies_of(self, *steps, then="", **fields):
        """The signal that ended the worker."""
        problem = self.try_steps(*steps, then=then, **fields).problem(502, "worker_crashed")
        return problem["signal"]

    def front_fds(self):
        return self.metric("process_open_fds", role="front")

    def assert_unharmed(self, before):
        """Supervisor and front are who they were, nothing leaks, and it answers."""
        assert self.is_up()
        self.settle()
        assert self.front_pid == before["front"], self.log_text()
        assert self.client.rows("SELECT 40 + 2") == [[42]]
        wait_until(lambda: self.front_fds() <= before["fds"], lambda: f"the front has {self.front_fds()} descriptors, and had {before['fds']}")

    def note(self):
        self.settle()
        assert self.client.rows("SELECT 42") == [[42]]
        return {"front": self.front_pid, "fds": self.front_fds()}
