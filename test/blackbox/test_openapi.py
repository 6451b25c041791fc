"""/openapi.json says what the server does: every route is in it, and real answers are as it promises."""

import json
import re

import pytest

from lib.client import new_id
from lib.keys import bearer, new_key
from lib.openapi import Api
from lib.server import ROOT, Server, run_cli
from lib.sql import CROSS_JOIN, LEVENSHTEIN
from lib.wait import wait_until


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.ini"
    return path, {name: new_key(path, name, role, *more) for name, role, *more in (("root", "admin"), ("alice", "reader"),
                                                                                     ("slow", "reader", "--rate", "1", "--burst", "1"))}


@pytest.fixture(scope="module")
def shared_server(items, keys):
    with Server(items, set={"server.keys_file": keys[0], "limits.queue_length": 1}, key=keys[1]["root"]) as s:
        s.key = keys[1]
        yield s


@pytest.fixture(scope="module")
def api(shared_server):
    return Api(shared_server.client.without_key().get("/openapi.json").json())


def ask(server, api, method, path, body=None, headers=()):
    return api.check(method, path, server.client.request(method, path, body, headers))


def query(server, api, sql, status, headers=(), **fields):
    body = {"sql": sql, **fields}
    if status == 200:
        api.check_request("POST", "/v1/query", "application/json", body)
    response = api.check("POST", "/v1/query", server.client.query(sql, headers=headers, **fields))
    assert response.status == status, response
    return response


class TestDocument:
    def test_it_is_openapi_3_1_of_this_version_and_needs_no_key(self, server, api):
        assert api.document["openapi"].startswith("3.1.")
        assert api.document["info"]["version"] == run_cli("--version").stdout.split()[-1]

    def test_it_has_every_route_of_the_code_and_no_other(self, api):
        rows = re.findall(r'\{HTTP_M_(\w+), "(/[^"]*)"(.*)\}', (ROOT / "src/front/routes.c").read_text())
        assert len(rows) > 10
        code = {(method, path.replace("{}", "{}")) for method, path, _ in rows}
        described = {(method.upper(), re.sub(r"\{\w+\}", "{}", path)) for path, item in api.document["paths"].items() for method in item
                     if method in ("get", "post", "put", "delete")}
        assert described == code

    def test_each_route_s_role_is_the_code_s(self, api):
        for method, path, rest in re.findall(r'\{HTTP_M_(\w+), "(/[^"]*)"(.*)\}', (ROOT / "src/front/routes.c").read_text()):
            template = next(p for p in api.document["paths"] if re.sub(r"\{\w+\}", "{}", p) == path)
            operation = api.document["paths"][template][method.lower()]
            role = re.search(r"ROLE_(\w+)", rest)
            if role:
                assert operation["x-role"] == role[1].lower(), path
            else:
                assert operation["security"] == [], path

    def test_it_has_every_error_code_and_no_other(self, api):
        codes = set(re.findall(r'^ERROR\(\w+, "(\w+)"', (ROOT / "src/core/errors.def").read_text(), re.M)) - {"ok"}
        assert set(api.document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]) == codes


