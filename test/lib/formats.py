"""What the engine itself says a result is, for comparison with what the server sends: the engine's Python binding, UTC like the workers,
one thread so that rows come in the same order."""

import json
from functools import cache

import duckdb
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

MEDIA = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv", "arrow": "application/vnd.apache.arrow.stream",
         "parquet": "application/vnd.apache.parquet"}
NOT_JSON = {"NaN": "NaN", "Infinity": "Infinity", "-Infinity": "-Infinity"}


@cache
def engine(database=None):
    """A connection to a database file, or to none; each is made once."""
    con = duckdb.connect(str(database) if database else ":memory:", read_only=database is not None,
                         config={"threads": "1", "allow_unsigned_extensions": "true"})
    con.execute("SET TimeZone = 'UTC'")
    return con


# ---- JSON ----------------------------------------------------------------------------------------------------------------

def exact(text):
    """JSON with its numbers kept as they are written and its objects as lists of pairs, so that nothing is equal by rounding."""
    return json.loads(text, parse_int=lambda s: ("number", s), parse_float=lambda s: ("number", s),
                      parse_constant=lambda s: NOT_JSON[s], object_pairs_hook=lambda pairs: ("object", pairs))


def strict(text):
    """The same, of text that must be JSON: no NaN."""
    def refuse(s):
        raise AssertionError(f"not JSON: {s}")
    return json.loads(text, parse_int=lambda s: ("number", s), parse_float=lambda s: ("number", s), parse_constant=refuse,
                      object_pairs_hook=lambda pairs: ("object", pairs))


def json_of(sql, database=None):
    """(columns as name and type, rows of cells) by the engine, each cell through to_json."""
    con = engine(database)
    described = con.execute(f"DESCRIBE {sql}").fetchall()
    columns = [(row[0], row[1]) for row in described]
    # By position: a struct of everything would lose columns of the same name.
    names = ", ".join(f"c{i}" for i in range(len(columns)))
    cells = ", ".join(f"to_json(c{i})::VARCHAR" for i in range(len(columns)))
    rows = con.execute(f"SELECT {cells} FROM ({sql}) t({names})").fetchall()
    return columns, [[None if c is None else exact(c) for c in row] for row in rows]


# ---- Arrow ---------------------------------------------------------------------------------------------------------------

def arrow_of(sql, database=None):
    return engine(database).execute(sql).to_arrow_table()


def read_arrow(body):
    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        table = reader.read_all()
    table.validate()
    return table


def is_whole(table):
    """Whether the values are within what Arrow allows: 24:00 is no time there, but the engine exports it."""
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def same_values(a, b):
    """Also where NaN is not equal to itself."""
    return a.equals(b) or repr(a.to_pylist()) == repr(b.to_pylist())


def assert_same_arrow(got, want, what):
    assert [f.name for f in got.schema] == [f.name for f in want.schema], what
    for i, field in enumerate(want.schema):
        assert got.schema.field(i).equals(field), f"{what}: column {field.name}: {got.schema.field(i)}, the engine has {field}"
        assert (got.schema.field(i).metadata or {}) == (field.metadata or {}), f"{what}: column {field.name}"
        if want.num_rows == 0:  # pyarrow can't put no chunks of a union together
            continue
        assert same_values(got.column(i).combine_chunks(), want.column(i).combine_chunks()), f"{what}: column {field.name}"
    assert got.num_rows == want.num_rows, what
    if is_whole(want):
        got.validate(full=True)


# ---- Parquet -------------------------------------------------------------------------------------------------------------

def parquet_of(sql, path, database=None):
    """The file that the engine's own COPY makes; None when it can't write such a result."""
    try:
        engine(database).execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet)")
    except duckdb.NotImplementedException:
        return None
    return path


def parquet_rows(path):
    """(columns as name and type, rows as text) of a Parquet file, by the engine."""
    con = engine()
    columns = [row[:2] for row in con.execute(f"DESCRIBE FROM '{path}'").fetchall()]
    return columns, con.execute(f"SELECT COLUMNS(*)::VARCHAR FROM '{path}'").fetchall()


def parquet_by_pyarrow(path):
    """None where pyarrow can't read what the engine writes (arrays with NULLs, VARIANT)."""
    try:
        table = pq.read_table(path)
        table.validate()
        return table
    except (pa.ArrowInvalid, OSError):
        return None


def assert_same_parquet(got, want, what):
    assert parquet_rows(got) == parquet_rows(want), what
    mine, theirs = parquet_by_pyarrow(got), parquet_by_pyarrow(want)
    if theirs is not None:
        assert mine.schema.equals(theirs.schema), what
        assert mine.equals(theirs) or repr(mine.to_pylist()) == repr(theirs.to_pylist()), what
