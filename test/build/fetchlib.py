"""Helpers for the tests of the fetch step and of what the build makes.

They need no network: the archives that the real fetch step brought are copied, and npm and pip are stand-ins on the PATH.
"""
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD_DIR") or ROOT / "build").resolve()
COLUMNS = ("part", "set", "client", "package", "version", "arch", "file", "sha256", "bytes", "licence", "purpose")
ARCH = {"x86_64": "x64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)

# A stand-in for npm and pip: notes that it was called, then does what STANDIN_MODE says.
STANDIN = """#!{python}
import os, shutil, sys, time
with open(os.environ["STANDIN_CALLS"], "a") as f:
    f.write(os.path.basename(sys.argv[0]) + " " + " ".join(sys.argv[1:]) + "\\n")
mode = os.environ["STANDIN_MODE"]
if mode == "offline":
    if os.path.basename(sys.argv[0]) == "npm":
        print("npm ERR! code ENOTFOUND\\nnpm ERR! A complete log of this run can be found in: /home/x/1.log", file=sys.stderr)
    else:
        print("ERROR: No matching distribution found for " + sys.argv[-1], file=sys.stderr)
    sys.exit(1)
if mode == "nothing":
    sys.exit(0)
wanted = sys.argv[-1].replace("==", "@")
for line in open(os.environ["STANDIN_LOCK"]):
    fields = [field.strip() for field in line.split(" | ")]
    if len(fields) == 11 and fields[5] in ("any", os.environ["STANDIN_ARCH"]) and fields[3] + "@" + fields[4] == wanted:
        with open(os.path.join(os.environ["STANDIN_ARCHIVES"], fields[6]), "rb") as f:
            data = f.read()
        if mode == "cut":
            data = data[:len(data) // 2]
        if mode == "changed":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if mode == "hang":
            data = data[:len(data) // 2]
        with open(fields[6], "wb") as f:
            f.write(data)
        if "--dest" in sys.argv:
            shutil.move(fields[6], sys.argv[sys.argv.index("--dest") + 1] + "/" + fields[6])
        if mode == "hang":
            open(os.environ["STANDIN_CALLS"] + ".hanging", "w").write(str(os.getpid()))
            while True:
                time.sleep(60)
        sys.exit(0)
sys.exit("no such package: " + wanted)
"""


def lock_rows():
    """The rows of deps.lock for this machine, read by a reader of our own."""
    rows = []
    for line in (ROOT / "deps.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            row = dict(zip(COLUMNS, (field.strip() for field in line.split(" | "))))
            if row["arch"] in ("any", ARCH):
                rows.append(row)
    return rows


class Fetch:
    """scripts/fetch-deps with a build directory, a home and clients of its own."""

    def __init__(self, tmp_path):
        self.build = tmp_path / "build"
        self.deps = self.build / "deps"
        self.cache = self.deps / "archives"
        self.calls = tmp_path / "calls"
        self.bin = tmp_path / "bin"
        self.bin.mkdir()
        self.put_clients("npm", "pip3", "pip")
        self.env = {
            "PATH": f"{self.bin}:{os.path.dirname(sys.executable)}:/usr/bin:/bin",
            "HOME": str(tmp_path), "BUILD_DIR": str(self.build),
            "STANDIN_CALLS": str(self.calls), "STANDIN_MODE": "offline", "STANDIN_ARCH": ARCH,
            "STANDIN_LOCK": str(ROOT / "deps.lock"), "STANDIN_ARCHIVES": str(BUILD / "deps" / "archives"),
        }

    def put_clients(self, *names):
        for name in names:
            (self.bin / name).write_text(STANDIN.format(python=sys.executable))
            (self.bin / name).chmod(0o755)

    def cached(self, *parts):
        """Puts the real archives of these parts in the cache, as copies that a test may spoil."""
        self.cache.mkdir(parents=True, exist_ok=True)
        paths = []
        for row in lock_rows():
            if row["part"] in parts:
                paths.append(self.cache / row["file"])
                shutil.copyfile(BUILD / "deps" / "archives" / row["file"], paths[-1])
        assert paths
        return paths

    def command(self, *arguments):
        return [str(ROOT / "scripts" / "fetch-deps"), *arguments]

    def run(self, *arguments, **env):
        return subprocess.run(self.command(*arguments), env=self.env | env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=300)

    def start(self, *arguments, **env):
        return subprocess.Popen(self.command(*arguments), env=self.env | env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def client_calls(self):
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def leftovers(self):
        return sorted(p.name for p in self.deps.glob(".tmp-*")) if self.deps.exists() else []

