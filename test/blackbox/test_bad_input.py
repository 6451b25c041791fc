"""Requests that are wrong: each gets the contract's error, is counted, and the server goes on."""

import json

import pytest

JSON = [("Content-Type", "application/json")]


@pytest.fixture(autouse=True)
def goes_on(client):
    yield
    assert client.rows("SELECT 'still here'") == [["still here"]]


def post(client, body, content_type="application/json", target="/v1/query", **headers):
    pairs = [("Content-Type", content_type)] if content_type else []
    return client.request("POST", target, body, pairs + list(headers.items()))


@pytest.mark.parametrize("body", [
    b"", b"{", b"}", b"null", b"[]", b'"SELECT 1"', b"42", b'{"sql": "SELECT 1"', b'{"sql": "SELECT 1"} trailing', b'{sql: "SELECT 1"}',
    b"{'sql': 'SELECT 1'}", b'{"sql": "SELECT 1",}', b'{"sql": "SELECT 1", "sql": "SELECT 2"}', b'{"sql": "\\ud800"}', b'{"sql": "\x01"}',
    b"[" * 5000, b'{"params":' + b"[" * 5000 + b"]" * 5000 + b',"sql":"SELECT 1"}', b'\xef\xbb\xbf{"sql": ',
])
def test_broken_json_is_a_bad_request(client, server, body):
    post(client, body).problem(400, "bad_request")


@pytest.mark.parametrize("fields", [
    {}, {"sql": None}, {"sql": 1}, {"sql": True}, {"sql": ["SELECT 1"]}, {"sql": {"a": 1}},
    {"sql": "SELECT 1", "params": "x"}, {"sql": "SELECT 1", "params": 1}, {"sql": "SELECT 1", "params": True},
    {"sql": "SELECT 1", "timeout": 5}, {"sql": "SELECT 1", "timeout": "5"}, {"sql": "SELECT 1", "timeout": "five"},
    {"sql": "SELECT 1", "timeout": ""}, {"sql": "SELECT 1", "timeout": "-1s"}, {"sql": "SELECT 1", "timeout": "1s1s"},
    {"sql": "SELECT 1", "timeout": "99999999999999999999s"}, {"sql": "SELECT 1", "timeout": "1 lightyear"}, {"sql": "SELECT 1", "timeout": None and 0 or []},
    {"sql": "SELECT 1", "max_rows": "all"}, {"sql": "SELECT 1", "max_rows": -5}, {"sql": "SELECT 1", "max_rows": [1]},
    {"sql": "SELECT 1", "max_rows": 2**70}, {"sql": "SELECT 1", "format": 5}, {"sql": "SELECT 1", "format": "xml"},
    {"sql": "SELECT 1", "format": "JSON "}, {"sql": "SELECT 1", "big_numbers": "maybe"},
])
def test_a_field_that_is_missing_or_of_the_wrong_kind_is_named(client, fields):
    response = post(client, json.dumps(fields).encode())
    assert response.status in (400, 406), response
    wrong = next((k for k in reversed(fields)), "sql")
    if response.status == 400:
        assert response.problem(400, "bad_request") and (wrong in response.json()["detail"]), response


@pytest.mark.parametrize("name", ["limit", "SQL", "query", "sq", "sql ", "", "ünï", "\u0000"])
def test_an_unknown_field_is_refused_and_named(client, name):
    fields = post(client, json.dumps({"sql": "SELECT 1", name: 1}).encode()).problem(400, "bad_request")
    if name.isascii() and name.isprintable() and name.strip():
        assert name.strip() in fields["detail"]


@pytest.mark.parametrize("query", ["tiemout=5s", "timeout=5", "timeout=", "sql=SELECT+1", "max_rows=x", "timeout=1s&unknown=1"])
def test_an_unknown_or_wrong_query_parameter_is_refused(client, query):
    response = post(client, b"SELECT 1", "text/plain", f"/v1/query?{query}")
    response.problem(400, "bad_request")


@pytest.mark.parametrize("body", [b'{"sql": "SELECT \'\xff\'"}', b'{"sql": "SELECT \'\xc0\xaf\'"}', b'{"sql": "SELECT \'\xed\xa0\x80\'"}',
                                  b'{"sql": "SELECT \'\xf4\x90\x80\x80\'"}', b'{"sql": "SELECT \'\xe2\x82"}'])
def test_invalid_utf8_in_json_is_a_bad_request(client, body):
    post(client, body).problem(400, "bad_request")


@pytest.mark.parametrize("sql", [b"SELECT '\xff'", b"SELECT '\xc0\xaf'", b"\xfe\xff\x00S", b"SELECT '\xed\xa0\x80'"])
def test_invalid_utf8_in_raw_sql_is_a_bad_request(client, sql):
    post(client, sql, "text/plain").problem(400, "bad_request")


def test_a_statement_of_a_megabyte_is_too_large(client, server):
    over = b"SELECT '" + b"x" * 1_000_001 + b"'"
    assert post(client, over, "text/plain").problem(413, "payload_too_large")
    assert post(client, json.dumps({"sql": over.decode()}).encode()).problem(413, "payload_too_large")


def test_a_statement_just_below_the_limit_is_run(client):
    text = "x" * 990_000
    response = post(client, f"SELECT length('{text}')".encode(), "text/plain")
    assert response.data == [[990_000]]


