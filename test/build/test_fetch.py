"""scripts/fetch-deps: what is pinned arrives whole and unchanged, or one clear line says why not."""
import hashlib
import os
import re
import signal
import subprocess
import tarfile
import time

import pytest

from fetchlib import BUILD, ROOT, lock_rows


def one_line(result):
    """The single line on stderr of a run that failed."""
    assert result.returncode == 1, (result.returncode, result.stdout, result.stderr)
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("fetch-deps: ")
    return lines[0]


def nothing_unpacked(fetch, part):
    return not (fetch.deps / part).exists() and fetch.leftovers() == []


def wait_for(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.002)
    return value


# ---- deps.lock -----------------------------------------------------------------------------------------------------------

def test_lock_holds_full_checksums_and_no_addresses():
    text = (ROOT / "deps.lock").read_text()
    assert "://" not in text
    rows = lock_rows()
    assert {row["part"] for row in rows} >= {"duckdb", "llhttp", "tpch", "vega"}
    for row in rows:
        assert re.fullmatch(r"[0-9a-f]{64}", row["sha256"]) and int(row["bytes"]) > 0 and row["licence"], row


def test_lock_pins_both_architectures():
    text = (ROOT / "deps.lock").read_text()
    for arch in ("x64", "arm64"):
        assert len(re.findall(rf"^(?:duckdb|tpch)\b.*\| {arch} +\|", text, re.M)) == 2


# ---- the good way --------------------------------------------------------------------------------------------------------

def test_downloads_with_the_clients_checks_and_unpacks(fetch):
    result = fetch.run("--only", "llhttp", STANDIN_MODE="good")
    assert result.returncode == 0, result.stderr
    assert [p.name for p in sorted((fetch.deps / "llhttp" / "src").iterdir())] == ["api.c", "http.c", "llhttp.c"]
    assert "LLHTTP_VERSION_MAJOR 9" in (fetch.deps / "llhttp" / "include" / "llhttp.h").read_text()
    assert len(fetch.client_calls()) == 1 and "httptools==0.9.0" in fetch.client_calls()[0]
    assert fetch.leftovers() == []


def test_unpacked_files_are_those_of_the_archive(fetch):
    archives = fetch.cached("duckdb")
    assert fetch.run("--only", "duckdb").returncode == 0
    for archive, name, place in ((archives[0], "package/libduckdb.so", "lib/libduckdb.so"),
                                 (archives[1], "package/src/duckdb/src/include/duckdb.h", "include/duckdb.h")):
        with tarfile.open(archive) as tar:
            expected = hashlib.sha256(tar.extractfile(name).read()).hexdigest()
        assert hashlib.sha256((fetch.deps / "duckdb" / place).read_bytes()).hexdigest() == expected


def test_second_run_asks_no_client_and_touches_nothing(fetch):
    fetch.cached("llhttp", "vega")
    assert fetch.run("--only", "llhttp", "--only=vega").returncode == 0
    before = {p: p.stat().st_mtime_ns for p in fetch.deps.rglob("*")}
    for path in fetch.cache.iterdir():
        path.unlink()  # not even the archives are needed again
    result = fetch.run("--only", "llhttp", "--only", "vega")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert fetch.client_calls() == []
    assert {p: p.stat().st_mtime_ns for p in fetch.deps.rglob("*") if p.is_file()} == \
        {p: t for p, t in before.items() if p.is_file() and fetch.cache not in p.parents}


def test_list_says_what_is_here(fetch):
    fetch.cached("llhttp")
    assert re.search(r"^llhttp .*archive is here", fetch.run("--list").stdout, re.M)
    assert fetch.run("--only", "llhttp").returncode == 0
    output = fetch.run("--list").stdout
    assert re.search(r"^llhttp .*ready$", output, re.M)
    assert re.search(r"^vega .*to be fetched$", output, re.M)
    assert re.search(r"^duckdb .*for another machine$", output, re.M)


def test_unpacked_file_of_another_size_is_replaced(fetch):
    fetch.cached("llhttp")
    assert fetch.run("--only", "llhttp").returncode == 0
    victim = fetch.deps / "llhttp" / "src" / "api.c"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:100])
    assert fetch.run("--only", "llhttp").returncode == 0
    assert victim.read_bytes() == whole


