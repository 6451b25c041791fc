"""Whose session it is, and who may use which source: with API keys."""

import json
import os
import signal

import pytest

from lib.server import Server, run_cli
from lib.sources import Sources
from lib.wait import wait_until


def new_key(path, name, role, *options):
    result = run_cli("key", "new", name, "--role", role, "--keys", path, *options)
    assert result.returncode == 0, result
    return result.stdout.strip()


class Caller:
    """A client with a key."""

    def __init__(self, server, key):
        self.client, self.pairs = server.client, [("Authorization", f"Bearer {key}"), ("Content-Type", "application/json")]

    def ask(self, method, target, **body):
        return self.client.request(method, target, json.dumps(body).encode() if method == "POST" else None, self.pairs)

    def open(self, **wish):
        return self.ask("POST", "/v1/sessions", **wish)

    def query(self, sql, **fields):
        return self.ask("POST", "/v1/query", sql=sql, **fields)

    def sources(self):
        return [s["name"] for s in self.ask("GET", "/v1/sources").json()["sources"]]


@pytest.fixture
def keyed(tmp_path, pg, items):
    path = tmp_path / "keys.ini"
    keys = {"ann": new_key(path, "ann", "analyst"), "ben": new_key(path, "ben", "analyst", "--sources", "open"),
            "rea": new_key(path, "rea", "reader"), "root": new_key(path, "root", "admin")}
    declared = (Sources(tmp_path).postgres("open", pg).postgres("anns", pg, keys="ann, someone").postgres("bosses", pg, roles="admin"))
    with Server(items, set={**declared.settings, "server.keys_file": path, "session.max": 6, "session.max_per_key": 2,
                            "session.memory_limit": "64MB"}) as server:
        server.path = path
        server.callers = {name: Caller(server, key) for name, key in keys.items()}
        yield server


def test_each_sees_the_sources_that_are_for_it(keyed):
    c = keyed.callers
    assert c["ann"].sources() == ["open", "anns"]
    assert c["ben"].sources() == ["open"]
    assert c["root"].sources() == ["open", "bosses"]
    c["rea"].ask("GET", "/v1/sources").problem(403, "forbidden")
    assert c["ann"].query("SELECT count(*) FROM anns.public.users", sources=["anns"]).data == [[2000]]
    c["ann"].query("SELECT 1", sources=["bosses"]).problem(404, "not_found")
    c["ben"].query("SELECT 1", sources=["anns"]).problem(404, "not_found")
    c["ben"].open(sources=["open", "anns"]).problem(404, "not_found")
    c["rea"].query("SELECT 1", sources=["open"]).problem(403, "forbidden")


def test_a_session_is_its_owners_and_the_admins(keyed):
    c = keyed.callers
    opened = c["ann"].open()
    assert opened.status == 201
    session = opened.json()["id"]
    assert opened.json()["key"] == "ann"
    assert c["ann"].query("CREATE TEMP TABLE t AS SELECT 5 AS a", session=session).status == 200
    for method, target in (("GET", f"/v1/sessions/{session}"), ("DELETE", f"/v1/sessions/{session}")):
        c["ben"].ask(method, target).problem(404, "not_found")
        c["rea"].ask(method, target).problem(404, "not_found")
    c["ben"].query("FROM t", session=session).problem(404, "not_found")
    c["rea"].query("FROM t", session=session).problem(403, "forbidden")
    assert c["ben"].ask("GET", "/v1/sessions").json() == {"sessions": []}
    assert [s["id"] for s in c["root"].ask("GET", "/v1/sessions").json()["sessions"]] == [session]
    assert c["root"].query("FROM t", session=session).data == [[5]]
    assert c["root"].ask("DELETE", f"/v1/sessions/{session}").status == 204
    c["ann"].ask("GET", f"/v1/sessions/{session}").problem(410, "gone")
    for other in ("ben", "rea"):
        c[other].ask("GET", f"/v1/sessions/{session}").problem(404, "not_found")


def test_each_key_has_its_own_number_of_them(keyed):
    c = keyed.callers
    for _ in range(2):
        assert c["ann"].open().status == 201
    c["ann"].open().problem(429, "rate_limited")
    assert c["ben"].open().status == 201


