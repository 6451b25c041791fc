"""Where a worker can get to: the declared address and port of its sources, through the broker, and nowhere else."""

import array
import errno
import json
import os
import signal
import socket
import struct
import subprocess
import time

import pytest

from lib import proc
from lib.older_kernel import without
from lib.server import BULKHEAD, Server
from lib.session import Session
from lib.sources import Sources
from lib.trap import Trap
from lib.wait import wait_until


@pytest.fixture(scope="module")
def shared_server(items, pg, my, s3, tmp_path_factory):
    declared = Sources(tmp_path_factory.mktemp("secrets")).postgres("pg1", pg, host="localhost").mysql("my1", my).s3("lake", s3)
    with Server(items, set=declared.settings) as s:
        yield s


@pytest.fixture(scope="module")
def session(shared_server):
    with Session(shared_server.client, sources=["pg1", "my1", "lake"]) as s:
        yield s


def test_no_statement_leads_elsewhere(session, tmp_path):
    with Trap() as trap, Trap(unix=str(tmp_path / ".s.PGSQL.5432")) as local:
        to = f"127.0.0.1:{trap.port}"
        for sql in (
            f"FROM postgres_scan('host=127.0.0.1 port={trap.port} dbname=x user=x', 'public', 'users')",
            f"FROM postgres_query('host=127.0.0.1 port={trap.port}', 'SELECT 1')",
            f"SELECT * FROM postgres_scan('host=localhost port={trap.port}', 'public', 'users')",
            f"FROM postgres_scan('host={tmp_path}', 'public', 'users')",
            f"CALL postgres_attach('host=127.0.0.1 port={trap.port}')",
            f"FROM mysql_query('host=127.0.0.1 port={trap.port}', 'SELECT 1')",
            f"FROM read_csv('s3://lake/in/countries.csv?s3_endpoint={to}&s3_use_ssl=false')",
            f"FROM 's3://lake/in/countries.csv?s3_endpoint={to}'",
            f"FROM read_parquet('http://{to}/x.parquet')", f"FROM 'http://{to}/x.csv'", f"FROM read_text('http://{to}/')",
            f"FROM read_csv('s3://other{to}/x.csv')", f"FROM glob('s3://lake/in/*?s3_endpoint={to}')",
            "FROM read_csv('http://169.254.169.254/latest/meta-data/')", f"FROM read_json('hf://datasets/x@{to}')",
        ):
            response = session.query(sql, timeout="20s")
            assert response.status in (400, 403, 502), (sql, response)
        assert trap.visits == [] and local.visits == []


@pytest.mark.parametrize("name", [
    "s3://lake/in/../secret/salaries.csv", "s3://lake/in/%2e%2e/secret/salaries.csv", "s3://lake/in/./../secret/salaries.csv", "s3://lake/secret/salaries.csv",
    "s3://other/in/foreign.csv", "s3://lake/in/..%2fsecret/salaries.csv", "s3://lake/in/countries.csv/../../secret/salaries.csv", "s3://lake//in/../secret/*",
    "s3://lake/in/../secret/*.csv", "s3://lake/in?x=/../secret/salaries.csv", "s3://lake/in/#/../../secret/salaries.csv", "s3://lake/in/../../other/in/foreign.csv"])
def test_no_path_leads_out_of_the_prefix(session, s3, name):
    mark = len(s3.requests())
    for sql in (f"FROM '{name}'", f'FROM "{name}"', f"FROM read_csv('{name}')", f"FROM read_text('{name}')", f"FROM glob('{name}')"):
        response = session.query(sql)
        # glob() of a name without a star asks nobody, and gives the name back.
        assert response.status != 200 or response.json()["rows"] == 0 or (sql.startswith("FROM glob") and "*" not in name), (sql, response)
        assert "1000000" not in response.text
        if response.status == 403:
            assert "lies in no source" in response.json()["detail"], (sql, response)
    assert not [r for r in s3.requests()[mark:] if "salaries" in r or "foreign" in r]


