"""Virtual machines that show the tests another kernel: Debian's, started by qemu with the host's files, read-only. scripts/unpack-guest brings the
kernel; nothing of the guest is installed, and it has no network. Tests run in it as on the host, and tell their outcomes one by one."""

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

from lib.server import BUILD, ROOT

QEMU = "qemu-system-x86_64"
PARTS = BUILD / "deps" / "guest"
INIT = ROOT / "test" / "vm" / "guest" / "init"
MEMORY_MB = 3072
REPORT = "/run/out/outcomes.jsonl"  # in the guest
LIFE_S = 1800.0  # no verdict about speed: a guest that long hangs
PLAIN_PATIENCE = 6  # how many times longer than on a processor of its own things take where every instruction is translated


def missing():
    """Why no guest can be started here; None: nothing is missing."""
    if not shutil.which(QEMU):
        return f"{QEMU} is missing: scripts/install-packages test"
    if not (PARTS / "complete").exists():
        return f"{PARTS} is missing: scripts/unpack-guest"
    return None


def has_kvm():
    """BULKHEAD_VM_KVM=yes: the host's processor is lent to guests. Not by itself: inside of some machines /dev/kvm opens, and guests hang."""
    return os.environ.get("BULKHEAD_VM_KVM") == "yes"


def _entry(name, mode, data=b"", number=0):
    """One file of a cpio archive in the format that kernels unpack ("newc")."""
    name = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % f for f in fields) + name
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def pack(files, directories=()):
    """An initramfs: {name: (mode, bytes)}."""
    out = [_entry(name, stat.S_IFDIR | 0o755, number=n) for n, name in enumerate(directories, 1)]
    out += [_entry(name, stat.S_IFREG | mode, data, n) for n, (name, (mode, data)) in enumerate(files.items(), 1000)]
    return b"".join(out) + _entry("TRAILER!!!", 0)


def _places():
    """Directories that the guest needs where the host has them, even below what is a tmpfs there."""
    return sorted({str(p) for p in (BUILD.resolve(), (BUILD / "deps").resolve(), (BUILD / "venv").resolve(), Path(sys.executable).resolve().parents[1])})


class Guest:
    """One machine, which runs one command and ends. `with Guest(directory, command) as g: g.outcome(node)`."""

    def __init__(self, directory, command, kernel="", processors=2):
        self.directory, self.command, self.kernel, self.processors = Path(directory), command, kernel, processors
        self.results = self.directory / "out" / "outcomes.jsonl"
        self.console = self.directory / "console.log"
        self.outcomes, self._read, self.process = {}, 0, None

    def __enter__(self):
        (self.directory / "out").mkdir(parents=True, exist_ok=True)
        job = f"HOST_ROOT={shlex.quote(str(ROOT))}\nHOST_BINDS={shlex.quote(' '.join(_places()))}\nCOMMAND={shlex.quote(shlex.join(self.command))}\n"
        files = {"init": (0o755, INIT.read_bytes()), "job": (0o644, job.encode()), "bin/busybox": (0o755, (PARTS / "busybox").read_bytes())}
        for module in sorted((PARTS / "modules").iterdir()):
            files[f"modules/{module.name}"] = (0o644, module.read_bytes())
        initramfs = self.directory / "initramfs"
        initramfs.write_bytes(pack(files, ("bin", "modules")))
        with open(self.console, "wb") as console:
            self.process = subprocess.Popen(self._qemu(initramfs), stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)
        self.began = time.monotonic()
        return self

    def _qemu(self, initramfs):
        share = "local,security_model=none,multidevs=remap"
        return [QEMU, *(["-accel", "kvm", "-cpu", "host"] if has_kvm() else ["-accel", "tcg,thread=multi", "-cpu", "max"]),
                "-m", str(MEMORY_MB), "-smp", str(self.processors), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
                "-kernel", str(PARTS / "vmlinuz"), "-initrd", str(initramfs),
                "-append", f"console=ttyS0 panic=-1 rdinit=/init loglevel=4 cgroup_no_v1=all bulkhead.guest {self.kernel}".strip(),
                "-virtfs", f"{share},path=/,mount_tag=host,readonly=on", "-virtfs", f"{share},path={str(self.directory / 'out').replace(',', ',,')},mount_tag=out"]

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        (self.directory / "initramfs").unlink(missing_ok=True)

    def _take(self):
        """Outcomes that came since."""
        if not self.results.exists():
            return
        with open(self.results, "rb") as f:
            f.seek(self._read)
            for line in f:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                entry = json.loads(line)
                self.outcomes[entry["node"]] = entry

    def tail(self, lines=40):
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-lines:])

    def outcome(self, node):
        """Waits until the guest told it: {"outcome": "passed" | "failed" | "skipped", "why", "seconds"}. None: it ended without."""
        while True:
            ended = self.process.poll() is not None
            self._take()
            if node in self.outcomes or ended:
                return self.outcomes.get(node)
            if time.monotonic() - self.began > LIFE_S:
                self.process.kill()
            time.sleep(0.1)
