"""API keys: making and revoking them, who may do what, limits by key, what others can see."""

import re
import stat
import threading

import pytest

from lib.server import run_cli

KEY = re.compile(r"bh_[0-9A-Za-z]{49}\n\Z")


@pytest.fixture
def keys_file(tmp_path):
    return tmp_path / "keys.ini"


def new_key(keys_file, name, role="reader", *options):
    result = run_cli("key", "new", name, "--role", role, "--keys", keys_file, *options)
    assert result.returncode == 0, result
    assert KEY.match(result.stdout), result
    return result.stdout.strip()


class TestCommand:
    def test_new_prints_the_key_once_and_stores_only_its_hash(self, keys_file):
        key = new_key(keys_file, "alice")
        text = keys_file.read_text()
        assert "[alice]" in text and "role = reader" in text
        assert key not in text and key[8:] not in text
        assert stat.S_IMODE(keys_file.stat().st_mode) == 0o600
        listing = run_cli("key", "list", "--keys", keys_file)
        assert listing.returncode == 0 and key not in listing.stdout and "alice" in listing.stdout and key[:8] in listing.stdout

    def test_limits_are_stored_and_listed(self, keys_file):
        new_key(keys_file, "batch", "analyst", "--concurrency", "2", "--queue", "5", "--share", "5", "--rate", "10", "--burst", "20",
                "--timeout-max", "1m", "--memory", "200MB", "--sources", "lake,crm", "--expires", "2099-01-31")
        line = next(x for x in run_cli("key", "list", "--keys", keys_file).stdout.splitlines() if x.startswith("batch"))
        for part in ("analyst", "2099-01-31T00:00:00Z", "concurrency=2", "queue=5", "share=5", "rate=10", "burst=20", "timeout_max=1m",
                     "memory=200MB", "sources=lake,crm"):
            assert part in line, line

    def test_expiry_may_be_a_time_from_now(self, keys_file):
        new_key(keys_file, "soon", "reader", "--expires", "30d")
        assert re.search(r"expires = 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", keys_file.read_text())

    def test_revoke_takes_away_that_key_and_leaves_the_rest_as_it_was(self, keys_file):
        for name in ("alice", "bob", "carol"):
            new_key(keys_file, name)
        before = keys_file.read_text()
        keys_file.write_text(before.replace("[carol]", "# carol works from home\n[carol]"))
        assert run_cli("key", "revoke", "bob", "--keys", keys_file).returncode == 0
        text = keys_file.read_text()
        assert "bob" not in text and "[alice]" in text and "# carol works from home\n[carol]" in text
        again = run_cli("key", "revoke", "bob", "--keys", keys_file)
        assert again.returncode == 1 and "bob" in again.stderr

    def test_a_name_is_given_once(self, keys_file):
        new_key(keys_file, "alice")
        before = keys_file.read_bytes()
        result = run_cli("key", "new", "alice", "--role", "admin", "--keys", keys_file)
        assert result.returncode == 1 and result.stdout == "" and "alice" in result.stderr
        assert keys_file.read_bytes() == before

    def test_the_file_keeps_its_mode_and_a_link_stays_a_link(self, keys_file, tmp_path):
        new_key(keys_file, "alice")
        keys_file.chmod(0o640)
        link = tmp_path / "link.ini"
        link.symlink_to(keys_file)
        new_key(link, "bob")
        assert link.is_symlink() and stat.S_IMODE(keys_file.stat().st_mode) == 0o640
        assert "[bob]" in keys_file.read_text()

    def test_nothing_is_left_beside_the_file(self, keys_file):
        new_key(keys_file, "alice")
        run_cli("key", "new", "alice", "--role", "reader", "--keys", keys_file)
        run_cli("key", "revoke", "alice", "--keys", keys_file)
        assert [p.name for p in keys_file.parent.iterdir()] == [keys_file.name]

    def test_two_at_once_do_not_lose_each_other_s_key(self, keys_file):
        threads = [threading.Thread(target=new_key, args=(keys_file, f"k{i}")) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(re.findall(r"\[(k\d)\]", keys_file.read_text())) == [f"k{i}" for i in range(8)]

    @pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
    def test_a_file_that_others_may_use_is_refused(self, keys_file, mode):
        new_key(keys_file, "alice")
        keys_file.chmod(mode)
        result = run_cli("key", "list", "--keys", keys_file)
        assert result.returncode == 2 and f"{mode:04o}" in result.stderr and "chmod" in result.stderr

    def test_a_damaged_file_is_left_alone_and_the_line_named(self, keys_file):
        new_key(keys_file, "alice")
        keys_file.write_text(keys_file.read_text()[:-5])
        before = keys_file.read_bytes()
        result = run_cli("key", "new", "bob", "--role", "reader", "--keys", keys_file)
        assert result.returncode == 2 and re.search(r"keys\.ini:\d+: .*half-written", result.stderr)
        assert keys_file.read_bytes() == before

    @pytest.mark.parametrize("argv", [
        ["key"], ["key", "make"], ["key", "new"], ["key", "new", "a"], ["key", "new", "a", "--role"], ["key", "new", "a", "--role", "boss"],
        ["key", "new", "a b", "--role", "reader"], ["key", "new", "../a", "--role", "reader"], ["key", "new", "a", "b", "--role", "reader"],
        ["key", "new", "a", "--role", "reader", "--colour", "red"], ["key", "new", "a", "--role", "reader", "--rate", "many"],
        ["key", "new", "a", "--role", "reader", "--rate", "1", "--rate", "2"], ["key", "list", "a"], ["key", "revoke"],
    ])
    def test_wrong_usage_is_exit_2_and_makes_no_file(self, keys_file, argv):
        result = run_cli(*argv, *(["--keys", keys_file] if len(argv) > 1 and argv[-1] != "--role" else []))
        assert result.returncode == 2 and result.stdout == "" and result.stderr.startswith("bulkhead key: ")
        assert not keys_file.exists()

    def test_control_characters_of_arguments_do_not_reach_the_terminal(self, keys_file):
        result = run_cli("key", "new", "a\x1b[31m", "--role", "reader", "--keys", keys_file)
        assert result.returncode == 2 and "\x1b" not in result.stderr

    def test_the_file_may_come_from_the_configuration(self, keys_file, tmp_path):
        config = tmp_path / "b.ini"
        config.write_text(f"[server]\nkeys_file = {keys_file}\n")
        assert run_cli("key", "new", "alice", "--role", "reader", "--config", config).returncode == 0
        listing = run_cli("key", "list", env={"BULKHEAD_SERVER_KEYS_FILE": str(keys_file)})
        assert listing.returncode == 0 and "alice" in listing.stdout

    def test_help_names_every_option(self):
        result = run_cli("key", "--help")
        assert result.returncode == 0
        for option in ("--role", "--keys", "--concurrency", "--queue", "--share", "--rate", "--burst", "--timeout-max", "--memory",
                       "--sources", "--expires"):
            assert option in result.stdout