def test_a_redirect_is_not_followed(start, pg, s3, tmp_path):
    with Trap() as trap:
        away = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:{trap.port}/lake/in/countries.csv\r\nContent-Length: 0\r\n\r\n".encode()
        with Trap(answer=away) as impostor:
            server = start(set=Sources(tmp_path).s3("lake", s3, endpoint=f"http://127.0.0.1:{impostor.port}").settings)
            assert server.client.query("FROM 's3://lake/in/countries.csv'", sources=["lake"], timeout="20s").status != 200
            assert impostor.visits
        assert trap.visits == []


def test_a_worker_holds_no_socket_but_those_it_was_given(server, session, pg, my):
    session.rows("SELECT count(*) FROM pg1.public.users")
    session.rows("SELECT count(*) FROM my1.analytics.events")
    pid = server.workers("session")[0]["pid"]
    inodes = {t.split("[")[1].rstrip("]") for t in proc.fds(pid) if t.startswith("socket:")}
    peers = set()
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}") as f:
            for line in f.readlines()[1:]:
                fields = line.split()
                if fields[9] in inodes:
                    peers.add(int(fields[2].split(":")[1], 16))
    with open("/proc/net/tcp") as f:  # the broker's network, should the worker have one of its own
        for line in f.readlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                peers.add(int(fields[2].split(":")[1], 16))
    assert {pg.port} <= peers <= {pg.port, my.port}, peers  # MySQL's last as long as the statement


def test_messages_show_no_made_up_address(start, tmp_path, pg):
    from lib.backend import free_port
    server = start(set=Sources(tmp_path).postgres("pgx", pg, host="localhost", port=free_port()).settings)
    detail = server.client.query("SELECT 1", sources=["pgx"]).problem(502, "source_error")["detail"]
    assert "localhost" in detail and "240.0.0" not in detail


def brokers(server):
    found = []
    for s in proc.descendants(server.pid):
        try:
            with open(f"/proc/{s.pid}/cmdline") as f:
                found += [s] if "broker-process" in f.read() else []
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has just ended
    return found


class TestTheBrokersDeath:
    def test_sessions_go_on_and_a_new_one_serves_them(self, server, session, pg):
        session.rows("CREATE TEMP TABLE kept AS SELECT 1 AS a")
        first = brokers(server)
        assert len(first) == 1
        os.kill(first[0].pid, signal.SIGKILL)
        server.wait_log("broker_death")
        wait_until(lambda: brokers(server) and brokers(server)[0].pid != first[0].pid, "no new broker")
        pg.drop_connections()
        wait_until(lambda: session.query("SELECT count(*) FROM pg1.public.users").status == 200, "the source is not found again")
        assert session.rows("FROM kept") == [[1]]

    def test_there_is_none_without_a_source_elsewhere(self, start):
        server = start()
        with Session(server.client):
            assert brokers(server) == []


def credentials(pid):
    """Of /proc/PID/status: the four user ids, all capabilities, NoNewPrivs, Seccomp."""
    with open(f"/proc/{pid}/status") as f:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in f)
    return (set(fields["Uid"].split()), {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}, fields["NoNewPrivs"],
            fields["Seccomp"])


