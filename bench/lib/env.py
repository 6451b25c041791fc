"""What the benchmark needs before it can run: a venv, the C programs, the TPC-H database.

Knows the repository's layout. Everything it makes lies below build/ and is made once.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"

MAKE_DATABASE = """
import sys, pathlib, duckdb, duckdb_extension_tpch
target, factor = sys.argv[1:]
home = pathlib.Path(duckdb_extension_tpch.__file__).parent
extension, = home.glob("extensions/*/tpch.duckdb_extension")
db = duckdb.connect(target, config={"allow_unsigned_extensions": "true"})
db.execute(f"LOAD '{extension}'")
db.execute(f"CALL dbgen(sf={float(factor)})")
db.execute("CHECKPOINT")
db.close()
"""

COMPILE = [
    "cc",
    "-std=gnu17",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wvla",
    "-Werror",
]


class BenchError(Exception):
    """The benchmark could not run, or a subject did not do what it has to; never "too slow"."""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def checked(command, what, timeout_s):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{what}: {error}") from None
    if done.returncode != 0:
        raise BenchError(
            f"{what}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-800:]}"
        )
    return done.stdout


class Environment:
    """Where the programs and the data are. `build` is the build directory, `quick` takes a tenth of the
    data."""

    def __init__(self, build, quick):
        self.build = build
        self.scale = "0.1" if quick else "1"
        self.database = build / f"tpch-sf{self.scale}.duckdb"
        self.python = build / "bench-venv" / "bin" / "python"
        self.bulkhead = build / "bulkhead"
        self.load = build / "bench-bin" / "bench_load"
        self.inproc = build / "bench-bin" / "bench_inproc"
        self.stream = build / "bench-bin" / "bench_stream"
        self.drain = build / "bench-bin" / "bench_drain"
        self.logs = build / "bench-logs"

    def prepare(self):
        self.logs.mkdir(parents=True, exist_ok=True)
        self.make_venv()
        self.compile()
        self.make_database()

    def make_venv(self):
        wanted = BENCH / "requirements.txt"
        home = self.build / "bench-venv"
        stamp = home / "requirements.sha256"
        digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
        if stamp.exists() and stamp.read_text() == digest:
            return
        say("installing the pinned Python packages")
        shutil.rmtree(home, ignore_errors=True)
        checked([sys.executable, "-m", "venv", str(home)], "making the venv", 120)
        checked(
            [
                str(self.python),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
                str(wanted),
            ],
            "installing the Python packages",
            600,
        )
        stamp.write_text(digest)

    def compile(self):
        duckdb = Path(os.environ.get("DUCKDB_ROOT") or self.build / "deps" / "duckdb").resolve()
        self.load.parent.mkdir(parents=True, exist_ok=True)
        self.compile_one(self.load, [BENCH / "load.c", BENCH / "hist.h"], [])
        self.compile_one(self.drain, [BENCH / "drain.c"], [])
        if not (duckdb / "lib" / "libduckdb.so").exists():
            raise BenchError("libduckdb is missing below build/deps/duckdb: run `make build` first")
        engine = [
            "-isystem",
            str(duckdb / "include"),
            f"-L{duckdb / 'lib'}",
            f"-Wl,-rpath,{duckdb / 'lib'}",
            "-lduckdb",
            "-lpthread",
        ]
        self.compile_one(self.inproc, [BENCH / "inproc.c"], engine)
        self.compile_one(self.stream, [BENCH / "stream.c"], engine)

    def compile_one(self, target, sources, extra):
        if target.exists() and target.stat().st_mtime >= max(s.stat().st_mtime for s in sources):
            return
        say(f"compiling {target.name}")
        checked([*COMPILE, "-o", str(target), str(sources[0]), *extra], f"compiling {target.name}", 120)

    def make_database(self):
        if self.database.exists():
            return
        say(f"making the TPC-H database at scale factor {self.scale}")
        unfinished = self.database.with_suffix(".tmp")
        for leftover in self.build.glob(unfinished.name + "*"):
            leftover.unlink()
        checked(
            [str(self.python), "-c", MAKE_DATABASE, str(unfinished), self.scale], "making the database", 900
        )
        unfinished.rename(self.database)
