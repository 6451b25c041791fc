"""POST /v1/query: what a good request gets."""

import json
import re
import uuid

import pytest

from lib.client import new_id
from lib.sql import SHORT_WORK


def test_a_json_body_gets_columns_rows_and_stats(client, server):
    before = server.metrics()
    response = client.query("SELECT id, name, price FROM items WHERE id < 3 ORDER BY id")
    assert response.status == 200
    assert response.content_type == "application/json"
    body = response.json(parse_float=str)
    assert body["columns"] == [
        {"name": "id", "type": "BIGINT"},
        {"name": "name", "type": "VARCHAR"},
        {"name": "price", "type": "DECIMAL(12,2)"},
    ]
    # As the engine's own to_json writes them: without the scale's zeros.
    assert body["data"] == [[0, "item 0", "0.0"], [1, "item 1", "1.25"], [2, "item 2", "2.5"]]
    assert body["rows"] == 3
    assert body["truncated"] is False
    assert body["query_id"] == response.query_id
    for name in ("queue_ms", "exec_ms"):
        assert float(body["stats"][name]) >= 0
    server.wait_metric("bulkhead_queries_total", before.get("bulkhead_queries_total", code="ok") + 1, code="ok")
    after = server.metrics()
    assert after.get("bulkhead_result_bytes_total", format="json") >= before.get(
        "bulkhead_result_bytes_total", format="json") + len(response.body)
    assert after.get("bulkhead_query_seconds_count") == before.get("bulkhead_query_seconds_count") + 1


def test_who_leaves_with_the_whole_answer_counts_as_served(client, server):
    """Each of these connections ends the moment its answer is there."""
    before = server.metrics()
    for i in range(200):
        assert client.rows("SELECT $1", [i]) == [[i]]
    server.wait_metric("bulkhead_queries_total", before.get("bulkhead_queries_total", code="ok") + 200, code="ok")
    assert server.metric("bulkhead_queries_total", code="cancelled") == before.get("bulkhead_queries_total", code="cancelled")


@pytest.mark.parametrize("content_type", ["text/plain", "application/sql", "text/plain; charset=utf-8", "Application/SQL"])
def test_a_body_of_raw_sql_is_run_as_it_is(client, content_type):
    response = client.raw_sql("SELECT 'schöne Grüße' AS g;", content_type=content_type)
    assert response.data == [["schöne Grüße"]]


def test_a_json_content_type_may_name_its_charset(client):
    response = client.request("POST", "/v1/query", b'{"sql":"SELECT 1"}', [("Content-Type", "application/json; charset=utf-8")])
    assert response.data == [[1]]


def test_raw_sql_takes_its_timeout_from_the_query_string(client, server):
    from lib.sql import CROSS_JOIN
    response = client.raw_sql(CROSS_JOIN, target="/v1/query?timeout=200ms")
    assert response.problem(504, "timeout")["limit_ms"] == 200


@pytest.mark.parametrize("sql", [
    "SELECT 1", "VALUES (1)", "FROM (VALUES (1)) t", "WITH t AS (SELECT 1 AS a) SELECT a FROM t", "select 1 -- with a comment",
    "/* before */ SELECT 1", "  \n SELECT 1 ;  ", "TABLE one", "(SELECT 1)", "SELECT 1;;",
])
def test_every_form_of_select_is_taken(client, sql):
    if "one" in sql:
        sql = "WITH one AS (SELECT 1) " + sql
    assert client.rows(sql) == [[1]]


def test_statements_that_describe_are_taken(client):
    assert ["id", "BIGINT"] in [row[:2] for row in client.rows("DESCRIBE items")]
    assert ["items"] in [row[:1] for row in client.rows("SHOW TABLES")]
    assert client.query("SUMMARIZE items").json()["rows"] == 5
    plan = client.query("EXPLAIN SELECT * FROM items WHERE id = 1").json()
    assert "items" in json.dumps(plan["data"])
    analysed = client.query("EXPLAIN ANALYZE SELECT count(*) FROM items").json()
    assert analysed["rows"] >= 1


