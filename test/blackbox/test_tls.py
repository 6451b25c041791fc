"""HTTPS: the same answers through TLS, certificates that change and that are refused, clients that are slow, odd or hostile."""

import contextlib
import json
import select
import signal
import socket
import ssl
import subprocess
import time

import pytest

from lib import proc
from lib.asynchronous import fetch, start, wait_over
from lib.certs import Authority
from lib.client import Client, Connection, new_id
from lib.server import Server, run_cli
from lib.sql import BIG_RESULT, CROSS_JOIN, ENDLESS_RESULT
from lib.wait import wait_until


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def files(authority):
    return authority.issue("server")


@pytest.fixture(scope="module")
def shared_server(items, authority, files):
    settings = {"server.tls_cert": files[0], "server.tls_key": files[1], "server.header_timeout": "2s"}
    with Server(items, set=settings, tls=authority.context()) as s:
        yield s


def common_name(connection):
    return dict(x[0] for x in connection.sock.getpeercert()["subject"])["commonName"]


class TestAnswers:
    def test_queries_health_and_errors_are_the_same_as_without(self, server, client):
        assert client.rows("SELECT 42") == [[42]]
        assert client.get("/healthz").status == 200
        client.query("SELEC 1").problem(400, "sql_error")
        assert server.metric("bulkhead_tls_certificate_expiry_seconds") > time.time()

    def test_a_large_result_is_whole(self, client):
        response = client.query(BIG_RESULT)
        assert response.status == 200 and response.chunks > 1
        data = response.json()["data"]
        assert len(data) == 1_000_000 and data[999_999] == [999_999, "52c69e3a57331081823331c4e69d3f2e"]

    def test_a_large_result_over_old_http_is_whole(self, client):
        with client.connect() as c:
            body = json.dumps({"sql": "SELECT i FROM range(300000) t(i)"}).encode()
            response = c.request("POST", "/v1/query", body, [("Content-Type", "application/json")], version="HTTP/1.0")
            assert len(response.json()["data"]) == 300_000

    def test_a_slow_reader_gets_every_byte(self, client):
        c = client.start_query("SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)", receive_buffer=4096, timeout="60s")
        time.sleep(0.5)  # the socket fills up in the middle of a record
        response = c.read_response()
        assert [r[0] for r in response.json()["data"]] == list(range(100_000))
        c.close()

    def test_a_kept_result_is_whole_in_parts_and_for_a_slow_reader(self, client):
        query_id = start(client, "SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)", format="csv")
        size = wait_over(client, query_id)["bytes"]
        whole = fetch(client, query_id).body
        assert len(whole) == size
        assert fetch(client, query_id, {"Range": "bytes=100000-2100000"}).body == whole[100000:2100001]
        with client.connect(receive_buffer=4096) as c:
            c.send_request("GET", f"/v1/queries/{query_id}/result")
            time.sleep(0.5)  # the socket fills up in the middle of a record
            assert c.read_response().body == whole

    def test_a_connection_is_kept_and_requests_may_come_together(self, client):
        with client.connect() as c:
            for i in range(20):
                c.send_request("GET", "/healthz")
            for i in range(20):
                assert c.read_response().status == 200
            assert c.request("GET", "/healthz").status == 200

    def test_a_large_body_arrives(self, client):
        text = "ä" * 200_000
        assert client.rows("SELECT length($1)", params=[text]) == [[200_000]]

    def test_a_body_in_small_records_arrives(self, client):
        with client.connect() as c:
            body = b"SELECT 1 AS one " + b" " * 2000
            c.send(c.head("POST", "/v1/query", {"Content-Type": "text/plain", "Content-Length": str(len(body))}))
            for i in range(0, len(body), 7):
                c.send(body[i:i + 7])
            assert c.read_response().data == [[1]]

    def test_expect_continue_works(self, client):
        with client.connect() as c:
            c.send(c.head("POST", "/v1/query", {"Content-Type": "text/plain", "Content-Length": "8", "Expect": "100-continue"}))
            assert c.read_head().status == 100
            c.send(b"SELECT 7")
            assert c.read_response().data == [[7]]

    def test_curl_speaks_to_it(self, server, authority):
        url = f"https://localhost:{server.address.rpartition(':')[2]}/v1/query"
        done = subprocess.run(["curl", "-sS", "--cacert", str(authority.directory / "root.pem"), url, "-H", "Content-Type: text/plain", "-d",
                               "SELECT 42 AS x"], capture_output=True, text=True)
        assert done.returncode == 0 and json.loads(done.stdout)["data"] == [[42]], done

    def test_a_vanished_client_s_query_is_stopped(self, server, client):
        for end in ("close", "abort"):
            mine = new_id()
            c = client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": mine}, timeout="60s")
            server.wait_running(mine)
            getattr(c, end)()
            wait_until(lambda: not server.worker_of(mine), "still runs")

    def test_a_cut_answer_looks_cut(self, server, client):
        """The worker dies after the head has left: no last chunk."""
        from lib.client import Cut
        mine = new_id()
        c = client.start_query(ENDLESS_RESULT, headers={"Bulkhead-Query-Id": mine}, timeout="60s")
        worker = server.wait_running(mine)
        c.fill()
        proc.kill(worker["pid"])
        with pytest.raises(Cut):
            c.read_response()
        c.close()

    def test_web_pages_of_our_own_origin_are_https_ones(self, server, client):
        assert client.request("GET", "/healthz", headers={"Origin": f"https://{server.address}"}).status == 200
        client.request("GET", "/healthz", headers={"Origin": f"http://{server.address}"}).problem(403, "forbidden")


