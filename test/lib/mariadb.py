"""A MariaDB server of the tests' own. Root comes in by the unix socket; everybody else by TCP with a password."""

from lib.backend import Backend, find

HINT = "scripts/install-packages test (Debian: mariadb-server-core)"
PLACES = ("/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin")


def quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class MariaDB(Backend):
    name = "mariadb"
    passwords = {"reader": "my'read\"er \\ s3cret", "writer": "my-writer-s3cret"}

    def __init__(self, tls=None, address="127.0.0.1"):
        """`tls`: (certificate, key), files; it then takes encrypted connections as well."""
        super().__init__()
        self.tls, self.address = tls, address
        self.server = find("mariadbd", *PLACES, hint=HINT)
        self.install = find("mariadb-install-db", *PLACES, hint=HINT)
        self.client = find("mariadb", *PLACES, hint="scripts/install-packages test (Debian: mariadb-client-core)")

    def prepare(self):
        # Without its file of settings of the machine (--no-defaults), and without accounts that have no password.
        self.run([self.install, "--no-defaults", f"--datadir={self.path('data')}", "--auth-root-authentication-method=normal",
                  "--skip-test-db", "--skip-name-resolve", f"--tmpdir={self.directory}"])

    def command(self):
        tls = [f"--ssl-cert={self.give(self.tls[0], 'server.pem')}", f"--ssl-key={self.give(self.tls[1], 'server.key')}"] if self.tls else []
        return [self.server, "--no-defaults", *tls, f"--datadir={self.path('data')}", f"--tmpdir={self.directory}",
                f"--socket={self.path('s')}", f"--pid-file={self.path('pid')}", f"--bind-address={self.address}", f"--port={self.port}",
                "--skip-name-resolve", "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin",
                "--innodb-doublewrite=0", "--max-connections=120", "--general-log=0", "--character-set-server=utf8mb4"]

    def is_up(self):
        try:
            self.sql("SELECT 1", "mysql")
            return True
        except AssertionError:
            return False

    def sql(self, text, database="shop"):
        return self.run([self.client, "--no-defaults", f"--socket={self.path('s')}", "-uroot", "--batch", "--skip-column-names",
                         "--default-character-set=utf8mb4", database], input=text).strip()

    def make_roles(self):
        self.sql("CREATE DATABASE shop", "mysql")
        for role, rights in (("reader", "SELECT"), ("writer", "ALL")):
            self.sql(f"CREATE USER {role}@'%' IDENTIFIED BY {quoted(self.passwords[role])}; GRANT {rights} ON *.* TO {role}@'%'")
        return self

    def connections(self, role=None):
        what = f"user = '{role}'" if role else "user <> 'root'"
        return int(self.sql(f"SELECT count(*) FROM information_schema.processlist WHERE {what}"))

    def drop_connections(self):
        for connection in self.sql("SELECT id FROM information_schema.processlist WHERE user <> 'root'").split():
            self.sql(f"KILL {connection}")

    def log_statements(self):
        self.sql("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = 1; TRUNCATE mysql.general_log")

    def statements(self):
        return self.sql("SELECT argument FROM mysql.general_log WHERE user_host NOT LIKE 'root%'").splitlines()
