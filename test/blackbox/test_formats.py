"""Results in every format against the engine itself. BULKHEAD_SOAK_MINUTES (make soak) takes everything; otherwise a cut of it."""

import json
import os

import duckdb
import pyarrow.parquet as pq
import pytest

from lib.client import Cut
from lib.formats import (MEDIA, arrow_of, assert_same_arrow, assert_same_json, assert_same_ndjson, assert_same_parquet, json_of, parquet_of,
                         parquet_rows, read_arrow, read_csv, reread_csv, text_of)
from lib.sql import CROSS_JOIN, ENDLESS_RESULT, LEVENSHTEIN

SOAK = "BULKHEAD_SOAK_MINUTES" in os.environ

with duckdb.connect() as _con:
    ALL_TYPES = [name for name, *_ in _con.execute("DESCRIBE SELECT * FROM test_all_types()").fetchall()]

# Where a value may stand. {c}: the column of test_all_types() that is looked at.
PLACES = {
    "as it is": "SELECT {c} AS x FROM test_all_types()",
    "with holes": "SELECT CASE WHEN i % 3 = 1 THEN NULL ELSE {c} END AS x FROM test_all_types(), range(900) t(i)",
    "in lists": "SELECT [{c}, NULL, {c}] AS x, [] AS e, [[{c}]] AS n FROM test_all_types()",
    "in structs": "SELECT {{'a': {c}, 'b': {{'c': {c}, 'd': 1}}}} AS x FROM test_all_types()",
    "in structs with holes": "SELECT CASE WHEN i % 2 = 0 THEN {{'a': [{c}]}} END AS x FROM test_all_types(), range(300) t(i)",
    "in maps": "SELECT MAP {{1: {c}, 2: NULL}} AS x, MAP {{'k': [{c}]}} AS n FROM test_all_types()",
    "in arrays": "SELECT array_value({c}, NULL, {c}) AS x FROM test_all_types()",
    "in unions": "SELECT union_value(a := {c}) AS x FROM test_all_types()",
    "in groups": "SELECT i % 7 AS k, list({c} ORDER BY i) AS x, first({c} ORDER BY i) AS f FROM test_all_types(), range(600) t(i) GROUP BY k ORDER BY k",
}


def arrow(client, sql, **fields):
    return read_arrow(body(client, sql, "arrow", **fields))


def has_no_case(name):
    """The engine has no CASE for arrays."""
    return "fixed" in name and "list_of" not in name


def fresh(directory, content=None):
    """A name that no file had before: the engine remembers files by name and time."""
    path = directory / f"{len(list(directory.iterdir()))}.parquet"
    path.write_bytes(content or b"")
    return path


def body(client, sql, form, **fields):
    response = client.query(sql, format=form, timeout="120s", **fields)
    assert response.status == 200, response
    assert response.content_type == MEDIA[form]
    return response.body


def json_names(sql):
    return [name for name, _ in json_of(sql)[0]]


class TestText:
    """JSON is covered value by value in test_types.py; here are NDJSON, which shares its values, and CSV."""

    @pytest.mark.parametrize("place", PLACES if SOAK else ["as it is", "in lists", "in structs", "in maps", "in groups"])
    def test_every_type_is_as_the_engine_prints_it(self, client, tmp_path, place):
        for name in ALL_TYPES:
            if "with holes" in place and has_no_case(name) and "struct" not in place:
                continue
            sql = PLACES[place].format(c=f'"{name}"')
            self.compare(client, tmp_path, sql, f"{name} {place}")

    def compare(self, client, tmp_path, sql, what):
        assert_same_ndjson(body(client, sql, "ndjson"), json_of(sql), what)
        text, want = body(client, sql, "csv"), text_of(sql)
        rows = read_csv(text)
        assert rows[0] == json_names(sql) and rows[1:] == want, what
        if len(rows[0]) > 1 or all(row[0] is not None for row in want):  # a line without anything is no row to the engine
            path = fresh(tmp_path, text)
            assert reread_csv(path, len(rows[0])) == want, what

    @pytest.mark.parametrize("sql", [
        "SELECT 1 AS a WHERE false", "SELECT 'x' AS a", "SELECT NULL AS a, '' AS b, ' ' AS c, 'NULL' AS d", "SELECT * FROM test_all_types() LIMIT 0",
        "SELECT 'a,b' AS \"x,y\", 'say \"hi\"' AS \"q\"\"q\", 'two' || chr(10) || 'lines' AS \"\nn\", 'cr' || chr(13) || 'lf' AS d, chr(13) || chr(10) AS e",
        "SELECT '=1+1' AS formula, chr(39) || 'quoted' || chr(39) AS single, 'tab' || chr(9) || 'tab' AS tab, '\\N' AS n, '#' AS hash",
        "SELECT i, i::VARCHAR AS v, CASE WHEN i % 3 = 0 THEN NULL ELSE 'x' || i END AS h FROM range(20000) t(i)",
        "SELECT i / 7 AS d, i::FLOAT / 3 AS f, i::DECIMAL(18,3) / 9 AS e, DATE '2000-01-01' + i::INTEGER AS t FROM range(5000) t(i)",
    ])
    def test_a_result_is_as_the_engine_prints_it(self, client, tmp_path, sql):
        self.compare(client, tmp_path, sql, sql)