def test_a_revoked_key_ends_its_sessions_at_once(keyed, pg):
    c = keyed.callers
    assert c["ann"].open(sources=["open"]).status == 201
    assert c["ben"].open().status == 201
    assert pg.connections() == 1
    assert run_cli("key", "revoke", "ann", "--keys", keyed.path).returncode == 0
    wait_until(lambda: [s["key"] for s in c["root"].ask("GET", "/v1/sessions").json()["sessions"]] == ["ben"], "it lives on", 30)
    wait_until(lambda: pg.connections() == 0, "a connection is left")
    keyed.wait_log("session_end", why="its key was revoked")


def test_whoever_has_as_many_as_it_may_pushes_nobody_out(tmp_path, items):
    path = tmp_path / "keys.ini"
    keys = {name: new_key(path, name, "analyst") for name in ("ann", "ben", "cat")}
    with Server(items, set={**Sources(tmp_path).files("drop", tmp_path).settings, "server.keys_file": path, "session.max": 2, "session.max_per_key": 1,
                            "session.memory_limit": "64MB", "limits.queue_timeout": "5s"}) as server:
        c = {name: Caller(server, key) for name, key in keys.items()}
        anns, bens = (c[who].open().json()["id"] for who in ("ann", "ben"))
        c["ann"].query("SELECT 1", sources=["drop"]).problem(503, "overloaded")
        assert c["ann"].query("SELECT 1", session=anns).status == c["ben"].query("SELECT 1", session=bens).status == 200
        assert c["cat"].query("SELECT 42", sources=["drop"]).data == [[42]]
        c["ann"].query("SELECT 1", session=anns).problem(410, "gone")
        assert c["ben"].query("SELECT 1", session=bens).status == 200


class TestRightsThatAreTakenAway:
    def ids(self, server):
        return {s["id"] for s in server.callers["root"].ask("GET", "/v1/sessions").json()["sessions"]}

    def test_by_the_keys_own_list_or_its_role(self, keyed):
        c = keyed.callers
        lost, kept, bens = (c[who].open(sources=[name]).json()["id"] for who, name in (("ann", "anns"), ("ann", "open"), ("ben", "open")))
        new = keyed.path.with_suffix(".new")
        new.write_text(keyed.path.read_text().replace("[ann]\n", "[ann]\nsources = open\n"))
        os.chmod(new, 0o600)
        os.rename(new, keyed.path)
        wait_until(lambda: self.ids(keyed) == {kept, bens}, "the session lives on")
        assert "may not use the source 'anns'" in c["ann"].query("SELECT 1", session=lost).problem(410, "gone")["detail"]
        assert c["ann"].query("SELECT count(*) FROM open.public.users", session=kept).data == [[2000]]
        text = keyed.path.read_text()
        ben = text.index("[ben]")
        new.write_text(text[:ben] + text[ben:].replace("role = analyst", "role = reader", 1))
        os.chmod(new, 0o600)
        os.rename(new, keyed.path)
        wait_until(lambda: self.ids(keyed) == {kept}, "the reader's session lives on")

    def test_by_the_sources_definition(self, tmp_path, pg, items):
        path, config = tmp_path / "keys.ini", tmp_path / "c.ini"
        keys = {name: new_key(path, name, role) for name, role in (("ann", "analyst"), ("root", "admin"))}
        declared = Sources(tmp_path).postgres("pg1", pg, keys="ann").postgres("pg2", pg)
        sections = {}
        for key, value in declared.settings.items():
            section, _, name = key.rpartition(".")
            sections.setdefault(section, []).append(f"{name} = {value}")
        config.write_text(f"[server]\nkeys_file = {path}\n" + "".join(f"[{s}]\n" + "\n".join(lines) + "\n" for s, lines in sections.items()))
        with Server(items, config=config) as server:
            c = server.callers = {name: Caller(server, key) for name, key in keys.items()}
            lost, kept = (c["ann"].open(sources=[name]).json()["id"] for name in ("pg1", "pg2"))
            c["root"].query("SELECT 1", session=lost).problem(404, "not_found")  # an admin sees the session; the source is not his
            assert c["root"].query("SELECT 1", session=kept).status == 200
            assert c["ann"].query("CREATE TEMP TABLE t AS SELECT 1 AS a", session=kept).status == 200
            config.write_text(config.read_text().replace("keys = ann", "keys = someone"))
            server.send_signal(signal.SIGHUP)
            wait_until(lambda: self.ids(server) == {kept}, "the session lives on")
            assert "may not use the source 'pg1'" in c["ann"].query("SELECT 1", session=lost).problem(410, "gone")["detail"]
            assert c["ann"].query("FROM t", session=kept).data == [[1]]
