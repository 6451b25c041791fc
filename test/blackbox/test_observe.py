"""What operators look at: healthz, readyz, status, metrics, schema, the log."""

import re
import time

from lib import proc
from lib.server import Server, run_cli


class TestHealth:
    def test_healthz_is_200(self, client):
        assert client.get("/healthz").status == 200

    def test_readyz_is_200_and_names_each_check(self, client):
        response = client.get("/readyz")
        assert response.status == 200 and response.content_type == "application/json"
        text = response.text
        for check in ("workers", "database"):
            assert check in text, text

    def test_both_need_no_key_and_take_head(self, client):
        for target in ("/healthz", "/readyz"):
            assert client.request("HEAD", target).status == 200


class TestStatus:
    def test_it_has_the_shape_of_the_contract(self, server, client, items):
        status = server.status()
        assert {"version", "uptime_s", "front", "supervisor", "workers", "queue", "sessions", "database", "limits"} <= status.keys()
        assert status["version"] == run_cli("--version").stdout.split()[-1]
        assert status["uptime_s"] >= 0
        assert status["supervisor"]["pid"] == server.pid
        assert proc.stat(status["front"]["pid"]).ppid == server.pid
        assert status["database"]["path"] == str(items)
        assert status["database"]["version"]
        assert status["database"]["wal_bytes"] == 0
        assert isinstance(status["limits"], list)

    def test_every_worker_is_a_real_process(self, server):
        rows = server.workers()
        assert len(rows) == 3
        assert len({w["pid"] for w in rows}) == 3
        for w in rows:
            assert {"slot", "kind", "state", "pid", "query_id", "memory_bytes", "queries"} <= w.keys()
            stat = proc.stat(w["pid"])
            assert stat.name.startswith("bulkhead-worker"[:15])
            assert stat.ppid == server.pid
            assert not w["query_id"]
            assert 1_000_000 < w["memory_bytes"] < 1_000_000_000
        assert sorted(w["kind"] for w in rows) == ["pool", "pool", "spare"]

    def test_it_counts_queries_by_worker(self, server, client):
        before = sum(w["queries"] for w in server.workers())
        for _ in range(5):
            client.rows("SELECT 1")
        assert sum(w["queries"] for w in server.workers()) == before + 5

    def test_it_shows_which_query_runs_where(self, server, client):
        from lib.client import new_id
        from lib.sql import SHORT_WORK
        mine = new_id()
        c = client.start_query(SHORT_WORK, headers={"Bulkhead-Query-Id": mine})
        row = server.wait_running(mine)
        assert row["kind"] == "pool" and row["state"] != "idle"
        assert c.read_response().status == 200
        c.close()


def test_a_front_without_clients_sleeps(items):
    """Its heartbeat is due every two seconds."""
    def sleeps(pid):
        with open(f"/proc/{pid}/status") as f:
            return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", f.read(), re.MULTILINE)[1])

    with Server(items) as server:
        server.settle()
        server.client.connect().close()
        pid = server.front_pid
        time.sleep(1)
        before = sleeps(pid)
        time.sleep(3)
        assert 0 < sleeps(pid) - before <= 15


class TestMetrics:
    def test_the_page_is_well_formed_and_complete(self, server, client):
        client.rows("SELECT 1")
        response = client.get("/metrics")
        assert response.headers["Content-Type"].startswith("text/plain")
        m = server.metrics()
        for name, kind in {
            "bulkhead_queries_total": "counter", "bulkhead_query_seconds": "histogram", "bulkhead_queue_seconds": "histogram",
            "bulkhead_queue_length": "gauge", "bulkhead_workers": "gauge", "bulkhead_worker_deaths_total": "counter",
            "bulkhead_stops_total": "counter", "bulkhead_result_bytes_total": "counter", "bulkhead_rejected_total": "counter",
            "bulkhead_wal_present": "gauge", "bulkhead_wal_bytes": "gauge", "bulkhead_spool_bytes": "gauge", "bulkhead_sessions": "gauge",
        }.items():
            assert m.type.get(name) == kind, f"{name} is {m.type.get(name)}"
            assert m.help.get(name)
        for name in m.type:
            assert name in m.help, f"{name} has no HELP"
            assert name.startswith(("bulkhead_", "process_")), name

    def test_histograms_add_up(self, server, client):
        client.rows("SELECT 1")
        m = server.metrics()
        m.check_histogram("bulkhead_query_seconds")
        m.check_histogram("bulkhead_queue_seconds")

    def test_workers_are_counted_by_state(self, server):
        assert server.metric("bulkhead_workers") >= 3
        assert server.metrics().label_values("bulkhead_workers", "state") >= {"idle"}

    def test_the_labels_exist_before_the_first_event(self, start):
        """A counter that appears with its first event loses that event in every rate()."""
        m = start().metrics()
        for by in ("interrupt", "term", "kill"):
            assert m.has("bulkhead_stops_total", by=by)
        assert m.has("bulkhead_queries_total", code="ok")
        assert m.has("bulkhead_worker_deaths_total", reason="crash")

    def test_the_statement_cache_shows_its_hits(self, server, client):
        def hits(m):
            return sum(v for (name, labels), v in m.samples.items() if "cache" in name and ("hit" in name or ("result", "hit") in labels
                                                                                           or any(v == "hit" for _, v in labels)))
        before = hits(server.metrics())
        for _ in range(10):
            client.rows("SELECT id FROM items WHERE id = 1")
        assert hits(server.metrics()) >= before + 6

    def test_process_metrics_are_by_role(self, server):
        m = server.metrics()
        names = [n for n in m.type if n.startswith(("process_", "bulkhead_process_"))]
        assert names
        roles = set().union(*(m.label_values(n, "role") for n in names))
        assert {"supervisor", "front"} <= roles


