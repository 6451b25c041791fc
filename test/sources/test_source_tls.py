"""Encrypted connections to sources, and whose certificates are trusted: the machine's roots, as SSL_CERT_FILE names them."""

import os
import tempfile
from pathlib import Path

import pytest

from lib.certs import Authority
from lib.mariadb import MariaDB
from lib.pg import Postgres
from lib.s3 import S3
from lib.server import Server
from lib.session import Session
from lib.sources import Sources

WHO = "SELECT count(*) FROM pg1.public.users"
ENCRYPTED = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE s.ssl AND a.usename = 'reader'"


@pytest.fixture(scope="module")
def authorities():
    """Two of them, where the workers' own users may read (pytest's directories are the tests' user's alone)."""
    with tempfile.TemporaryDirectory(prefix="bh-roots-") as place:
        made = []
        for name in ("trusted", "stranger"):
            directory = Path(place) / name
            directory.mkdir()
            made.append(Authority(directory))
        os.chmod(place, 0o755)
        yield made


@pytest.fixture(scope="module")
def pg(authorities):
    """Its certificate holds for the name localhost, not for 127.0.0.1."""
    with Postgres(tls=authorities[0].issue("pg", names="DNS:localhost")) as server:
        server.make_roles().sql("CREATE TABLE public.users AS SELECT i AS id FROM generate_series(1, 2000) i")
        server.sql("GRANT SELECT ON public.users TO reader")
        yield server


def serve(items, tmp_path, pg, root, **source):
    return Server(items, set=Sources(tmp_path).postgres("pg1", pg, **source).settings, env={"SSL_CERT_FILE": str(root)})


def ask(server):
    return server.client.query(WHO, sources=["pg1"], timeout="20s")


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_certificate_of_a_trusted_root(items, tmp_path, pg, authorities, mode):
    with serve(items, tmp_path, pg, authorities[0].directory / "root.pem", host="localhost", sslmode=mode) as server:
        with Session(server.client, sources=["pg1"]) as session:
            assert session.rows(WHO) == [[2000]]
            assert int(pg.sql(ENCRYPTED)) > 0
            pg.drop_connections()  # the next one is made by a worker that has been closed for long
            assert session.query(WHO).status in (200, 502)
            assert session.rows(WHO) == [[2000]]


def test_a_name_that_is_not_the_certificates(items, tmp_path, pg, authorities):
    with serve(items, tmp_path, pg, authorities[0].directory / "root.pem", host="127.0.0.1", sslmode="verify-full") as server:
        problem = ask(server).problem(502, "source_error")
        assert problem["source"] == "pg1" and 'does not match host name "127.0.0.1"' in problem["detail"], problem
    with serve(items, tmp_path, pg, authorities[0].directory / "root.pem", host="127.0.0.1", sslmode="verify-ca") as server:
        assert ask(server).status == 200


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_a_certificate_of_somebody_else(items, tmp_path, pg, authorities, mode):
    with serve(items, tmp_path, pg, authorities[1].directory / "root.pem", host="localhost", sslmode=mode) as server:
        problem = ask(server).problem(502, "source_error")
        assert problem["source"] == "pg1" and "certificate verify failed" in problem["detail"], problem


def test_the_machines_own_roots_are_taken_without_the_variable(items, tmp_path, pg):
    """They do not know the test's root: so it is they that were asked, and could be read."""
    with Server(items, set=Sources(tmp_path).postgres("pg1", pg, host="localhost", sslmode="verify-full").settings) as server:
        assert "certificate verify failed" in ask(server).problem(502, "source_error")["detail"]


def test_a_file_of_roots_that_is_not_there(items, tmp_path, pg):
    with serve(items, tmp_path, pg, "/nowhere/roots.pem", host="localhost", sslmode="verify-full") as server:
        detail = ask(server).problem(502, "source_error")["detail"]
        assert 'root certificate file "<roots>" does not exist' in detail and "/nowhere" not in detail, detail