class TestStrings:
    # every control character and every edge of UTF-8's lengths; in the soak every character there is
    CHARACTERS = ("SELECT chr(i::INTEGER) AS c, 'a' || chr(i::INTEGER) || 'b' AS m, repeat(chr(i::INTEGER), 20) AS l FROM range(0, 1114112) t(i) "
                  "WHERE i NOT BETWEEN 55296 AND 57343 AND ({cut}) ORDER BY i")
    CUT = "true" if SOAK else "i < 600 OR i IN (2047, 2048, 8232, 8233, 65279, 65533, 65534, 65535, 65536, 1114111) OR i % 7919 = 0"

    def test_every_character_arrives_in_every_format(self, client, tmp_path):
        sql = self.CHARACTERS.format(cut=self.CUT)
        want = arrow_of(sql).to_pylist()
        rows = [list(row.values()) for row in want]
        assert len(rows) > 700 and rows[0] == ["\0", "a\0b", "\0" * 20]
        assert client.query(sql, timeout="60s").data == rows
        assert [list(json.loads(line).values()) for line in body(client, sql, "ndjson").decode().split("\n")[:-1]] == rows
        assert read_csv(body(client, sql, "csv"))[1:] == rows
        assert read_arrow(body(client, sql, "arrow")).to_pylist() == want
        assert pq.read_table(fresh(tmp_path, body(client, sql, "parquet"))).to_pylist() == want

    @pytest.mark.parametrize("megabytes", [20, 100, 1000] if SOAK else [20])
    @pytest.mark.parametrize("form", MEDIA)
    def test_one_large_string_arrives_in_every_format(self, start, tmp_path, form, megabytes):
        if form == "parquet" and megabytes > 100:
            pytest.skip("the writer holds the value several times")
        server = start(set={"pool.memory_limit": f"{max(1, megabytes // 100) * 2}GB", "pool.workers": 1, "pool.spares": 0, "pool.overcommit": "yes"})
        tenth = megabytes * 100_000
        got = body(server.client, f"SELECT repeat('0123456789', {tenth}) AS v, 1 AS behind", form)
        if form == "arrow":
            table = read_arrow(got)
        elif form == "parquet":
            table = pq.read_table(fresh(tmp_path, got))
        if form in ("arrow", "parquet"):
            assert table.column("v")[0].as_py() == "0123456789" * tenth and table.column("behind").to_pylist() == [1]
        else:
            at = got.index(b"0123456789")
            assert got[at:at + 10 * tenth] == b"0123456789" * tenth and b"0123456789" not in got[:at] and b"1" in got[at + 10 * tenth:]
        assert server.client.rows("SELECT 1") == [[1]]


