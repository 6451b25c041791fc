"""Exports to an object store: an object appears when it is whole, and never otherwise."""

import os

import pytest

from lib import proc
from lib.asynchronous import fetch, start, submit, wait_over
from lib.client import new_id
from lib.formats import engine
from lib.server import Server
from lib.session import Session
from lib.sources import Sources
from lib.sql import ROWS_THEN_RUNAWAY
from lib.wait import wait_until

LARGE = "SELECT i, md5(i::VARCHAR) AS h FROM range(500000) t(i)"


@pytest.fixture(scope="module")
def shared_server(items, s3, tmp_path_factory):
    s = Sources(tmp_path_factory.mktemp("secrets"))
    s.s3("lake", s3, prefix="exports/", writable_prefix="out")
    s.s3("closed", s3, prefix="exports/")
    s.s3("wrong", s3, prefix="exports/", writable_prefix="out", secret_file=s.secret("wrong", "wrong-s3cret-word"))
    with Server(items, set={**s.settings, "session.max": 4}) as server:
        yield server


def object_path(s3, key):
    return s3.path("root", "lake", "exports", key)


def export(client, sql, path, source="lake", **how):
    return start(client, sql, destination={"source": source, "path": path}, **how)


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("sql", ["SELECT 42 AS i, 'x' AS h", LARGE], ids=["small", "large"])
def test_the_object_is_the_result(client, s3, form, sql):
    key = f"out/{new_id()}.{form}"
    query_id = export(client, sql, key, format=form)
    record = wait_over(client, query_id)
    assert record["state"] == "done" and record["destination"] == {"source": "lake", "path": key}, record
    path = object_path(s3, key)
    assert os.path.getsize(path) == record["bytes"] > 0
    if form == "csv":
        with open(path, "rb") as f:
            assert f.read() == client.query(sql, format="csv").body
    else:
        assert engine().execute(f"FROM '{path}'").fetchall() == engine().execute(sql).fetchall()
    fetch(client, query_id).problem(404, "not_found")
    assert client.rows(f"SELECT count(*) FROM 's3://lake/exports/{key}'", sources=["lake"]) == [[record["rows"]]]


def test_a_directory_gets_an_object_of_the_querys_name(client, s3):
    query_id = export(client, "SELECT 7 AS a", "out/daily/", format="csv")
    record = wait_over(client, query_id)
    assert record["state"] == "done" and record["destination"] == {"source": "lake", "path": f"out/daily/{query_id}.csv"}, record
    assert client.rows(f"SELECT a FROM 's3://lake/exports/out/daily/{query_id}.csv'", sources=["lake"]) == [[7]]


def test_a_query_may_read_and_write_the_same_store(client, s3):
    first, second = f"out/{new_id()}.csv", f"out/{new_id()}.csv"
    assert wait_over(client, export(client, "SELECT 7 AS a", first, format="csv"))["state"] == "done"
    query_id = export(client, f"SELECT a * 6 AS b FROM 's3://lake/exports/{first}'", second, format="csv", sources=["lake"])
    assert wait_over(client, query_id)["state"] == "done"
    with open(object_path(s3, second), "rb") as f:
        assert f.read() == b"b\r\n42\r\n"


def test_nothing_is_overwritten(client, s3):
    key = f"out/{new_id()}.csv"
    assert wait_over(client, export(client, "SELECT 1 AS a", key, format="csv"))["state"] == "done"
    query_id = export(client, "SELECT 2 AS a", key, format="csv")
    assert wait_over(client, query_id)["code"] == "conflict"
    fetch(client, query_id).problem(409, "conflict")
    with open(object_path(s3, key), "rb") as f:
        assert f.read() == b"a\r\n1\r\n"


@pytest.mark.fault
def test_what_fails_never_appears(server, client, s3):
    keys = [f"out/{new_id()}.csv" for _ in range(4)]
    late = "SELECT i, CASE WHEN i < 400000 THEN md5(i::VARCHAR) ELSE error('no further') END AS h FROM range(500000) t(i)"
    assert wait_over(client, export(client, late, keys[0], format="csv"))["code"] == "sql_error"
    assert wait_over(client, export(client, ROWS_THEN_RUNAWAY, keys[1], format="csv", timeout="1s"))["code"] == "timeout"
    query_id = export(client, ROWS_THEN_RUNAWAY, keys[2], format="csv", timeout="60s")
    server.wait_running(query_id)
    client.request("DELETE", f"/v1/queries/{query_id}")
    assert wait_over(client, query_id)["state"] == "cancelled"
    query_id = export(client, ROWS_THEN_RUNAWAY, keys[3], format="csv", timeout="60s")
    proc.kill(server.wait_running(query_id)["pid"])
    assert wait_over(client, query_id)["code"] == "worker_crashed"
    wait_until(lambda: all(w["kind"] != "sources" for w in server.workers()), "their workers live on")
    assert not any(os.path.exists(object_path(s3, key)) for key in keys)


def test_the_largest_result_is_a_limit_here_too(items, s3, tmp_path):
    s = Sources(tmp_path).s3("lake", s3, prefix="exports/", writable_prefix="out")
    with Server(items, set={**s.settings, "limits.max_result_bytes": "2MB"}) as server:
        key = f"out/{new_id()}.csv"
        assert wait_over(server.client, export(server.client, LARGE, key, format="csv"))["code"] == "result_too_large"
        assert not os.path.exists(object_path(s3, key))


@pytest.mark.parametrize("path,status,code", [("a.csv", 403, "forbidden"), ("outer/a.csv", 403, "forbidden"), ("out/../a.csv", 400, "bad_request"),
                                              ("out/a?x=1", 400, "bad_request"), ("out/a%2e", 400, "bad_request"), ("out/a b", 400, "bad_request"),
                                              ("out//", 400, "bad_request")])
def test_only_plain_keys_below_the_writable_prefix(client, path, status, code):
    submit(client, "SELECT 1", destination={"source": "lake", "path": path}).problem(status, code)


def test_who_may_write_where(client):
    submit(client, "SELECT 1", destination={"source": "closed", "path": "out/a.csv"}).problem(403, "forbidden")
    with Session(client) as s:
        submit(client, "SELECT 1", session=s.id, destination={"source": "lake", "path": "out/a.csv"}).problem(400, "bad_request")


def test_a_store_that_refuses_is_a_source_error(client, s3):
    key = f"out/{new_id()}.csv"
    query_id = export(client, "SELECT 1", key, source="wrong", format="csv")
    record = wait_over(client, query_id)
    assert record["code"] == "source_error", record
    response = fetch(client, query_id)
    assert response.problem(502, "source_error")["source"] == "wrong"
    assert "wrong-s3cret-word" not in response.text and s3.key_id not in response.text
    assert not os.path.exists(object_path(s3, key))