class TestParameters:
    def test_positional_ones_fill_the_marks_in_order(self, client):
        assert client.rows("SELECT ?, ?", [1, "zwei"]) == [[1, "zwei"]]
        assert client.rows("SELECT $2, $1", ["a", "b"]) == [["b", "a"]]

    def test_named_ones_are_found_by_name(self, client):
        assert client.rows("SELECT $low::INT + $high::INT", {"low": 1, "high": 41}) == [[42]]
        assert client.rows("SELECT name FROM items WHERE id = $id", {"id": 7}) == [["item 7"]]

    @pytest.mark.parametrize("value, kind, text", [
        ("null", '"NULL"', None),
        ("true", "BOOLEAN", "true"),
        ("0", "BIGINT", "0"),
        ("-1", "BIGINT", "-1"),
        ("9223372036854775807", "BIGINT", "9223372036854775807"),
        ("-9223372036854775808", "BIGINT", "-9223372036854775808"),
        ("9223372036854775808", "HUGEINT", "9223372036854775808"),
        ("170141183460469231731687303715884105727", "HUGEINT", "170141183460469231731687303715884105727"),
        ("-170141183460469231731687303715884105728", "HUGEINT", "-170141183460469231731687303715884105728"),
        ("340282366920938463463374607431768211456", "DOUBLE", "3.402823669209385e+38"),
        ("1.5", "DOUBLE", "1.5"),
        ("1e3", "DOUBLE", "1000.0"),
        ('"text"', "VARCHAR", "text"),
        ('"\\u0000 and \\ud83e\\udd86"', "VARCHAR", "\0 and 🦆"),
        ("[1, 2, 3]", "BIGINT[]", "[1, 2, 3]"),
        ('["a", null]', "VARCHAR[]", "[a, NULL]"),
        ('{"a": 1, "b": "x"}', "STRUCT(a BIGINT, b VARCHAR)", "{'a': 1, 'b': x}"),
    ])
    def test_a_json_value_becomes_the_type_of_the_contract(self, client, value, kind, text):
        # Two statements: see test_a_parameter_whose_type_the_engine_loses.
        for sql, expected in (("SELECT $1::VARCHAR", text), ("SELECT typeof($1)", kind)):
            body = b'{"sql": "%s", "params": [%s]}' % (sql.encode(), value.encode())
            response = client.request("POST", "/v1/query", body, [("Content-Type", "application/json")])
            assert response.data == [[expected]]

    @pytest.mark.parametrize("kind, value, text", [
        ("DECIMAL(18,2)", "1.10", "1.10"),
        ("DATE", "2024-02-29", "2024-02-29"),
        ("UUID", "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000001"),
        ("TIMESTAMP WITH TIME ZONE", "2024-01-01 12:00:00+02", "2024-01-01 10:00:00+00"),
        ("UHUGEINT", "340282366920938463463374607431768211455", "340282366920938463463374607431768211455"),
        ("INTEGER[]", [1, 2], "[1, 2]"),
    ])
    def test_a_typed_one_has_the_type_it_names(self, client, kind, value, text):
        rows = client.rows("SELECT typeof($1), $1::VARCHAR", [{"type": kind, "value": value}])
        assert rows == [[kind, text]]

    def test_a_nul_is_kept_in_a_value_and_refused_in_a_name(self, client):
        assert client.rows("SELECT length($1), ord($1)", ["\0x"]) == [[2, 0]]
        for typed in ({"type": "DATE\0", "value": "2024-01-01"}, {"type": "HUGEINT", "value": "1\0"}, {"type": "DOUBLE", "value": "1\0"}):
            assert client.query("SELECT $1", [typed]).status == 400, typed
        assert client.rows("SELECT length($1)", [{"type": "VARCHAR", "value": "a\0b"}]) == [[3]]
        client.query("SELECT 1", timeout="5s\0").problem(400, "bad_request")
        client.query("SELECT 1", format="json\0").problem(400, "bad_request")
        client.query("SELECT 1", big_numbers="number\0").problem(400, "bad_request")

    def test_a_parameter_whose_type_the_engine_loses(self, client, server):
        """A defect of the engine (1.5.5): a parameter that stands first where any type fits and then where the type is the value's own.
        The answer is definite, the worker is replaced, and another order of the columns, or an explicit type, gets round it."""
        response = client.query("SELECT typeof($1), $1::VARCHAR", ["text"])
        assert response.status == 200 or response.problem(500, "internal")
        assert client.rows("SELECT $1::VARCHAR, typeof($1)", ["text"]) == [["text", "VARCHAR"]]
        assert client.rows("SELECT typeof($1), $2::VARCHAR", ["text", "text"]) == [["VARCHAR", "text"]]
        server.settle()

    def test_values_that_grow_when_they_are_written_out_are_too_large_and_kill_nobody(self, client, server):
        """1e-7 comes in 4 bytes and goes to the worker in 22."""
        body = b'{"sql": "SELECT len($1)", "params": [[' + b",".join([b"1e-7"] * 300_000) + b"]]}"
        assert len(body) < 2_000_000
        fields = client.request("POST", "/v1/query", body, [("Content-Type", "application/json")]).problem(413, "payload_too_large")
        assert fields["limit_bytes"] == 2_000_000
        body = body.replace(b"1e-7,", b"", 250_000)
        assert client.request("POST", "/v1/query", body, [("Content-Type", "application/json")]).data == [[50_000]]

    def test_a_string_is_cast_by_its_context(self, client):
        assert client.rows("SELECT count(*) FROM items WHERE sold = ?", ["2024-01-02"])[0][0] >= 1

    def test_a_string_never_becomes_sql(self, client):
        assert client.rows("SELECT count(*) FROM items WHERE name = ?", ["x' OR '1'='1"]) == [[0]]

    @pytest.mark.parametrize("sql, params", [
        ("SELECT ?", []), ("SELECT ?", [1, 2]), ("SELECT 1", [1]), ("SELECT $a", {"b": 1}), ("SELECT $a", {"a": 1, "b": 2}),
        ("SELECT $a", {}), ("SELECT $a", {"a": 1, "A": 2}),
    ])
    def test_too_few_too_many_or_others_are_refused(self, client, sql, params):
        response = client.query(sql, params)
        assert response.status == 400, response
        assert response.json()["code"] in ("bad_request", "sql_error")

    @pytest.mark.parametrize("typed", [
        {"type": "NO SUCH TYPE", "value": 1}, {"type": "DATE", "value": "not a date"}, {"type": "INTEGER); DROP TABLE items; --", "value": 1},
    ])
    def test_an_impossible_typed_one_is_refused(self, client, typed):
        response = client.query("SELECT $1", [typed])
        assert response.status == 400, response


    @pytest.mark.parametrize("kind, value", [
        ("VARIANT", 1), ("VARIANT[]", [1]), ("VARIANT[1]", [1]), ("STRUCT(a VARIANT)", {"a": 1}), ("MAP(VARCHAR, VARIANT)", {"a": 1}),
        ("UNION(a VARIANT)", "x"), ("GEOMETRY", "POINT(1 2)"),
    ])
    def test_a_type_that_no_parameter_can_have_is_refused_and_costs_no_worker(self, client, server, kind, value):
        """VARIANT's vectors hold no strings, and nothing else that becomes a value of its own."""
        deaths = server.metric("bulkhead_worker_deaths_total", reason="crash")
        client.query("SELECT $1", [{"type": kind, "value": value}]).problem(400, "bad_request")
        assert client.rows("SELECT typeof($1::VARIANT)", [1]) == [["VARIANT"]]
        assert server.metric("bulkhead_worker_deaths_total", reason="crash") == deaths


