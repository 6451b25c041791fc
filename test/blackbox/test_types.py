"""Every type of the engine, cell by cell against what the engine's own to_json says."""

import duckdb
import pytest

from lib.formats import assert_same_json, json_of


def compare(client, sql):
    response = client.query(sql)
    assert response.status == 200, response
    response.json(parse_constant=lambda s: pytest.fail(f"not JSON: {s}"))
    assert_same_json(response.text, json_of(sql), sql)


def test_all_types_are_written_as_to_json_writes_them(client):
    # The enum's 70,000 names would be a type's text of a megabyte: the short form of the function.
    compare(client, "SELECT * FROM test_all_types(use_large_enum := false)")


def test_all_types_as_lists_and_structs(client):
    con = duckdb.connect()
    columns = con.execute("DESCRIBE SELECT * FROM test_all_types()").fetchall()
    con.close()
    for name, kind, *_ in columns:
        if kind.startswith("ENUM") and len(kind) > 100:
            continue
        compare(client, f'SELECT list("{name}") AS l, {{\'f\': first("{name}"), \'n\': NULL}} AS s, MAP {{1: first("{name}")}} AS m '
                        f"FROM test_all_types()")


@pytest.mark.parametrize("sql", [
    "SELECT 'nan'::DOUBLE AS a, 'inf'::DOUBLE AS b, '-inf'::DOUBLE AS c, 'nan'::FLOAT AS d, '-inf'::FLOAT AS e",
    "SELECT ['nan'::DOUBLE, 1.0, NULL] AS a, {'x': 'inf'::FLOAT} AS b",
    "SELECT -0.0::DOUBLE AS a, 0.1::FLOAT AS b, 1e15 AS c, 1e16 AS d, 1e300 AS e, 5e-324 AS f, 1.0 AS g, 0.1 + 0.2 AS h, 123456789.0 AS i",
    "SELECT 1e-5::DOUBLE AS a, 1e-7::DOUBLE AS b, 123456789012345680000.0::DOUBLE AS c, 16777216.0::FLOAT AS d, 3.4e38::FLOAT AS e",
    "SELECT i::DOUBLE / 7 AS a, (i / 3)::FLOAT AS b, exp(i % 700) AS c, exp(-(i % 700)) AS d FROM range(5000) t(i)",
    "SELECT '{\"a\": [1, 2.50, null]}'::JSON AS j, 'null'::JSON AS n, '\"text\"'::JSON AS t",
    "SELECT 'a\"b\\c/d' || chr(0) || chr(1) || chr(8) || chr(9) || chr(10) || chr(13) || chr(31) || chr(127) || 'é🦆' || chr(8232) AS s",
    "SELECT '\\xAA\\x00abc\"\\x5C'::BLOB AS b, ''::BLOB AS e, '101'::BIT AS bits",
    "SELECT 170141183460469231731687303715884105727::HUGEINT AS h, 18446744073709551615::UBIGINT AS u",
    "SELECT '00000000-0000-0000-0000-000000000000'::UUID AS a, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::UUID AS b, uuid() IS NULL AS c",
    "SELECT INTERVAL '1 year -2 months 3 days 04:05:06.789' AS a, INTERVAL '-1 second' AS b, INTERVAL 0 SECOND AS c",
    "SELECT TIMESTAMPTZ '2024-07-01 12:34:56.789+02' AS a, TIMETZ '12:00:00+05:30' AS b, TIMESTAMP_NS '2024-01-01 00:00:00.123456789' AS c",
    "SELECT DATE '0044-03-15 (BC)' AS a, DATE 'infinity' AS b, TIMESTAMP '-infinity' AS c, TIME '23:59:59.999999' AS d",
    "SELECT union_value(num := 2) AS a, union_value(str := 'x')::UNION(num INT, str VARCHAR) AS b",
    "SELECT MAP {'a': 1, 'b\"': NULL} AS a, MAP {[1, 2]: 'x'} AS b, MAP {1.5: {'k': [true]}} AS c, MAP {NULL::INT: 1} IS NULL AS d WHERE false "
    "UNION ALL SELECT MAP {'a': 1, 'b\"': NULL}, MAP {[1, 2]: 'x'}, MAP {1.5: {'k': [true]}}, false",
    "SELECT [[1, NULL], NULL, []] AS a, [[]] AS b, [NULL] AS c, array_value(1, 2, NULL) AS d, {'a': {'b': {'c': [1]}}} AS e",
    "SELECT 1::VARIANT AS a, 'x'::VARIANT AS b, {'a': [1, 2]}::VARIANT AS c, NULL::VARIANT AS d, [1, NULL]::VARIANT AS e",
    "SELECT 'POINT (1 2)'::GEOMETRY AS g, NULL::GEOMETRY AS n, ['POINT (3 4)'::GEOMETRY] AS l",
    "SELECT 'happy'::ENUM('sad', 'happy') AS mood, ['sad'::ENUM('sad', 'happy'), NULL] AS moods",
    "SELECT 1.10::DECIMAL(18,2) AS a, -0.05::DECIMAL(4,2) AS b, 0.00::DECIMAL(38,10) AS c, -99999.9999::DECIMAL(9,4) AS d, 5::DECIMAL(5,0) AS e",
    "SELECT NULL AS a, [NULL, NULL] AS b, {'a': NULL} AS c",
    "SELECT row(1, 'x') AS unnamed, struct_pack(\"a b\" := 1, \"q\"\"q\" := 2) AS named",
    "SELECT 1 AS a, 2 AS a, 3 AS \"\"\"quoted\"\"\", 4 AS \"ünï\"",
    "SELECT true AS t, false AS f, NULL::BOOLEAN AS n",
])
def test_a_value_is_written_as_to_json_writes_it(client, sql):
    compare(client, sql)


def test_vectors_of_every_kind_give_the_same(client):
    """Constant, dictionary, sequence and flat vectors, with NULLs, over more than one chunk."""
    compare(client, "SELECT i AS seq, 7 AS constant, NULL::INT AS nothing, CASE WHEN i % 3 = 0 THEN NULL ELSE i END AS holes, "
                    "'word ' || (i % 5) AS words, [i, NULL, i * 2] AS list, {'k': i, 's': 's' || i} AS st "
                    "FROM range(10000) t(i) ORDER BY i")