def test_directory_without_stamp_is_replaced(fetch):
    fetch.cached("llhttp")
    (fetch.deps / "llhttp" / "src").mkdir(parents=True)
    (fetch.deps / "llhttp" / "src" / "stray.c").write_text("int stray;")
    assert fetch.run("--only", "llhttp").returncode == 0
    assert not (fetch.deps / "llhttp" / "src" / "stray.c").exists()
    assert (fetch.deps / "llhttp" / "src" / "api.c").exists()


@pytest.mark.parametrize("arguments", [["--only", "nonsense"], ["--only"], ["--bogus"]])
def test_wrong_usage_is_2(fetch, arguments):
    result = fetch.run(*arguments)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1


# ---- broken and tampered -------------------------------------------------------------------------------------------------

def test_tampered_cached_archive_stops(fetch):
    (archive,) = fetch.cached("llhttp")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0xFF
    archive.write_bytes(data)
    line = one_line(fetch.run("--only", "llhttp"))
    (row,) = [row for row in lock_rows() if row["part"] == "llhttp"]
    assert "wrong SHA-256" in line and f"expected {row['sha256']}" in line
    assert f"got {hashlib.sha256(data).hexdigest()}" in line and f"delete {archive}" in line
    assert nothing_unpacked(fetch, "llhttp") and fetch.client_calls() == []


