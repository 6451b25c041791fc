"""`bulkhead doctor`: every protection tried live, and an honest table of what holds."""

import json
import os
import subprocess

import pytest

from lib.certs import Authority
from lib.db import killed_writer
from lib.keys import new_key
from lib.ordinary import Stage, become_ordinary
from lib.server import BULKHEAD, clean_environment, run_cli
from lib.wait import PATIENCE

SMALL = ["--set", "pool.memory_limit=64MB", "--set", "pool.threads=1", "--set", "pool.workers=1", "--set", "session.max=0",
         "--set", "limits.interrupt_grace=50ms", "--set", "limits.term_grace=50ms"]
WALLS = ["read other files", "list directories", "write to the database", "make files", "connect by TCP", "connect to a unix socket", "run a program",
         "make processes", "read other processes", "signal other processes", "make namespaces", "become root", "make memory executable",
         "raise its limits", "reach more of the kernel"]
ENDS = ["cores", "deadline", "scratch directory", "scratch limit", "memory cap"]

as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


def doctor(*argv, code=0, binary=None, preexec=None, small=SMALL):
    """{name: check} of a run that must end with that code and leave nothing on stderr."""
    command = [str(binary or BULKHEAD), "doctor", *map(str, argv), *small, "--format", "json"]
    r = subprocess.run(command, capture_output=True, text=True, timeout=120 * PATIENCE, preexec_fn=preexec, env=clean_environment())
    assert r.returncode == code, (r.returncode, r.stdout, r.stderr)
    assert r.stderr == ""
    report = json.loads(r.stdout)
    checks = {c["name"]: c for c in report["checks"]}
    assert len(checks) == len(report["checks"]), "two rows of one name"
    verdicts = [c["verdict"] for c in report["checks"]]
    assert report["verdict"] == ("FAIL" if "FAIL" in verdicts else "WARN" if "WARN" in verdicts else "PASS")
    for c in report["checks"]:
        assert c["how"] or c["verdict"] == "FAIL" or c["name"] == "scratch", c
        assert (c["hint"] != "") == (c["verdict"] != "PASS"), c
    return checks


