"""The protocol itself: whole and half requests, pipelining, smuggling, floods, old clients, hosts and origins."""

import contextlib
import json
import socket

import pytest

from lib.client import Connection, Cut
from lib.wait import stays, wait_until

JSON = [("Content-Type", "application/json")]
SELECT_1 = b'{"sql":"SELECT 1"}'


@pytest.fixture(scope="module")
def shared_server(items):
    """Short time limits, for the tests of slow clients."""
    from lib.server import Server
    with Server(items, set={"server.header_timeout": "400ms", "server.body_timeout": "400ms", "server.idle_timeout": "700ms"}) as s:
        yield s


@pytest.fixture
def c(client):
    with client.connect() as connection:
        yield connection


def select(c, body=SELECT_1, headers=(), **how):
    return c.request("POST", "/v1/query", body, JSON + list(headers), **how)


class TestSlowClients:
    def test_a_head_that_does_not_come_ends_with_request_timeout(self, c, client):
        c.send(b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Ty")
        c.read_response().problem(408, "request_timeout")
        assert c.read_to_end() == b""

    def test_a_drip_of_header_bytes_does_not_keep_it_open(self, c):
        """Slow loris: the limit is on the whole head, not on the pause between bytes."""
        c.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        sent = 0
        def drip():
            nonlocal sent
            if c.is_closed_by_peer() or c.buffered:
                return True
            try:
                c.send(b"X-A: b\r\n")
                sent += 1
            except OSError:
                return True
            return False
        wait_until(drip, "the connection still takes drops", every_s=0.05)
        assert sent >= 2

    def test_a_body_that_does_not_come_ends_with_request_timeout(self, c):
        c.send(c.head("POST", "/v1/query", JSON + [("Content-Length", "100")]) + b'{"sql"')
        c.read_response().problem(408, "request_timeout")
        assert c.read_to_end() == b""

    def test_an_idle_connection_is_closed_without_a_word(self, c):
        assert select(c).data == [[1]]
        wait_until(c.is_closed_by_peer, "still open")

    def test_a_connection_that_says_nothing_at_all_is_closed(self, c):
        wait_until(lambda: c.is_closed_by_peer() or c.buffered, "still open")

    def test_a_client_that_waits_for_its_query_is_not_idle(self, c):
        from lib.sql import LEVENSHTEIN
        body = json.dumps({"sql": LEVENSHTEIN, "timeout": "1500ms"}).encode()
        assert select(c, body).status == 504
        assert select(c).data == [[1]]


class TestManyRequestsOneConnection:
    def test_pipelined_requests_are_answered_in_order(self, c):
        for i in range(20):
            c.send_request("POST", "/v1/query", json.dumps({"sql": f"SELECT {i}"}).encode(), JSON)
        assert [c.read_response().data for _ in range(20)] == [[[i]] for i in range(20)]

    def test_pipelined_in_one_packet_with_errors_between(self, c):
        parts = []
        for target, method, body in [("/healthz", "GET", b""), ("/nowhere", "GET", b""), ("/v1/query", "POST", SELECT_1), ("/healthz", "GET", b"")]:
            parts.append(c.head(method, target, JSON + ([("Content-Length", str(len(body)))] if body else [])) + body)
        c.send(b"".join(parts))
        assert [c.read_response().status for _ in parts] == [200, 404, 200, 200]

    def test_a_request_in_single_bytes_is_a_request(self, c):
        for byte in c.head("POST", "/v1/query", JSON + [("Content-Length", str(len(SELECT_1)))]) + SELECT_1:
            c.send(bytes([byte]))
        assert c.read_response().data == [[1]]

    def test_a_chunked_request_body_is_put_together(self, c):
        c.send(c.head("POST", "/v1/query", JSON + [("Transfer-Encoding", "chunked")]))
        for piece in (b'{"sql"', b":", b'"SELECT 1"}'):
            c.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        c.send(b"0\r\n\r\n")
        assert c.read_response().data == [[1]]
        assert select(c).data == [[1]]

    def test_connection_close_is_obeyed(self, c):
        response = select(c, headers=[("Connection", "close")])
        assert response.data == [[1]] and response.headers["Connection"].lower() == "close"
        wait_until(c.is_closed_by_peer, "still open")

    def test_a_client_that_shuts_its_sending_side_still_gets_its_answer_or_a_clean_end(self, c):
        c.send_request("POST", "/v1/query", SELECT_1, JSON)
        c.sock.shutdown(socket.SHUT_WR)
        rest = c.read_to_end()
        assert rest == b"" or b"[[1]]" in rest


class TestHalfRequests:
    @pytest.mark.parametrize("part", [b"", b"P", b"POST /v1/query HTTP/1.1\r\n", b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"])
    def test_a_client_that_leaves_in_the_middle_costs_nothing(self, server, client, part):
        from lib import proc
        client.get("/healthz")
        before = len(proc.fds(server.front_pid))
        for i in range(30):
            with client.connect() as c:
                c.send(part)
                if i % 2:
                    c.abort()
        wait_until(lambda: len(proc.fds(server.front_pid)) <= before + 1, lambda: f"{proc.fds(server.front_pid)}")


class TestSmuggling:
    def test_both_length_and_chunked_are_refused_and_end_the_connection(self, c):
        c.send(c.head("POST", "/v1/query", JSON + [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]) + b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        c.read_response().problem(400, "bad_request")
        assert c.read_to_end() == b"", "what follows must not be taken for a request"

    @pytest.mark.parametrize("lines", [
        "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5, 6", "Content-Length: +5", "Content-Length: -5", "Content-Length: 0x5", "Content-Length: 5 5",
        "Content-Length: 99999999999999999999999", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: gzip", "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked", "Content-Length : 5", "Transfer-Encoding:\x0bchunked",
    ])
    def test_an_ambiguous_length_is_refused_and_ends_the_connection(self, c, lines):
        head = f"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n{lines}\r\n\r\n"
        c.send(head.encode("latin-1") + b"SELECTGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = c.read_response()
        assert response.status in (400, 413, 501), response
        rest = c.read_to_end()
        assert b"200" not in rest[:20], rest

    @pytest.mark.parametrize("chunk", [b"g\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5\n12345\n", b"3\r\nabcX\r\n", b"0x5\r\n12345\r\n", b"5 \x005\r\n"])
    def test_a_broken_chunk_is_refused(self, c, chunk):
        c.send(c.head("POST", "/v1/query", JSON + [("Transfer-Encoding", "chunked")]) + chunk + b"0\r\n\r\n")
        response = c.read_response()
        assert response.status in (400, 413), response
        assert c.read_to_end() == b""

    @pytest.mark.parametrize("request_bytes", [
        b"\0\0\0\0\r\n\r\n", b"HELLO\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /healthz HTTP/1.1\nHost: localhost\n\n" + b"\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n", b"GET http://other/healthz HTTP/1.1\r\nHost: other\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ])
    def test_what_is_no_http_is_refused(self, c, request_bytes):
        c.send(request_bytes)
        try:
            response = c.read_response()
        except Cut as e:
            assert e.response is None
        else:
            assert response.status in (400, 403, 404, 405, 408, 505), response
        assert select(Connection(c.address)).data == [[1]]


class TestFloods:
    def test_too_long_a_head_is_headers_too_large(self, c, server):
        before = server.metric("bulkhead_rejected_total", code="headers_too_large")
        c.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        try:
            for i in range(20_000):
                c.send(b"X-Flood-%d: %s\r\n" % (i, b"y" * 100))
        except OSError:
            pass
        rest = c.read_to_end()
        assert rest == b"" or b" 431 " in rest[:20]
        server.wait_metric("bulkhead_rejected_total", before + 1, code="headers_too_large")

    def test_one_head_over_the_limit_is_answered(self, c):
        c.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Big: " + b"y" * 70_000 + b"\r\n\r\n")
        c.read_response().problem(431, "headers_too_large")

    def test_too_long_a_target_is_refused(self, c):
        c.send(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = c.read_response()
        assert response.status in (414, 431), response

    def test_many_small_headers_are_refused_or_served(self, c):
        response = c.request("GET", "/healthz", headers=[(f"X-{i}", "y") for i in range(300)])
        assert response.status in (200, 431), response

    def test_connections_over_the_maximum_are_told_so(self, start):
        server = start(set={"server.max_connections": 20})
        held = [Connection(server.address) for _ in range(20)]
        try:
            for h in held:
                assert h.request("GET", "/healthz").status == 200
                h.send(b"POST /v1/query HTTP/1.1\r\n")  # no longer idle
            with Connection(server.address) as extra:
                try:
                    extra.send_request("GET", "/healthz")
                    response = extra.read_response()
                except (Cut, OSError):
                    response = None
                assert response is None or response.status == 503
        finally:
            for h in held:
                h.close()
        wait_until(lambda: server.client.get("/healthz").status == 200, "does not serve again")


    def test_at_the_maximum_the_one_that_is_idle_for_longest_makes_room(self, start):
        server = start(set={"server.max_connections": 20})
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(Connection(server.address)) for _ in range(20)]
            for h in held:
                assert h.request("GET", "/healthz").status == 200
            extra = stack.enter_context(Connection(server.address))
            assert extra.request("GET", "/healthz").status == 200
            wait_until(held[0].is_closed_by_peer, "not the oldest one went")
            for h in [*held[1:], extra]:
                assert h.request("GET", "/healthz").status == 200, "more than one went"


class TestOldAndCarefulClients:
    def test_expect_100_continue_is_answered_before_the_body(self, c):
        c.send(c.head("POST", "/v1/query", JSON + [("Content-Length", str(len(SELECT_1))), ("Expect", "100-continue")]))
        assert c.read_head().status == 100
        c.send(SELECT_1)
        assert c.read_response().data == [[1]]

    def test_expect_on_a_body_that_will_be_refused_gets_the_refusal(self, c):
        c.send(c.head("POST", "/v1/query", JSON + [("Content-Length", "999999999"), ("Expect", "100-continue")]))
        assert c.read_head().status == 413

    def test_another_expectation_is_not_met(self, c):
        response = select(c, headers=[("Expect", "miracles")])
        assert response.status in (200, 400, 417), response

    @pytest.mark.parametrize("sql, size", [("SELECT 1", 0), ("SELECT repeat('x', 300000) AS v", 300_000), ("SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)", 3_000_000)])
    def test_http_1_0_gets_the_whole_result_without_chunks(self, c, sql, size):
        response = select(c, json.dumps({"sql": sql}).encode(), version="HTTP/1.0")
        assert response.status == 200, response
        assert "Transfer-Encoding" not in response.headers
        assert len(response.body) > size
        body = response.json()
        assert body["rows"] == len(body["data"])

    def test_http_1_0_without_a_host_is_served(self, c):
        response = c.request("GET", "/healthz", headers=[("Host", None)], version="HTTP/1.0")
        assert response.status in (200, 403), response

    def test_head_is_get_without_a_body(self, c):
        head = c.request("HEAD", "/healthz")
        assert head.status == 200 and head.body == b""
        assert c.request("GET", "/healthz").status == 200


class TestHostAndOrigin:
    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost:{port}", "127.0.0.1:{port}", "127.0.0.1", "[::1]", "[::1]:{port}"])
    def test_its_own_names_are_served(self, c, host):
        port = c.address.rpartition(":")[2]
        assert select(c, headers=[("Host", host.format(port=port))]).data == [[1]]

    @pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:80", "", "localhost@evil.example", "127.0.0.2"])
    def test_any_other_host_is_refused(self, c, server, host):
        """DNS rebinding: a page of evil.example must not read answers through a name that resolves to this machine."""
        response = select(c, headers=[("Host", host)])
        assert response.status in (400, 403), response
        assert "[[1]]" not in response.text

    def test_another_host_is_forbidden_in_so_many_words(self, c):
        fields = select(c, headers=[("Host", "evil.example")]).problem(403, "forbidden")
        assert fields["what"]

    def test_no_host_or_two_are_bad_requests(self, client):
        for hosts in ([("Host", None)], [("Host", "localhost"), ("Host", "localhost")], [("Host", "localhost"), ("Host", "evil.example")]):
            with client.connect() as c:
                response = c.request("GET", "/healthz", headers=hosts)
                assert response.status in (400, 403), (hosts, response)

    def test_even_healthz_and_metrics_look_at_the_host(self, client):
        for target in ("/healthz", "/metrics", "/v1/status", "/nowhere"):
            with client.connect() as c:
                assert c.request("GET", target, headers=[("Host", "evil.example")]).status == 403

    def test_allowed_hosts_are_served_too(self, start):
        server = start(set={"server.allowed_hosts": "db.example, other.example"})
        for host, status in (("db.example", 200), ("DB.example:80", 200), ("other.example", 200), ("third.example", 403)):
            with server.client.connect() as c:
                assert c.request("GET", "/healthz", headers=[("Host", host)]).status == status, host

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://localhost:1", "https://127.0.0.1", "http://", "x"])
    def test_a_foreign_origin_is_forbidden(self, c, origin):
        fields = select(c, headers=[("Origin", origin)]).problem(403, "forbidden")
        assert "origin" in fields["what"].lower()

    def test_its_own_origin_is_served(self, c):
        assert select(c, headers=[("Origin", f"http://{c.address}")]).data == [[1]]

    def test_cross_site_is_forbidden_same_origin_is_not(self, c):
        for site in ("same-origin", "none"):
            assert select(c, headers=[("Sec-Fetch-Site", site)]).status == 200
        refusal = select(c, headers=[("Sec-Fetch-Site", "cross-site")])
        refusal.problem(403, "forbidden")
        assert refusal.headers["Connection"] == "close" and c.read_to_end() == b""

    def test_cors_origins_are_served(self, start):
        server = start(set={"server.cors_origins": "https://app.example"})
        with server.client.connect() as c:
            response = select(c, headers=[("Origin", "https://app.example")])
            assert response.data == [[1]]
            assert select(c, headers=[("Origin", "https://app.example.evil")]).status == 403

    @pytest.mark.parametrize("target", ["/healthz", "/readyz", "/metrics", "/v1/status", "/v1/schema", "/nowhere"])
    def test_every_answer_forbids_sniffing(self, c, target):
        assert c.request("GET", target).headers["X-Content-Type-Options"] == "nosniff"


class TestListening:
    def test_a_unix_socket(self, start, tmp_path):
        path = tmp_path / "bulkhead.sock"
        server = start(listen=f"unix:{path}")
        assert server.address == f"unix:{path}"
        assert server.client.rows("SELECT 1") == [[1]]
        server.stop()
        assert not path.exists(), "the socket file is left"

    def test_what_is_no_socket_stays_as_it_is(self, items, tmp_path):
        """Nobody answers on a file either."""
        from lib.server import run_cli
        path, link = tmp_path / "precious", tmp_path / "link"
        path.write_text("precious")
        link.symlink_to(path)
        for name in (path, link):
            result = run_cli("serve", items, "--listen", f"unix:{name}")
            assert result.returncode == 1 and "no socket" in result.stderr, result
        assert path.read_text() == "precious" and link.is_symlink()

    def test_what_a_killed_server_left_is_replaced_and_another_s_socket_is_not_removed(self, start, tmp_path):
        path = tmp_path / "bulkhead.sock"
        first = start(listen=f"unix:{path}")
        path.unlink()
        second = start(listen=f"unix:{path}")
        first.stop()
        assert second.client.rows("SELECT 1") == [[1]], "the first server took the second one's socket with it"
        second.stop()
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(path))
        assert start(listen=f"unix:{path}").client.rows("SELECT 1") == [[1]]

    def test_ipv6_loopback(self, start):
        try:
            with socket.socket(socket.AF_INET6) as s:
                s.bind(("::1", 0))
        except OSError as e:
            pytest.skip(f"no IPv6 here: {e}")
        assert start(listen="[::1]:0").client.rows("SELECT 1") == [[1]]

    @pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"])
    def test_another_address_without_keys_is_refused(self, items, address):
        from lib.server import run_cli
        result = run_cli("serve", items, "--listen", address)
        assert result.returncode == 2, result
        assert "keys_file" in result.stderr and result.stdout == ""

    def test_a_port_in_use_is_a_clear_error(self, start, items):
        from lib.server import run_cli
        server = start()
        result = run_cli("serve", items, "--listen", server.address)
        assert result.returncode in (1, 2), result
        assert server.address in result.stderr
        assert server.client.rows("SELECT 1") == [[1]]


def test_a_closed_connection_is_forgotten(server, client):
    from lib import proc
    client.get("/healthz")
    before = len(proc.fds(server.front_pid))
    for _ in range(100):
        assert client.rows("SELECT 1") == [[1]]
    wait_until(lambda: len(proc.fds(server.front_pid)) <= before + 1, lambda: f"{proc.fds(server.front_pid)}")
    stays(lambda: server.is_up(), "the server ended", 0.05)
