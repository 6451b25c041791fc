"""Exports: asynchronous queries whose result becomes a file of a source, as a whole or not at all."""

import os
import stat

import pytest

from lib import proc
from lib.asynchronous import fetch, start, submit, wait_over
from lib.client import new_id
from lib.formats import engine, read_arrow
from lib.keys import bearer, new_key
from lib.server import Server, run_cli
from lib.session import Session
from lib.sql import CROSS_JOIN, ROWS_THEN_RUNAWAY
from lib.wait import stays, wait_until

LARGE = "SELECT i, md5(i::VARCHAR) AS h FROM range(250000) t(i)"


@pytest.fixture(scope="module")
def drop(tmp_path_factory):
    where = tmp_path_factory.mktemp("drop")
    (where / "out" / "deep").mkdir(parents=True)
    (where / "in").mkdir()
    return where


@pytest.fixture(scope="module")
def shared_server(items, drop, tmp_path_factory):
    keys_file = tmp_path_factory.mktemp("keys") / "keys.ini"
    keys = {name: new_key(keys_file, name, role) for name, role in (("root", "admin"), ("ann", "analyst"), ("bob", "analyst"), ("rea", "reader"))}
    settings = {"server.keys_file": keys_file, "source.drop.type": "files", "source.drop.path": drop, "source.drop.writable_prefix": "out",
                "source.closed.type": "files", "source.closed.path": drop, "source.annes.type": "files", "source.annes.path": drop,
                "source.annes.writable_prefix": str(drop / "out"), "source.annes.keys": "ann"}
    with Server(items, set=settings, key=keys["root"]) as s:
        s.key = keys
        yield s


def export(client, sql, path, source="drop", **how):
    return start(client, sql, destination={"source": source, "path": path}, **how)


def refused(client, path, source="drop", **how):
    return submit(client, "SELECT 1", destination={"source": source, "path": path}, **how)


def left_in(where):
    return sorted(str(p.relative_to(where)) for p in where.rglob("*") if p.is_file())


@pytest.mark.parametrize("form", ["csv", "parquet", "ndjson", "arrow"])
@pytest.mark.parametrize("sql", ["SELECT 42 AS i, 'x' AS h", LARGE], ids=["small", "large"])
def test_the_file_is_the_result(client, drop, form, sql):
    name = f"out/{new_id()}.{form}"
    query_id = export(client, sql, name, format=form)
    record = wait_over(client, query_id)
    assert record["state"] == "done" and record["destination"] == {"source": "drop", "path": name}
    body = (drop / name).read_bytes()
    assert len(body) == record["bytes"] > 0
    if form in ("csv", "ndjson"):
        assert body == client.query(sql, format=form).body
    elif form == "arrow":
        assert read_arrow(body).equals(engine().execute(sql).to_arrow_table())
    else:
        assert engine().execute(f"FROM '{drop / name}'").fetchall() == engine().execute(sql).fetchall()
    assert stat.S_IMODE((drop / name).stat().st_mode) == 0o640
    assert (drop / name).stat().st_uid == (drop / "out").stat().st_uid
    fetch(client, query_id).problem(404, "not_found")


def test_a_directory_gets_a_file_of_the_querys_name(client, drop):
    query_id = export(client, "SELECT 7 AS a", "out/", format="csv")
    record = wait_over(client, query_id)
    assert record["state"] == "done" and record["destination"] == {"source": "drop", "path": f"out/{query_id}.csv"}
    assert (drop / "out" / f"{query_id}.csv").read_bytes() == b"a\r\n7\r\n"


def test_the_log_says_who_wrote_what_where(server, client):
    name = f"out/{new_id()}.csv"
    query_id = export(client, "SELECT 7 AS a", name, headers=bearer(server.key["ann"]), format="csv")
    wait_over(client, query_id)
    server.wait_log("exported", query_id=query_id, key="ann", source="drop", path=name, bytes=6)


def test_it_can_be_read_through_the_source(client, drop):
    name = f"out/deep/{new_id()}.csv"
    assert wait_over(client, export(client, "SELECT 7 AS a", name, format="csv"))["state"] == "done"
    assert client.rows(f"FROM '{drop / name}'", sources=["drop"]) == [[7]]


def test_nothing_is_there_before_it_is_whole_and_nothing_of_what_failed(server, client, drop):
    before = left_in(drop)
    running = export(client, CROSS_JOIN, "out/running.csv", timeout="60s")
    failing = export(client, ROWS_THEN_RUNAWAY, "out/failing.csv", timeout="1s")
    wrong = export(client, "SELECT nosuch FROM items", "out/wrong.csv")
    stays(lambda: left_in(drop) == before, "a part is there", for_s=0.5)
    client.request("DELETE", f"/v1/queries/{running}")
    assert wait_over(client, running)["state"] == "cancelled"
    assert wait_over(client, failing)["code"] == "timeout"
    assert wait_over(client, wrong)["code"] == "sql_error"
    server.settle()
    assert left_in(drop) == before
    fetch(client, wrong).problem(400, "sql_error")


