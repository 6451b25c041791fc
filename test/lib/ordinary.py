"""The server as an ordinary user starts it: a user id without rights, and copies of program and database where that one can read them."""

import os
import shutil
import tempfile
from pathlib import Path

from lib.server import BUILD

UID = 54321  # nobody's


class Stage:
    """A directory below /var/tmp that every user may enter, with the program in it. `with Stage() as s:` removes it at the end."""

    def __enter__(self):
        self.path = Path(tempfile.mkdtemp(prefix="bulkhead-test-", dir="/var/tmp"))
        self.path.chmod(0o755)
        (self.path / "lib").mkdir()
        for name in ("bulkhead", "bulkhead-worker", "lib/libduckdb.so"):
            shutil.copy(BUILD / name, self.path / name)
        self.binary = self.path / "bulkhead"
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def take(self, file):
        """A copy of a file that belongs to the user."""
        copy = self.path / Path(file).name
        shutil.copy(file, copy)
        os.chown(copy, UID, UID)
        return copy

    def directory(self, name):
        path = self.path / name
        path.mkdir(mode=0o700)
        os.chown(path, UID, UID)
        return path


def become_ordinary():
    """In the child, before exec."""
    os.setgroups([])
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)
