"""`bulkhead top`: what it shows of a running server, how a query is cancelled with it, and how it ends."""

import os
import re
import signal
import socket
import threading

import pytest

from lib.certs import Authority
from lib.client import new_id
from lib.keys import new_key
from lib.server import BULKHEAD, clean_environment, run_cli
from lib.sql import CROSS_JOIN
from lib.terminal import Terminal
from lib.wait import wait_until


def url(server):
    return server.address if server.address.startswith("unix:") else f"http://{server.address}"


@pytest.fixture
def top():
    opened = []

    def run(*argv, env=None, **how):
        opened.append(Terminal([str(BULKHEAD), "top", *map(str, argv)], clean_environment(TERM="xterm", **(env or {})), **how))
        return opened[-1]

    yield run
    for t in opened:
        t.close()


@pytest.fixture
def running(server):
    """A query that does not end by itself, and its id."""
    mine = new_id()
    c = server.client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": mine}, timeout="120s")
    server.wait_running(mine)
    yield mine
    c.close()


class TestOnce:
    def test_it_prints_workers_and_queries(self, server, running):
        result = run_cli("top", "--url", url(server), "--once")
        assert result.returncode == 0 and result.stderr == "", result
        for part in (server.address, "queue 0/64", "pool", "spare", running[:8], "running", "SELECT sum("):
            assert part in result.stdout, part
        assert "\x1b" not in result.stdout
        for w in server.workers():
            assert str(w["pid"]) in result.stdout

    def test_without_a_terminal_it_is_the_default(self, server):
        assert "SLOT" in run_cli("top", env={"BULKHEAD_URL": url(server)}).stdout

    def test_a_statement_can_not_steer_the_terminal(self, server):
        mine = new_id()
        c = server.client.start_query(f"/* \x1b]0;owned\x07 \x9b31m \r\n */ {CROSS_JOIN}", headers={"Bulkhead-Query-Id": mine}, timeout="60s")
        server.wait_running(mine)
        result = run_cli("top", "--url", url(server), binary=True)
        assert mine[:8].encode() in result.stdout and not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", result.stdout)
        c.close()

    def test_over_a_unix_socket_and_tls(self, start, tmp_path):
        server = start(listen=f"unix:{tmp_path}/s")
        assert "pool" in run_cli("top", "--url", url(server)).stdout
        authority = Authority(tmp_path)
        cert, key = authority.issue("server")
        server = start(set={"server.tls_cert": cert, "server.tls_key": key}, tls=authority.context())
        address = f"https://localhost:{server.address.rpartition(':')[2]}"
        assert "pool" in run_cli("top", "--url", address, "--ca", authority.directory / "root.pem").stdout
        stranger = run_cli("top", "--url", address)
        assert stranger.returncode == 1 and "certificate" in stranger.stderr
        cert, key = authority.issue("elsewhere", names="DNS:elsewhere.example")
        server = start(set={"server.tls_cert": cert, "server.tls_key": key}, tls=authority.context(check_hostname=False))
        other = run_cli("top", "--url", f"https://{server.address}", "--ca", authority.directory / "root.pem")
        assert other.returncode == 1 and "mismatch" in other.stderr

    def test_with_keys_it_needs_an_admin_s(self, start, tmp_path):
        keys = tmp_path / "keys.ini"
        admin, reader = new_key(keys, "root", "admin"), new_key(keys, "alice", "reader")
        server = start(set={"server.keys_file": keys}, key=admin)
        key_file = tmp_path / "key"
        key_file.write_text(admin + "\n")
        assert "pool" in run_cli("top", "--url", url(server), "--key-file", key_file).stdout
        assert "pool" in run_cli("top", "--url", url(server), env={"BULKHEAD_KEY": admin}).stdout
        for env in ({}, {"BULKHEAD_KEY": reader}):
            result = run_cli("top", "--url", url(server), env=env)
            assert result.returncode == 1 and "admin" in result.stderr and reader not in result.stderr

    @pytest.mark.parametrize("argv,code", [
        (["--url", "http://127.0.0.1:1"], 1), (["--url", "ftp://x"], 2), (["--url", "http://"], 2), (["--url", "http://a b"], 2), (["--url"], 2),
        (["--interval", "1ms"], 2), (["--odd"], 2), (["--url", "unix:/nonexistent/s"], 1), (["--key-file", "/nonexistent"], 2),
        (["--url", "http://x/path"], 2),
    ])
    def test_what_can_not_be_is_one_line_and_a_code(self, argv, code):
        result = run_cli("top", *argv)
        assert result.returncode == code and result.stdout == "" and result.stderr.startswith("bulkhead top: ")
        assert result.stderr.count("\n") == 1

    @pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
                                        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"])
    def test_something_else_at_that_port_is_said(self, answer):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def serve():
                for _ in range(2):
                    try:
                        c, _ = listener.accept()
                    except OSError:
                        return
                    c.recv(4096)
                    c.sendall(answer)
                    c.close()
            threading.Thread(target=serve, daemon=True).start()
            result = run_cli("top", "--url", f"http://127.0.0.1:{listener.getsockname()[1]}")
            listener.shutdown(socket.SHUT_RDWR)
        assert result.returncode == 1 and result.stderr.count("\n") == 1


