"""Only the worker has the engine in it; only src/engine knows its header."""

import re
import subprocess

import pytest

from lib.server import BULKHEAD, ROOT, WORKER


def dynamic(binary):
    return subprocess.run(["readelf", "-d", str(binary)], capture_output=True, text=True, check=True).stdout


def needed(binary):
    return re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic(binary))


def test_the_server_is_not_linked_to_the_engine():
    assert needed(BULKHEAD) and not [n for n in needed(BULKHEAD) if "duckdb" in n or "stdc++" in n]
    listing = subprocess.run(["ldd", str(BULKHEAD)], capture_output=True, text=True, check=True).stdout
    assert "duckdb" not in listing
    symbols = subprocess.run(["nm", "-D", "--undefined-only", str(BULKHEAD)], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"\bduckdb_", symbols)
    assert not re.search(r"\bdlopen\b", symbols), "nor may it load it later"


def test_the_worker_is():
    assert "libduckdb.so" in needed(WORKER)


@pytest.mark.parametrize("binary", [BULKHEAD, WORKER], ids=["bulkhead", "bulkhead-worker"])
def test_the_binaries_are_hardened(binary):
    text = dynamic(binary)
    assert "BIND_NOW" in text or "NOW" in text
    header = subprocess.run(["readelf", "-hW", str(binary)], capture_output=True, text=True, check=True).stdout
    assert "DYN" in header, "not position independent"
    segments = subprocess.run(["readelf", "-lW", str(binary)], capture_output=True, text=True, check=True).stdout
    assert re.search(r"GNU_RELRO", segments)
    assert not re.search(r"GNU_STACK.*RWE", segments)


def test_only_the_engine_layer_includes_its_header():
    including = []
    for path in [*ROOT.glob("src/**/*.c"), *ROOT.glob("src/**/*.h"), *ROOT.glob("src/**/*.def")]:
        if re.search(r'^\s*#\s*include\s*[<"].*duckdb.*[>"]', path.read_text(errors="replace"), re.M):
            including.append(path.relative_to(ROOT))
    assert including and all(p.parts[:2] == ("src", "engine") for p in including), including


# What each layer may include; the order of ARCHITECTURE.md. CMake enforces the same, this says it in one place.
LAYERS = {
    "core": set(), "sandbox": {"core"}, "link": {"core"}, "sched": {"core", "link"}, "result": {"core"}, "engine": {"core", "result"},
    "publish": {"core"}, "supervisor": {"core", "link", "publish"},
    "session": {"core", "link", "sched"}, "broker": {"core", "link", "sandbox"}, "front": {"core", "link", "sched", "session", "sandbox"}, "worker": {"core", "link", "result", "engine", "sandbox"},
    "cli": {"core", "link", "sched", "session", "front", "supervisor", "broker", "publish"},
}


def test_layers_include_only_what_is_below_them():
    wrong = []
    for path in [*ROOT.glob("src/*/*.c"), *ROOT.glob("src/*/*.h")]:
        layer = path.parent.name
        for other in re.findall(r'^\s*#\s*include\s*"(\w+)/', path.read_text(errors="replace"), re.M):
            if other in LAYERS and other != layer and other not in LAYERS[layer]:
                wrong.append(f"{path.relative_to(ROOT)} includes {other}/")
    assert not wrong, wrong


# Who may ask for the time of day, and for what: it jumps. Every deadline, timeout and duration is measured by the monotonic clock.
TIME_OF_DAY = {
    "core/log.c": "stamps", "front/http_server.c": "the Date header", "front/registry.c": "submitted_at", "session/sessions.c": "created_at, expires_at",
    "front/auth.c": "expiry of keys", "front/front_main.c": "expiry of keys", "supervisor/tls_source.c": "expiry of certificates",
    "supervisor/database_watch.c": "ages of files", "front/database.c": "ages of files", "publish/backup.c": "names", "publish/lock.c": "shown to people",
    "cli/cmd_key.c": "dates of keys", "cli/doctor_files.c": "expiry of keys and certificates", "front/tickets.c": "expires_at",
    "core/clock.h": "clock_wall_ms", "core/extensions.c": "ages of files",
}


def test_deadlines_do_not_go_by_the_time_of_day():
    asking = {str(p.relative_to(ROOT / "src")) for p in [*ROOT.glob("src/*/*.c"), *ROOT.glob("src/*/*.h")]
              if re.search(r"\btime\(NULL\)|CLOCK_REALTIME|\bgettimeofday\b|\bclock_wall_ms\(", p.read_text(errors="replace"))}
    assert asking <= set(TIME_OF_DAY), asking - set(TIME_OF_DAY)
