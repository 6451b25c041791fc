"""Compressed results, and results that are too large."""

import gzip
import json
import uuid
import zlib

import pyarrow as pa
import pytest

from lib.client import Cut
from lib.formats import MEDIA, arrow_of, assert_same_arrow, parquet_rows, read_arrow
from lib.sql import ENDLESS_RESULT, ROWS_THEN_RUNAWAY

TEXT = ["json", "ndjson", "csv"]
ROWS = "SELECT i, md5(i::VARCHAR) AS h, CASE WHEN i % 3 = 0 THEN NULL ELSE i / 7 END AS x, 'words that come again' AS w FROM range({}) t(i)"


def decode(response):
    coding = response.headers.get("Content-Encoding")
    if coding == "gzip":
        return gzip.decompress(response.body)
    if coding == "zstd":
        return pa.CompressedInputStream(pa.BufferReader(response.body), "zstd").read()
    assert coding is None
    return response.body


def ask(client, sql, form, encoding=None, **fields):
    headers = {"Bulkhead-Query-Id": str(uuid.uuid4())}
    if encoding is not None:
        headers["Accept-Encoding"] = encoding
    response = client.query(sql, headers=headers, format=form, timeout="60s", **fields)
    assert response.status == 200, response
    return response


def content(form, body):
    """Without what differs from run to run."""
    return {k: v for k, v in json.loads(body).items() if k not in ("query_id", "stats")} if form == "json" else body


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("form", TEXT)
@pytest.mark.parametrize("rows", [0, 1, 2048, 150_000])
def test_a_compressed_result_is_the_same(client, form, encoding, rows):
    plain = ask(client, ROWS.format(rows), form)
    coded = ask(client, ROWS.format(rows), form, encoding)
    assert "Content-Encoding" not in plain.headers and coded.headers["Content-Encoding"] == encoding
    assert coded.headers["Content-Type"] == plain.headers["Content-Type"]
    for response in (plain, coded):
        assert "Accept-Encoding" in response.headers["Vary"]
    assert content(form, decode(coded)) == content(form, plain.body)
    if rows > 2048:
        assert len(coded.body) < len(plain.body) * 0.6


@pytest.mark.parametrize("header,coding", [
    ("gzip, deflate, br, zstd", "zstd"), ("gzip", "gzip"), ("gzip, zstd;q=0.5", "gzip"), ("identity", None), ("*", None), ("br", None), ("", None),
    ("identity;q=1, gzip;q=0.1", None), ("nonsense;;q=,", None), ("gzip;q=0", None),
])
def test_accept_encoding_chooses_by_quality(client, header, coding):
    response = ask(client, "SELECT 1 AS a", "csv", header)
    assert response.headers.get("Content-Encoding") == coding and decode(response) == b"a\r\n1\r\n"


def test_who_refuses_everything_gets_406(client):
    for header in ("identity;q=0", "br, *;q=0"):
        fields = client.query("SELECT 1", headers={"Accept-Encoding": header}).problem(406, "not_acceptable")
        assert "zstd, gzip" in fields["detail"]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_what_compresses_itself_is_left_alone_unless_it_must_be(client, form, tmp_path):
    sql = ROWS.format(5000)
    assert "Content-Encoding" not in ask(client, sql, form, "gzip, deflate, br, zstd").headers
    for encoding in ("gzip", "zstd"):
        response = ask(client, sql, form, f"{encoding}, identity;q=0")
        assert response.headers["Content-Encoding"] == encoding
        if form == "arrow":
            assert_same_arrow(read_arrow(decode(response)), arrow_of(sql), sql)
        else:
            path = tmp_path / f"{encoding}.parquet"
            path.write_bytes(decode(response))
            assert len(parquet_rows(path)[1]) == 5000


def test_errors_are_not_compressed(client):
    response = client.query("SELEC", headers={"Accept-Encoding": "gzip"})
    response.problem(400, "sql_error")
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_the_first_rows_arrive_while_the_query_goes_on(client, encoding):
    """The query never ends by itself: whatever is read here was sent before its end."""
    c = client.start_query(ROWS_THEN_RUNAWAY, headers={"Accept-Encoding": encoding or "identity"}, format="ndjson", timeout="20s")
    head = c.read_head()
    assert head.status == 200 and head.headers.get("Content-Encoding") == encoding
    decoder, text = zlib.decompressobj(31), b""
    while text.count(b"\n") < 100_000:  # of 200,000; the engine holds some back
        size = int(c._until(b"\r\n"), 16)
        part = c._exactly(size)
        assert c._exactly(2) == b"\r\n"
        text += decoder.decompress(part) if encoding else part
    c.abort()
    assert text.startswith(b'{"i":0,"v":0}\n{"i":1,"v":1}\n')


def test_a_late_failure_cuts_a_compressed_body_short(client):
    with pytest.raises(Cut):
        client.query("SELECT md5(i::VARCHAR) AS h, CASE WHEN i < 900000 THEN i ELSE error('late') END AS v FROM range(1000000) t(i)",
                     headers={"Accept-Encoding": "gzip"}, format="ndjson", timeout="60s")


def test_the_bytes_that_are_counted_are_those_that_leave(client, server):
    before = server.metric("bulkhead_result_bytes_total", format="csv")
    response = ask(client, ROWS.format(50_000), "csv", "zstd")
    server.wait_metric("bulkhead_result_bytes_total", before + len(response.body), format="csv")


class TestArrowInside:
    ACCEPT = {"Accept": "application/vnd.apache.arrow.stream; codecs=zstd"}

    @pytest.mark.parametrize("sql", [
        ROWS.format(20_000), "SELECT * FROM test_all_types()", "SELECT 1 AS a WHERE false", "SELECT hash(i) AS what_does_not_compress FROM range(5000) t(i)",
        "SELECT ('value ' || (i % 3))::ENUM('value 0', 'value 1', 'value 2') AS e, [i, NULL] AS l FROM range(5000) t(i)", "SELECT NULL AS n, '' AS e",
    ])
    def test_buffers_are_compressed_for_who_asks(self, client, sql):
        response = client.query(sql, headers=self.ACCEPT)
        assert response.status == 200 and response.headers["Content-Type"] == "application/vnd.apache.arrow.stream; codecs=zstd"
        assert_same_arrow(read_arrow(response.body), arrow_of(sql), sql)

    def test_it_is_smaller_and_off_by_default(self, client):
        plain = ask(client, ROWS.format(20_000), "arrow")
        assert plain.headers["Content-Type"] == MEDIA["arrow"]
        coded = client.query(ROWS.format(20_000), headers=self.ACCEPT, format="arrow")
        assert "codecs=zstd" in coded.headers["Content-Type"] and len(coded.body) < len(plain.body) * 0.8

    def test_a_codec_that_is_not_there_is_not_used(self, client):
        response = client.query("SELECT 1 AS a", headers={"Accept": "application/vnd.apache.arrow.stream; codecs=lz4"})
        assert response.headers["Content-Type"] == MEDIA["arrow"] and read_arrow(response.body).to_pylist() == [{"a": 1}]


class TestTooLarge:
    LIMIT = 200_000

    @pytest.fixture
    def limited(self, start):
        return start(set={"limits.max_result_bytes": f"{self.LIMIT // 1000}KB"})

    @pytest.mark.parametrize("form", MEDIA)
    def test_a_result_up_to_the_limit_is_whole_and_one_above_is_not(self, limited, form):
        client = limited.client
        sql = "SELECT i, md5(i::VARCHAR) AS h FROM range({}) t(i)"
        small = ask(client, sql.format(1000), form)
        assert len(small.body) <= self.LIMIT
        too_large = str(uuid.uuid4())
        with pytest.raises(Cut):  # its head has left long before
            client.query(sql.format(100_000), headers={"Bulkhead-Query-Id": too_large}, format=form)
        fields = client.get(f"/v1/queries/{too_large}?wait=10s").json()
        assert fields["state"] == "failed" and fields["code"] == "result_too_large" and fields["bytes"] <= self.LIMIT
        assert client.rows("SELECT 1") == [[1]]

    def test_the_limit_is_exact(self, start):
        server = start(set={"limits.max_result_bytes": "1KB"})
        header = len(b"v\r\n") + 2
        whole = server.client.query(f"SELECT repeat('x', {1000 - header}) AS v", format="csv")
        assert whole.status == 200 and len(whole.body) == 1000
        fields = server.client.query(f"SELECT repeat('x', {1001 - header}) AS v", format="csv").problem(413, "result_too_large")
        assert fields["limit_bytes"] == 1000
        server.wait_metric("bulkhead_queries_total", 1, code="result_too_large")

    def test_compressed_bytes_count(self, limited):
        sql = "SELECT repeat('x', 1000) AS v FROM range(2000) t(i)"
        assert len(decode(ask(limited.client, sql, "csv", "zstd"))) > 2_000_000

    def test_an_endless_result_ends_at_the_limit(self, limited):
        for form in ("csv", "parquet"):
            with pytest.raises(Cut):
                limited.client.query(ENDLESS_RESULT, format=form, timeout="60s")
        assert limited.client.rows("SELECT 1") == [[1]]
