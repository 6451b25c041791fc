"""Code in a worker that is attached to a source: it has a connection and a channel to the broker, and gets nowhere else by them."""

import errno
import socket
import struct

import pytest

from lib.escape import Attacked
from lib.pg import Postgres
from lib.session import Session
from lib.sources import Sources

ONE_MODE = True
BROKER_FD = 8  # src/link/inherit.h
REFUSED = {-errno.EPERM, -errno.ENOSYS}


@pytest.fixture(scope="module")
def pg():
    with Postgres() as server:
        server.make_roles().sql("CREATE TABLE public.users AS SELECT i AS id FROM generate_series(1, 5) i; GRANT SELECT ON public.users TO reader")
        yield server


@pytest.fixture(scope="module")
def inside(home, hostile, pg, tmp_path_factory):
    """`inside(*steps)`: carried out in the session's worker."""
    declared = Sources(tmp_path_factory.mktemp("secrets")).postgres("pg1", pg)
    with Attacked(home, set=declared.settings) as server, Session(server.client, sources=["pg1"]) as session:
        assert session.rows("SELECT count(*) FROM pg1.public.users") == [[5]]

        def run(*steps):
            return [(int(row[0].split(" ")[0]), row[0].partition(" ")[2]) for row in session.rows(Attacked.text(*steps))]
        run.server, run.session = server, session
        yield run
        assert session.rows("SELECT count(*) FROM pg1.public.users") == [[5]]


@pytest.fixture
def connection(inside):
    """The number of its socket to PostgreSQL."""
    got = inside(*(f"sys getpeername {fd} buf:16 hex:10000000" for fd in range(3, 64)))
    (fd,) = [fd for fd, (r, shown) in enumerate(got, 3) if r == 0 and shown.startswith("0200")]
    return fd


def address(port):
    return "hex:" + (struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton("127.0.0.1") + b"\0" * 8).hex()


@pytest.fixture
def elsewhere():
    """Somebody who listens, and must not hear anything: (TCP port, UDP port)."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        yield tcp.getsockname()[1], udp.getsockname()[1]
        for s in (tcp, udp):
            s.settimeout(0.1)
            with pytest.raises(TimeoutError):
                s.accept() if s is tcp else s.recv(10)


def test_it_names_no_address(inside, connection, elsewhere):
    tcp, udp = (address(port) for port in elsewhere)
    fast_open = 0x20000000
    got = [r for r, _ in inside(
        *(f"sys sendto {fd} \"x\" 1 {flags} {to} 16" for fd in (connection, 3, BROKER_FD) for flags in (0, fast_open) for to in (tcp, udp)),
        *(f"sys sendmsg {fd} buf:56 {flags}" for fd in (connection, BROKER_FD) for flags in (0, fast_open)), f"sys sendmmsg {connection} buf:64 1 0", f"sys recvmmsg {connection} buf:64 1 0 0",
        f"sys connect {connection} {tcp} 16", f"sys connect {connection} hex:{'00' * 16} 16", f"sys bind {connection} {tcp} 16", f"sys listen {connection} 1", f"sys accept4 {connection} 0 0 0",
        "sys socket 2 1 0", "sys socket 2 2 0", "sys socketpair 1 1 0 buf:8")]
    assert set(got) <= REFUSED, got


def test_no_option_leads_it_elsewhere(inside, connection):
    source_route = "hex:830704" + "7f000002" + "00"
    options = {"IP_OPTIONS": (0, 4, source_route, 8), "SO_BINDTODEVICE": (1, 25, '"lo"', 3), "SO_MARK": (1, 36, "buf:4", 4), "IP_TRANSPARENT": (0, 19, "hex:01000000", 4), "TCP_ULP": (6, 31, '"tls"', 4),
               "TCP_REPAIR": (6, 19, "hex:01000000", 4), "SO_ATTACH_FILTER": (1, 26, "buf:16", 16), "SO_ATTACH_BPF": (1, 50, "buf:4", 4), "TCP_CONGESTION": (6, 13, '"reno"', 5), "SO_REUSEPORT": (1, 15, "hex:01000000", 4),
               "IP_PKTINFO": (0, 8, "hex:01000000", 4), "TCP_FASTOPEN_CONNECT": (6, 30, "hex:01000000", 4), "TCP_MD5SIG": (6, 14, "buf:216", 216), "IPT_SO_SET_REPLACE": (0, 64, "buf:64", 64)}
    got = dict(zip(options, inside(*(f"sys setsockopt {connection} {level} {name} {value} {n}" for level, name, value, n in options.values()))))
    assert {name: r for name, (r, _) in got.items() if r not in REFUSED} == {}
    (peer_pidfd, _), (peer, _) = inside(f"sys getsockopt 3 1 77 buf:4 hex:04000000", f"sys getsockopt {connection} 0 80 buf:16 hex:10000000")
    assert {peer_pidfd, peer} <= REFUSED


def test_the_broker_gives_what_was_granted_and_no_more(inside):
    """It asks with its own hands: for numbers of others, and then for its own."""
    wait = "sys poll hex:" + struct.pack("=ihh", BROKER_FD, 1, 0).hex() + " 1 10000"
    for endpoint, error in ((1, errno.EACCES), (15, errno.EACCES), (0xffffffff, errno.EACCES), (0, 0)):
        ask = "hex:" + struct.pack("=II", 4711, endpoint).hex()
        (sent, _), _, (_, answer) = inside(f"sys sendto {BROKER_FD} {ask} 8 0 0 0", wait, f"sys recvfrom {BROKER_FD} buf:8 8 0 0 0")
        assert sent == 8 and answer == struct.pack("=Ii", 4711, error).hex(), endpoint


def test_what_it_was_granted_is_not_read_again(inside):
    got = [r for r, _ in inside("sys read 7 buf:64 64", 'sys openat -100 "/proc/self/mem" 0 0', 'sys openat -100 "/proc/self/fd/7" 0 0')]
    assert got[0] <= 0 and got[1] < 0 and got[2] < 0


def test_its_channels_carry_no_descriptors(inside):
    assert [r for r, _ in inside("pass 3", "pass 8")] == [-errno.EPERM] * 2