class TestSchema:
    def test_it_lists_databases_schemas_tables_columns(self, client):
        response = client.get("/v1/schema")
        assert response.status == 200 and response.content_type == "application/json"
        body = response.json()
        database = next(d for d in body["databases"] if d["name"] == "data")
        schemas = {s["name"]: {t["name"]: t for t in s["tables"]} for s in database["schemas"]}
        assert {"items", "cheap"} <= schemas["main"].keys()
        table = schemas["main"]["items"]
        assert "TABLE" in table["type"].upper() and "VIEW" in schemas["main"]["cheap"]["type"].upper()
        assert table["columns"] == [
            {"name": "id", "type": "BIGINT", "nullable": True},
            {"name": "name", "type": "VARCHAR", "nullable": True},
            {"name": "kind", "type": "INTEGER", "nullable": True},
            {"name": "price", "type": "DECIMAL(12,2)", "nullable": True},
            {"name": "sold", "type": "DATE", "nullable": True},
        ]
        orders = schemas["shop"]["orders"]
        assert orders["columns"][0] == {"name": "id", "type": "BIGINT", "nullable": False}

    def test_the_engines_own_databases_are_not_in_it(self, client):
        assert {d["name"] for d in client.get("/v1/schema").json()["databases"]}.isdisjoint({"system", "temp"})

    def test_names_that_need_quoting_come_as_they_are(self, start, make_db):
        db = make_db().make('CREATE SCHEMA "we ""ird";; CREATE TABLE "we ""ird"."tä\\ble"("c,1" INT, "c\'2" VARCHAR[])')
        body = start(db).client.get("/v1/schema").json()
        tables = [(s["name"], t["name"], [c["name"] for c in t["columns"]])
                  for d in body["databases"] for s in d["schemas"] for t in s["tables"]]
        assert ('we "ird', "tä\\ble", ["c,1", "c'2"]) in tables

    def test_a_large_schema_is_whole_and_head_has_its_length(self, start, make_db):
        """Larger than the ring (1 MB), so that the worker waits for somebody to take it, also when only the head is wanted."""
        columns = ", ".join(f"a_column_with_a_long_name_{i} VARCHAR" for i in range(20))
        db = make_db().make(";;".join(f"CREATE TABLE table_{i}({columns})" for i in range(1000)))
        server = start(db)
        response = server.client.get("/v1/schema")
        assert len(response.body) > 1_100_000
        assert sum(len(s["tables"]) for d in response.json()["databases"] for s in d["schemas"]) == 1000
        front = server.front_pid
        with server.client.connect() as c:
            head = c.request("HEAD", "/v1/schema")
            assert head.status == 200 and head.body == b""
            assert int(head.headers["Content-Length"]) == len(response.body)
            assert c.request("GET", "/healthz").status == 200
        assert server.front_pid == front, f"the front was replaced:\n{server.log_text()}"
        server.settle()


class TestLog:
    def test_every_line_is_json_with_time_level_role_and_event(self, server, client):
        client.rows("SELECT 1")
        assert server.logs and not server.noise
        for e in server.log_entries():
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", e["ts"])
            assert e["level"] in ("error", "warn", "info", "debug")
            assert e["role"] in ("supervisor", "front", "worker")
            assert re.fullmatch(r"[a-z0-9_]+", e["event"])

    def test_the_statement_is_not_in_the_log_unless_asked_for(self, server, client, start):
        client.rows("SELECT 'a secret of mine'")
        client.query("SELEC 'a secret of mine'")
        assert not server.log_contains("a secret of mine")
        open_server = start(set={"log.sql": "full", "log.level": "debug"})
        assert open_server.client.rows("SELECT 'not a secret'") == [["not a secret"]]

    def test_control_characters_do_not_reach_the_terminal(self, start):
        server = start(set={"log.sql": "full", "log.format": "text", "log.level": "debug"})
        server.client.query("SELECT '\x1b[31m red\r\n forged line'")
        server.client.get("/%1b%5b31m")
        server.noise.clear()  # text lines are no JSON: that is what was asked for
        server.send_signal(15)
        server.wait_end()
        assert not any("\x1b" in line for line in server.lines)
        assert not any(line.startswith(" forged") for line in server.lines)
        server.noise.clear()


class TestNotYet:
    def test_routes_of_later_are_404(self, client):
        assert client.get("/v1/nothing").status == 404