class TestMaxRows:
    def test_it_cuts_and_says_so(self, client):
        body = client.query("SELECT id FROM items ORDER BY id", max_rows=5).json()
        assert body["data"] == [[i] for i in range(5)]
        assert body["rows"] == 5
        assert body["truncated"] is True

    @pytest.mark.parametrize("limit", [1000, 1001, 10**9])
    def test_a_result_that_fits_is_not_called_cut(self, client, limit):
        body = client.query("SELECT id FROM items", max_rows=limit).json()
        assert body["rows"] == 1000
        assert body["truncated"] is False

    def test_it_ends_a_result_without_an_end(self, client):
        from lib.sql import ENDLESS_RESULT
        body = client.query(ENDLESS_RESULT, max_rows=3000, timeout="60s").json()
        assert body["rows"] == len(body["data"]) == 3000
        assert body["truncated"] is True
        assert body["data"][2999][0] == 2999

    @pytest.mark.parametrize("limit", [-1, 1.5, "10", True])
    def test_what_is_no_count_is_refused(self, client, limit):
        client.query("SELECT 1", max_rows=limit).problem(400, "bad_request")


class TestQueryId:
    def test_the_servers_own_are_random_uuids(self, client):
        ids = {client.query("SELECT 1").query_id for _ in range(20)}
        assert len(ids) == 20
        values = [uuid.UUID(i) for i in ids]
        # 128 random bits: no bit is the same in all of them, beyond what a version of UUID fixes (6 bits).
        all_set, all_clear = (1 << 128) - 1, (1 << 128) - 1
        for v in values:
            all_set &= v.int
            all_clear &= ~v.int
        assert bin(all_set).count("1") + bin(all_clear).count("1") <= 6 + 2

    def test_a_client_may_choose_it(self, client):
        mine = new_id()
        response = client.query("SELECT 1", headers={"Bulkhead-Query-Id": mine})
        assert response.query_id == mine
        assert response.json()["query_id"] == mine

    def test_errors_carry_it_too(self, client):
        mine = new_id()
        response = client.query("SELEC", headers={"Bulkhead-Query-Id": mine})
        assert response.problem(400, "sql_error")["query_id"] == mine

    @pytest.mark.parametrize("bad", ["1", "not-a-uuid", "00000000-0000-4000-8000-00000000000g", "00000000-0000-4000-8000-0000000000001",
                                     "{00000000-0000-4000-8000-000000000001}", "00000000000040008000000000000001 "])
    def test_what_is_no_uuid_is_refused(self, client, bad):
        response = client.query("SELECT 1", headers={"Bulkhead-Query-Id": bad})
        assert response.status == 400, response
        assert response.json()["code"] == "bad_request"

    def test_one_in_use_is_a_conflict_and_disturbs_nobody(self, client, server):
        mine = new_id()
        first = client.start_query(SHORT_WORK, headers={"Bulkhead-Query-Id": mine})
        server.wait_running(mine)
        second = client.query("SELECT 1", headers={"Bulkhead-Query-Id": mine})
        assert second.status == 409, second
        assert second.json()["code"] == "conflict"
        answer = first.read_response()
        assert answer.status == 200 and answer.query_id == mine
        first.close()

    def test_upper_case_is_the_same_id(self, client, server):
        mine = new_id()
        first = client.start_query(SHORT_WORK, headers={"Bulkhead-Query-Id": mine})
        server.wait_running(mine)
        second = client.query("SELECT 1", headers={"Bulkhead-Query-Id": mine.upper()})
        assert second.status == 409, second
        assert first.read_response().status == 200
        first.close()


