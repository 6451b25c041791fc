"""API keys: making and revoking them, who may do what, limits by key, what others can see."""

import re
import stat
import threading

import pytest

from lib import proc
from lib.client import new_id
from lib.keys import bearer, fake_key, new_key
from lib.server import run_cli
from lib.sql import CROSS_JOIN
from lib.wait import stays, wait_until

@pytest.fixture
def keys_file(tmp_path):
    return tmp_path / "keys.ini"


class TestCommand:
    def test_new_prints_the_key_once_and_stores_only_its_hash(self, keys_file):
        key = new_key(keys_file, "alice")
        text = keys_file.read_text()
        assert "[alice]" in text and "role = reader" in text
        assert key not in text and key[8:] not in text
        assert stat.S_IMODE(keys_file.stat().st_mode) == 0o600
        listing = run_cli("key", "list", "--keys", keys_file)
        assert listing.returncode == 0 and key not in listing.stdout and "alice" in listing.stdout and key[:8] in listing.stdout

    def test_limits_are_stored_and_listed(self, keys_file):
        new_key(keys_file, "batch", "analyst", "--concurrency", "2", "--queue", "5", "--share", "5", "--rate", "10", "--burst", "20",
                "--timeout-max", "1m", "--memory", "200MB", "--sources", "lake,crm", "--expires", "2099-01-31")
        line = next(x for x in run_cli("key", "list", "--keys", keys_file).stdout.splitlines() if x.startswith("batch"))
        for part in ("analyst", "2099-01-31T00:00:00Z", "concurrency=2", "queue=5", "share=5", "rate=10", "burst=20", "timeout_max=1m",
                     "memory=200MB", "sources=lake,crm"):
            assert part in line, line

    def test_expiry_may_be_a_time_from_now(self, keys_file):
        new_key(keys_file, "soon", "reader", "--expires", "30d")
        assert re.search(r"expires = 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", keys_file.read_text())

    def test_revoke_takes_away_that_key_and_leaves_the_rest_as_it_was(self, keys_file):
        for name in ("alice", "bob", "carol"):
            new_key(keys_file, name)
        before = keys_file.read_text()
        keys_file.write_text(before.replace("[carol]", "# carol works from home\n[carol]"))
        assert run_cli("key", "revoke", "bob", "--keys", keys_file).returncode == 0
        text = keys_file.read_text()
        assert "bob" not in text and "[alice]" in text and "# carol works from home\n[carol]" in text
        again = run_cli("key", "revoke", "bob", "--keys", keys_file)
        assert again.returncode == 1 and "bob" in again.stderr

    def test_a_name_is_given_once(self, keys_file):
        new_key(keys_file, "alice")
        before = keys_file.read_bytes()
        result = run_cli("key", "new", "alice", "--role", "admin", "--keys", keys_file)
        assert result.returncode == 1 and result.stdout == "" and "alice" in result.stderr
        assert keys_file.read_bytes() == before

    def test_the_file_keeps_its_mode_and_a_link_stays_a_link(self, keys_file, tmp_path):
        new_key(keys_file, "alice")
        keys_file.chmod(0o640)
        link = tmp_path / "link.ini"
        link.symlink_to(keys_file)
        new_key(link, "bob")
        assert link.is_symlink() and stat.S_IMODE(keys_file.stat().st_mode) == 0o640
        assert "[bob]" in keys_file.read_text()

    def test_nothing_is_left_beside_the_file(self, keys_file):
        new_key(keys_file, "alice")
        run_cli("key", "new", "alice", "--role", "reader", "--keys", keys_file)
        run_cli("key", "revoke", "alice", "--keys", keys_file)
        assert [p.name for p in keys_file.parent.iterdir()] == [keys_file.name]

    def test_two_at_once_do_not_lose_each_other_s_key(self, keys_file):
        threads = [threading.Thread(target=new_key, args=(keys_file, f"k{i}")) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(re.findall(r"\[(k\d)\]", keys_file.read_text())) == [f"k{i}" for i in range(8)]

    @pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
    def test_a_file_that_others_may_use_is_refused(self, keys_file, mode):
        new_key(keys_file, "alice")
        keys_file.chmod(mode)
        result = run_cli("key", "list", "--keys", keys_file)
        assert result.returncode == 2 and f"{mode:04o}" in result.stderr and "chmod" in result.stderr

    def test_a_damaged_file_is_left_alone_and_the_line_named(self, keys_file):
        new_key(keys_file, "alice")
        keys_file.write_text(keys_file.read_text()[:-5])
        before = keys_file.read_bytes()
        result = run_cli("key", "new", "bob", "--role", "reader", "--keys", keys_file)
        assert result.returncode == 2 and re.search(r"keys\.ini:\d+: .*half-written", result.stderr)
        assert keys_file.read_bytes() == before

    @pytest.mark.parametrize("argv", [
        ["key"], ["key", "make"], ["key", "new"], ["key", "new", "a"], ["key", "new", "a", "--role"], ["key", "new", "a", "--role", "boss"],
        ["key", "new", "a b", "--role", "reader"], ["key", "new", "../a", "--role", "reader"], ["key", "new", "a", "b", "--role", "reader"],
        ["key", "new", "a", "--role", "reader", "--colour", "red"], ["key", "new", "a", "--role", "reader", "--rate", "many"],
        ["key", "new", "a", "--role", "reader", "--rate", "1", "--rate", "2"], ["key", "list", "a"], ["key", "revoke"],
        ["key", "new", "a", "--role", "reader", "--expires", "2020-01-31"], ["key", "new", "a", "--role", "reader", "--expires", "0s"],
    ])
    def test_wrong_usage_is_exit_2_and_makes_no_file(self, keys_file, argv):
        result = run_cli(*argv, *(["--keys", keys_file] if len(argv) > 1 and argv[-1] != "--role" else []))
        assert result.returncode == 2 and result.stdout == "" and result.stderr.startswith("bulkhead key: ")
        assert not keys_file.exists()

    def test_control_characters_of_arguments_do_not_reach_the_terminal(self, keys_file):
        result = run_cli("key", "new", "a\x1b[31m", "--role", "reader", "--keys", keys_file)
        assert result.returncode == 2 and "\x1b" not in result.stderr

    def test_the_file_may_come_from_the_configuration(self, keys_file, tmp_path):
        config = tmp_path / "b.ini"
        config.write_text(f"[server]\nkeys_file = {keys_file}\n")
        assert run_cli("key", "new", "alice", "--role", "reader", "--config", config).returncode == 0
        listing = run_cli("key", "list", env={"BULKHEAD_SERVER_KEYS_FILE": str(keys_file)})
        assert listing.returncode == 0 and "alice" in listing.stdout

    def test_help_names_every_option(self):
        result = run_cli("key", "--help")
        assert result.returncode == 0
        for option in ("--role", "--keys", "--concurrency", "--queue", "--share", "--rate", "--burst", "--timeout-max", "--memory",
                       "--sources", "--expires"):
            assert option in result.stdout


@pytest.fixture
def keyed(start, keys_file):
    """A server with the keys alice (reader), ann (analyst) and root (admin); `keyed.key[name]` are their texts."""
    keys = {name: new_key(keys_file, name, role) for name, role in (("alice", "reader"), ("ann", "analyst"), ("root", "admin"))}

    def run(**settings):
        server = start(set={"server.keys_file": keys_file, **settings}, key=keys["root"])
        server.key = keys
        return server

    return run


def query(server, name, sql="SELECT 1", headers=(), **fields):
    return server.client.query(sql, headers={**bearer(server.key.get(name, name)), **dict(headers)}, **fields)


class TestRoles:
    def test_nothing_is_served_without_a_key_but_health(self, keyed):
        server = keyed()
        anonymous = server.client.without_key()
        assert anonymous.get("/healthz").status == 200 and anonymous.get("/readyz").status == 200
        for method, target in (("GET", "/v1/schema"), ("GET", "/v1/status"), ("GET", "/metrics"), ("HEAD", "/metrics")):
            response = anonymous.request(method, target)
            assert response.status == 401 and response.headers["WWW-Authenticate"].startswith("Bearer "), target
        anonymous.query("SELECT 1").problem(401, "unauthorized")
        assert server.metric("bulkhead_auth_failures_total", reason="missing") == 5
        assert server.metric("bulkhead_rejected_total", code="unauthorized") == 5
        server.wait_log("key_refused", reason="missing", client="127.0.0.1")

    def test_every_role_may_query(self, keyed):
        server = keyed()
        for name in server.key:
            assert query(server, name).data == [[1]]
            assert server.client.request("GET", "/v1/schema", headers=bearer(server.key[name])).status == 200

    @pytest.mark.parametrize("target", ["/v1/status", "/metrics"])
    def test_status_and_metrics_are_for_admins(self, keyed, target):
        server = keyed()
        for name, status in (("alice", 403), ("ann", 403), ("root", 200)):
            response = server.client.request("GET", target, headers=bearer(server.key[name]))
            assert response.status == status
            if status == 403:
                assert response.problem(403, "forbidden")["what"] == "role"
        assert server.metric("bulkhead_auth_failures_total", reason="role") == 2

    @pytest.mark.parametrize("value", [
        "Bearer", "Bearer ", "Bearer x", "Basic YTpi", "Bearer bh_", "Bearer " + "bh_" + "0" * 49, "Bearer " + "A" * 20000, "bearer {key}x",
        "Bearer {key} {key}", "{key}",
    ])
    def test_what_is_no_key_is_401(self, keyed, value):
        server = keyed()
        response = server.client.request("GET", "/v1/schema", headers={"Authorization": value.format(key=server.key["alice"])})
        response.problem(401, "unauthorized")
        assert server.metric("bulkhead_auth_failures_total", reason="malformed") == 1

    def test_the_scheme_s_case_does_not_matter(self, keyed):
        server = keyed()
        assert server.client.request("GET", "/v1/schema", headers={"Authorization": f"bEARER  {server.key['alice']}"}).status == 200

    def test_two_authorization_headers_are_none(self, keyed):
        server = keyed()
        pairs = [("Authorization", f"Bearer {server.key['alice']}"), ("Authorization", f"Bearer {server.key['root']}")]
        server.client.request("GET", "/v1/schema", headers=pairs).problem(401, "unauthorized")

    def test_a_key_of_another_server_is_401(self, keyed, tmp_path):
        server = keyed()
        stranger = new_key(tmp_path / "other.ini", "alice", "admin")
        query(server, stranger).problem(401, "unauthorized")
        server.wait_log("key_refused", reason="unknown", key=stranger[:8])
        assert not server.log_contains(stranger[8:])

    def test_an_expired_key_is_401_and_says_so(self, keyed, keys_file):
        server = keyed()
        mark = server.log_mark()
        keys_file.write_text(keys_file.read_text().replace("[alice]\n", "[alice]\nexpires = 2020-01-01\n"))
        server.wait_log("keys_loaded", since=mark)
        assert "expired" in query(server, "alice").problem(401, "unauthorized")["detail"]
        assert query(server, "ann").status == 200

    def test_a_body_is_not_read_from_somebody_without_a_key(self, keyed):
        server = keyed()
        with server.client.without_key().connect() as c:
            c.send(c.head("POST", "/v1/query", {"Content-Type": "text/plain", "Content-Length": "1000000", "Expect": "100-continue"}))
            response = c.read_head()  # not 100 Continue
            assert response.status == 401
            assert response.headers["Connection"] == "close"

    def test_a_server_without_keys_has_analysts_only(self, start):
        server = start()
        assert server.client.get("/v1/status").status == 200 and server.client.get("/metrics").status == 200
        assert server.client.rows("SELECT 1") == [[1]]
        assert server.client.query("SELECT 1", headers={"Authorization": "Bearer whatever"}).status == 200


class TestChanges:
    def test_a_new_key_works_without_a_restart(self, keyed, keys_file):
        server = keyed()
        pid = server.front_pid
        late = new_key(keys_file, "late")
        server.wait_log("keys_loaded", keys=4)
        assert query(server, late).status == 200
        assert server.front_pid == pid and server.metric("bulkhead_keys") == 4

    def test_sighup_reads_the_file_at_once(self, keyed, keys_file):
        server = keyed()
        run_cli("key", "revoke", "alice", "--keys", keys_file)
        server.send_signal(1)
        server.wait_log("keys_loaded", keys=2)
        query(server, "alice").problem(401, "unauthorized")

    def test_a_key_that_is_revoked_between_head_and_body_is_401(self, keyed, keys_file):
        server = keyed()
        with server.client.without_key().connect() as c:
            c.send(c.head("POST", "/v1/query", {"Content-Type": "text/plain", "Content-Length": "8", **bearer(server.key["alice"])}))
            c.send(b"SELE")
            wait_until(lambda: server.metric("bulkhead_connections") >= 1, "not accepted")
            run_cli("key", "revoke", "alice", "--keys", keys_file)
            server.send_signal(1)
            server.wait_log("keys_loaded", keys=2)
            c.send(b"CT 1")
            assert c.read_response().status == 401

    def test_a_revoked_key_s_queries_are_cancelled_and_the_engine_stops(self, keyed, keys_file):
        server = keyed()
        mine, other = new_id(), new_id()
        c = server.client.start_query(CROSS_JOIN, headers={**bearer(server.key["alice"]), "Bulkhead-Query-Id": mine}, timeout="120s")
        d = server.client.start_query(CROSS_JOIN, headers={**bearer(server.key["ann"]), "Bulkhead-Query-Id": other}, timeout="120s")
        e = server.client.start_query("SELECT 1", headers=bearer(server.key["alice"]))
        for i in (mine, other):
            server.wait_running(i)
        wait_until(lambda: server.metric("bulkhead_queue_length") == 1, "not queued")
        run_cli("key", "revoke", "alice", "--keys", keys_file)
        c.read_response().problem(499, "cancelled")
        e.read_response().problem(499, "cancelled")
        wait_until(lambda: not server.worker_of(mine), "still runs")
        assert server.worker_of(other), "another key's query was hit"
        assert server.metric("bulkhead_queries_total", code="cancelled") == 2
        for x in (c, d, e):
            x.close()

    def test_an_expiring_key_s_query_is_cancelled(self, keyed, keys_file):
        server = keyed()
        soon = new_key(keys_file, "soon", "reader", "--expires", "3s")
        server.wait_log("keys_loaded", keys=4)
        server.client.query(CROSS_JOIN, headers=bearer(soon), timeout="60s").problem(499, "cancelled")
        query(server, soon).problem(401, "unauthorized")

    @pytest.mark.parametrize("damage,word", [
        (lambda f: f.write_text(f.read_text()[:-3]), "half-written"), (lambda f: f.write_text(""), "empty"),
        (lambda f: f.chmod(0o644), "0644"), (lambda f: f.unlink(), "No such file"), (lambda f: f.write_text(f.read_text() * 2), "twice"),
    ], ids=["cut", "empty", "world-readable", "missing", "duplicate"])
    def test_a_bad_file_changes_nothing_and_is_told_once(self, keyed, keys_file, damage, word):
        server = keyed()
        good = keys_file.read_text()
        damage(keys_file)
        server.wait_log("keys_refused")
        assert server.metric("bulkhead_reload_refused", what="keys") == 1
        assert query(server, "alice").status == 200
        stays(lambda: server.log_contains("keys_refused", times=1), "told again", for_s=1.5)
        assert word in server.log_entries("keys_refused")[0]["why"]
        keys_file.unlink(missing_ok=True)
        keys_file.touch(0o600)
        keys_file.write_text(good)
        wait_until(lambda: len(server.log_entries("keys_loaded")) >= 2, "not read again")
        assert server.metric("bulkhead_reload_refused", what="keys") == 0

    @pytest.mark.parametrize("damage,word", [
        (lambda f: f.write_text(f.read_text()[:-3]), "half-written"), (lambda f: f.chmod(0o604), "0604"), (lambda f: f.unlink(), "No such file"),
    ], ids=["cut", "world-readable", "missing"])
    def test_a_bad_file_at_the_start_is_exit_2_or_1(self, items, keys_file, damage, word):
        new_key(keys_file, "alice")
        damage(keys_file)
        result = run_cli("serve", items, "--listen", "127.0.0.1:0", "--set", f"server.keys_file={keys_file}")
        assert result.returncode == 2 and word in result.stderr and result.stdout == ""
        assert len(result.stderr.strip().splitlines()) <= 2

    def test_keys_survive_a_new_front(self, keyed):
        server = keyed()
        proc.kill(server.front_pid)
        wait_until(lambda: len(server.log_entries("front_start")) == 2, "no new front")
        wait_until(lambda: query(server, "alice").status == 200, "does not serve again")
        server.client.without_key().query("SELECT 1").problem(401, "unauthorized")


class TestThrottle:
    def test_many_wrong_keys_are_429_and_the_right_one_is_let_in(self, keyed, tmp_path):
        server = keyed()
        wrong = new_key(tmp_path / "other.ini", "x")
        statuses = [query(server, wrong).status for _ in range(30)]
        assert statuses[0] == 401 and statuses[-1] == 429, statuses
        response = query(server, wrong)
        assert response.problem(429, "rate_limited") and int(response.headers["Retry-After"]) >= 1
        assert query(server, "alice").status == 200
        assert server.metric("bulkhead_auth_failures_total", reason="throttled") >= 15

    def test_a_hundred_thousand_wrong_keys_take_no_memory(self, keyed):
        server = keyed()
        front = server.front_pid

        def flood(first, count):
            with server.client.without_key().connect() as c:
                for at in range(first, first + count, 100):
                    c.send(b"".join(c.head("GET", "/v1/schema", bearer(fake_key(i))) for i in range(at, at + 100)))
                    for _ in range(100):
                        assert c.read_response().status in (401, 429)
        flood(0, 5000)
        before = proc.rss_bytes(front)
        flood(5000, 95000)
        assert proc.rss_bytes(front) - before < 2_000_000
        assert len(server.log_entries("key_refused")) < 200
        assert query(server, "alice").status == 200

    def test_addresses_behind_a_trusted_proxy_count_each_for_itself(self, keyed, tmp_path):
        server = keyed(**{"server.trusted_proxies": "127.0.0.1"})
        wrong = new_key(tmp_path / "other.ini", "x")

        def ask(**headers):
            pairs = {k.replace("_", "-"): v for k, v in headers.items()}
            return query(server, wrong, headers=pairs).status
        while ask(X_Forwarded_For="192.0.2.1") != 429:
            pass
        assert ask(X_Forwarded_For="192.0.2.2") == 401
        assert ask(X_Forwarded_For="192.0.2.2, 192.0.2.1") == 429, "what the client wrote itself stands to the left"
        assert ask(Forwarded="for=192.0.2.1;proto=https") == 429
        assert ask(Forwarded='for="[2001:db8::1]:99"') == 401
        server.wait_log("key_refused", client="192.0.2.1")

    def test_an_untrusted_peer_s_header_is_not_believed(self, keyed, tmp_path):
        server = keyed()
        wrong = new_key(tmp_path / "other.ini", "x")
        statuses = {query(server, wrong, headers={"X-Forwarded-For": f"192.0.2.{i}"}).status for i in range(30)}
        assert 429 in statuses

    def test_a_proxy_that_is_no_address_is_refused(self, items):
        result = run_cli("serve", items, "--listen", "127.0.0.1:0", "--set", "server.trusted_proxies=10.0.0.0/33")
        assert result.returncode == 2 and "10.0.0.0/33" in result.stderr


class TestRefusedQueries:
    """Every answer that concerns a query has its id, also when nobody read what it was to be."""

    @pytest.mark.parametrize("target, name, size, status, code", [
        ("/v1/query", None, 10, 401, "unauthorized"), ("/v1/query", "bh_wrong", 10, 401, "unauthorized"), ("/v1/queries", None, 10, 401, "unauthorized"),
        ("/v1/admin/sql", "ann", 10, 403, "forbidden"), ("/v1/query", "alice", 5_000_000, 413, "payload_too_large"),
    ])
    @pytest.mark.parametrize("chosen", [None, "0f9c2a4e-0000-4000-8000-00000000ABCD", "no id"])
    def test_have_an_id(self, keyed, target, name, size, status, code, chosen):
        server = keyed()
        headers = {"Content-Type": "text/plain", **({"Bulkhead-Query-Id": chosen} if chosen else {}), **(bearer(server.key.get(name, name)) if name else {})}
        response = server.client.without_key().request("POST", target, b"x" * size, headers=list(headers.items()))
        fields = response.problem(status, code)
        assert fields["query_id"] == response.query_id
        assert (fields["query_id"] == chosen) == (chosen is not None and chosen != "no id")

    def test_have_an_id_beyond_the_rate(self, keyed):
        server = keyed(**{"limits.per_key_rate": 1})
        last = [query(server, "alice") for _ in range(4)][-1]
        assert last.problem(429, "rate_limited")["query_id"] == last.query_id

    def test_other_requests_have_none(self, keyed):
        server = keyed()
        for method, target in (("GET", "/v1/schema"), ("GET", "/v1/query"), ("POST", "/v1/sessions"), ("POST", "/nowhere")):
            assert "Bulkhead-Query-Id" not in server.client.without_key().request(method, target, b"{}" if method == "POST" else None).headers


class TestRate:
    def test_a_key_has_its_own_rate_with_a_burst(self, keyed, keys_file):
        server = keyed()
        slow = new_key(keys_file, "slow", "reader", "--rate", "1", "--burst", "5")
        server.wait_log("keys_loaded", keys=4)
        statuses = [query(server, slow).status for _ in range(12)]
        assert statuses[:5] == [200] * 5 and 429 in statuses
        while (response := query(server, slow)).status != 429:
            pass
        assert "slow" in response.problem(429, "rate_limited")["detail"] and int(response.headers["Retry-After"]) >= 1
        assert server.metric("bulkhead_rejected_total", code="rate_limited") >= 1
        assert query(server, "alice").status == 200
        wait_until(lambda: query(server, slow).status == 200, "is never let in again")

    def test_the_configured_rate_holds_for_keys_that_name_none(self, keyed):
        server = keyed(**{"limits.per_key_rate": 3})
        assert 429 in [query(server, "alice").status for _ in range(12)]
        assert query(server, "ann").status == 200
        for _ in range(20):  # never too many for who has to find out what is wrong
            assert server.client.get("/v1/status").status == 200

    def test_a_key_s_longest_timeout_is_its_own(self, keyed, keys_file):
        server = keyed()
        short = new_key(keys_file, "short", "reader", "--timeout-max", "400ms")
        server.wait_log("keys_loaded", keys=4)
        assert "this key's timeout_max" in query(server, short, timeout="1s").problem(400, "bad_request")["detail"]
        assert "the server's timeout_max" in query(server, "alice", timeout="1d").problem(400, "bad_request")["detail"]
        assert query(server, short, sql=CROSS_JOIN).problem(504, "timeout")["limit_ms"] == 400
        assert query(server, "alice", timeout="1s").status == 200

    def test_a_key_s_memory_is_what_one_query_may_add(self, keyed, keys_file):
        server = keyed()
        small = new_key(keys_file, "small", "reader", "--memory", "40MB")
        server.wait_log("keys_loaded", keys=4)
        hungry = "SELECT count(DISTINCT x) FROM (SELECT 'so many bytes that no two of them share one: ' || range AS x FROM range(1200000))"
        fields = query(server, small, sql=hungry).problem(507, "out_of_memory")
        assert fields["limit_bytes"] == 40_000_000 and "of this key" in fields["detail"]
        assert query(server, "alice", sql=hungry).data == [[1200000]]
        assert query(server, small, sql="SELECT count(*) FROM range(100)").data == [[100]]


class TestOthersQueries:
    """What is another key's does not exist, for everybody but an admin."""

    def ask(self, server, name, method, target):
        return server.client.request(method, target, headers=bearer(server.key[name]))

    def test_a_running_query_is_seen_and_cancelled_by_its_key_and_by_admins_only(self, keyed):
        server = keyed()
        mine = new_id()
        c = server.client.start_query(CROSS_JOIN, headers={**bearer(server.key["alice"]), "Bulkhead-Query-Id": mine}, timeout="120s")
        server.wait_running(mine)
        for method in ("GET", "DELETE"):
            self.ask(server, "ann", method, f"/v1/queries/{mine}").problem(404, "not_found")
        assert self.ask(server, "ann", "GET", "/v1/queries").json()["queries"] == []
        assert self.ask(server, "alice", "GET", f"/v1/queries/{mine}").json()["key"] == "alice"
        assert [q["id"] for q in self.ask(server, "root", "GET", "/v1/queries").json()["queries"]] == [mine]
        assert self.ask(server, "root", "DELETE", f"/v1/queries/{mine}").status == 202
        c.read_response().problem(499, "cancelled")
        c.close()

    def test_a_finished_query_is_another_s_too(self, keyed):
        server = keyed()
        mine = query(server, "alice").query_id
        self.ask(server, "ann", "GET", f"/v1/queries/{mine}").problem(404, "not_found")
        assert self.ask(server, "alice", "GET", f"/v1/queries/{mine}").status == 200
        query(server, "ann", headers={"Bulkhead-Query-Id": mine}).problem(409, "conflict")

    def test_a_new_key_of_an_old_name_is_somebody_else(self, keyed, keys_file):
        server = keyed()
        mine = query(server, "alice").query_id
        mark = server.log_mark()
        run_cli("key", "revoke", "alice", "--keys", keys_file)
        second = new_key(keys_file, "alice")
        server.wait_log("key_revoked", since=mark, key="alice", cancelled=0)
        wait_until(lambda: query(server, second).status == 200, "is not let in")
        response = server.client.request("GET", f"/v1/queries/{mine}", headers=bearer(second))
        response.problem(404, "not_found")
        assert self.ask(server, "root", "GET", f"/v1/queries/{mine}").json()["key"] == "alice"