class TestProtocol:
    def connect(self, server, context):
        return Connection(server.address, tls=context)

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_tls_1_2_and_1_3_are_spoken(self, server, authority, version):
        context = authority.context(minimum_version=version, maximum_version=version)
        with self.connect(server, context) as c:
            assert c.sock.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
            name, _, bits = c.sock.cipher()
            assert bits >= 128 and ("GCM" in name or "CHACHA20" in name)
            assert c.request("GET", "/healthz").status == 200

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
    def test_older_ones_and_weak_ciphers_are_not(self, server, authority):
        old = authority.context(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
        old.set_ciphers("ALL:@SECLEVEL=0")
        weak = authority.context(maximum_version=ssl.TLSVersion.TLSv1_2)
        weak.set_ciphers("AES128-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
        for context in (old, weak):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                self.connect(server, context)

    def test_alpn_names_http_1_1(self, server, authority):
        both = authority.context()
        both.set_alpn_protocols(["h2", "http/1.1"])
        with self.connect(server, both) as c:
            assert c.sock.selected_alpn_protocol() == "http/1.1"
        only_h2 = authority.context()
        only_h2.set_alpn_protocols(["h2"])
        with pytest.raises((ssl.SSLError, ConnectionError)):
            self.connect(server, only_h2)

    def test_a_session_is_resumed(self, server, authority):
        context = authority.context()
        with self.connect(server, context) as c:
            assert c.request("GET", "/healthz").status == 200
            session = c.sock.session
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port))) as raw, context.wrap_socket(raw, server_hostname="localhost", session=session) as tls:
            assert tls.session_reused

    def test_plain_http_gets_a_plain_word(self, server):
        response = Client(server.address).get("/healthz")
        assert response.status == 400 and "HTTPS" in response.text

    def test_noise_is_closed_and_hurts_nobody(self, server, client):
        for noise in (b"\x16\x03\x01\xff\xff" + b"\0" * 100, b"\0" * 100, b"SSH-2.0-x\r\n", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"):
            with Connection(server.address) as c:
                c.send(noise)
                with contextlib.suppress(OSError):  # it may be closed by now
                    c.sock.shutdown(socket.SHUT_WR)
                c.read_to_end()
        assert client.rows("SELECT 1") == [[1]]

    def test_a_handshake_has_the_time_of_a_head(self, server):
        with Connection(server.address) as c:
            began = time.monotonic()
            wait_until(c.is_closed_by_peer, "is kept open")
            assert 1.5 < time.monotonic() - began
        with Connection(server.address) as c:  # a trickle does not help
            hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
            for byte in hello:
                c.send(bytes([byte]))
                time.sleep(0.05)
            wait_until(c.is_closed_by_peer, "is kept open")

    def test_a_head_that_does_not_come_after_it_is_408(self, server, client):
        with client.connect() as c:
            c.send(b"GET /hea")
            assert c.read_response().status == 408

    def test_connections_that_come_and_go_leave_nothing(self, server, client):
        def churn(n):
            for _ in range(n):
                assert client.get("/healthz").status == 200
        churn(200)
        fds, memory = len(proc.fds(server.front_pid)), proc.rss_bytes(server.front_pid)
        churn(400)
        wait_until(lambda: len(proc.fds(server.front_pid)) <= fds + 1, lambda: proc.fds(server.front_pid))
        assert proc.rss_bytes(server.front_pid) - memory < 2_000_000


class TestCertificates:
    @pytest.fixture
    def own(self, start, authority, tmp_path):
        """A server whose certificate files belong to this test."""
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

        def put(pair):
            cert.write_bytes(pair[0].read_bytes())
            key.write_bytes(pair[1].read_bytes())
            key.chmod(0o600)
        put(authority.issue("first"))
        server = start(set={"server.tls_cert": cert, "server.tls_key": key}, tls=authority.context())
        return server, put, cert, key

    def reload(self, server, event):
        mark = server.log_mark()
        server.send_signal(signal.SIGHUP)
        server.wait_log(event, since=mark)
        return server.log_entries(event, since=mark)[0]

    def test_new_ones_are_taken_on_sighup_and_open_connections_stay(self, own, authority):
        server, put, _, _ = own
        with server.client.connect() as old:
            assert common_name(old) == "first"
            put(authority.issue("second", kind="rsa"))
            self.reload(server, "tls_loaded")

            def second():
                with server.client.connect() as c:
                    return common_name(c) == "second" and c.request("GET", "/healthz").status == 200
            wait_until(second, "still the old certificate")
            assert old.request("GET", "/healthz").status == 200

    @pytest.mark.parametrize("damage,word", [
        ("empty", "no certificate"), ("cut", "cert"), ("other key", "private key"), ("no key", "no private key"), ("missing", "No such file"),
        ("passphrase", "passphrase"),
    ])
    def test_bad_ones_change_nothing_and_say_why(self, own, authority, damage, word):
        server, _, cert, key = own
        if damage == "empty":
            cert.write_text("")
        elif damage == "cut":
            cert.write_text(cert.read_text()[:-200])
        elif damage == "other key":
            key.write_bytes(authority.issue("other")[1].read_bytes())
        elif damage == "no key":
            key.write_text(cert.read_text())
        elif damage == "missing":
            key.unlink()
        else:
            done = subprocess.run(["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(key) + ".locked"])
            assert done.returncode == 0
            key.write_bytes((key.parent / (key.name + ".locked")).read_bytes())
        entry = self.reload(server, "tls_refused")
        assert word in entry["why"] and (str(cert) in entry["why"] or str(key) in entry["why"]), entry
        with server.client.connect() as c:
            assert common_name(c) == "first" and c.request("GET", "/healthz").status == 200
            assert 'bulkhead_reload_refused{what="tls"} 1' in c.request("GET", "/metrics").text.splitlines()

    def test_bad_ones_at_the_start_are_exit_2(self, items, authority, files, tmp_path):
        other = authority.issue("stranger")[1]
        for cert, key, word in ((files[0], other, "private key"), (tmp_path / "none.pem", files[1], "No such file"), (files[1], files[1], "certificate")):
            result = run_cli("serve", items, "--listen", "127.0.0.1:0", "--set", f"server.tls_cert={cert}", "--set", f"server.tls_key={key}")
            assert result.returncode == 2 and word in result.stderr and result.stdout == "", result

    def test_one_that_ends_soon_serves_with_a_warning(self, start, authority):
        cert, key = authority.issue("soon", days=1)
        server = start(set={"server.tls_cert": cert, "server.tls_key": key}, tls=authority.context())
        entry = server.log_entries("tls_loaded")[0]
        assert entry["level"] == "warn" and entry["state"] == "expires soon"
        assert server.client.get("/healthz").status == 200

    def test_a_key_that_everybody_may_read_is_a_warning(self, start, authority, tmp_path):
        cert, key = authority.issue("open")
        key.chmod(0o644)
        server = start(set={"server.tls_cert": cert, "server.tls_key": key}, tls=authority.context())
        server.wait_log("tls_key_exposed", level="warn")

    def test_the_private_key_is_in_the_front_s_memory_only(self, own):
        """A process that is just being started has all that the supervisor has, until its exec."""
        server, _, _, _ = own
        for pid in [server.front_pid, *server.worker_pids()]:
            wait_until(lambda pid=pid: not [f for f in proc.fds(pid) if "bulkhead-tls" in f], f"{pid} has the file open")

    def test_a_new_front_has_it_again(self, own):
        server, _, _, _ = own
        proc.kill(server.front_pid)
        wait_until(lambda: len(server.log_entries("front_start")) == 2, "no new front")

        def up():
            try:
                return server.client.get("/healthz").status == 200
            except (OSError, ssl.SSLError):
                return False
        wait_until(up, "does not serve again")


def test_many_connections_at_once_are_all_served(server, authority):
    context = authority.context()
    connections = [Connection(server.address, tls=context) for _ in range(50)]
    for c in connections:
        c.send_request("GET", "/healthz")
    waiting = {c.sock: c for c in connections}
    while waiting:
        ready, _, _ = select.select(list(waiting), [], [], 20)
        assert ready
        for s in ready:
            assert waiting.pop(s).read_response().status == 200
    for c in connections:
        c.close()
