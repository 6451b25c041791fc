"""The command line."""

import csv
import io
import json
import re
import subprocess

import pytest

from lib.server import BULKHEAD, clean_environment, run_cli
from lib.sql import CROSS_JOIN, LEVENSHTEIN


class TestQuery:
    def test_json_has_the_shape_of_the_http_answer(self, items):
        result = run_cli("query", items, "SELECT id, name FROM items WHERE id < 2 ORDER BY id", "--format", "json")
        assert result.returncode == 0, result
        body = json.loads(result.stdout)
        assert body["columns"] == [{"name": "id", "type": "BIGINT"}, {"name": "name", "type": "VARCHAR"}]
        assert body["data"] == [[0, "item 0"], [1, "item 1"]]
        assert result.stderr == ""

    def test_csv_has_a_header_and_quotes_what_needs_it(self, items):
        result = run_cli("query", items, "SELECT 1 AS a, 'x,\"y\"' AS \"b c\", NULL AS n, 'line\nbreak' AS l", "--format", "csv")
        assert result.returncode == 0, result
        rows = list(csv.reader(io.StringIO(result.stdout)))
        assert rows[0] == ["a", "b c", "n", "l"]
        assert rows[1] == ["1", 'x,"y"', "", "line\nbreak"]

    def test_table_shows_names_and_values(self, items):
        result = run_cli("query", items, "SELECT id, name, sold FROM items WHERE id IN (1, 2) ORDER BY id", "--format", "table")
        assert result.returncode == 0, result
        for word in ("id", "name", "sold", "item 1", "item 2", "2024-01-02"):
            assert word in result.stdout

    def test_table_escapes_control_characters(self, items):
        result = run_cli("query", items, "SELECT chr(27) || '[31mred' || chr(7) AS v", "--format", "table")
        assert result.returncode == 0
        assert "\x1b" not in result.stdout and "\x07" not in result.stdout and "red" in result.stdout

    def test_table_on_a_terminal(self, items):
        """The default on a terminal is the table."""
        import os
        import pty
        import subprocess
        from lib.server import BULKHEAD, clean_environment
        master, slave = pty.openpty()
        p = subprocess.Popen([str(BULKHEAD), "query", str(items), "SELECT 42 AS answer"], stdin=slave, stdout=slave, stderr=subprocess.PIPE,
                             env=clean_environment())
        os.close(slave)
        shown = b""
        try:
            while data := os.read(master, 4096):
                shown += data
        except OSError:
            pass
        os.close(master)
        assert p.wait(60) == 0, p.stderr.read()
        p.stderr.close()
        assert b"answer" in shown and b"42" in shown and b'"data"' not in shown

    def test_a_query_error_is_one_line_on_stderr_and_exit_1(self, items):
        result = run_cli("query", items, "SELECT nope FROM items", "--format", "json")
        assert result.returncode == 1 and result.stdout == ""
        assert "nope" in result.stderr and "Traceback" not in result.stderr

    def test_the_time_limit_ends_even_a_runaway(self, items):
        for sql in (CROSS_JOIN, LEVENSHTEIN):
            result = run_cli("query", items, sql, "--timeout", "400ms", "--format", "json")
            assert result.returncode == 1 and result.stdout == ""
            assert re.search("time", result.stderr), result.stderr

    @pytest.mark.parametrize("sql", ["DROP TABLE items", "SELECT 1; SELECT 2", "COPY items TO '/tmp/never.csv'"])
    def test_the_same_boundary_as_the_server(self, items, sql):
        result = run_cli("query", items, sql, "--format", "json")
        assert result.returncode == 1 and result.stdout == "" and result.stderr

    def test_a_large_result_is_whole(self, items):
        result = run_cli("query", items, "SELECT i, md5(i::VARCHAR) FROM range(300000) t(i)", "--format", "csv")
        assert result.returncode == 0
        lines = result.stdout.splitlines()
        assert len(lines) == 300_001 and lines[-1].startswith("299999,")

    def test_a_file_that_is_no_database_is_exit_1(self, tmp_path):
        for name, content in (("missing.duckdb", None), ("text.duckdb", b"hello\n" * 1000)):
            path = tmp_path / name
            if content:
                path.write_bytes(content)
            result = run_cli("query", path, "SELECT 1", "--format", "json")
            assert result.returncode == 1 and result.stdout == ""
            assert name in result.stderr, result.stderr

    def test_output_goes_to_a_file_when_asked(self, items, tmp_path):
        out = tmp_path / "out.json"
        result = run_cli("query", items, "SELECT 1 AS a", "--format", "json", "-o", out)
        assert result.returncode == 0 and result.stdout == ""
        assert json.loads(out.read_text())["data"] == [[1]]

    def test_a_reader_that_leaves_ends_it(self, items):
        import subprocess
        from lib.server import BULKHEAD, clean_environment
        p = subprocess.Popen([str(BULKHEAD), "query", str(items), "SELECT i, md5(i::VARCHAR) FROM range(1000000000) t(i)", "--format", "csv"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment())
        assert p.stdout.readline()
        p.stdout.close()
        p.wait(60)
        p.stderr.close()

    @pytest.mark.parametrize("argv", [("query",), ("query", "x.duckdb"), ("query", "{db}", "SELECT 1", "--format", "xml"),
                                      ("query", "{db}", "SELECT 1", "--timeout", "soon"), ("query", "{db}", "SELECT 1", "--no-such-option"),
                                      ("query", "{db}", "SELECT 1", "extra")])
    def test_wrong_usage_is_exit_2(self, items, argv):
        result = run_cli(*[a.format(db=items) for a in argv])
        assert result.returncode == 2 and result.stdout == "" and result.stderr, result


class TestFullOutput:
    @pytest.mark.parametrize("argv", [("config",), ("--help",), ("--version",), ("query", "--help"), ("key", "list"), ("key", "new", "b", "--role", "reader"),
                                      ("query", "{db}", "SELECT 1"), ("query", "{db}", "FROM range(300000)")])
    def test_what_does_not_arrive_is_an_error_of_one_line(self, items, tmp_path, argv):
        keys = tmp_path / "keys.ini"
        assert run_cli("key", "new", "a", "--role", "reader", "--keys", keys).returncode == 0
        argv = [x.format(db=items) for x in argv] + (["--keys", str(keys)] if argv[0] == "key" else [])
        with open("/dev/full", "w") as full:
            done = subprocess.run([str(BULKHEAD), *argv], stdout=full, stderr=subprocess.PIPE, env=clean_environment(), timeout=60, text=True)
        lines = done.stderr.splitlines()
        assert done.returncode == 1 and len(lines) == 1 and lines[0].startswith("bulkhead"), done


class TestUsage:
    def test_version(self):
        result = run_cli("--version")
        assert result.returncode == 0 and re.fullmatch(r"bulkhead \d+\.\d+\.\d+\S*\n", result.stdout), result

    @pytest.mark.parametrize("argv", [("serve",), ("query",), ("import",), ("recover",), ("rollback",), ("doctor",), ("key",), ("key", "new"), ("top",),
                                      ("config",), ("serve", "x.duckdb")])
    def test_every_command_tells_the_version(self, argv):
        result = run_cli(*argv, "--version")
        assert result.returncode == 0 and re.fullmatch(r"bulkhead \d+\.\d+\.\d+\S*\n", result.stdout) and result.stderr == "", result

    @pytest.mark.parametrize("argv", [("--help",), ("-h",), ("serve", "--help"), ("query", "--help"), ("config", "--help"), ("serve", "-h")])
    def test_help(self, argv):
        result = run_cli(*argv)
        assert result.returncode == 0 and "bulkhead" in result.stdout and result.stderr == "", result

    @pytest.mark.parametrize("argv", [(), ("no-such-command",), ("--no-such-option",), ("serve", "--no-such-option"), ("serve", "a", "b"), ("serve", "--listen"),
                                      ("serve", "--set", "nothing"), ("serve", "--set", "limits.timeout"), ("serve", "--config", "/nonexistent/b.ini"),
                                      ("serve", "--listen", "nonsense"), ("serve", "--listen", "127.0.0.1:99999")])
    def test_wrong_usage_is_exit_2_and_one_word_why(self, argv):
        result = run_cli(*argv)
        assert result.returncode == 2 and result.stdout == "" and result.stderr.strip(), result


class TestConfig:
    def test_every_key_is_listed(self):
        result = run_cli("config")
        assert result.returncode == 0, result
        for key in ("listen", "timeout_max", "queue_length", "memory_limit", "shutdown_grace", "inline_bytes", "deny_functions"):
            assert key in result.stdout
        for value in ("127.0.0.1:8480", "250ms", "64KB", "10GB"):
            assert value in result.stdout

    @pytest.mark.parametrize("text, line, near", [
        ("[limits]\ntimeot = 5s\n", 2, "timeout"),
        ("[server]\nlisten = 127.0.0.1:0\n\n[limts]\ntimeout = 5s\n", 4, "limits"),
        ("[pool]\n# workers\nworker = 2\n", 3, "workers"),
        ("[limits]\ntimeout = 5\n", 2, "timeout"),
        ("[limits]\ntimeout = 5 parsecs\n", 2, "timeout"),
        ("[limits]\nmax_sql_bytes = 5s\n", 2, "max_sql_bytes"),
        ("[pool]\nworkers = 0\n", 2, "workers"),
        ("[pool]\nworkers = -3\n", 2, "workers"),
        ("[server]\nkeyless_admin = perhaps\n", 2, "keyless_admin"),
        ("[log]\nformat = xml\n", 2, "json"),
    ])
    def test_a_mistake_is_named_with_its_place_and_the_nearest_key(self, tmp_path, items, text, line, near):
        ini = tmp_path / "b.ini"
        ini.write_text(text)
        result = run_cli("serve", items, "--listen", "127.0.0.1:0", "--config", ini)
        assert result.returncode == 2 and result.stdout == "", result
        assert re.search(rf"{re.escape(str(ini))}:{line}\b", result.stderr), result.stderr
        assert near in result.stderr

    @pytest.mark.parametrize("setting, near", [("limits.timeot=5s", "timeout"), ("limit.timeout=5s", "limits"), ("limits.timeout=abc", "timeout"),
                                               ("limits.queue_length=-1", "queue_length"), ("timeout=5s", "section")])
    def test_set_is_checked_in_the_same_way(self, items, setting, near):
        result = run_cli("serve", items, "--listen", "127.0.0.1:0", "--set", setting)
        assert result.returncode == 2 and "--set" in result.stderr and near in result.stderr, result

    def test_the_environment_is_checked_in_the_same_way(self, items):
        for name, value in (("BULKHEAD_LIMITS_TIMEOT", "5s"), ("BULKHEAD_LIMITS_TIMEOUT", "soon")):
            result = run_cli("serve", items, "--listen", "127.0.0.1:0", env={name: value})
            assert result.returncode == 2 and name in result.stderr, result

    def test_limits_that_contradict_each_other_are_refused(self, items):
        result = run_cli("serve", items, "--listen", "127.0.0.1:0", "--set", "limits.timeout=10m")
        assert result.returncode == 2 and "timeout_max" in result.stderr, result


HOSTILE = "\x1b[31mred\x07\x9b\u202e"


@pytest.mark.parametrize("argv", [
    [HOSTILE],
    *([command, f"--{HOSTILE}"] for command in ("serve", "query", "config", "import", "rollback", "recover", "doctor", "key", "top")),
    *([command, "a.duckdb", HOSTILE] for command in ("serve", "rollback", "recover", "doctor")),
    ["doctor", "--format", HOSTILE], ["query", "a.duckdb", "SELECT 1", HOSTILE], ["query", "a.duckdb", "SELECT 1", "--format", HOSTILE],
    ["query", "a.duckdb", "SELECT 1", "--timeout", HOSTILE], ["serve", "--config", HOSTILE], ["serve", "--set", HOSTILE], ["serve", "--listen", HOSTILE],
    ["key", HOSTILE], ["key", "new", HOSTILE, "--role", "reader", "--keys", "k"], ["key", "new", "x", "--role", HOSTILE, "--keys", "k"], ["top", "--url", HOSTILE],
], ids=str)
def test_no_argument_steers_the_terminal(argv):
    """What was typed or pasted comes back in errors, and a script may have taken it from anywhere."""
    result = run_cli(*argv)
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result
    assert all(c.isprintable() for c in result.stderr.rstrip("\n")), result.stderr
