"""`make deb`: a package that is whole, and whose programs run from where they are unpacked."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BULKHEAD_BUILD", "build"))
BUILD = BUILD if BUILD.is_absolute() else ROOT / BUILD

needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="there is no dpkg-deb")
pytestmark = needs_dpkg


def out(*command, **how):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=300, **how).stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("deb") / "bulkhead.deb"
    out(ROOT / "scripts/deb", path, env=os.environ | {"BUILD_DIR": str(BUILD)})
    return path


@pytest.fixture(scope="module")
def root(package):
    where = package.parent / "root"
    out("dpkg-deb", "-x", package, where)
    return where


def clean_env():
    return {k: v for k, v in os.environ.items() if not k.startswith("BULKHEAD_")}


def test_its_programs_run_from_an_unpacked_root(root):
    version = out(root / "usr/bin/bulkhead", "--version", env=clean_env())
    assert re.fullmatch(r"bulkhead \d+\.\d+\.\d+\n", version)
    rows = out(root / "usr/bin/bulkhead", "query", ":memory:", "SELECT 6 * 7 AS x", "--format", "csv", env=clean_env())
    assert rows.split() == ["x", "42"]
    linked = out("ldd", root / "usr/bin/bulkhead-worker")
    assert str(root / "usr/lib/bulkhead/libduckdb.so") in os.path.realpath(re.search(r"libduckdb.so => (\S+)", linked)[1]) or "lib/bulkhead/libduckdb.so" in linked
    assert str(ROOT) not in out("readelf", "-d", root / "usr/bin/bulkhead-worker")


def test_the_default_configuration_serves(root):
    p = subprocess.Popen([root / "usr/bin/bulkhead", "serve", "--config", root / "etc/bulkhead/bulkhead.ini", "--listen", "127.0.0.1:0"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean_env())
    try:
        assert p.stdout.readline().startswith("bulkhead ready http=127.0.0.1:")
    finally:
        p.send_signal(signal.SIGTERM)
        assert p.wait(60) == 0
        p.stdout.close()


def test_what_it_says_of_itself(package):
    fields = dict(line.split(": ", 1) for line in out("dpkg-deb", "--field", package).splitlines() if not line.startswith(" "))
    assert fields["Package"] == "bulkhead" and fields["Version"] == out(BUILD / "bulkhead", "--version").split()[1]
    assert fields["Architecture"] == out("dpkg", "--print-architecture").strip()
    for library in ("libc6", "libevent-core", "libssl3", "libjansson4", "libinih1", "libseccomp2", "libstdc++6"):
        assert library in fields["Depends"], fields["Depends"]


def test_what_is_in_it(package, root):
    for name in ("usr/bin/bulkhead-worker", "lib/systemd/system/bulkhead.service", "usr/lib/sysusers.d/bulkhead.conf", "usr/share/doc/bulkhead/copyright",
                 "usr/share/doc/bulkhead/changelog.gz", "usr/share/doc/bulkhead/docs/operations.md", "usr/share/bulkhead/prometheus/bulkhead.rules.yml",
                 "usr/share/bulkhead/grafana/bulkhead.json"):
        assert (root / name).is_file(), name
    listing = out("dpkg-deb", "--contents", package)
    assert not [line for line in listing.splitlines() if " root/root " not in line], "files of another owner"
    assert not [line for line in listing.splitlines() if re.match(r"-.w..w|-......w.|.{3}s|.{6}s", line)], "files that others may write, or setuid"
    control = package.parent / "control"
    out("dpkg-deb", "-e", package, control)
    assert (control / "conffiles").read_text() == "/etc/bulkhead/bulkhead.ini\n"
    for line in (control / "md5sums").read_text().splitlines():
        assert (root / line.split("  ", 1)[1]).is_file(), line
    for script in ("postinst", "prerm", "postrm"):
        out("sh", "-n", control / script)
        assert os.access(control / script, os.X_OK)


def test_the_unit_is_sound_and_tight(root, tmp_path):
    text = (root / "lib/systemd/system/bulkhead.service").read_text()
    for line in ("User=bulkhead", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "KillMode=mixed", "Restart=always",
                 "ExecReload=/bin/kill -HUP $MAINPID"):
        assert f"\n{line}\n" in text
    grace = re.search(r"^KEY\(server, shutdown_grace, .*?\"(\d+)s\"", (ROOT / "src/core/config.def").read_text(), re.M)[1]
    assert int(re.search(r"TimeoutStopSec=(\d+)", text)[1]) > int(grace)
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze here")
    unit = tmp_path / "bulkhead.service"
    unit.write_text(text.replace("/usr/bin/bulkhead", str(root / "usr/bin/bulkhead")))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=120)
    words = [line for line in done.stderr.splitlines() if "bulkhead.service" in line]
    assert not words, words