class TestArrow:
    @pytest.mark.parametrize("place", PLACES)
    def test_every_type_is_as_the_engine_exports_it(self, client, place):
        for name in ALL_TYPES:
            if "with holes" in place and has_no_case(name) and "struct" not in place:
                continue
            sql = PLACES[place].format(c=f'"{name}"')
            assert_same_arrow(arrow(client, sql), arrow_of(sql), f"{name} {place}")

    @pytest.mark.parametrize("sql", [
        "SELECT 1 AS a WHERE false", "SELECT * FROM test_all_types() LIMIT 0", "SELECT 1 AS a, 2 AS a, 3 AS \"A\", 4 AS \"\"\"q\"\"\", 5 AS \"ünï\"",
        "SELECT ''::VARCHAR AS e, ''::BLOB AS b, '{}'::JSON AS j, [NULL] AS l, NULL::INTEGER AS n",
        "SELECT i, i::VARCHAR AS v, 'a longer text number ' || i AS t FROM range(10000) t(i)",
        "SELECT CASE WHEN i < 5000 THEN NULL ELSE i END AS a, CASE WHEN i >= 5000 THEN NULL ELSE i::VARCHAR END AS b FROM range(10000) t(i)",
        "SELECT [i, NULL, i + 1] AS l, {'k': i, 's': ['x' || i]} AS s FROM range(10000) t(i) ORDER BY hash(i)",
        "SELECT a.l, b.i FROM (SELECT i, [i, i + 1] AS l FROM range(50) t(i)) a, range(300) b(i) WHERE (a.i + b.i) % 3 = 0 ORDER BY b.i, a.i DESC",
        "SELECT ('value ' || (i % 3))::ENUM('value 0', 'value 1', 'value 2') AS e, [('b')::ENUM('a', 'b')] AS l FROM range(5000) t(i)",
        "SELECT i::DECIMAL(4,1) AS a, (i / 7)::DECIMAL(9,4) AS b, (i * 1000)::DECIMAL(18,3) AS c, -i::DECIMAL(38,10) AS d FROM range(900) t(i)",
        "SELECT TIMESTAMPTZ '2024-07-01 12:34:56.789+02' AS a, TIMETZ '12:00:00+05:30' AS b, TIMESTAMP_NS '2024-01-01 00:00:00.123456789' AS c",
        "SELECT INTERVAL '1 year -2 months 3 days 04:05:06.789' AS a, INTERVAL '-1 second' AS b, to_microseconds(9223372036854775807) AS c",
        "SELECT union_value(num := 2)::UNION(num INTEGER, str VARCHAR) AS u UNION ALL SELECT union_value(str := 'x')::UNION(num INTEGER, str VARCHAR) "
        "UNION ALL SELECT NULL",
        "SELECT MAP {'a': 1, 'b': NULL} AS a, MAP {[1, 2]: {'k': [true]}} AS b, MAP {} AS c",
        "SELECT 'POINT (1 2)'::GEOMETRY AS g, '101'::BIT AS b, 12345678901234567890123456789::BIGNUM AS n, uuid() IS NULL AS u",
        "SELECT repeat('x', 3000) AS wide, i FROM range(3000) t(i)",
    ])
    def test_a_result_is_as_the_engine_exports_it(self, client, sql):
        assert_same_arrow(arrow(client, sql), arrow_of(sql), sql)

    @pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 63, 64, 65, 2047, 2048, 2049, 100_000])
    def test_every_number_of_rows(self, client, rows):
        sql = f"SELECT i, i % 3 = 0 AS b, CASE WHEN i % 5 = 0 THEN NULL ELSE i::VARCHAR END AS v FROM range({rows}) t(i)"
        assert_same_arrow(arrow(client, sql), arrow_of(sql), sql)

    def test_variant_which_the_engine_does_not_export_is_its_text(self, client):
        values = "(VALUES (1::VARIANT), ('x'::VARIANT), ({'a': [1, 2]}::VARIANT), (NULL::VARIANT), ([1, NULL]::VARIANT)) t(v)"
        got = arrow(client, f"SELECT v, [v] AS l, {{'s': v}} AS s, MAP {{1: v}} AS m FROM {values}")
        want = arrow_of(f"SELECT v::VARCHAR AS v, [v::VARCHAR] AS l, {{'s': v::VARCHAR}} AS s, MAP {{1: v::VARCHAR}} AS m FROM {values}")
        assert_same_arrow(got, want, "VARIANT")

    def test_a_null_of_no_type_has_a_type(self, client):
        assert arrow(client, "SELECT NULL AS n, [NULL] AS l").to_pylist() == [{"n": None, "l": [None]}]

    def test_parameters_and_max_rows_work(self, client):
        table = arrow(client, "SELECT i, $1 AS p FROM range(10000) t(i)", params=["text"], max_rows=3000)
        assert table.num_rows == 3000 and set(table.column("p").to_pylist()) == {"text"}

    def test_a_large_value_arrives_whole(self, client):
        table = arrow(client, "SELECT repeat('abcdefghij', 2000000) AS v, 1 AS behind")
        assert table.column("v")[0].as_py() == "abcdefghij" * 2_000_000 and table.column("behind")[0].as_py() == 1