class TestSqlErrors:
    def test_a_syntax_error_says_where(self, client, server):
        before = server.metric("bulkhead_queries_total", code="sql_error")
        fields = client.query("SELECT 1 FROM items WHEER id = 1").problem(400, "sql_error")
        assert fields["error_type"] == "Parser"
        assert 'at or near "id"' in fields["detail"]
        # WHEER is taken for an alias; what can't be is the word behind it. Counted from 1.
        assert fields["position"] == 27
        server.wait_metric("bulkhead_queries_total", before + 1, code="sql_error")

    @pytest.mark.parametrize("sql, kind, word", [
        ("SELECT nope FROM items", "Binder", "nope"),
        ("SELECT * FROM no_such_table", "Catalog", "no_such_table"),
        ("SELECT 'abc'::INTEGER", "Conversion", "abc"),
        ("SELECT no_such_function(1)", "Catalog", "no_such_function"),
        ("SELECT error('on purpose')", "Invalid Input", "on purpose"),
        ("SELECT (9223372036854775807::BIGINT) + 1", "Out of Range", "verflow"),
    ])
    def test_the_engines_type_and_words_come_through(self, client, sql, kind, word):
        fields = client.query(sql).problem(400, "sql_error")
        assert fields["error_type"].startswith(kind), fields
        assert word in fields["detail"]

    def test_an_error_after_rows_have_been_found_still_has_its_status(self, client):
        fields = client.query("SELECT CASE WHEN i = 50 THEN error('row 50') ELSE i END FROM range(100) t(i)").problem(400, "sql_error")
        assert "row 50" in fields["detail"]

    def test_no_path_of_the_server_shows(self, client, items):
        for sql in ("SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM no_such", "SELECT * FROM '/etc/hostname'"):
            response = client.query(sql)
            assert response.status in (400, 403), response
            assert str(items) not in response.text

    @pytest.mark.parametrize("sql", ["", " ", ";", "-- only a comment", "/* nothing */"])
    def test_no_statement_at_all_is_an_error(self, client, sql):
        response = client.query(sql)
        assert response.status == 400, response
        assert response.json()["code"] in ("bad_request", "sql_error")

    def test_a_nul_in_the_statement_is_an_error(self, client):
        response = client.query("SELECT 1\0SELECT 2")
        assert response.status == 400, response


