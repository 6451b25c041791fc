"""Real servers for the whole run, each started when the first test asks for it; what is in them, tests only read."""

import pytest

from lib.mariadb import MariaDB
from lib.pg import Postgres
from lib.s3 import S3

USERS = """
CREATE TABLE public.users(id INTEGER PRIMARY KEY, name TEXT NOT NULL, country CHAR(2));
INSERT INTO public.users SELECT i, 'user ' || i, (ARRAY['DE','FR','IT','PL'])[1 + i % 4] FROM generate_series(1, 2000) i;
"""
EVENTS = """
CREATE DATABASE analytics;
CREATE TABLE analytics.events(event_id BIGINT PRIMARY KEY, user_id INT NOT NULL, amount DECIMAL(10,2));
INSERT INTO analytics.events SELECT seq, 1 + seq % 2500, seq / 100 FROM seq_1_to_20000;
"""


@pytest.fixture(scope="session")
def pg():
    with Postgres() as server:
        server.make_roles().sql(USERS)
        yield server


@pytest.fixture(scope="session")
def my():
    with MariaDB() as server:
        server.make_roles().sql(EVENTS)
        yield server


@pytest.fixture(scope="session")
def s3():
    with S3() as server:
        server.put("lake", "in/countries.csv", b"code,name\nDE,Germany\nFR,France\nIT,Italy\nPL,Poland\n")
        server.put("lake", "secret/salaries.csv", b"who,amount\nboss,1000000\n")
        server.put("other", "in/foreign.csv", b"a\n1\n")
        yield server
