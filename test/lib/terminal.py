"""A program on a pseudo terminal: what it shows, and keys for it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

ESCAPES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


class Terminal:
    def __init__(self, argv, env, rows=30, columns=140):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = os.dup(slave)  # kept, so that the terminal's modes can be looked at after the program's end
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True)
        os.close(slave)
        self.raw = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, for_s=0.05):
        while select.select([self.master], [], [], for_s)[0]:
            try:
                part = os.read(self.master, 65536)
            except OSError:
                return
            if not part:
                return
            self.raw += part

    def screen(self):
        """The text of the last whole picture (each begins at the top left)."""
        self.read()
        pictures = self.raw.decode(errors="replace").split("\x1b[H")
        return ESCAPES.sub("", pictures[-2] if len(pictures) > 2 else pictures[-1])

    def wait_for(self, pattern, limit_s=20):
        end = time.monotonic() + limit_s
        while not re.search(pattern, text := self.screen()):
            assert time.monotonic() < end, f"never showed {pattern!r}:\n{text}"
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{text}"
        return text

    def press(self, keys):
        os.write(self.master, keys.encode())

    def end(self, limit_s=20):
        """Its exit code; the terminal must be as it was."""
        end = time.monotonic() + limit_s
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.02)
        code = self.process.wait(1)
        self.read()
        assert termios.tcgetattr(self.slave) == self.before, "the terminal's modes were not put back"
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)
