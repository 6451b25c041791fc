"""A short cut of the scripted day (bench/day): mixed keys, bursts, runaways, crashes, clients that leave, writes and reloads. Every request is
accounted for and nothing leaks."""

import os

import pytest

from lib.day import live_through, make_day
from lib.server import Server

pytestmark = [pytest.mark.fault, pytest.mark.timeout(1800)]

SECONDS = float(os.environ.get("BULKHEAD_DAY_SECONDS") or (600 if os.environ.get("BULKHEAD_SOAK_MINUTES") else 30))


def test_a_day_of_many_tenants(make_db, tmp_path):
    db = make_db().make("CREATE TABLE items AS SELECT i AS id, (i % 7)::INTEGER AS kind FROM range(10000) r(i);;CREATE TABLE written(n INTEGER)")
    day = make_day(Server, db, tmp_path, SECONDS, 7)
    with day.server:
        figures, done = live_through(day)
        print(figures, dict(done), "kills", day.kills, "requests", len(day.requests), "others", dict(day.others))
        assert set(figures) == {"calm", "burst", "runaways", "crashes", "evening"}
        assert min(done["bulk_a"], done["bulk_b"]) > 0