class TestTheBrokersSandbox:
    def test_a_user_of_its_own_and_no_rights(self, server, session):
        """As root. (As an ordinary user all share that one's.)"""
        session.rows("SELECT count(*) FROM pg1.public.users")
        (broker,) = brokers(server)
        uids, capabilities, no_new, filtered = credentials(broker.pid)
        assert (no_new, filtered) == ("1", "2")
        if os.getuid() == 0:
            others = set()
            for pid in (server.pid, server.front_pid, *server.worker_pids()):
                others |= credentials(pid)[0]
            assert len(uids) == 1 and not uids & others, (uids, others)
            assert capabilities == {0}

    def test_status_tells(self, server, session):
        session.rows("SELECT count(*) FROM pg1.public.users")
        layers = server.status()["sandbox"]
        names = ["broker_capabilities", "broker_landlock", "broker_seccomp"] + (["broker_user"] if os.getuid() == 0 else [])
        wait_until(lambda: all(server.status()["sandbox"][name]["state"] == "in force" for name in names), lambda: server.status()["sandbox"])
        assert set(names) <= layers.keys()

    def test_its_memory_and_descriptors_are_closed_to_its_own_user(self, server, session):
        """It is not dumpable, so /proc/PID belongs to root."""
        (broker,) = brokers(server)
        assert os.stat(f"/proc/{broker.pid}/mem").st_uid == 0

    def test_a_layer_that_is_required_and_missing(self, items, pg, tmp_path):
        declared = Sources(tmp_path).postgres("pg1", pg).settings
        with Server(items, set={**declared, "sandbox.require": "broker_landlock"}, preexec=without("landlock_create_ruleset")) as server:
            assert server.client.query("FROM pg1.public.users", sources=["pg1"], timeout="30s").problem(502, "source_error")["source"] == "pg1"
            server.wait_log("sandbox_refused")
            assert "sandbox.require" in server.client.query("FROM pg1.public.users", sources=["pg1"]).problem(503, "unavailable")["detail"]
            wait_until(lambda: brokers(server) == [], "the refused broker lives")
            assert server.client.rows("SELECT 1") == [[1]]
        with Server(items, set=declared, preexec=without("landlock_create_ruleset")) as server:  # not required: told, and that is all
            assert server.client.query("FROM pg1.public.users", sources=["pg1"]).status == 200
            assert server.status()["sandbox"]["broker_landlock"]["state"] == "missing"


# ---- the broker by itself, with the test as supervisor and worker -----------------------------------------------------

ENDPOINT = struct.Struct("32s256sII")


class Broker:
    def __init__(self, stderr=subprocess.PIPE):
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        n = theirs.fileno()
        self.process = subprocess.Popen(["/bin/bash", "-c", f'exec "$0" broker-process {os.getpid()} 0 3<&{n} {n}<&-', str(BULKHEAD)],
                                        stderr=stderr, pass_fds=[n], text=True)
        theirs.close()

    def channel(self, *endpoints):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        rows = b"".join(ENDPOINT.pack(b"src", host.encode(), port, 0) for host, port in endpoints)
        grant = struct.pack("II", 7, len(endpoints)) + rows.ljust(16 * ENDPOINT.size, b"\0")
        self.control.sendmsg([grant], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))])
        theirs.close()
        ours.settimeout(15)
        return ours

    @staticmethod
    def ask(channel, endpoint, id=1):
        """(error, socket or None)"""
        channel.send(struct.pack("II", id, endpoint))
        data, extra, _, _ = channel.recvmsg(64, socket.CMSG_SPACE(4))
        got, error = struct.unpack("Ii", data)
        assert got == id
        fds = array.array("i")
        for _, _, payload in extra:
            fds.frombytes(payload[:4])
        if not fds:
            return error, None
        connection = socket.socket(fileno=fds[0])
        connection.settimeout(10)
        return error, connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.control.close()
        self.log = self.process.communicate(timeout=20)[1]
        assert self.process.returncode == 0


