"""Small DuckDB files, made by the engine's Python binding in a process of its own, so that no lock stays in the test process."""

import subprocess
import sys
from pathlib import Path

MAKE = """
import duckdb, sys
con = duckdb.connect(sys.argv[1])
for statement in sys.stdin.read().split(";;"):
    if statement.strip():
        con.execute(statement)
con.close()
"""

HOLD = """
import duckdb, sys
con = duckdb.connect(sys.argv[1])
con.execute("CREATE TABLE IF NOT EXISTS held(i INTEGER)")
print("held", flush=True)
sys.stdin.read()
"""

ITEMS = """
CREATE TABLE items AS
SELECT i::BIGINT AS id, 'item ' || i AS name, (i % 7)::INTEGER AS kind, (i * 1.25)::DECIMAL(12,2) AS price,
       CASE WHEN i % 10 = 0 THEN NULL ELSE DATE '2024-01-01' + (i % 365)::INTEGER END AS sold
FROM range(1000) t(i)
;;
CREATE VIEW cheap AS SELECT id, price FROM items WHERE price < 100
;;
CREATE SCHEMA shop
;;
CREATE TABLE shop.orders(id BIGINT NOT NULL, note VARCHAR)
"""


class Db:
    """A database file. `Db(directory).make(sql)`; statements are separated by `;;`."""

    def __init__(self, directory, name="data.duckdb"):
        self.path = Path(directory) / name

    def make(self, script=ITEMS):
        subprocess.run([sys.executable, "-c", MAKE, str(self.path)], input=script, text=True, check=True)
        return self

    def write(self, content):
        """Something that is no database."""
        self.path.write_bytes(content)
        return self

    def from_newer_version(self):
        """Patches the storage version in the header: bytes 12.. of the file, after the block checksum and the magic."""
        if not self.path.exists():
            self.make()
        content = bytearray(self.path.read_bytes())
        assert content[8:12] == b"DUCK"
        content[12:20] = (10_000).to_bytes(8, "little")
        self.path.write_bytes(content)
        return self

    def hold(self):
        """A writer that has the file open, until the block ends."""
        return Writer(self.path)

    def __fspath__(self):
        return str(self.path)

    def __str__(self):
        return str(self.path)


class Writer:
    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(self.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "held\n"
        return self

    def release(self):
        if self.process.stdin.closed:
            return
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    @property
    def pid(self):
        return self.process.pid

    def __exit__(self, *_):
        self.release()


def killed_writer(db, *statements):
    """A writer that commits and is killed: its log stays beside the file. Gives the log's path."""
    code = (f"import duckdb, os\nc = duckdb.connect({str(db.path)!r})\n" + "".join(f"c.execute({s!r})\n" for s in statements)
            + "os.kill(os.getpid(), 9)\n")
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    return db.path.with_name(db.path.name + ".wal")
