"""The servers that the other tests of this folder lean on do what those believe of them."""

from lib.backend import free_port


def test_postgres_has_a_reader_and_a_writer(pg):
    assert pg.sql("SELECT count(*) FROM public.users") == "2000"
    assert pg.sql("SELECT has_table_privilege('reader', 'public.users', 'INSERT'), has_table_privilege('writer', 'public.users', 'INSERT')") == "f|t"
    assert pg.connections() == 0


def test_mariadb_has_events(my):
    assert my.sql("SELECT count(*) FROM analytics.events") == "20000"
    assert my.connections() == 0


def test_the_s3_server_asks_for_a_signature(s3):
    import urllib.error
    import urllib.request
    try:
        urllib.request.urlopen(f"http://{s3.endpoint}/lake/in/countries.csv", timeout=10)
        raise AssertionError("an unsigned request was answered")
    except urllib.error.HTTPError as e:
        assert e.code == 403


def test_ports_are_of_loopback_only(pg, my, s3):
    for server in (pg, my, s3):
        assert server.accepts()
    assert free_port() not in (pg.port, my.port, s3.port)
