"""What the test servers (pg.py, mariadb.py, s3.py) have in common: a directory of their own, an ordinary user, a free port on
loopback, an end by pid. A server that its test process leaves behind is killed by the kernel."""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

PR_SET_PDEATHSIG = 1
START_LIMIT_S = 60.0
LIBC = ctypes.CDLL(None, use_errno=True)


class NotHere(Exception):
    """The program is not installed; its text says what brings it."""


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def unprivileged_user():
    """(uid, gid) to run servers as that refuse root; None when we are no root anyway."""
    if os.getuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def find(program, *places, hint):
    for place in places:
        path = os.path.join(place, program)
        if os.access(path, os.X_OK):
            return path
    found = shutil.which(program)
    if not found:
        raise NotHere(f"{program} is not installed: {hint}")
    return found


class Backend:
    """One server process. Subclasses say `command()`, `prepare()` and `is_up()`."""

    name = "backend"
    end_signal = signal.SIGTERM

    def __init__(self):
        self.user = unprivileged_user()
        self.directory = tempfile.mkdtemp(prefix=f"bh-{self.name}-", dir="/tmp")
        os.chmod(self.directory, 0o755)
        if self.user:
            os.chown(self.directory, *self.user)
        self.port = free_port()
        self.process = None
        self.output = []

    # --- what subclasses say

    def prepare(self):
        pass

    def command(self):
        raise NotImplementedError

    def is_up(self):
        raise NotImplementedError

    def give(self, source, name):
        """A copy of a file that belongs to the server's user alone; its path."""
        shutil.copyfile(source, self.path(name))
        if self.user:
            os.chown(self.path(name), *self.user)
        os.chmod(self.path(name), 0o600)
        return self.path(name)

    # --- life

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def environment(self):
        return {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": self.directory}

    def _become(self):
        if self.user:
            os.setgroups([])
            os.setgid(self.user[1])
            os.setuid(self.user[0])
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def run(self, argv, input=None, limit_s=120.0):
        """A helper program of the server's, as the server's user, to its end."""
        done = subprocess.run(argv, input=input, text=True, capture_output=True, timeout=limit_s, preexec_fn=self._become,
                              env=self.environment(), cwd=self.directory)
        assert done.returncode == 0, f"{argv[0]} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def start(self):
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        preexec_fn=self._become, env=self.environment(), cwd=self.directory, start_new_session=True)
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        end = time.monotonic() + START_LIMIT_S
        while not self.is_up():
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.log_text()}"
            assert time.monotonic() < end, f"{self.name} is not up after {START_LIMIT_S:g} s:\n{self.log_text()}"
            time.sleep(0.05)
        return self

    def _read(self, process):
        for line in process.stdout:
            self.output.append(line.decode(errors="replace").rstrip("\n"))

    def log_text(self, last=40):
        return "\n".join(self.output[-last:])

    def accepts(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def end(self):
        """Ends the process; it can be started again."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(self.end_signal)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def close(self):
        self.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        try:
            self.prepare()
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()