def test_truncated_cached_archive_stops(fetch):
    (archive,) = fetch.cached("llhttp")
    size = archive.stat().st_size
    os.truncate(archive, size // 2)
    line = one_line(fetch.run("--only", "llhttp"))
    assert f"wrong size, expected {size} bytes, got {size // 2}" in line
    assert nothing_unpacked(fetch, "llhttp")


def test_second_archive_of_a_part_tampered_leaves_the_first_out_too(fetch):
    archives = fetch.cached("duckdb")
    with open(archives[1], "r+b") as f:
        f.seek(1000)
        f.write(b"tampered")
    assert "wrong SHA-256" in one_line(fetch.run("--only", "duckdb"))
    assert nothing_unpacked(fetch, "duckdb")


@pytest.mark.parametrize("part", ["llhttp", "tpch", "vega"])
@pytest.mark.parametrize("mode, words", [("cut", "wrong size"), ("changed", "wrong SHA-256")])
def test_bad_download_is_not_kept(fetch, part, mode, words):
    line = one_line(fetch.run("--only", part, STANDIN_MODE=mode))
    assert words in line and "expected" in line and "got" in line and "nothing was kept" in line
    assert nothing_unpacked(fetch, part) and not list(fetch.cache.glob("*"))
    assert fetch.run("--only", part, STANDIN_MODE="good").returncode == 0


def test_client_that_brings_nothing(fetch):
    line = one_line(fetch.run("--only", "vega", STANDIN_MODE="nothing"))
    assert "vega-datasets-3.2.1.tgz, got nothing" in line
    assert nothing_unpacked(fetch, "vega")


# ---- no client, no network -----------------------------------------------------------------------------------------------

def only_python(fetch, tmp_path):
    """A PATH on which there is python3 and env, and no client."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("env", "python3"):
        target = next(p for d in ("/usr/bin", "/usr/local/bin", *fetch.env["PATH"].split(":"))
                      if os.access(p := os.path.join(d, name), os.X_OK))
        (bare / name).symlink_to(os.path.realpath(target))
    return str(bare)


def test_missing_npm_is_named(fetch, tmp_path):
    line = one_line(fetch.run("--only", "vega", PATH=only_python(fetch, tmp_path)))
    assert "there is no npm on the PATH" in line and "vega-datasets@3.2.1" in line and "install" in line
    assert nothing_unpacked(fetch, "vega")


def test_missing_npm_does_not_matter_with_a_full_cache(fetch, tmp_path):
    fetch.cached("vega")
    assert fetch.run("--only", "vega", PATH=only_python(fetch, tmp_path)).returncode == 0


@pytest.mark.parametrize("part, client, words", [("vega", "npm", "ENOTFOUND"), ("llhttp", "pip3", "No matching distribution")])
def test_no_network(fetch, part, client, words):
    line = one_line(fetch.run("--only", part, STANDIN_MODE="offline"))
    assert f"with {client}" in line and words in line and "check the network" in line
    assert nothing_unpacked(fetch, part)


def test_unwritable_build_directory(fetch):
    fetch.build.write_text("a file where a directory should be")
    line = one_line(fetch.run("--only", "llhttp"))
    assert str(fetch.deps) in line


# ---- interrupted ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_while_a_client_downloads(fetch, number):
    run = fetch.start("--only", "llhttp", STANDIN_MODE="hang")
    hanging = fetch.calls.with_name("calls.hanging")
    client = int(wait_for(lambda: hanging.exists() and hanging.read_text(), "the client hangs"))
    run.send_signal(number)
    output, _ = run.communicate(timeout=60)
    if number == signal.SIGKILL:
        os.kill(client, signal.SIGKILL)  # it lost its parent; a real one would end by itself
    else:
        assert run.returncode == 128 + number and "run this again" in output
        assert fetch.leftovers() == []
        with pytest.raises(ProcessLookupError):
            os.kill(client, 0)
    assert not (fetch.deps / "llhttp").exists() and not list(fetch.cache.glob("*"))
    assert fetch.run("--only", "llhttp", STANDIN_MODE="good").returncode == 0
    assert fetch.leftovers() == [] and (fetch.deps / "llhttp" / "src" / "llhttp.c").exists()


@pytest.mark.parametrize("number, unpacked_bytes", [(signal.SIGKILL, 0), (signal.SIGKILL, 1 << 20), (signal.SIGKILL, 50 << 20),
                                                    (signal.SIGTERM, 1 << 20)])
def test_killed_while_unpacking(fetch, number, unpacked_bytes):
    fetch.cached("duckdb")
    run = fetch.start("--only", "duckdb")

    def far_enough():
        return run.poll() is not None or any(p.stat().st_size >= unpacked_bytes
                                             for p in fetch.deps.glob(".tmp-unpack-*/lib/libduckdb.so"))
    wait_for(far_enough, "libduckdb.so grows")
    assert run.poll() is None, "it was over before it could be killed"
    run.send_signal(number)
    run.communicate(timeout=60)
    assert not (fetch.deps / "duckdb").exists()
    assert number == signal.SIGKILL or fetch.leftovers() == []
    assert fetch.run("--only", "duckdb").returncode == 0
    assert fetch.leftovers() == []
    assert (fetch.deps / "duckdb" / "lib" / "libduckdb.so").stat().st_size > 20 << 20
    assert "duckdb_open_ext" in (fetch.deps / "duckdb" / "include" / "duckdb.h").read_text()


def test_two_runs_at_once_do_not_disturb_each_other(fetch):
    runs = [fetch.start("--only", "llhttp", STANDIN_MODE="good") for _ in range(3)]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outputs
    assert len(fetch.client_calls()) == 1 and fetch.leftovers() == []


# ---- DUCKDB_ROOT ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("present, missing", [([], "include/duckdb.h"), (["include/duckdb.h"], "lib/libduckdb.so"),
                                              (["lib/libduckdb.so"], "include/duckdb.h")])
def test_bad_duckdb_root(fetch, tmp_path, present, missing):
    root = tmp_path / "engine"
    root.mkdir()
    for name in present:
        (root / name).parent.mkdir()
        (root / name).write_text("")
    line = one_line(fetch.run("--only", "duckdb", DUCKDB_ROOT=str(root)))
    assert f"DUCKDB_ROOT={root}" in line and f"there is no {missing}" in line and "unset it" in line


def test_good_duckdb_root_is_taken_instead_of_fetching(fetch, tmp_path):
    for name in ("include/duckdb.h", "lib/libduckdb.so"):
        path = tmp_path / "engine" / name
        path.parent.mkdir(parents=True)
        path.write_text("")
    result = fetch.run("--only", "duckdb", DUCKDB_ROOT=str(tmp_path / "engine"))
    assert (result.returncode, result.stderr) == (0, "")
    assert fetch.client_calls() == [] and not (fetch.deps / "duckdb").exists()


# ---- what the tree itself has --------------------------------------------------------------------------------------------

def test_the_real_parts_are_ready():
    """These tests take the real archives as their material: they must be the pinned ones."""
    result = subprocess.run([ROOT / "scripts" / "fetch-deps"], env=os.environ | {"BUILD_DIR": str(BUILD)}, capture_output=True,
                            text=True, timeout=300)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    for row in lock_rows():
        if row["set"] in ("build", "sample"):
            assert hashlib.sha256((BUILD / "deps" / "archives" / row["file"]).read_bytes()).hexdigest() == row["sha256"]