class TestAnswers:
    def test_queries(self, server, api):
        query(server, api, "SELECT 1 AS a, 'x' AS b, NULL AS c", 200)
        query(server, api, "SELECT $1::INT AS a", 200, params=[5], timeout="5s", max_rows=3, big_numbers="string", format="json")
        query(server, api, "SELECT $x AS a", 200, params={"x": {"type": "DATE", "value": "2024-01-01"}})
        query(server, api, "FROM items", 200, max_rows=2)
        for media in ("application/x-ndjson", "text/csv", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"):
            query(server, api, "SELECT id, name FROM items", 200, headers={"Accept": media})
        api.check("POST", "/v1/query", server.client.raw_sql("SELECT 1"))

    def test_refusals_and_failures(self, server, api):
        query(server, api, "SELEC 1", 400)
        query(server, api, "DROP TABLE items", 403)
        query(server, api, "SELECT * FROM read_csv('/etc/passwd')", 403)
        query(server, api, "SELECT 1", 400, colour="red")
        query(server, api, "SELECT 1", 406, headers={"Accept": "image/png"})
        query(server, api, CROSS_JOIN, 504, timeout="200ms")
        query(server, api, LEVENSHTEIN, 504, timeout="200ms")
        api.check("POST", "/v1/query", server.client.raw_sql("SELECT 1", content_type="text/weird"))
        api.check("POST", "/v1/query", server.client.raw_sql("x" * 3_000_000))

    def test_the_register(self, server, api):
        mine = query(server, api, "SELECT 1", 200).query_id
        failed = query(server, api, CROSS_JOIN, 504, timeout="200ms").query_id
        for target in (mine, failed, new_id()):
            ask(server, api, "GET", f"/v1/queries/{target}")
            ask(server, api, "DELETE", f"/v1/queries/{target}")
        running = new_id()
        c = server.client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": running}, timeout="60s")
        server.wait_running(running)
        assert ask(server, api, "GET", f"/v1/queries/{running}?wait=10ms").json()["state"] == "running"
        assert ask(server, api, "GET", "/v1/queries?limit=2").json()["next"]
        assert ask(server, api, "GET", "/v1/queries?limit=x").status == 400
        assert ask(server, api, "DELETE", f"/v1/queries/{running}").status == 202
        api.check("POST", "/v1/query", c.read_response())
        c.close()

    def test_sessions_and_sources(self, server, api):
        body = json.dumps({"ttl": "1m", "idle_timeout": "30s"}).encode()
        opened = ask(server, api, "POST", "/v1/sessions", body, {"Content-Type": "application/json"})
        assert opened.status == 201
        session = opened.json()["id"]
        ask(server, api, "GET", "/v1/sessions")
        ask(server, api, "GET", f"/v1/sessions/{session}")
        query(server, api, "CREATE TEMP TABLE t AS SELECT 1 AS a", 200, session=session)
        ask(server, api, "GET", "/v1/status")
        assert ask(server, api, "DELETE", f"/v1/sessions/{session}").status == 204
        ask(server, api, "GET", f"/v1/sessions/{session}")
        ask(server, api, "POST", "/v1/sessions", b'{"sources": ["nothing"]}', {"Content-Type": "application/json"})
        ask(server, api, "GET", "/v1/sources")

    def test_what_operators_ask(self, server, api):
        for target in ("/v1/schema", "/v1/status", "/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert ask(server, api, "GET", target).status == 200, target
        assert ask(server, api, "POST", "/v1/admin/reload").status == 200
        assert ask(server, api, "POST", "/v1/admin/quarantine/clear").json() == {"cleared": 0}

    def test_admin_writes(self, server, api):
        json_body = {"Content-Type": "application/json"}
        for body, status in (({"sql": "SELECT 1"}, 200), ({"sql": "SELEC"}, 400), ({"sql": "SELECT 1", "format": "arrow"}, 406)):
            api.check_request("POST", "/v1/admin/sql", "application/json", body)
            assert ask(server, api, "POST", "/v1/admin/sql", json.dumps(body).encode(), json_body).status == status

    def test_keys_roles_and_rates(self, server, api):
        anonymous = server.client.without_key()
        for path, item in api.document["paths"].items():
            for method in ("get", "post", "delete"):
                if method in item and item[method].get("security") != []:
                    target = path.replace("{id}", new_id())
                    assert api.check(method.upper(), target, anonymous.request(method.upper(), target)).status in (401, 429)
        reader = bearer(server.key["alice"])
        for method, target in (("GET", "/v1/status"), ("GET", "/metrics"), ("POST", "/v1/admin/reload"), ("POST", "/v1/admin/sql"),
                               ("GET", "/v1/sessions")):
            assert ask(server, api, method, target, headers=reader).status == 403
        slow = bearer(server.key["slow"])
        statuses = [ask(server, api, "GET", "/v1/schema", headers=slow).status for _ in range(3)]
        assert 429 in statuses

    def test_a_full_queue(self, server, api):
        ids = [new_id() for _ in range(2)]
        pins = [server.client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": i}, timeout="60s") for i in ids]
        for i in ids:
            server.wait_running(i)
        waiting = server.client.start_query("SELECT 1")
        wait_until(lambda: server.metric("bulkhead_queue_length") == 1, "nothing waits")
        query(server, api, "SELECT 1", 503)
        for c in [*pins, waiting]:
            c.close()

    def test_what_it_does_not_name_is_noticed(self, api):
        """The checks above are worth something."""
        schema = {"$ref": "#/components/schemas/Cancelled"}
        api.validate(schema, {"id": new_id(), "state": "done"}, "good")
        for bad in ({"id": new_id()}, {"id": new_id(), "state": "done", "more": 1}, {"id": new_id(), "state": "odd"}):
            with pytest.raises(AssertionError):
                api.validate(schema, bad, "bad")
