"""Database files that were made by hand: what the engine would not write, but runs. Default arguments of macros that are no constants, which no
catalog shows; names of types that hide part of a view from whoever reads its text."""

import pytest

from lib import plain
from lib.crafted import macro_with_default, view_with_type_names
from lib.db import Db
from lib.server import Server


def test_a_default_that_is_no_constant_is_judged(tmp_path):
    db = macro_with_default(tmp_path, "hostile.duckdb", "SELECT count(*) FROM enable_logging()")
    there = plain.run(db, "SELECT m()", "SELECT current_setting('enable_logging')", directory=tmp_path)
    assert there.error is None and there.rows != [["0"]], f"this is no hole of plain DuckDB: {there}"
    with Server(db) as s:
        for sql in ("SELECT m()", "SELECT m(1)", "FROM query('SELECT m()')"):
            problem = s.client.query(sql).problem(403, "forbidden")
            assert problem["what"] == "macro m" and "enable_logging" in problem["detail"], problem
        assert s.client.rows("SELECT id FROM items") == [[1]]


def test_a_default_that_is_harmless_runs(tmp_path):
    db = macro_with_default(tmp_path, "hostile.duckdb", "SELECT count(*) FROM duckdb_keywords()")
    with Server(db) as s:
        assert s.client.rows("SELECT m() > 100") == [[True]]


CONSTANTS = ["3", "-1.5", "'x\n\ty('''", "[1, 2, 3]", "{'a b': [NULL]}", "NULL", "true", "DATE '2020-01-01'", "INTERVAL 1 DAY", "'x00'::BLOB", "MAP {'a': 1}", "'nan'::DOUBLE", "10::HUGEINT",
             "1 + 2 * 3", "'Candidate macros:\n\tm(a := f(1))'", "'a'::ENUM('a', 'b')", "'2020-01-01 00:00:00+00'::TIMESTAMPTZ", "'1'::BIT", "row(1, 'x')"]


def test_constants_of_every_type_work(tmp_path):
    macros = [f"CREATE MACRO m{i}(a, b := {value}) AS (a, b) IS NULL, (a, b := {value}, c := {value}, d := 1) AS true" for i, value in enumerate(CONSTANTS)]
    tables = [f"CREATE MACRO t{i}(a, b := {value}) AS TABLE SELECT a, b" for i, value in enumerate(CONSTANTS)]
    odd = ['CREATE MACRO "we ird(""q"("p 1", "p.2" := 3) AS "p.2"', "CREATE MACRO line(a := 3) AS a", 'CREATE MACRO quoted("it\'s") AS 1']
    db = Db(tmp_path).make(";;".join(macros + tables + odd))
    with Server(db) as s:
        for i, value in enumerate(CONSTANTS):
            assert s.client.query(f"SELECT m{i}(1, 2, 3, 4)").status == 200, value
            assert s.client.query(f"FROM t{i}(1)").status == 200, value
        assert s.client.rows('SELECT "we ird(""q"(1), line(), quoted(2)') == [[3, 3, 1]]


def test_names_that_would_hide_a_default_are_refused(tmp_path):
    db = Db(tmp_path).make("""CREATE MACRO hides("it's", b := 2) AS b;; CREATE MACRO comments("a--", b := 2) AS b;; CREATE MACRO fine(a, b := 2) AS b""")
    with Server(db) as s:
        for name in ("hides", "comments"):
            problem = s.client.query(f"SELECT {name}(1)").problem(403, "forbidden")
            assert problem["what"] == f"macro {name}" and "default arguments" in problem["detail"], problem
        assert s.client.rows("SELECT fine(1)") == [[2]]


BAD = "CREATE VIEW bad AS FROM enable_logging()"
TYPE_NAMES = [
    ("enable_logging()", "INTEGER /*", "*/"),
    ("enable_logging()", "INTEGER) || ('((", "))') || CAST(id AS VARCHAR"),
    ("enable_logging()", 'INTEGER) AS "((', '))", CAST(id AS VARCHAR'),
    ("enable_logging()", "INTEGER) || ($$((", "))$$) || CAST(id AS VARCHAR"),
    ("duckdb_databases", 'INTEGER) AS "((', '))", CAST(id AS VARCHAR'),
    ("bad", "INTEGER) || ('((", "))') || CAST(id AS VARCHAR"),
]


@pytest.mark.parametrize("hidden,first,second", TYPE_NAMES, ids=["comment", "text", "name", "dollars", "view", "stored view"])
def test_a_types_name_hides_no_part_of_a_view(tmp_path, hidden, first, second):
    db = view_with_type_names(tmp_path, "hostile.duckdb", hidden, first, second, BAD)
    there = plain.run(db, "FROM v", directory=tmp_path)
    assert there.error is None and len(there.rows[0]) == 3, f"this is no hole of plain DuckDB: {there}"
    with Server(db) as s:
        assert s.client.query("FROM v").problem(403, "forbidden")["what"] == "view v"
        assert s.client.rows("SELECT id FROM items") == [[1]]


def test_views_with_words_in_their_texts_work(tmp_path):
    db = Db(tmp_path).make("""CREATE TABLE t AS SELECT 1 AS a;; CREATE VIEW bad AS FROM enable_logging();;
        CREATE VIEW v AS SELECT 'it came from t, or from "bad data" (join us)' AS a, 'sum(x) -- no comment /*' AS "count(*)", 4 // 2 - -1 AS c, '{"a": 1}'->>'a' AS d FROM t""")
    with Server(db) as s:
        assert s.client.rows("SELECT c, d FROM v") == [[3, "1"]]
