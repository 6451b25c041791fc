"""The scripts around the build: packages, the test runner's arithmetic, what `make install` lays down."""
import importlib.machinery
import importlib.util
import os
import subprocess

import pytest

from fetchlib import BUILD, ROOT


# ---- scripts/install-packages --------------------------------------------------------------------------------------------

class Machine:
    """A PATH with just what install-packages itself uses, and stand-ins for id, dpkg-query, apt-get and sudo."""

    def __init__(self, tmp_path):
        self.bin = tmp_path / "bin"
        self.bin.mkdir()
        self.log = tmp_path / "log"
        for name in ("bash", "sort", "grep", "mktemp", "rm", "tail", "cat"):
            self.link(name)
        self.put("id", "echo 0")
        self.put("dpkg-query", "exit 1")
        self.put("apt-get", f'echo "apt-get $*" >>{self.log}')
        self.put("env", 'while [[ $1 == *=* ]]; do shift; done; exec "$@"')

    def link(self, name):
        (self.bin / name).symlink_to(next(p for d in ("/usr/bin", "/bin") if os.path.exists(p := f"{d}/{name}")))

    def put(self, name, body):
        (self.bin / name).write_text(f"#!/bin/bash\n{body}\n")
        (self.bin / name).chmod(0o755)

    def run(self, *arguments, **env):
        return subprocess.run(["/bin/bash", ROOT / "scripts" / "install-packages", *arguments], env={"PATH": str(self.bin)} | env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def calls(self):
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_bare_machine_gets_update_and_one_install(machine):
    result = machine.run("build")
    assert result.returncode == 0, result.stderr
    update, install = machine.calls()
    assert update.endswith(" update")
    packages = install.split()
    assert {"npm", "python3", "build-essential", "cmake", "libevent-dev", "libseccomp-dev"} <= set(packages)
    assert "libcmocka-dev" not in packages and "clang" not in packages


def test_test_set_contains_the_build_set(machine):
    assert machine.run("test").returncode == 0
    assert {"npm", "libevent-dev", "libcmocka-dev", "clang", "libclang-rt-14-dev"} <= set(machine.calls()[1].split())


def test_tools_from_elsewhere_are_not_installed_again(machine):
    for name in ("npm", "python3", "cmake"):
        machine.put(name, "exit 0")
    assert machine.run("build").returncode == 0
    packages = set(machine.calls()[1].split())
    assert packages & {"npm", "python3", "python3-venv", "cmake", "nodejs"} == set()


def test_nothing_missing_calls_no_apt(machine):
    for name in ("cc", "g++", "make", "cmake", "ninja", "pkg-config", "python3", "npm", "curl"):
        machine.put(name, "exit 0")
    machine.put("dpkg-query", 'shift 2; for p; do echo "$p installed"; done')
    result = machine.run("build")
    assert (result.returncode, result.stdout, result.stderr, machine.calls()) == (0, "", "", [])


def test_removed_package_counts_as_missing(machine):
    machine.put("dpkg-query", 'shift 2; for p; do [ $p = uthash-dev ] && echo "$p config-files" || echo "$p installed"; done')
    assert machine.run("build").returncode == 0
    assert "uthash-dev" in machine.calls()[1].split() and "libevent-dev" not in machine.calls()[1].split()


def test_neither_root_nor_sudo(machine):
    machine.put("id", "echo 1000")
    result = machine.run("build")
    assert result.returncode == 1 and machine.calls() == []
    assert "neither root nor sudo" in result.stderr and "apt-get install" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_sudo_is_used_by_a_user(machine):
    machine.put("id", "echo 1000")
    machine.put("sudo", f'echo sudo >>{machine.log}; exec "$@"')
    assert machine.run("build").returncode == 0
    assert machine.calls()[0] == "sudo" and machine.calls()[2] == "sudo" and len(machine.calls()) == 4


def test_failing_install_is_an_error(machine):
    machine.put("apt-get", 'case "$*" in *install*) echo "E: Unable to locate package" >&2; exit 100;; esac')
    result = machine.run("build")
    assert result.returncode == 1 and "Unable to locate" in result.stderr and "failed" in result.stderr.splitlines()[-1]


def test_skip_packages(machine):
    result = machine.run("build", SKIP_PACKAGES="1")
    assert (result.returncode, result.stdout, machine.calls()) == (0, "", [])


# ---- scripts/test-all ----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def suites_script():
    loader = importlib.machinery.SourceFileLoader("test_all_script", str(ROOT / "scripts" / "test-all"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def put_report(tmp_path, text):
    path = tmp_path / "report.xml"
    path.write_text(text)
    return str(path)


def test_pytest_report_is_counted(suites_script, tmp_path):
    path = put_report(tmp_path, """<testsuites><testsuite><testcase name="a"/><testcase name="b"><failure/></testcase>
        <testcase name="c"><error/></testcase><testcase name="d"><skipped/></testcase></testsuite></testsuites>""")
    counts = suites_script.read_pytest(path, 1)
    assert (counts.passed, counts.failed, counts.skipped) == (1, 2, 1)


@pytest.mark.parametrize("text, told", [
    ("==27994==Unable to get registers from thread 27989.\n", True),
    ("==12==Running thread 9 was not suspended. False leaks are possible.\n==12==Unable to get registers from thread 9.\n\n", True),
    ("==12==Unable to get registers from thread 9.\n\n=====\n==9==ERROR: LeakSanitizer: detected memory leaks\n", False),
    ("==9==ERROR: AddressSanitizer: heap-use-after-free on address 0x1\n", False),
    ("src/a.c:1:2: runtime error: signed integer overflow\n", False),
    ("", False),
])
def test_a_process_killed_under_its_leak_check_is_no_finding(suites_script, text, told):
    assert suites_script.was_killed_while_checked(text) is told


def test_sanitizer_reports_fail_the_suite(suites_script, tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    runner = suites_script.Runner()
    monkeypatch.setattr(runner, "need_build", lambda *_: "directory")

    def run_tests(_directory, env):
        logs = env["UBSAN_OPTIONS"].split("log_path=")[1].split(":")[0]
        for pid, text in ((7, "==8==Unable to get registers from thread 7.\n"), (9, "a.c:1:2: runtime error: x\n")):
            with open(f"{logs}.{pid}", "w", encoding="utf-8") as f:
                f.write(text)
        return suites_script.Counts(passed=1)

    counts = suites_script.sanitized(runner, "asan", run_tests)
    assert counts.failed == 1 and counts.problems[0].endswith("report.9")


def test_ctest_report_is_counted(suites_script, tmp_path):
    path = put_report(tmp_path, """<testsuite><testcase name="a" status="run"/><testcase name="b" status="fail"><failure/></testcase>
        <testcase name="c" status="notrun"><skipped message="Unable to find executable"/></testcase>
        <testcase name="d" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase></testsuite>""")
    counts = suites_script.read_ctest(path, 8)
    assert (counts.passed, counts.failed, counts.skipped) == (1, 2, 1)


@pytest.mark.parametrize("reader", ["read_ctest", "read_pytest"])
@pytest.mark.parametrize("text, rc", [
    (None, -11), ("<testsuite><testca", -9), ("<testsuite/>", 0), ('<testsuite><testcase name="a" status="run"/></testsuite>', 3),
], ids=["no report", "half a report", "nothing ran", "crashed after the report"])
def test_a_suite_that_did_not_end_well_is_a_failure(suites_script, tmp_path, reader, text, rc):
    path = put_report(tmp_path, text) if text else str(tmp_path / "none.xml")
    assert getattr(suites_script, reader)(path, rc).failed == 1


@pytest.mark.parametrize("failed, code", [(0, 0), (2, 1)])
def test_last_line_is_the_sum(suites_script, tmp_path, monkeypatch, capsys, failed, code):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["test-all"])
    suites = {"one": ("first", lambda _: suites_script.Counts(passed=3)),
              "two": ("second", lambda _: suites_script.Counts(passed=4, failed=failed, skipped=1))}
    monkeypatch.setattr(suites_script, "SUITES", suites)
    assert suites_script.main() == code
    assert capsys.readouterr().out.splitlines()[-1] == f"7 passed, {failed} failed"


def test_a_set_up_that_fails_is_a_failure(suites_script, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["test-all"])
    monkeypatch.setattr(suites_script, "SUITES", {"one": ("first", lambda runner: runner.once("set-up", ["false"]))})
    assert suites_script.main() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed"


# ---- make ----------------------------------------------------------------------------------------------------------------

def test_make_build_with_a_bad_duckdb_root_stops_before_building(tmp_path):
    result = subprocess.run(["make", "-C", ROOT, "build", f"DUCKDB_ROOT={tmp_path}/none", f"BUILD_DIR={tmp_path}/b"],
                            env=os.environ | {"SKIP_PACKAGES": "1"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=120)
    assert result.returncode == 2
    assert f"DUCKDB_ROOT={tmp_path}/none" in result.stderr.splitlines()[0] and not (tmp_path / "b").exists()


def test_install_is_complete_and_finds_its_own_engine(tmp_path):
    subprocess.run(["cmake", "--install", BUILD, "--prefix", "/usr"], env=os.environ | {"DESTDIR": str(tmp_path)}, check=True,
                   stdout=subprocess.DEVNULL, timeout=120)
    usr = tmp_path / "usr"
    for name in ("bin/bulkhead", "bin/bulkhead-worker"):
        assert os.access(usr / name, os.X_OK)
    assert (usr / "lib/bulkhead/libduckdb.so").is_file() and (usr / "share/doc/bulkhead/LICENSE").is_file()
    linked = subprocess.run(["ldd", usr / "bin/bulkhead-worker"], check=True, capture_output=True, text=True).stdout
    (engine,) = [line for line in linked.splitlines() if "libduckdb.so" in line]
    assert os.path.realpath(engine.split("=>")[1].split()[0]) == os.path.realpath(usr / "lib/bulkhead/libduckdb.so")
    dynamic = subprocess.run(["readelf", "-d", usr / "bin/bulkhead-worker"], check=True, capture_output=True, text=True).stdout
    assert str(ROOT) not in dynamic
    assert "duckdb" not in subprocess.run(["ldd", usr / "bin/bulkhead"], check=True, capture_output=True, text=True).stdout
    version = subprocess.run([usr / "bin/bulkhead", "--version"], capture_output=True, text=True, timeout=60)
    assert version.returncode == 0 and version.stdout.startswith("bulkhead ")