@pytest.fixture(scope="module")
def healthy(items, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    checks = doctor(items, "--set", f"pool.scratch_directory={scratch}")
    assert not list(scratch.iterdir()), "scratch is left"
    return checks


class TestAHealthyServer:
    @as_root
    def test_passes_every_check_as_root(self, healthy):
        groups = healthy["memory cap"]["in_force"].startswith("control group")
        bad = {n: c for n, c in healthy.items() if c["verdict"] != "PASS" and not (n == "memory cap" and not groups)}
        assert not bad, bad

    def test_tries_each_wall_and_each_cap(self, healthy):
        for name in WALLS + ENDS:
            assert name in healthy, name
        if healthy["memory cap"]["in_force"].startswith("control group"):
            assert healthy["leave its control group"]["in_force"].startswith("refused: ")
        for name in WALLS:
            assert healthy[name]["how"].startswith("a worker tried: ")
            assert healthy[name]["in_force"].startswith(("refused: ", "killed for it: SIG")), healthy[name]

    def test_shows_that_a_deaf_worker_was_killed_and_a_greedy_one_too(self, healthy):
        assert "dead by SIGKILL after" in healthy["deadline"]["how"]
        assert "took more, and was killed after" in healthy["memory cap"]["how"]
        assert "wrote on, and was killed at" in healthy["scratch limit"]["how"]

    def test_tells_what_is_configured_and_what_there_is(self, healthy, items):
        assert healthy["memory cap"]["configured"].startswith("128.0MB for each worker")
        assert healthy["database file"]["configured"] == str(items)
        assert "storage version" in healthy["database file"]["in_force"]
        assert "together 2 x 128.0MB" in healthy["memory of the machine"]["configured"]
        assert healthy["cores of the machine"]["in_force"].startswith(f"{len(os.sched_getaffinity(0))} (")

    def test_the_table_has_a_line_for_each_check_and_a_sum(self, items, healthy):
        r = run_cli("doctor", items, *SMALL, limit_s=120)
        assert r.returncode == 0 and r.stderr == ""
        lines = r.stdout.splitlines()
        assert lines[0].split() == ["CHECK", "CONFIGURED", "IN", "FORCE", "CHECKED", "BY"]
        rows = [line for line in lines[1:-1] if line[:4] in ("PASS", "WARN", "FAIL")]
        assert len(rows) == len(healthy)
        assert lines[-1].startswith(f"{sum(r.startswith('PASS') for r in rows)} PASS, ")


@as_root
def test_an_ordinary_user_is_warned_of_what_only_root_can_have(items):
    with Stage() as stage:
        checks = doctor(stage.take(items.path), "--set", f"pool.scratch_directory={stage.directory('scratch')}", "--set", "spool.max_bytes=0",
                        binary=stage.binary, preexec=become_ordinary)
    warned = {n for n, c in checks.items() if c["verdict"] == "WARN"}
    assert {"layer user", "layer front_user", "database permissions", "memory cap"} <= warned
    assert checks["memory cap"]["in_force"].startswith("watchdog: ")
    assert "Delegate=yes" in checks["memory cap"]["hint"]
    for name in WALLS:
        assert checks[name]["verdict"] == "PASS", checks[name]


class TestTheDatabase:
    def test_missing_is_a_failure_and_its_workers_too(self, tmp_path):
        checks = doctor(tmp_path / "none.duckdb", code=1)
        assert checks["database file"]["verdict"] == checks["worker"]["verdict"] == "FAIL"
        assert "none.duckdb" in checks["worker"]["in_force"] and "read other files" not in checks

    def test_that_is_none_is_a_failure(self, make_db):
        checks = doctor(make_db().write(b"not a database, but long enough to have a header of some kind\n" * 100), code=1)
        assert checks["database file"]["verdict"] == "FAIL"

    def test_with_a_log_beside_it_is_a_warning(self, make_db):
        db = make_db().make("CREATE TABLE t(i INTEGER)")
        killed_writer(db, "INSERT INTO t VALUES (1)")
        check = doctor(db)["write-ahead log"]
        assert check["verdict"] == "WARN" and "bulkhead recover" in check["hint"]

    def test_that_everybody_may_write_is_a_warning(self, make_db):
        db = make_db().make()
        db.path.chmod(0o666)
        assert doctor(db)["database permissions"]["verdict"] == "WARN"

    def test_held_by_a_writer_is_named(self, make_db):
        db = make_db().make()
        with db.hold() as writer:
            checks = doctor(db, code=1)
        assert checks["who else writes"]["verdict"] == "WARN" and str(writer.pid) in checks["who else writes"]["in_force"]
        assert checks["worker"]["verdict"] == "FAIL"

    def test_views_and_macros_that_the_policy_refuses_are_named(self, make_db):
        db = make_db().make("CREATE TABLE t(i INTEGER);; CREATE VIEW fine AS SELECT * FROM t;; CREATE MACRO spy() AS TABLE SELECT * FROM read_csv('/etc/passwd')"
                            ";; CREATE MACRO peek() AS current_setting('secret_directory')")
        checks = doctor(db)
        assert checks["stored views and macros"]["in_force"] == "2 refused"
        assert checks["macro data.main.spy"]["verdict"] == "WARN" and "read_csv" in checks["macro data.main.spy"]["in_force"]
        assert "macro data.main.peek" in checks and not any("fine" in name for name in checks)

    def test_a_name_that_would_steer_a_terminal_is_escaped(self, make_db):
        db = make_db().make("CREATE MACRO \"x\x1b[31m\"() AS TABLE SELECT * FROM read_csv('/etc/passwd')")
        r = run_cli("doctor", db, *SMALL, limit_s=120)
        assert r.returncode == 0 and "1 refused" in r.stdout
        assert "\x1b" not in r.stdout


class TestFiles:
    def test_keys_are_counted_and_tls_is_missed(self, items, tmp_path):
        keys = tmp_path / "keys.ini"
        new_key(keys, "one", "reader")
        new_key(keys, "two", "admin")
        checks = doctor(items, "--set", f"server.keys_file={keys}")
        assert checks["API keys"]["in_force"].startswith("2 keys, 1 of role admin, 0 expired")
        assert checks["TLS"]["verdict"] == "WARN"

    def test_a_key_file_that_others_may_read_is_a_failure(self, items, tmp_path):
        keys = tmp_path / "keys.ini"
        new_key(keys, "one", "reader")
        keys.chmod(0o644)
        assert doctor(items, "--set", f"server.keys_file={keys}", code=1)["API keys"]["verdict"] == "FAIL"

    @pytest.mark.parametrize("days, verdict", [(30, "PASS"), (3, "WARN"), (-1, "FAIL")])
    def test_a_certificates_end_is_looked_at(self, items, tmp_path, days, verdict):
        authority = Authority(tmp_path)
        cert, key = authority.issue("server", days=days) if days > 0 else expired(authority)
        checks = doctor(items, "--set", f"server.tls_cert={cert}", "--set", f"server.tls_key={key}", code=1 if verdict == "FAIL" else 0)
        assert checks["certificate"]["verdict"] == verdict, checks["certificate"]
        assert checks["private key"]["verdict"] == "PASS"

    def test_a_private_key_that_everybody_may_read_is_a_warning(self, items, tmp_path):
        cert, key = Authority(tmp_path).issue("server")
        key.chmod(0o644)
        assert doctor(items, "--set", f"server.tls_cert={cert}", "--set", f"server.tls_key={key}")["private key"]["verdict"] == "WARN"


def expired(authority):
    """A certificate whose time was over yesterday."""
    import datetime

    cert, key = authority.issue("old")
    day = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)).strftime("%y%m%d%H%M%SZ")
    before = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2)).strftime("%y%m%d%H%M%SZ")
    d = authority.directory
    (d / "index.txt").write_text("")
    (d / "serial").write_text("1000\n")
    (d / "ca.cnf").write_text(f"[ca]\ndefault_ca=a\n[a]\ndir={d}\nnew_certs_dir={d}\ndatabase={d}/index.txt\nserial={d}/serial\ndefault_md=sha256\n"
                              "policy=p\nemail_in_dn=no\n[p]\ncommonName=supplied\n")
    done = subprocess.run(["openssl", "ca", "-batch", "-config", "ca.cnf", "-in", "old.csr", "-cert", "root.pem", "-keyfile", "root.key", "-startdate", before,
                           "-enddate", day, "-out", "old.leaf", "-notext"], cwd=d, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cert.write_text((d / "old.leaf").read_text() + (d / "root.pem").read_text())
    return cert, key


class TestSizes:
    def test_that_do_not_fit_are_a_failure_with_the_arithmetic(self, items):
        check = doctor(items, "--set", "pool.memory_cap=4000GB", code=1)["memory of the machine"]
        assert check["verdict"] == "FAIL" and "does not fit" in check["configured"] and "4.0TB" in check["configured"].replace("4000.0GB", "4.0TB"), check

    def test_that_do_not_fit_and_are_allowed_to_are_a_warning(self, items):
        checks = doctor(items, "--set", "pool.memory_cap=4000GB", "--set", "pool.overcommit=yes")
        assert checks["memory of the machine"]["verdict"] == "WARN"

    def test_without_spilling_there_is_no_directory_to_fill(self, items):
        checks = doctor(items, "--set", "pool.scratch_limit=0")
        assert "scratch limit" not in checks and checks["scratch"]["verdict"] == "PASS"


def test_without_control_groups_memory_is_watched_and_that_is_a_warning(items):
    checks = doctor(items, "--set", "sandbox.cgroups=no")
    assert checks["memory cap"]["verdict"] == "WARN" and "took more, and was killed" in checks["memory cap"]["how"]


@pytest.mark.parametrize("argv, words", [
    (["--format", "xml"], "--format"), (["a", "b"], "more than one database"), (["--nonsense"], "unknown option"), (["--set"], "a value is missing"),
    (["--set", "pool.nonsense=1"], "nonsense"), (["--set", "sandbox.require=nothing"], "there is no layer"),
])
def test_wrong_usage_is_told_in_one_line(argv, words):
    r = run_cli("doctor", *argv)
    assert r.returncode == 2 and r.stdout == ""
    assert words in r.stderr and len(r.stderr.splitlines()) == 1, r.stderr


def test_with_sources_the_broker_is_tried_as_well(items, tmp_path):
    assert "broker" not in doctor(items, "--set", "pool.scratch_limit=0")
    ini = tmp_path / "b.ini"
    ini.write_text(f"[source.here]\ntype = files\npath = {tmp_path}\nroles = reader\n")
    checks = doctor(items, "--config", ini, "--set", "pool.scratch_limit=0")
    assert checks["broker"]["in_force"] == "refused, each"
    assert checks["layer broker_seccomp"]["verdict"] == "PASS"