def test_nothing_is_overwritten(client, drop):
    (drop / "out" / "mine.csv").write_text("mine")
    refused(client, "out/mine.csv").problem(409, "conflict")
    os.symlink(drop / "in" / "elsewhere.csv", drop / "out" / "link.csv")
    refused(client, "out/link.csv").problem(409, "conflict")
    query_id = export(client, "SELECT sum(a.i * b.i % 7) AS s FROM range(20000) a(i), range(2000) b(i)", "out/late.csv")
    (drop / "out" / "late.csv").write_text("sooner")
    assert wait_over(client, query_id)["code"] == "conflict"
    fetch(client, query_id).problem(409, "conflict")
    assert (drop / "out" / "mine.csv").read_text() == "mine" and (drop / "out" / "late.csv").read_text() == "sooner"
    assert not (drop / "in" / "elsewhere.csv").exists()


@pytest.mark.parametrize("path", ["in/a.csv", "a.csv", "out", "outer/a.csv"])
def test_only_below_the_writable_prefix(client, path):
    assert refused(client, path).problem(403, "forbidden")["what"] == "export"


@pytest.mark.parametrize("path", ["out/../in/a.csv", "out/./a.csv", "out//a.csv", "/etc/a.csv", "out//", "/", "", "out/a\nb.csv", "out/" + "x" * 256,
                                  "out/" + "x/" * 600 + "a"])
def test_odd_paths_are_refused(client, path):
    refused(client, path).problem(400, "bad_request")


def test_a_link_on_the_way_leads_nowhere(client, drop):
    os.symlink(drop / "in", drop / "out" / "way")
    assert refused(client, "out/way/a.csv").status in (403, 404)
    os.symlink("/tmp", drop / "out" / "away")
    assert refused(client, "out/away/a.csv").status in (403, 404)
    refused(client, "out/nosuch/a.csv").problem(404, "not_found")
    refused(client, "out/mine.csv/a.csv").problem(404, "not_found")


def test_the_request_is_checked(client):
    for destination in ("drop", {"source": "drop"}, {"path": "out/a"}, {"source": "drop", "path": "out/a", "mode": "w"}, {"source": 1, "path": "out/a"}):
        submit(client, "SELECT 1", destination=destination).problem(400, "bad_request")
    client.query("SELECT 1", destination={"source": "drop", "path": "out/a"}).problem(400, "bad_request")


def test_who_may_write_where(server, client):
    refused(client, "out/a.csv", source="closed").problem(403, "forbidden")
    refused(client, "out/a.csv", source="nosuch").problem(404, "not_found")
    refused(client, "out/a.csv", source="annes", headers=bearer(server.key["bob"])).problem(404, "not_found")
    refused(client, "out/a.csv", headers=bearer(server.key["rea"])).problem(403, "forbidden")
    query_id = export(client, "SELECT 1", f"out/{new_id()}.csv", source="annes", headers=bearer(server.key["ann"]))
    assert wait_over(client, query_id)["state"] == "done"


def test_a_session_s_result(client, drop):
    with Session(client) as s:
        s.rows("CREATE TEMP TABLE t AS SELECT i, md5(i::VARCHAR) AS h FROM range(250000) t(i)")
        name = f"out/{new_id()}.csv"
        query_id = export(client, "FROM t ORDER BY i", name, session=s.id, format="csv")
        assert wait_over(client, query_id)["state"] == "done"
        assert (drop / name).read_bytes() == client.query(LARGE, format="csv").body
        assert s.get().json()["resets"] == 0


@pytest.mark.fault
def test_a_crash_of_worker_or_front_leaves_nothing(server, client, drop):
    before = left_in(drop)
    server.front_may_change = True
    query_id = export(client, ROWS_THEN_RUNAWAY, "out/crash.csv", timeout="60s")
    row = server.wait_running(query_id)
    wait_until(lambda: client.get(f"/v1/queries/{query_id}").json()["bytes"] > 1_000_000, "nothing is written")
    proc.kill(row["pid"])
    assert wait_over(client, query_id)["code"] == "worker_crashed"
    query_id = export(client, ROWS_THEN_RUNAWAY, "out/crash.csv", timeout="60s")
    wait_until(lambda: client.get(f"/v1/queries/{query_id}").json()["bytes"] > 1_000_000, "nothing is written")
    mark = server.log_mark()
    proc.kill(server.front_pid)
    server.wait_log("front_start", since=mark)
    server.settle()
    assert left_in(drop) == before
    query_id = export(client, "SELECT 1", f"out/{new_id()}.csv")
    assert wait_over(client, query_id)["state"] == "done"


def test_draining_lets_an_export_end(items, tmp_path):
    (tmp_path / "out").mkdir()
    s = Server(items, set={"source.drop.type": "files", "source.drop.path": tmp_path, "source.drop.writable_prefix": "."})
    query_id = export(s.client, "SELECT sum(a.i * b.i % 7) AS s FROM range(30000) a(i), range(3000) b(i)", "out/late.csv", format="csv")
    s.wait_running(query_id)
    s.stop()
    assert (tmp_path / "out" / "late.csv").read_bytes().startswith(b"s\r\n")


@pytest.mark.parametrize("prefix,why", [("../x", "empty, . or .."), ("a//b", "empty, . or .."), ("/etc", "not within path"), ("/srv/datax", "not within path")])
def test_a_wrong_writable_prefix_is_refused_at_start(items, prefix, why):
    s = Server(items, set={"source.drop.type": "files", "source.drop.path": "/srv/data", "source.drop.writable_prefix": prefix}, wait_ready=False)
    assert s.wait_end() == 2 and why in s.log_text()


def test_bulkhead_config_says_what_it_is_for():
    assert "writable_prefix" in run_cli("config").stdout