def test_a_body_of_many_megabytes_is_refused_without_being_taken_in(client, server):
    """The refusal comes on the announced length; the client sees the answer, not a reset."""
    with client.connect() as c:
        c.send(c.head("POST", "/v1/query", JSON + [("Content-Length", str(1 << 40))]))
        c.read_response().problem(413, "payload_too_large")


def test_a_chunked_body_without_end_is_refused(client):
    with client.connect() as c:
        c.send(c.head("POST", "/v1/query", JSON + [("Transfer-Encoding", "chunked")]))
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        try:
            for _ in range(1000):
                c.send(chunk)
        except OSError:
            pass
        # What arrives is the 413; a server that closes early may cut its own answer with a reset, so the state of the socket decides too.
        rest = c.read_to_end()
        assert rest == b"" or b" 413 " in rest[:20], rest[:200]


@pytest.mark.parametrize("content_type", ["application/xml", "text/html", "multipart/form-data; boundary=x",
                                          "application/x-www-form-urlencoded", "application/jsonx", "json", "text/plain2", ";"])
def test_another_content_type_is_unsupported(client, content_type):
    post(client, b"SELECT 1", content_type).problem(415, "unsupported_media_type")


def test_no_content_type_is_unsupported(client):
    post(client, b'{"sql": "SELECT 1"}', None).problem(415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate"])
def test_a_compressed_body_is_refused(client, encoding):
    for body in (b"\x1f\x8b", b'{"sql": "SELECT 1"}'):
        client.request("POST", "/v1/query", body, JSON + [("Content-Encoding", encoding)]).problem(415, "unsupported_media_type")
    assert client.request("POST", "/v1/query", b'{"sql": "SELECT 1"}', JSON + [("Content-Encoding", "identity")]).status == 200


def test_a_parameter_that_comes_twice_is_refused(client):
    """A proxy that looks at the first and a server that takes the last see two requests."""
    client.request("POST", "/v1/query?timeout=1s&timeout=2s", b"SELECT 1", [("Content-Type", "text/plain")]).problem(400, "bad_request")
    client.get("/v1/queries?limit=1&limit=2").problem(400, "bad_request")


@pytest.mark.parametrize("method, target", [
    ("GET", "/v1/query"), ("PUT", "/v1/query"), ("DELETE", "/v1/query"), ("PATCH", "/v1/query"), ("HEAD", "/v1/query"),
    ("POST", "/healthz"), ("DELETE", "/v1/status"), ("POST", "/metrics"), ("PUT", "/readyz"), ("POST", "/v1/schema"),
])
def test_a_wrong_method_is_refused_with_the_right_ones(client, method, target):
    response = client.request(method, target)
    assert response.status == 405, response
    allowed = {m.strip() for m in response.headers["Allow"].split(",")}
    assert allowed and method not in allowed
    assert "POST" in allowed if target == "/v1/query" else "GET" in allowed
    if method != "HEAD":
        assert response.problem(405, "method_not_allowed")


@pytest.mark.parametrize("target", ["/v1/nothing", "/v1", "/v1/query/", "/v1/query/x", "/healthz/", "//v1/query", "/v1/../v1/query", "/V1/QUERY",
                                    "/v1/query%00", "/%2e%2e/etc/passwd", "/favicon.ico"])
def test_an_unknown_path_is_not_found(client, target):
    response = client.get(target)
    assert response.status in (400, 404), response
    assert response.json()["code"] in ("not_found", "bad_request")


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*", "application/json;q=0", "text/csv;q=0"])
def test_an_accept_that_cannot_be_met_is_not_acceptable(client, accept):
    response = client.query("SELECT 1", headers={"Accept": accept})
    if "csv" in accept:
        # Everything but CSV is refused by nothing: an absent match is only what is listed.
        assert response.status in (200, 406), response
    else:
        response.problem(406, "not_acceptable")


@pytest.mark.parametrize("accept", ["application/json", "*/*", "application/*", "text/html, */*;q=0.1", "application/json; charset=utf-8",
                                    "text/html,application/xhtml+xml,application/json;q=0.9", "APPLICATION/JSON", ""])
def test_an_accept_that_allows_json_gets_json(client, accept):
    response = client.query("SELECT 1", headers={"Accept": accept})
    assert response.status == 200 and response.content_type == "application/json"


def test_an_error_is_problem_json_whatever_was_accepted(client):
    client.query("SELEC", headers={"Accept": "application/json"}).problem(400, "sql_error")


def test_a_timeout_above_the_maximum_is_a_bad_request(client):
    fields = client.query("SELECT 1", timeout="301s").problem(400, "bad_request")
    assert "timeout" in fields["detail"] and "300" in fields["detail"]
    assert client.query("SELECT 1", timeout="300s").status == 200


def test_a_timeout_of_nothing_is_a_bad_request(client):
    client.query("SELECT 1", timeout="0s").problem(400, "bad_request")


def test_refusals_are_counted_by_code(client, server):
    before = server.metrics()
    post(client, b"{").problem(400, "bad_request")
    client.get("/nowhere").problem(404, "not_found")
    server.wait_metric("bulkhead_rejected_total", before.get("bulkhead_rejected_total", code="bad_request") + 1, code="bad_request")