class TestTheBrokerByItself:
    def test_it_connects_to_what_was_granted(self):
        with Broker() as b, Trap(answer=b"hello") as there:
            channel = b.channel(("127.0.0.1", there.port), ("localhost", there.port))
            for endpoint in (0, 1):
                error, connection = b.ask(channel, endpoint)
                assert error == 0
                connection.sendall(b"x")
                assert connection.recv(10) == b"hello"
                connection.close()

    def test_a_number_that_was_not_granted(self):
        with Broker() as b, Trap() as there:
            channel = b.channel(("127.0.0.1", there.port))
            for endpoint in (1, 15, 16, 0xffffffff):
                assert b.ask(channel, endpoint) == (errno.EACCES, None)
            assert there.visits == []
            assert b.ask(channel, 0)[0] == 0
        assert "egress_undeclared" in b.log

    def test_nonsense_ends_the_channel(self):
        with Broker() as b, Trap() as there:
            for nonsense in (b"x", b"x" * 7, b"x" * 9, b"x" * 4000):
                channel = b.channel(("127.0.0.1", there.port))
                channel.send(nonsense)
                assert channel.recv(64) == b""
            assert b.ask(b.channel(("127.0.0.1", there.port)), 0)[0] == 0

    def test_a_worker_that_passes_descriptors_is_cut_off(self):
        with Broker() as b, Trap() as there:
            channel = b.channel(("127.0.0.1", there.port))
            channel.sendmsg([struct.pack("II", 1, 0)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))])
            assert channel.recv(64) == b""

    def test_a_name_that_leads_to_this_machine_is_refused(self):
        names = [line.split()[1] for line in open("/etc/hosts") if line.split()[:1] in (["127.0.0.1"], ["127.0.1.1"], ["::1"]) and "#" not in line]
        names = [n for n in names if n != "localhost"]
        if not names:
            pytest.skip("this machine has no other name for itself")
        with Broker() as b, Trap() as there:
            for name in names:
                assert b.ask(b.channel((name, there.port)), 0) == (errno.EACCES, None), name
            assert there.visits == []
        assert json.loads(b.log.splitlines()[0])["event"] == "egress_refused"

    def test_nobody_there_and_no_such_name(self):
        from lib.backend import free_port
        with Broker() as b:
            assert b.ask(b.channel(("127.0.0.1", free_port())), 0) == (errno.ECONNREFUSED, None)
            assert b.ask(b.channel(("no-such-host.invalid", 5432)), 0) == (errno.EHOSTUNREACH, None)

    def test_a_unix_socket_that_was_declared(self, tmp_path):
        with Broker() as b, Trap(answer=b"local", unix=str(tmp_path / ".s.PGSQL.5433")):
            error, connection = b.ask(b.channel((str(tmp_path), 5433)), 0)
            assert error == 0
            connection.sendall(b"x")
            assert connection.recv(10) == b"local"
            connection.close()
            assert b.ask(b.channel((str(tmp_path), 5434)), 0)[0] == errno.ENOENT

    def test_its_log_may_be_a_file(self, tmp_path):
        with open(tmp_path / "log", "w+") as log, Trap() as there:
            with Broker(stderr=log) as b:
                channel = b.channel(("127.0.0.1", there.port))
                assert b.ask(channel, 7) == (errno.EACCES, None)
                assert b.ask(channel, 0)[0] == 0
            log.seek(0)
            assert "egress_undeclared" in log.read()

    def test_one_worker_does_not_use_it_up(self):
        """It asks without end, and takes no answer: the others are served, and the source sees so many connections and no more."""
        began = time.monotonic()
        with Broker() as b, Trap() as there:
            flood, other = b.channel(("127.0.0.1", there.port)), b.channel(("127.0.0.1", there.port))
            flood.setblocking(False)
            for i in range(3000):
                try:
                    flood.send(struct.pack("II", i, 0))
                except BlockingIOError:
                    pass
                if i % 500 == 0:
                    error, connection = b.ask(other, 0)
                    assert error == 0
                    connection.close()
            flood.close()
            assert b.ask(other, 0)[0] == 0
            assert len(there.visits) < 64 + 32 * (time.monotonic() - began) + 20
        assert "egress_limited" in b.log

    def test_many_at_once_and_many_channels(self):
        with Broker() as b, Trap() as there:
            channels = [b.channel(("127.0.0.1", there.port)) for _ in range(100)]
            for channel in channels:
                channel.send(struct.pack("II", 9, 0))
            answers = 0
            for channel in channels:
                data, extra, _, _ = channel.recvmsg(64, socket.CMSG_SPACE(4))
                assert struct.unpack("Ii", data)[1] in (0, errno.EAGAIN)
                answers += 1
                for _, _, payload in extra:
                    os.close(struct.unpack("i", payload[:4])[0])
            assert answers == 100


def test_a_socket_of_postgres_on_this_machine(start, pg, tmp_path):
    server = start(set=Sources(tmp_path).postgres("pg1", pg, host=pg.directory).settings)
    assert server.client.rows("SELECT count(*) FROM pg1.public.users", sources=["pg1"]) == [[2000]]
