"""Results of every size, and how they travel."""

import hashlib

import pytest

from lib.sql import BIG_RESULT

JSON = [("Content-Type", "application/json")]


def post(connection, client, sql, **fields):
    return connection.request("POST", "/v1/query", client.query_body(sql, fields), JSON)


def test_a_small_result_is_one_message_with_its_length(client):
    response = client.query("SELECT 42")
    assert int(response.headers["Content-Length"]) == len(response.body)
    assert "Transfer-Encoding" not in response.headers


def test_no_rows_are_an_empty_list_with_their_columns(client):
    body = client.query("SELECT id, name FROM items WHERE false").json()
    assert body["columns"] == [{"name": "id", "type": "BIGINT"}, {"name": "name", "type": "VARCHAR"}]
    assert body["data"] == [] and body["rows"] == 0 and body["truncated"] is False


def test_a_result_larger_than_any_buffer_arrives_whole(client, server):
    """50 MB in chunks: every row is compared, by checksum of the content."""
    before = server.metric("bulkhead_result_bytes_total", format="json")
    response = client.query(BIG_RESULT.replace("1000000", "1200000"), timeout="120s")
    assert response.status == 200
    assert response.headers["Transfer-Encoding"].lower() == "chunked" and "Content-Length" not in response.headers
    assert response.chunks > 10 and len(response.body) > 48_000_000
    body = response.json()
    assert body["rows"] == 1_200_000 == len(body["data"])
    got, want = hashlib.sha256(), hashlib.sha256()
    for i, (number, digest) in enumerate(body["data"]):
        got.update(f"{number}:{digest};".encode())
        want.update(f"{i}:{hashlib.md5(str(i).encode()).hexdigest()};".encode())
    assert got.hexdigest() == want.hexdigest()
    server.wait_metric("bulkhead_result_bytes_total", before + len(response.body), format="json")


@pytest.mark.parametrize("length", [65_000, 66_000, 1_000_000, 1_048_576, 1_100_000, 5_000_000, 20_000_000])
def test_one_value_larger_than_the_ring_arrives_whole(client, length):
    body = client.query(f"SELECT repeat('abcdefghij', {length // 10}) AS v, 1 AS behind", timeout="60s").json()
    assert body["data"] == [["abcdefghij" * (length // 10), 1]]


@pytest.mark.parametrize("rows", [1, 2047, 2048, 2049, 4096, 100_000])
def test_no_row_is_lost_or_doubled_at_the_edges_of_chunks(client, rows):
    body = client.query(f"SELECT i FROM range({rows}) t(i)", timeout="60s").json()
    assert body["data"] == [[i] for i in range(rows)] and body["rows"] == rows


def test_every_size_around_the_inline_limit_arrives_whole(client):
    """The head is held until 64 KB: just below, at and above it the framing changes, the content must not."""
    with client.connect() as c:
        for size in list(range(65_300, 65_700, 23)) + [131_072, 262_144]:
            response = post(c, client, f"SELECT repeat('x', {size}) AS v")
            assert response.json()["data"] == [["x" * size]]


def test_a_wide_result_has_all_its_columns(client):
    columns = ", ".join(f"{i} AS column_{i}" for i in range(1500))
    body = client.query(f"SELECT {columns}", timeout="60s").json()
    assert [c["name"] for c in body["columns"]] == [f"column_{i}" for i in range(1500)]
    assert body["data"] == [list(range(1500))]


def test_a_slow_reader_gets_everything_and_others_are_served_meanwhile(client, server):
    c = client.start_query(BIG_RESULT, receive_buffer=8192, timeout="60s")
    head = c.read_head()
    assert head.status == 200
    assert server.client.rows("SELECT 1") == [[1]]
    assert server.client.get("/healthz").status == 200
    body = c._body(head, "POST")
    c.close()
    assert hashlib.md5(b"999999").hexdigest().encode() in body[-200_000:]


def test_many_queries_over_one_connection(client):
    with client.connect() as c:
        for i in range(200):
            assert post(c, client, "SELECT $1 AS i", params=[i]).data == [[i]]
            if i % 50 == 0:
                assert post(c, client, "SELEC").status == 400


def test_the_front_does_not_grow_with_results(client, server):
    from lib import proc
    client.query(BIG_RESULT, timeout="120s")
    before = proc.private_bytes(server.front_pid)
    for _ in range(3):
        assert client.query(BIG_RESULT, timeout="120s").status == 200
    assert proc.private_bytes(server.front_pid) < before + 4_000_000


def test_security_headers_are_on_results(client):
    response = client.query("SELECT 1")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]
