"""An S3 server of the tests' own (versitygw; buckets are directories, objects files below them)."""

import os

from lib.backend import Backend, find

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEPS = os.path.join(os.path.abspath(os.environ.get("BUILD_DIR") or os.path.join(ROOT, "build")), "deps")


class S3(Backend):
    name = "s3"
    key_id, secret, region = "bulkheadkeyid", "s3-'quoted'-\"s3cret", "us-east-1"

    def __init__(self, tls=None):
        """`tls`: (certificate, key), files; it then speaks TLS only."""
        super().__init__()
        self.tls = tls
        self.program = find("versitygw", os.path.join(DEPS, "versitygw"), hint="scripts/fetch-deps --only versitygw")

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def prepare(self):
        self.run(["/bin/mkdir", self.path("root"), self.path("meta")])

    def command(self):
        # Metadata beside the data: not every file system has extended attributes.
        tls = ["--cert", self.give(self.tls[0], "server.pem"), "--key", self.give(self.tls[1], "server.key")] if self.tls else []
        return [self.program, *tls, "--port", self.endpoint, "--access", self.key_id, "--secret", self.secret, "--region", self.region,
                "--keep-alive", "--access-log", self.path("access.log"), "posix", "--sidecar", self.path("meta"), self.path("root")]

    def is_up(self):
        return self.accepts()

    def bucket(self, name):
        os.makedirs(self.path("root", name), exist_ok=True)
        if self.user:
            os.chown(self.path("root", name), *self.user)

    def put(self, bucket, key, content):
        """An object, as bytes, straight into the server's directory."""
        self.bucket(bucket)
        path = self.path("root", bucket, key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(content)
        at = path
        while self.user and at != self.path("root"):
            os.chown(at, *self.user)
            at = os.path.dirname(at)

    def requests(self):
        """The lines of its access log."""
        try:
            with open(self.path("access.log"), encoding="utf-8", errors="replace") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []
