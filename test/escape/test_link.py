"""Code in a worker writes to what it shares with the front: the link and the ring. Each offence ends that worker, and nothing else."""

import random
import re
import struct

import pytest

from lib.client import Cut
from lib.server import ROOT
from lib.wait import wait_until

NAMES = ["NONE"] + re.findall(r"^LINK_MESSAGE\((\w+),", (ROOT / "src" / "link" / "messages.def").read_text(), re.MULTILINE)
TYPE = {name: number for number, name in enumerate(NAMES)}
ERRORS = re.findall(r"^ERROR\((\w+)", (ROOT / "src" / "core" / "errors.def").read_text(), re.MULTILINE)
LONG = "SELECT sum(levenshtein(repeat('a', 20000), repeat('b', 20000 + i % 2))) FROM range(100000) t(i)"
MIDDLE = "SELECT levenshtein(repeat('a', 20000), repeat('b', 20000))"
ONE_MODE = True  # link and ring are the same whoever the worker is
SHORT = "SELECT 5 AS a"
WIDE = "SELECT repeat('x', 1000) AS a FROM range(20000)"


def assert_given_up(attacked, *steps, then=LONG):
    """The worker is replaced for the sake of its link, and its client gets an answer that says so (or one that is cut, if its head had left)."""
    before = attacked.metric("bulkhead_worker_deaths_total", reason="link")
    try:
        attacked.try_steps(*steps, then=then, timeout="60s").problem(502, "worker_crashed")
    except Cut:
        pass
    attacked.wait_metric("bulkhead_worker_deaths_total", before + 1, reason="link")


def outcome(connection):
    """The answer's status, or "cut": its head had left when the worker was given up."""
    try:
        return connection.read_response().status
    except Cut:
        return "cut"


def message(*numbers, length=None):
    raw = struct.pack(f"={len(numbers)}I", *numbers)
    return "link " + (raw if length is None else raw.ljust(length, b"\0")[:length]).hex()


class TestMessages:
    @pytest.mark.parametrize("name", ["RUN", "SPACE", "SPOOL", "GRANT"])
    def test_those_of_the_front(self, attacked, name):
        for length in (8, 16, 24, 116, 120, 128):
            assert_given_up(attacked, message(TYPE[name], 1, length=length))

    def test_those_that_are_none(self, attacked):
        for kind in (0, len(NAMES), 99, 0xffffffff, 0x01000000):
            assert_given_up(attacked, message(kind, 1))

    def test_those_of_another_length(self, attacked):
        for length in (1, 3, 4, 7, 9, 12, 400, 2000):
            assert_given_up(attacked, message(TYPE["DATA"], 1, length=length))

    def test_one_without_bytes(self, attacked):
        """Looks like the link's end."""
        assert_given_up(attacked, "link")

    def test_those_of_another_job(self, attacked):
        for name, length in (("DATA", 8), ("SPOOLED", 16), ("WANT", 8), ("END", 40)):
            for job in (0, 1, 0xffffffff, 0x7fffffff):
                assert_given_up(attacked, message(TYPE[name], job, length=length))

    def test_a_spool_that_nobody_offered(self, attacked):
        me = attacked.results("ring waiting 0")  # a worker that answers
        assert me == [0]
        for name, length in (("SPOOLED", 16), ("WANT", 8)):
            assert_given_up(attacked, message(TYPE[name], 1, length=length))

    @pytest.mark.parametrize("produced", ["0", "+1048577", "+2000000", "0xffffffffffffffff", "0x8000000000000000"])
    def test_an_end_behind_what_can_be(self, attacked, produced):
        if produced == "0":
            attacked.client.rows("SELECT 1")  # so that it is less than before
            assert_given_up(attacked, "body 100", "data", "ring produced 0", "data")
        else:
            assert_given_up(attacked, f"end {produced}")

    def test_a_second_end(self, attacked):
        """The first one is its client's; the second comes while nothing runs."""
        attacked.try_steps("body 10", "end +0", "end +0", "end +0", "data", then=LONG)
        attacked.settle()

    def test_messages_while_nothing_runs(self, attacked):
        before = attacked.metric("bulkhead_worker_deaths_total", reason="link")
        assert attacked.try_steps("again 20", "data").status == 200
        attacked.wait_metric("bulkhead_worker_deaths_total", before + 1, reason="link")

    def test_a_failure_with_any_code_and_any_text(self, attacked):
        outcomes = set()
        for code in [*range(len(ERRORS) + 2), 99, -1, 0x7fffffff]:
            for fill in (0, 255):
                response = attacked.try_steps(f"fail {code} {fill}", then=SHORT, timeout="60s")
                outcomes.add(response.json()["code"])
                assert response.status in (400, 403, 413, 500, 502, 507), (code, fill, response)
        assert {"worker_crashed", "sql_error"} <= outcomes
        # What only the front can know is not believed, and texts that never end are not read.
        for code, name in enumerate(ERRORS):
            if name in ("UNAUTHORIZED", "OVERLOADED", "RATE_LIMITED", "TIMEOUT", "WORKER_CRASHED", "UNAVAILABLE", "NOT_FOUND"):
                assert_given_up(attacked, f"fail {code} 0", then=SHORT)

    def test_garbage(self, attacked):
        dice = random.Random(5)
        for _ in range(40):
            raw = dice.randbytes(dice.choice([1, 4, 8, 16, 24, 40, 64, 120, 1000, 4000]))
            if dice.random() < 0.5:
                raw = struct.pack("=I", dice.randrange(len(NAMES) + 1)) + raw[4:]
            response = attacked.try_steps("link " + raw.hex(), then=LONG, timeout="60s")
            assert response.status in (200, 400, 403, 413, 500, 502, 507), (raw.hex(), response)


class TestFloods:
    def test_of_doorbells(self, attacked):
        """As fast as it can: everybody else is answered meanwhile, and it ends at its time."""
        with attacked.client.start_query(attacked.text("again", "data", then=LONG), timeout="1500ms") as flood:
            for _ in range(20):
                assert attacked.client.get("/healthz").status == 200
                assert attacked.client.rows("SELECT 7") == [[7]]
            assert outcome(flood) in (502, 504, "cut")

    def test_of_ends_and_nonsense(self, attacked):
        for steps in (["end +0"], ["link 00"], ["link"], ["fail 5 65"], ["body 1", "data", "end +1"]):
            with attacked.client.start_query(attacked.text("again", *steps, then=MIDDLE), timeout="1500ms") as flood:
                for _ in range(5):
                    assert attacked.client.rows("SELECT 7") == [[7]]
                outcome(flood)
            attacked.settle()

    def test_of_words_for_the_log(self, attacked):
        """What it writes to its output becomes lines of the supervisor's log: few, and the supervisor goes on killing at the deadline."""
        before = len(attacked.lines)
        words = "hex:" + b"spam \x1b[31m\n".hex() * 20
        with attacked.client.start_query(attacked.text("again", f"sys write 2 {words} 200", then=LONG), timeout="1500ms") as flood:
            for _ in range(20):
                assert attacked.client.rows("SELECT 7") == [[7]]
            assert flood.read_response().status == 504
        attacked.settle()
        spam = [line for line in attacked.lines[before:] if "spam" in line]
        assert 1 <= len(spam) <= 200, len(spam)
        assert not [line for line in spam if "\x1b" in line]


class TestLastWord:
    """By a pipe of its own it says to the supervisor that it is about to die."""

    def test_who_says_so_and_lives_on_is_killed(self, attacked):
        before = attacked.metric("bulkhead_worker_deaths_total", reason="crash")
        r = attacked.try_steps("sys write 5 hex:44 1", then=LONG, timeout="60s")
        assert r.problem(502, "worker_crashed")["signal"] == "SIGKILL"
        attacked.wait_metric("bulkhead_worker_deaths_total", before + 1, reason="crash")
        attacked.settle()

    def test_any_other_word_is_none(self, attacked):
        for word in ("52", "46", "57", "4444", "00" * 900):
            r = attacked.try_steps(f"sys write 5 hex:{word} {len(word) // 2}", then=SHORT)
            assert r.data == [[5]], word


class TestRing:
    @pytest.mark.parametrize("field", ["produced", "consumed", "waiting", "taken", "early"])
    def test_any_counter_at_any_value(self, attacked, field):
        values = ("0", "1", "+1", "+1048576", "+1048577", "0xffffffffffffffff", "0x8000000000000000", "random")
        for value, then in ((value, then) for value in values for then in (SHORT, WIDE)):
            with attacked.client.start_query(attacked.text("body 500", "data", f"ring {field} {value}", "data", then=then), timeout="3s") as c:
                assert outcome(c) in (200, 502, 504, "cut"), value

    def test_counters_that_change_all_the_time(self, attacked):
        for steps in (["ring produced random", "data"], ["ring consumed random"], ["ring waiting random", "ring consumed 0"], ["ring taken random", "data"], ["ring early random"],
                      ["ring produced +1", "data", "ring waiting 1", "ring produced +4096", "data"]):
            with attacked.client.start_query(attacked.text("again", *steps, then=WIDE), timeout="1500ms", format="csv") as c:
                for _ in range(10):
                    assert attacked.client.rows("SELECT 7") == [[7]]
                outcome(c)
            attacked.settle()

    def test_a_body_of_its_own_is_a_body_at_most(self, attacked):
        """It may write any bytes as the body of its client's answer; never the head, and never another's."""
        before = attacked.metric("bulkhead_worker_deaths_total", reason="link")
        two_seconds = "hex:" + struct.pack("=qq", 2, 0).hex()  # before it says more: what is in the ring is its own to change until the front has sent it
        response = attacked.try_steps("body 10", "end +0", f"sys nanosleep {two_seconds} 0", then=SHORT)
        assert response.status == 200 and response.body == b"x" * 10
        attacked.wait_metric("bulkhead_worker_deaths_total", before + 1, reason="link")  # what it then says of a job that has ended

    def test_a_job_that_was_never_taken_is_tried_twice_at_most(self, attacked):
        deaths = attacked.metric("bulkhead_worker_deaths_total", reason="crash")
        attacked.try_steps("ring taken 0", "null").problem(502, "worker_crashed")
        wait_until(lambda: attacked.metric("bulkhead_worker_deaths_total", reason="crash") >= deaths + 1, "no death")
        assert attacked.metric("bulkhead_worker_deaths_total", reason="crash") <= deaths + 2

    def test_the_request_is_read_only_and_the_region_keeps_its_size(self, attacked):
        """The region's descriptor is gone once it is mapped, and its seals are set."""
        got = attacked.results(*(f"sys ftruncate {fd} 0" for fd in range(3, 12)))
        assert max(got) < 0
