"""Database files that the engine would not write: parts of one are put into another, and the checksums made right."""

import struct

from lib.db import Db

BLOCKS_AT, BLOCK, PAGE = 3 * 4096, 262144, 4096
EXPRESSION_ENDS = b"\xff\xff"


def checksum(block):
    sum_ = 5381
    for (word,) in struct.iter_unpack("<Q", block):
        sum_ ^= word * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    return sum_


def put(content, old, new, start=0):
    """Puts `new` in the place of the first `old` behind `start`, in the catalog's first page; what follows moves. Returns where it ends."""
    at, end = content.index(old, start), BLOCKS_AT + PAGE - 8
    assert BLOCKS_AT < at < end
    tail = content[at + len(old):end]
    grown = len(new) - len(old)
    assert grown >= 0 and not any(tail[len(tail) - grown:]), "no room in the page"
    content[at:end] = new + tail[:len(tail) - grown]
    for block in range(BLOCKS_AT, len(content), BLOCK):
        struct.pack_into("<Q", content, block, checksum(bytes(content[block + 8:block + BLOCK])))
    return at + len(new)


def between(content, begin, end):
    at = content.index(begin)
    return bytes(content[at:content.index(end, at) + len(end)])


def macro_with_default(directory, name, select):
    """A file with a macro m(a := (select)), a default that CREATE MACRO refuses. `select` returns one value and has one table, in FROM."""
    subquery = b"d\x00\re\x00\xaf\x01"  # class and type of the expression
    donor = Db(directory, "donor.duckdb").make(f"CREATE TABLE t AS SELECT 1 AS a;; CREATE MACRO m() AS [4711, ({select})]")
    part = between(donor.path.read_bytes(), subquery, b"\xcb\x00\x00" + EXPRESSION_ENDS)
    alias = b"f\x00\x01a"
    db = Db(directory, name).make("CREATE TABLE items AS SELECT 1 AS id;; CREATE MACRO m(a := 'QQQQQQQQ') AS a")
    content = bytearray(db.path.read_bytes())
    constant = between(content, b"d\x00\x07e\x00Kf\x00\x01ag", b"QQQQQQQQ" + 2 * EXPRESSION_ENDS)
    put(content, constant, subquery + alias + part[len(subquery):])
    db.path.write_bytes(content)
    return db


def view_with_type_names(directory, name, hidden, first, second, *before):
    """A file with a view v that casts, selects `hidden` and casts again, whose two types have these names: texts that only a file can have there."""
    view = f"SELECT CAST(id AS INTEGER) AS x, (SELECT count(*) FROM {hidden}) AS y, CAST(id AS INTEGER) AS z FROM items"
    db = Db(directory, name).make(";;".join(["CREATE TABLE items AS SELECT 1 AS id", *before, f"CREATE VIEW v AS {view}"]))
    content = bytearray(db.path.read_bytes())
    integer = b"\xc9\x00d\x00\x0d" + 2 * EXPRESSION_ENDS
    at = content.index(b"CREATE VIEW v AS")
    for text in (first.encode(), second.encode()):
        named = b"\xc9\x00d\x00\x0de\x00\x01d\x00\x01e\x00" + bytes([len(text)]) + text + 3 * EXPRESSION_ENDS
        at = put(content, integer, named, at)
    db.path.write_bytes(content)
    return db
