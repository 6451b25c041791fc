"""Where a server may stand in a tree of control groups of version 2 that is the test's own: at its root, in a group that was made for it, and, as an
ordinary user, in a group that was handed over (what systemd's Delegate=yes does)."""

import itertools
import os
from pathlib import Path

from lib.ordinary import UID, Stage, become_ordinary
from lib.wait import wait_until

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "cpu", "pids")
NUMBERS = itertools.count()  # a group is a test's own
PLACES = ("root of the tree", "own group", "ordinary user")


def offer(group):
    """Lets the group's children have limits."""
    for controller in CONTROLLERS:
        (group / "cgroup.subtree_control").write_text(f"+{controller}")


def make_group(path):
    offer(path.parent)
    path.mkdir()
    return path


def remove_group(path):
    """It has to be empty: a process that is left would be a finding."""
    for below in sorted((p for p in path.rglob("*") if p.is_dir()), reverse=True):
        below.rmdir()

    def gone():
        try:
            path.rmdir()
        except OSError:
            return False
        return True

    wait_until(gone, f"{path} is not empty")


class Place:
    """`with Place(name, database) as p: Server(p.database, binary=p.binary, preexec=p.enter, set=p.settings)`"""

    def __init__(self, name, database):
        self.name, self.database, self.binary, self.settings = name, database, None, {}
        self.group, self.stage = ROOT, None

    def __enter__(self):
        if self.name != "root of the tree":
            self.group = make_group(ROOT / f"service-{next(NUMBERS)}")
        if self.name == "ordinary user":
            for file in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
                os.chown(self.group / file, UID, UID)
            self.stage = Stage().__enter__()
            self.database = self.stage.take(self.database)
            self.binary = self.stage.binary
            self.settings = {"pool.scratch_directory": str(self.stage.directory("scratch")), "spool.directory": str(self.stage.directory("spool"))}
        return self

    def __exit__(self, *_):
        if self.stage:
            self.stage.__exit__()
        if self.group != ROOT:
            remove_group(self.group)
        for controller in CONTROLLERS:
            (ROOT / "cgroup.subtree_control").write_text(f"-{controller}")

    def enter(self):
        """In the child, before exec."""
        (self.group / "cgroup.procs").write_text("0")
        if self.stage:
            become_ordinary()

    def how(self, **settings):
        """What to start a server with."""
        how = {"database": self.database, "preexec": self.enter, "set": {**self.settings, **settings}}
        return {**how, "binary": self.binary} if self.binary else how

    def groups(self):
        """What servers made here."""
        return [p for p in self.group.rglob("*") if p.is_dir()] if self.group != ROOT else [p for g in ROOT.glob("bulkhead-*") for p in (g, *g.rglob("*")) if p.is_dir()]