class TestParquet:
    @staticmethod
    def file(client, tmp_path, sql, **fields):
        response = client.query(sql, format="parquet", timeout="60s", **fields)
        assert response.status == 200, response
        assert response.content_type == MEDIA["parquet"]
        return fresh(tmp_path, response.body)

    @pytest.mark.parametrize("place", ["as it is", "in lists", "in structs", "in maps"] if not SOAK else PLACES)
    def test_every_type_is_as_the_engine_writes_it(self, client, tmp_path, place):
        for name in ALL_TYPES:
            if "with holes" in place and has_no_case(name) and "struct" not in place:
                continue
            sql = PLACES[place].format(c=f'"{name}"')
            want = parquet_of(sql, fresh(tmp_path))
            if want is None:
                client.query(sql, format="parquet").problem(400, "sql_error")
            else:
                assert_same_parquet(self.file(client, tmp_path, sql), want, f"{name} {place}")

    @pytest.mark.parametrize("sql", [
        "SELECT 1 AS a WHERE false", "SELECT * FROM test_all_types() LIMIT 0", "SELECT 1 AS a, 2 AS a, 3 AS \"A\", 4 AS \"\"\"q\"\"\", 5 AS \"ünï\"",
        "SELECT 1::VARIANT AS v, {'a': [1, NULL]}::VARIANT AS w, '{\"k\": 1}'::JSON AS j, 'POINT (1 2)'::GEOMETRY AS g", "SELECT NULL AS n",
        "SELECT i, i::VARCHAR AS v, CASE WHEN i % 3 = 0 THEN NULL ELSE i END AS n FROM range(300000) t(i)",
        "SELECT hash(i) AS h, i FROM range(300000) t(i) ORDER BY h", "SELECT repeat('x', 3000) AS wide, i FROM range(30000) t(i)",
    ])
    def test_a_result_is_as_the_engine_writes_it(self, client, tmp_path, sql):
        assert_same_parquet(self.file(client, tmp_path, sql), parquet_of(sql, fresh(tmp_path)), sql)

    def test_parameters_and_max_rows_work(self, client, tmp_path):
        sql = "SELECT i, $p AS p FROM range(10000) t(i)"
        for most, rows in ((1, 1), (2048, 2048), (3000, 3000), (10_000, 10_000), (20_000, 10_000)):
            response = client.query(sql, params={"p": "text"}, max_rows=most, format="parquet")
            assert parquet_rows(fresh(tmp_path, response.body))[1] == [(str(i), "text") for i in range(rows)]
            assert ("Bulkhead-Truncated" in response.headers) == (most < 10_000)

    # The user's text runs by itself, in an engine that can't write. Nothing is put in front of it or behind it.
    @pytest.mark.parametrize("sql,rows", [
        ("SELECT 1 AS a -- ) TO '/tmp/x' (FORMAT csv)", [("1",)]), ("SELECT 1 AS a;", [("1",)]), ("SELECT 1 AS a /* ) */ ; -- ;", [("1",)]),
        ("SELECT $$) TO '/tmp/x'$$ AS a", [(") TO '/tmp/x'",)]), ("SELECT $x$ $$ ; ) $x$ AS a", [(" $$ ; ) ",)]), ("SELECT ');' AS a", [(");",)]),
        ("(SELECT 1 AS a)", [("1",)]), ("FROM (VALUES (1)) t(a)", [("1",)]), ("WITH t AS (SELECT 1 AS a) SELECT a FROM t -- x", [("1",)]),
        ("SELECT 1 AS \"a) TO '/tmp/x' --\"", [("1",)]), ("SELECT 'it''s)' AS a", [("it's)",)]), ("SELECT 1 AS a\n;\n\n", [("1",)]),
    ])
    def test_a_text_full_of_ends_is_one_select(self, client, tmp_path, sql, rows):
        assert parquet_rows(self.file(client, tmp_path, sql))[1] == rows

    @pytest.mark.parametrize("sql", [
        "SELECT 1) TO '{out}' (FORMAT csv); --", "SELECT 1) TO '{out}' (FORMAT csv); SELECT (1", "SELECT 1; COPY (SELECT 2) TO '{out}'",
        "COPY (SELECT 1) TO '{out}'", "SELECT 1 /* unclosed", "SELECT 'unclosed", "SELECT $$unclosed", "SELECT (1", "SELECT 1)", "",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'", "FROM bulkhead_rows()", "SELECT * FROM bulkhead_rows()",
    ])
    def test_a_text_that_is_no_select_fails_and_writes_nothing(self, client, tmp_path, sql):
        response = client.query(sql.format(out=tmp_path / "out"), format="parquet")
        assert response.status in (400, 403) and response.json()["code"] in ("sql_error", "bad_request", "forbidden"), response
        assert list(tmp_path.iterdir()) == []

    def test_the_output_has_no_name_that_sql_could_use(self, start):
        # The policy refuses these functions by themselves: what stands behind it is meant here.
        allowed = {"policy.allow_functions": "read_blob, read_csv"}
        client = start(database=None, set=allowed).client  # without a database file, which is open as well, and which the engine lets itself read
        for fd in range(64):
            for name in (f"/dev/fd/{fd}", f"/proc/self/fd/{fd}"):
                client.query(f"SELECT * FROM read_blob('{name}')", format="parquet").problem(400, "sql_error")
                client.query(f"FROM read_csv('{name}')", format="csv").problem(400, "sql_error")

    def test_it_needs_no_place_on_disk(self, start, tmp_path):
        server = start(set={"pool.scratch_limit": "0"})
        sql = "SELECT i, md5(i::VARCHAR) AS h FROM range(200000) t(i)"
        assert_same_parquet(self.file(server.client, tmp_path, sql), parquet_of(sql, fresh(tmp_path)), sql)
        server.client.query("FROM read_csv('/etc/passwd')", format="parquet").problem(403, "forbidden")

    def test_an_error_before_any_row_has_its_status(self, client):
        client.query("SELECT [1::VARIANT] AS what_the_engine_cannot_write", format="parquet").problem(400, "sql_error")
        fields = client.query("SELECT i, 1 / nope FROM range(3) t(i)", format="parquet").problem(400, "sql_error")
        assert fields["error_type"] == "Binder" and "nope" in fields["detail"]
        fields = client.query("SELECT CASE WHEN i < 5000 THEN i ELSE error('late') END AS v FROM range(10000) t(i)", format="parquet").problem(400, "sql_error")
        assert "late" in fields["detail"]

    def test_an_error_after_a_row_group_cuts_the_file_short(self, client):
        with pytest.raises(Cut):
            client.query("SELECT md5(i::VARCHAR) AS h, CASE WHEN i < 900000 THEN i ELSE error('late') END AS v FROM range(1000000) t(i)",
                         format="parquet", timeout="60s")
        assert client.rows("SELECT 1") == [[1]]

    @pytest.mark.parametrize("sql,stages", [(CROSS_JOIN, ("interrupt",)), (LEVENSHTEIN, ("term", "kill")), (ENDLESS_RESULT, ("interrupt",))])
    def test_a_deadline_ends_it_like_any_other_query(self, client, server, sql, stages):
        if sql == ENDLESS_RESULT:
            with pytest.raises(Cut):
                client.query(sql, format="parquet", timeout="1s")
        else:
            assert client.query(sql, format="parquet", timeout="300ms").problem(504, "timeout")["stopped_by"] in stages
        assert client.rows("SELECT 1") == [[1]]

    def test_an_interrupt_of_another_query_does_not_reach_it(self, start):
        client = start(set={"pool.workers": 1, "pool.spares": 0}).client
        for form in ("json", "parquet", "json"):
            assert client.query(CROSS_JOIN, format=form, timeout="200ms").problem(504, "timeout")["stopped_by"] == "interrupt"
            assert client.query("SELECT 1 AS a", format="parquet").status == 200

    def test_a_client_that_leaves_stops_it(self, client, server):
        before = server.metric("bulkhead_queries_total", code="cancelled")
        c = client.start_query(ENDLESS_RESULT, format="parquet", timeout="60s")
        c.read_head()
        c.abort()
        server.wait_metric("bulkhead_queries_total", before + 1, code="cancelled")
        assert client.rows("SELECT 1") == [[1]]

    def test_a_reader_that_stops_reading_stops_nothing_else(self, client, server):
        c = client.start_query("SELECT i, md5(i::VARCHAR) AS h FROM range(3000000) t(i)", receive_buffer=8192, format="parquet", timeout="60s")
        head = c.read_head()
        assert client.rows("SELECT 1") == [[1]]
        body = c._body(head, "POST")
        c.close()
        assert body[:4] == body[-4:] == b"PAR1"

    def test_what_does_not_fit_in_memory_is_out_of_memory(self, client):
        fields = client.query("SELECT repeat('x', 40000000) || i AS v FROM range(10) t(i)", format="parquet", timeout="60s").problem(507, "out_of_memory")
        assert fields["stopped_by"] == "engine" and fields["limit_bytes"] > 0
