"""A PostgreSQL server of the tests' own. The superuser comes in by the unix socket; everybody else by TCP with a password."""

import glob
import signal

from lib.backend import Backend, find

HINT = "scripts/install-packages test (Debian: postgresql-15)"

# Two roles: one that may only read, and one that could write, to show that it is not the role that stops a write.
ROLES = """
CREATE ROLE reader LOGIN PASSWORD '{reader}';
CREATE ROLE writer LOGIN PASSWORD '{writer}';
CREATE DATABASE shop;
"""
GRANTS = """
GRANT pg_read_all_data TO reader;
GRANT pg_read_all_data, pg_write_all_data TO writer;
GRANT ALL ON SCHEMA public TO writer;
"""


class Postgres(Backend):
    name = "pg"
    end_signal = signal.SIGINT  # "fast": does not wait for clients
    # Signs that must survive quoting everywhere, and that no message or log may show.
    passwords = {"reader": "pg'read\"er \\ s3cret", "writer": "pg-writer-s3cret"}

    def __init__(self, tls=None):
        """`tls`: (certificate, key), files; it then takes encrypted connections as well."""
        super().__init__()
        self.tls = tls
        places = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
        self.postgres = find("postgres", *places, hint=HINT)
        self.initdb = find("initdb", *places, hint=HINT)
        self.psql = find("psql", *places, hint=HINT)

    def prepare(self):
        self.run([self.initdb, "-D", self.path("data"), "-U", "boss", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-N"])
        with open(self.path("data", "pg_hba.conf"), "w", encoding="utf-8") as f:
            f.write("local all boss trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n")

        for source, name in zip(self.tls or (), ("server.pem", "server.key")):
            self.give(source, name)

    def command(self):
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.directory, "fsync": "off",
                   "full_page_writes": "off", "shared_buffers": "64MB", "max_connections": "120", "log_statement": "all",
                   "log_line_prefix": "%u@%d "}
        if self.tls:
            options.update(ssl="on", ssl_cert_file=self.path("server.pem"), ssl_key_file=self.path("server.key"))
        argv = [self.postgres, "-D", self.path("data")]
        for key, value in options.items():
            argv += ["-c", f"{key}={value}"]
        return argv

    def is_up(self):
        try:
            self.sql("SELECT 1", "postgres")
            return True
        except AssertionError:
            return False

    def sql(self, text, database="shop"):
        """Runs SQL as the superuser; rows as psql prints them bare."""
        return self.run([self.psql, "-h", self.directory, "-p", str(self.port), "-U", "boss", "-d", database, "-v", "ON_ERROR_STOP=1",
                         "-X", "-q", "-A", "-t"], input=text).strip()

    def make_roles(self):
        quoted = {role: text.replace("'", "''") for role, text in self.passwords.items()}
        self.sql(ROLES.format(**quoted), "postgres")
        self.sql(GRANTS)
        return self

    def connections(self, role=None):
        """How many clients are connected to `shop`, as that role."""
        what = f"AND usename = '{role}'" if role else "AND usename <> 'boss'"
        return int(self.sql(f"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' {what}", "postgres"))

    def drop_connections(self):
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename <> 'boss'", "postgres")

    def statements(self):
        """What clients ran, from the server's log."""
        return [line for line in self.output if " LOG:  statement: " in line or " LOG:  execute " in line]
