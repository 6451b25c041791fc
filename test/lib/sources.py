"""Settings for `Server(set=...)` that declare sources on the test servers, with their secrets in files."""

import os


class Sources:
    """`Sources(tmp_path).postgres("pg1", pg).mysql("my1", my).settings`"""

    def __init__(self, directory):
        self.directory = directory
        self.settings = {}

    def secret(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text + "\n")
        os.chmod(path, 0o600)
        return path

    def put(self, name, **values):
        for key, value in values.items():
            if value is not None:
                self.settings[f"source.{name}.{key}"] = value
        return self

    def _database(self, name, kind, server, role, values):
        values.setdefault("host", "127.0.0.1")
        values.setdefault("port", server.port)
        values.setdefault("user", role)
        if "password_file" not in values:
            values["password_file"] = self.secret(f"{name}.password", server.passwords[role])
        return self.put(name, type=kind, **values)

    def postgres(self, name, server, role="reader", **values):
        return self._database(name, "postgres", server, role, {"database": "shop", **values})

    def mysql(self, name, server, role="reader", **values):
        return self._database(name, "mysql", server, role, values)

    def s3(self, name, server, bucket="lake", prefix="in/", **values):
        return self.put(name, type="s3", bucket=bucket, prefix=prefix, **{
            "endpoint": server.endpoint, "key_id_file": self.secret(f"{name}.key_id", server.key_id),
            "secret_file": self.secret(f"{name}.secret", server.secret), **values})

    def files(self, name, path):
        return self.put(name, type="files", path=path)

    def duckdb(self, name, path):
        return self.put(name, type="duckdb", path=path)
