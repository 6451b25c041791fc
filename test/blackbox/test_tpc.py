"""The queries of TPC-H and TPC-DS in every format against the engine itself. BULKHEAD_SOAK_MINUTES (make soak) takes all of them on more data."""

import os
import subprocess
import sys

import pytest

from lib.asynchronous import result
from lib.formats import (MEDIA, arrow_of, assert_same_arrow, assert_same_json, assert_same_ndjson, assert_same_parquet, engine, json_of, parquet_of,
                         read_arrow, read_csv, text_of)
from lib.server import BUILD, Server

SOAK = "BULKHEAD_SOAK_MINUTES" in os.environ
SCALE = 0.1 if SOAK else 0.01
GENERATE = {"tpch": "dbgen", "tpcds": "dsdgen"}
QUERIES = [("tpch", n) for n in range(1, 23)] + [("tpcds", n) for n in range(1, 100) if SOAK or n % 5 == 1]

MAKE = """
import duckdb, sys
path, extension, generate = sys.argv[1:]
con = duckdb.connect(path, config={"allow_unsigned_extensions": "true"})
con.execute(f"LOAD '{extension}'")
con.execute(f"CALL {generate}")
con.close()
"""


def extension(name):
    # Below BUILD itself, or beside it where BUILD is the sanitizers' directory.
    for directory in (BUILD, BUILD.parent):
        path = directory / "deps" / name / f"{name}.duckdb_extension"
        if path.exists():
            return path
    raise AssertionError(f"no {name} extension below {BUILD}: scripts/fetch-deps --only {name}")


class Benchmark:
    """A database with its queries, and a server on it."""

    def __init__(self, name, directory):
        self.path = directory / f"{name}.duckdb"
        subprocess.run([sys.executable, "-c", MAKE, str(self.path), str(extension(name)), f"{GENERATE[name]}(sf={SCALE})"], check=True)
        con = engine()
        con.execute(f"LOAD '{extension(name)}'")
        self.queries = {n: text.strip().rstrip(";") for n, text in con.execute(f"SELECT query_nr, query FROM {name}_queries()").fetchall()}
        self.server = Server(self.path, set={"pool.memory_limit": "512MB", "pool.overcommit": "yes"})


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            made[name] = Benchmark(name, tmp_path_factory.mktemp(name))
        return made[name]

    yield get
    for b in made.values():
        b.server.stop()


def assert_as_the_engine(response, sql, form, path, what, tmp_path):
    assert response.status == 200, response
    if form == "json":
        assert_same_json(response.text, json_of(sql, path), what)
    elif form == "ndjson":
        assert_same_ndjson(response.body, json_of(sql, path), what)
    elif form == "csv":
        assert read_csv(response.body)[1:] == text_of(sql, path), what
    elif form == "arrow":
        assert_same_arrow(read_arrow(response.body), arrow_of(sql, path), what)
    else:
        (tmp_path / "ours.parquet").write_bytes(response.body)
        assert_same_parquet(tmp_path / "ours.parquet", parquet_of(sql, tmp_path / "theirs.parquet", path), what)


@pytest.mark.parametrize("form", MEDIA)
@pytest.mark.parametrize("name,number", QUERIES)
def test_a_query_answers_as_the_engine_does(benchmarks, tmp_path, name, number, form):
    b = benchmarks(name)
    sql, what = b.queries[number], f"{name} query {number}"
    assert_as_the_engine(b.server.client.query(sql, format=form, timeout="120s"), sql, form, b.path, what, tmp_path)


@pytest.mark.parametrize("form", MEDIA)
@pytest.mark.parametrize("name,number", [q for q in QUERIES if SOAK or q[1] % 10 == 1])
def test_and_so_does_its_kept_result(benchmarks, tmp_path, name, number, form):
    b = benchmarks(name)
    sql, what = b.queries[number], f"{name} query {number}"
    assert_as_the_engine(result(b.server.client, sql, format=form, timeout="120s"), sql, form, b.path, what, tmp_path)


@pytest.mark.parametrize("form", MEDIA)
def test_a_large_table_is_kept_whole(benchmarks, tmp_path, form):
    """More than the ring: the worker itself writes the file."""
    b = benchmarks("tpch")
    sql = "SELECT * FROM lineitem ORDER BY l_orderkey, l_linenumber"
    response = result(b.server.client, sql, format=form, timeout="120s")
    assert len(response.body) > 1 << 20
    assert_as_the_engine(response, sql, form, b.path, "lineitem", tmp_path)


def test_all_of_them_are_there(benchmarks):
    assert sorted(benchmarks("tpch").queries) == list(range(1, 23)) and sorted(benchmarks("tpcds").queries) == list(range(1, 100))