class TestLive:
    def test_it_shows_what_runs_and_goes_on_showing(self, server, top, running):
        t = top("--url", url(server), "--interval", "250ms")
        text = t.wait_for(running[:8])
        assert "queries/s" in text and "q quit" in text
        other = new_id()
        c = server.client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": other}, timeout="60s")
        t.wait_for(other[:8])
        c.close()
        wait_until(lambda: other[:8] not in t.screen(), "a query that is over is still shown")
        t.press("q")
        assert t.end() == 0
        assert b"\x1b[?1049h" in t.raw and t.raw.rstrip().endswith(b"\x1b[?1049l"), "the screen was not given back"

    def test_a_chosen_query_is_cancelled_after_a_question(self, server, top, running):
        t = top("--url", url(server), "--interval", "250ms")
        t.wait_for(running[:8])
        t.press("c")
        t.wait_for("choose a query first")
        t.press("\x1b[B")
        t.wait_for(f"> {running[:8]}")
        t.press("c")
        t.wait_for("cancel .*y/n")
        t.press("n")
        wait_until(lambda: "y/n" not in t.screen(), "still asks")
        assert server.worker_of(running)
        t.press("cy")
        wait_until(lambda: not server.worker_of(running), "it still runs")
        server.wait_metric("bulkhead_queries_total", 1, code="cancelled")
        t.press("\x03")
        assert t.end() == 0

    @pytest.mark.parametrize("rows,columns", [(8, 40), (3, 10), (1, 1), (60, 300)])
    def test_it_fits_every_size(self, server, top, running, rows, columns):
        t = top("--url", url(server), "--interval", "250ms", rows=rows, columns=columns)
        wait_until(lambda: len(t.raw.split(b"\x1b[H")) > 3 or not t.read(), "draws nothing")
        lines = t.screen().split("\r\n")
        assert len(lines) <= rows and all(len(line) <= columns for line in lines), lines
        t.resize(20, 100)
        os.kill(t.process.pid, signal.SIGWINCH)
        t.wait_for("bulkhead")
        t.press("q")
        assert t.end() == 0

    def test_a_server_that_goes_away_is_told_and_waited_for(self, start, top, tmp_path):
        listen = f"unix:{tmp_path}/s"
        server = start(listen=listen)
        t = top("--url", listen, "--interval", "250ms")
        t.wait_for("pool")
        server.stop()
        t.wait_for("No such file|refused|connection")
        second = start(listen=listen)
        wait_until(lambda: str(second.workers()[0]["pid"]) in t.screen(), lambda: t.screen(), 20)
        t.press("q")
        assert t.end() == 0

    @pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    def test_a_signal_ends_it_and_the_terminal_is_given_back(self, server, top, sig):
        t = top("--url", url(server))
        t.wait_for("pool")
        t.process.send_signal(sig)
        assert t.end() == 0
        assert t.raw.rstrip().endswith(b"\x1b[?1049l")

    def test_a_terminal_that_goes_away_ends_it(self, server, top):
        t = top("--url", url(server))
        t.wait_for("pool")
        os.close(t.master)
        os.close(t.slave)
        assert t.process.wait(20) is not None
        t.master, t.slave = os.pipe()