def test_a_server_without_encryption(items, tmp_path, authorities):
    with Postgres() as plain:
        plain.make_roles()
        with serve(items, tmp_path, plain, authorities[0].directory / "root.pem", host="localhost", sslmode="verify-full") as server:
            assert "server does not support SSL" in ask(server).problem(502, "source_error")["detail"]


class TestMysql:
    @pytest.fixture(scope="class")
    def my(self, authorities):
        with MariaDB(tls=authorities[0].issue("my")) as server:
            server.make_roles().sql("CREATE TABLE shop.t(a INT PRIMARY KEY); INSERT INTO shop.t VALUES (1), (2)")
            yield server

    def ask(self, items, tmp_path, my, root, **source):
        with Server(items, set=Sources(tmp_path).mysql("my1", my, **source).settings, env={"SSL_CERT_FILE": str(root)}) as server:
            return server.client.query("SELECT count(*) FROM my1.shop.t", sources=["my1"], timeout="20s")

    def test_whose_certificates_are_taken(self, items, tmp_path, my, authorities):
        trusted, stranger = (a.directory / "root.pem" for a in authorities)
        for mode in ("require", "verify-ca", "verify-full"):
            assert self.ask(items, tmp_path, my, trusted, host="localhost", sslmode=mode).status == 200, mode
        for mode in ("verify-ca", "verify-full"):
            problem = self.ask(items, tmp_path, my, stranger, host="localhost", sslmode=mode).problem(502, "source_error")
            assert problem["source"] == "my1" and "certificate" in problem["detail"], problem

    def test_a_name_that_is_not_the_certificates(self, items, tmp_path, authorities):
        """(Not 127.0.0.1: the connector looks at no name there.)"""
        with MariaDB(tls=authorities[0].issue("elsewhere", names="DNS:elsewhere.example"), address="127.0.0.2") as my:
            my.make_roles().sql("CREATE TABLE shop.t(a INT PRIMARY KEY)")
            root = authorities[0].directory / "root.pem"
            assert self.ask(items, tmp_path, my, root, host="127.0.0.2", sslmode="disable").status == 200
            for mode in ("require", "verify-full"):
                problem = self.ask(items, tmp_path, my, root, host="127.0.0.2", sslmode=mode).problem(502, "source_error")
                assert problem["source"] == "my1" and "Hostname verification failed" in problem["detail"], problem

    def test_a_name_that_is(self, items, tmp_path, authorities):
        with MariaDB(tls=authorities[0].issue("here", names="IP:127.0.0.2"), address="127.0.0.2") as my:
            my.make_roles().sql("CREATE TABLE shop.t(a INT PRIMARY KEY)")
            trusted, stranger = (a.directory / "root.pem" for a in authorities)
            assert self.ask(items, tmp_path, my, trusted, host="127.0.0.2", sslmode="verify-full").status == 200
            assert self.ask(items, tmp_path, my, trusted, host="127.0.0.2", sslmode="require").status == 200
            assert "certificate" in self.ask(items, tmp_path, my, stranger, host="127.0.0.2", sslmode="require").problem(502, "source_error")["detail"]


class TestS3:
    @pytest.fixture(scope="class")
    def s3(self, authorities):
        with S3(tls=authorities[0].issue("s3", names="DNS:localhost")) as server:
            server.put("lake", "in/countries.csv", b"a,b\n1,2\n")
            yield server

    def ask(self, items, tmp_path, s3, root, host):
        with Server(items, set=Sources(tmp_path).s3("lake", s3, endpoint=f"https://{host}:{s3.port}").settings, env={"SSL_CERT_FILE": str(root)}) as server:
            return server.client.query("FROM read_csv('s3://lake/in/countries.csv')", sources=["lake"], timeout="20s")

    def test_whose_certificates_are_taken(self, items, tmp_path, s3, authorities):
        trusted, stranger = (a.directory / "root.pem" for a in authorities)
        assert self.ask(items, tmp_path, s3, trusted, "localhost").json()["data"] == [[1, 2]]
        for root, host in ((stranger, "localhost"), (trusted, "127.0.0.1")):
            assert "certificate" in self.ask(items, tmp_path, s3, root, host).problem(502, "source_error")["detail"]
