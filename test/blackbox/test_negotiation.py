"""Which form a result takes: Accept, `format`, and what the answer's head says about it."""

import csv
import io
import json

import pytest

from lib.formats import MEDIA, read_arrow



def raw(client, sql, target, accept=None):
    headers = [("Content-Type", "text/plain")] + ([("Accept", accept)] if accept else [])
    return client.request("POST", target, sql.encode(), headers)


@pytest.mark.parametrize("accept,media", [
    (None, "application/json"), ("*/*", "application/json"), ("application/*", "application/json"), ("text/*", "text/csv"),
    ("text/csv", "text/csv"), ("application/x-ndjson", "application/x-ndjson"),
    ("application/json;q=0.2, application/x-ndjson;q=0.3", "application/x-ndjson"),
    ("text/csv, */*", "text/csv"), ("text/html, */*;q=0.1", "application/json"),
    ("application/json;q=0, text/csv;q=0.001", "text/csv"), ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
    ("application/vnd.apache.parquet, */*;q=0.5", "application/vnd.apache.parquet"),
])
def test_accept_chooses_by_quality_and_then_by_what_is_named(client, accept, media):
    response = client.query("SELECT 1 AS a", headers={"Accept": accept} if accept else {})
    assert response.status == 200 and response.content_type == media
    assert "Accept" in response.headers["Vary"]


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", "nonsense", "application/json;q=x", "text/html, application/xml", ";;;"])
def test_no_common_form_is_406_with_the_list(client, server, accept):
    before = server.metric("bulkhead_rejected_total", code="not_acceptable")
    fields = client.query("SELECT 1", headers={"Accept": accept}).problem(406, "not_acceptable")
    for media in MEDIA.values():
        assert media in fields["detail"]
    server.wait_metric("bulkhead_rejected_total", before + 1, code="not_acceptable")


@pytest.mark.parametrize("form", MEDIA)
def test_the_body_may_name_the_format_whatever_accept_says(client, form):
    for headers in ({}, {"Accept": "image/png"}, {"Accept": "application/json, text/plain, */*"}):
        assert client.query("SELECT 1 AS a", headers=headers, format=form).content_type == MEDIA[form]


@pytest.mark.parametrize("form", MEDIA)
def test_the_query_string_may_name_the_format_of_raw_sql(client, form):
    response = raw(client, "SELECT 1 AS a", f"/v1/query?format={form}")
    assert response.status == 200 and response.content_type == MEDIA[form]


def test_an_unknown_format_is_refused_with_the_list(client):
    for response in (client.query("SELECT 1", format="xml"), raw(client, "SELECT 1", "/v1/query?format=xml")):
        assert "json, ndjson, csv, arrow, parquet" in response.problem(400, "bad_request")["detail"]


def test_csv_says_its_charset_and_that_it_has_a_header_line(client):
    response = client.query("SELECT 1 AS a, 'x,y' AS b", format="csv")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert response.body == b'a,b\r\n1,"x,y"\r\n'


def test_ndjson_is_one_object_for_each_row(client):
    response = client.query("SELECT id, name, NULL AS n, [1, id] AS l FROM items ORDER BY id LIMIT 3", format="ndjson")
    assert response.text == ('{"id":0,"name":"item 0","n":null,"l":[1,0]}\n{"id":1,"name":"item 1","n":null,"l":[1,1]}\n'
                             '{"id":2,"name":"item 2","n":null,"l":[1,2]}\n')


def test_ndjson_keys_of_one_name_are_made_different(client):
    assert client.query("SELECT 1 AS a, 2 AS a, 3 AS \"A\", 4 AS a_1", format="ndjson").text == '{"a":1,"a_1":2,"A_2":3,"a_1_1":4}\n'


def test_no_rows_are_an_empty_body_or_a_header_line(client):
    assert client.query("SELECT 1 AS a WHERE false", format="ndjson").body == b""
    assert client.query("SELECT 1 AS a WHERE false", format="csv").body == b"a\r\n"


@pytest.mark.parametrize("form", ["ndjson", "csv", "arrow", "parquet"])
def test_a_result_cut_by_max_rows_says_so_in_its_head(client, form):
    sql = "SELECT i FROM range(5) t(i)"
    assert client.query(sql, format=form, max_rows=3).headers["Bulkhead-Truncated"] == "true"
    for fields in ({}, {"max_rows": 5}, {"max_rows": 6}):
        assert "Bulkhead-Truncated" not in client.query(sql, format=form, **fields).headers
    assert "Bulkhead-Truncated" not in client.query(sql, max_rows=3).headers  # JSON has "truncated"
    assert raw(client, sql, f"/v1/query?format={form}&max_rows=2").headers["Bulkhead-Truncated"] == "true"


@pytest.mark.parametrize("form", MEDIA)
def test_result_bytes_are_counted_by_format(client, server, form):
    before = server.metric("bulkhead_result_bytes_total", format=form)
    response = client.query("SELECT i, md5(i::VARCHAR) AS h FROM range(20000) t(i)", format=form)
    server.wait_metric("bulkhead_result_bytes_total", before + len(response.body), format=form)


@pytest.mark.parametrize("form", ["ndjson", "csv", "arrow"])
def test_a_large_result_arrives_whole_in_every_format(client, form):
    rows = 300_000
    response = client.query(f"SELECT i, md5(i::VARCHAR) AS h FROM range({rows}) t(i)", format=form, timeout="60s")
    assert response.headers["Transfer-Encoding"].lower() == "chunked"
    if form == "csv":
        got = [(int(i), h) for i, h in list(csv.reader(io.StringIO(response.text)))[1:]]
    elif form == "arrow":
        got = [(r["i"], r["h"]) for r in read_arrow(response.body).to_pylist()]
    else:
        got = [(r["i"], r["h"]) for r in map(json.loads, response.text.splitlines())]
    assert len(got) == rows and got[0] == (0, "cfcd208495d565ef66e7dff9f98764da") and [i for i, _ in got] == list(range(rows))


def test_a_failure_after_rows_cuts_ndjson_short(client):
    from lib.client import Cut
    with pytest.raises(Cut):
        client.query("SELECT i, CASE WHEN i < 900000 THEN i ELSE error('late') END AS v FROM range(1000000) t(i)", format="ndjson")


class TestBigNumbers:
    SQL = ("SELECT 9007199254740991 AS safe, 9007199254740993 AS big, 1::HUGEINT AS huge, 1.10::DECIMAL(5,2) AS money, "
           "[9007199254740993, 1] AS list, {'d': 0.5::DECIMAL(1,1)} AS s, 12345678901234567890::BIGNUM AS n, 1.5::DOUBLE AS d")
    NUMBERS = [9007199254740991, 9007199254740993, 1, 1.1, [9007199254740993, 1], {"d": 0.5}, 12345678901234567890, 1.5]
    STRINGS = [9007199254740991, "9007199254740993", "1", "1.10", ["9007199254740993", 1], {"d": "0.5"}, "12345678901234567890", 1.5]

    def test_they_are_numbers_unless_asked(self, client):
        assert client.query(self.SQL).data == [self.NUMBERS]
        assert client.query(self.SQL, big_numbers="number").data == [self.NUMBERS]

    def test_they_are_strings_when_asked(self, client):
        assert client.query(self.SQL, big_numbers="string").data == [self.STRINGS]
        line = client.query(self.SQL, big_numbers="string", format="ndjson").json()
        assert list(line.values()) == self.STRINGS
        assert raw(client, self.SQL, "/v1/query?big_numbers=string").data == [self.STRINGS]

    def test_anything_else_is_refused(self, client):
        for value in ("text", "", 1, None, True):
            client.query("SELECT 1", big_numbers=value).problem(400, "bad_request")
        raw(client, "SELECT 1", "/v1/query?big_numbers=yes").problem(400, "bad_request")
