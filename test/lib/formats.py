"""What the engine itself says a result is, for comparison with what the server sends: the engine's Python binding, UTC like the workers,
one thread so that rows come in the same order."""

import json
from functools import cache

import duckdb
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

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
    columns = [(row[0], row[1]) for row in con.execute(f"DESCRIBE {sql}").fetchall()]
    # By position: a struct of everything would lose columns of the same name.
    names = ", ".join(f"c{i}" for i in range(len(columns)))
    cells = ", ".join(f"to_json(c{i})::VARCHAR" for i in range(len(columns)))
    rows = con.execute(f"SELECT {cells} FROM ({sql}) t({names})").fetchall()
    return columns, [[None if c is None else exact(c) for c in row] for row in rows]


def assert_same_json(body, want, what):
    columns, rows = want
    head = json.loads(body)
    assert [(c["name"], c["type"]) for c in head["columns"]] == columns, what
    assert head["rows"] == len(rows) and head["truncated"] is False
    assert_same_cells(dict(strict(body)[1])["data"], rows, columns, what)


def assert_same_ndjson(body, want, what):
    columns, rows = want
    lines = body.decode().split("\n")
    assert lines.pop() == "", what
    got = [strict(line)[1] for line in lines]
    names = unique([name for name, _ in columns])
    assert all([k for k, _ in line] == names for line in got), what
    assert_same_cells([[v for _, v in line] for line in got], rows, columns, what)


def assert_same_cells(got, want, columns, what):
    assert len(got) == len(want), what
    for r, (got_row, want_row) in enumerate(zip(got, want)):
        for c, (have, wish) in enumerate(zip(got_row, want_row)):
            assert have == wish, f"{what}: row {r}, column {columns[c]}: {have!r}, to_json says {wish!r}"


def unique(names):
    """As the engine makes names of a file differ."""
    seen, out = {}, []
    for name in names:
        new, low = name, name.lower()
        while new.lower() in seen:
            new = f"{name}_{seen[low]}"
            if new.lower() in seen:
                seen[low] += 1
        seen[new.lower()] = 1
        out.append(new)
    return out


# ---- CSV -----------------------------------------------------------------------------------------------------------------

def read_csv(body):
    """Rows of a CSV text, by RFC 4180 and nothing more lenient. A field without quotes and content is None."""
    text, at, rows = body.decode("utf-8"), 0, []
    while at < len(text):
        row = []
        while True:
            if text.startswith('"', at):
                field, at = "", at + 1
                while True:
                    end = text.index('"', at)
                    field, at = field + text[at:end], end + 1
                    if not text.startswith('"', at):
                        break
                    field, at = field + '"', at + 1
            else:
                end = at
                while text[end] not in ',"\r\n':
                    end += 1
                field, at = text[at:end] or None, end
            row.append(field)
            if text.startswith("\r\n", at):
                at += 2
                break
            assert text[at] == ",", f"at {at}: {text[max(0, at - 40):at + 40]!r}"
            at += 1
        rows.append(row)
    return rows


def text_of(sql, database=None):
    """Rows of cells as text, by the engine's cast to VARCHAR."""
    con = engine(database)
    count = len(con.execute(f"DESCRIBE {sql}").fetchall())
    names = ", ".join(f"c{i}" for i in range(count))
    return [list(row) for row in con.execute(f"SELECT {', '.join(f'c{i}::VARCHAR' for i in range(count))} FROM ({sql}) t({names})").fetchall()]


def reread_csv(path, columns):
    """The same text read by the engine; `columns` is how many there are."""
    types = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(columns))
    options = "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', allow_quoted_nulls = false, new_line = '\\r\\n'"
    return [list(row) for row in engine().execute(
        f"FROM read_csv('{path}', columns = {{{types}}}, {options}, max_line_size = 100000000)").fetchall()]


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
    try:
        assert parquet_rows(got) == parquet_rows(want), what
    except duckdb.BinderException:  # the engine can't read everything that it writes (unions of unnamed structs)
        with pytest.raises(duckdb.BinderException):
            parquet_rows(want)
    mine, theirs = parquet_by_pyarrow(got), parquet_by_pyarrow(want)
    if theirs is not None:
        assert mine.schema.equals(theirs.schema), what
        assert mine.equals(theirs) or repr(mine.to_pylist()) == repr(theirs.to_pylist()), what