class TestOnlyOneReadingStatement:
    @pytest.mark.parametrize("sql, word", [
        ("INSERT INTO items(id) VALUES (1)", "INSERT"),
        ("UPDATE items SET name = 'x'", "UPDATE"),
        ("DELETE FROM items", "DELETE"),
        ("CREATE TABLE t(i INT)", "CREATE"),
        ("CREATE TEMP TABLE t(i INT)", "CREATE"),
        ("DROP TABLE items", "DROP"),
        ("ALTER TABLE items ADD COLUMN x INT", "ALTER"),
        ("COPY items TO '/tmp/never.csv'", "COPY"),
        ("COPY items FROM '/etc/passwd'", "COPY"),
        ("EXPORT DATABASE '/tmp/never'", "EXPORT"),
        ("ATTACH '/tmp/never.duckdb'", "ATTACH"),
        ("DETACH data", "DETACH"),
        ("INSTALL httpfs", None),
        ("LOAD httpfs", "LOAD"),
        ("SET threads = 1", "SET"),
        ("RESET threads", None),
        ("PRAGMA enable_profiling", None),
        ("CALL pragma_version()", None),
        ("BEGIN", None),
        ("COMMIT", None),
        ("USE memory", None),
        ("CHECKPOINT", None),
        ("VACUUM", "VACUUM"),
        ("PREPARE p AS SELECT 1", "PREPARE"),
        ("EXECUTE p", None),
        ("SET VARIABLE x = 1", None),
        ("EXPLAIN ANALYZE INSERT INTO items(id) VALUES (1)", None),
        ("EXPLAIN ANALYZE COPY items TO '/tmp/never.csv'", None),
    ])
    def test_anything_else_is_forbidden_and_named(self, client, server, sql, word):
        before = server.metric("bulkhead_queries_total", code="forbidden")
        fields = client.query(sql).problem(403, "forbidden")
        assert fields["what"], fields
        if word:
            assert word.lower() in fields["what"].lower(), fields
        server.wait_metric("bulkhead_queries_total", before + 1, code="forbidden")

    @pytest.mark.parametrize("sql", ["SELECT 1; SELECT 2", "SELECT 1; DROP TABLE items", "BEGIN; SELECT 1"])
    def test_several_statements_are_refused_as_a_whole(self, client, sql):
        response = client.query(sql)
        assert (response.status, response.json()["code"]) in [(400, "bad_request"), (400, "sql_error"), (403, "forbidden")]
        assert re.search(r"\b(one|single|several|2|two)\b", response.json()["detail"]), response
        assert client.rows("SELECT count(*) FROM items") == [[1000]]

    def test_nothing_of_it_had_an_effect(self, client):
        assert client.rows("SELECT count(*), count(name) FROM items") == [[1000, 1000]]
        assert client.rows("SELECT current_setting('threads')")[0][0] == 1

    @pytest.mark.parametrize("sql", [
        "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')", "SELECT getenv('PATH')", "SELECT * FROM read_blob('/proc/self/environ')",
    ])
    def test_files_and_environment_are_out_of_reach(self, client, sql):
        response = client.query(sql)
        assert response.status in (400, 403), response
        assert "root:" not in response.text


def test_state_does_not_pass_from_one_request_to_the_next(client):
    with client.connect() as c:
        for sql in ("SELECT setseed(0.5)", "SELECT nextval('no_such')", "SELECT 1"):
            body = client.query_body(sql, {})
            c.request("POST", "/v1/query", body, [("Content-Type", "application/json")])
        last = c.request("POST", "/v1/query", client.query_body("SELECT 7", {}), [("Content-Type", "application/json")])
    assert last.data == [[7]]


def test_the_same_text_again_gives_the_same_answer_from_the_cache(client, server):
    """The statement cache is by exact text: same text with other parameters must not give the first one's answer."""
    sql = "SELECT name FROM items WHERE id = $1"
    for round in range(3):
        for i in (1, 2, 999):
            assert client.rows(sql, [i]) == [[f"item {i}"]]
    # A parameter of another type under the same text.
    assert client.rows("SELECT typeof($1)", [1]) == [["BIGINT"]]
    assert client.rows("SELECT typeof($1)", ["1"]) == [["VARCHAR"]]
    assert client.rows("SELECT typeof($1)", [1.5]) == [["DOUBLE"]]
    # Time must not stand still in a cached statement.
    first, second = client.rows("SELECT now()::VARCHAR"), client.rows("SELECT now()::VARCHAR")
    assert first != second
