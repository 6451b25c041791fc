"""HTTP/1.1 by hand. The parser is strict: every answer the server gives is checked for its framing, and a body that was cut short
is never taken for a whole one. `Connection` is the raw socket (half requests, pipelining, floods), `Client` the ordinary caller."""

import json
import re
import select
import socket
import time
import uuid

from lib.wait import PATIENCE

READ_LIMIT_S = 60.0 * PATIENCE
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) ([\x20-\x7e]*)\Z")
HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


class Cut(Exception):
    """The connection ended before the answer did. `response` is what had come, or None."""

    def __init__(self, why, response=None):
        super().__init__(why)
        self.response = response


class Headers:
    def __init__(self, pairs):
        self.pairs = pairs

    def all(self, name):
        return [v for n, v in self.pairs if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        assert len(values) <= 1, f"{name} comes {len(values)} times"
        return values[0] if values else default

    def __contains__(self, name):
        return bool(self.all(name))

    def __getitem__(self, name):
        value = self.get(name)
        assert value is not None, f"no header {name} in {self.pairs}"
        return value

    def __repr__(self):
        return repr(self.pairs)


class Response:
    def __init__(self, status, reason, headers, version):
        self.status, self.reason, self.headers, self.version = status, reason, headers, version
        self.body = b""
        self.chunks = 0
        self.seconds = None

    @property
    def content_type(self):
        return self.headers.get("Content-Type", "").split(";")[0].strip()

    @property
    def text(self):
        return self.body.decode("utf-8")

    def json(self, **how):
        return json.loads(self.text, **how)

    @property
    def data(self):
        assert self.status == 200, self
        return self.json()["data"]

    @property
    def query_id(self):
        return self.headers["Bulkhead-Query-Id"]

    def problem(self, status, code):
        """Asserts that this is that error, in the contract's form, and returns its fields."""
        assert self.status == status, f"expected {status} {code}, got {self!r}"
        assert self.content_type == "application/problem+json", self.headers
        fields = self.json()
        assert fields["status"] == status
        assert fields["code"] == code, fields
        for name in ("title", "detail"):
            assert isinstance(fields[name], str) and fields[name], f"{name} is missing in {fields}"
        if code == "forbidden":
            assert isinstance(fields.get("what"), str) and fields["what"], fields
        if status == 503:
            assert int(self.headers["Retry-After"]) >= 1
        if "Bulkhead-Query-Id" in self.headers:
            assert fields.get("query_id") == self.headers["Bulkhead-Query-Id"], fields
        return fields

    def __repr__(self):
        return f"<{self.status} {self.content_type} {self.body[:600]!r}>"


class Connection:
    """One TCP (or unix) connection."""

    def __init__(self, address, limit_s=READ_LIMIT_S, receive_buffer=None, tls=None):
        self.address, self.limit_s = address, limit_s
        if address.startswith("unix:"):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            target, self.host = address[5:], "localhost"
        else:
            host, _, port = address.rpartition(":")
            family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
            self.sock = socket.socket(family, socket.SOCK_STREAM)
            target, self.host = (host.strip("[]"), int(port)), address
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(limit_s)
        try:
            self.sock.connect(target)
            if self.sock.family != socket.AF_UNIX:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        except BaseException:
            self.sock.close()
            raise
        self.buffered = b""

    def close(self):
        self.sock.close()

    def abort(self):
        """Ends the connection with a reset instead of an orderly close."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- sending

    def send(self, data):
        self.sock.sendall(data)

    def head(self, method, target, headers=(), version="HTTP/1.1"):
        """The bytes of a request's head. `headers` as pairs; Host is added unless given (a value of None leaves it out)."""
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if not any(n.lower() == "host" for n, _ in pairs):
            pairs.insert(0, ("Host", self.host))
        lines = [f"{method} {target} {version}"] + [f"{n}: {v}" for n, v in pairs if v is not None]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send_request(self, method, target, body=None, headers=(), version="HTTP/1.1"):
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if body is not None and not any(n.lower() in ("content-length", "transfer-encoding") for n, _ in pairs):
            pairs.append(("Content-Length", str(len(body))))
        self.send(self.head(method, target, pairs, version) + (body or b""))

    def request(self, method, target, body=None, headers=(), version="HTTP/1.1"):
        began = time.monotonic()
        self.send_request(method, target, body, headers, version)
        response = self.read_response(method)
        response.seconds = time.monotonic() - began
        return response

    # --- receiving

    def _more(self):
        try:
            data = self.sock.recv(262144)
        except ConnectionError as e:
            raise Cut(f"connection lost: {e}") from e
        except TimeoutError as e:
            raise AssertionError(f"no answer within {self.limit_s:g} s") from e
        if not data:
            return False
        self.buffered += data
        return True

    def _take(self, n):
        out, self.buffered = self.buffered[:n], self.buffered[n:]
        return out

    def _until(self, mark):
        start = 0
        while True:
            at = self.buffered.find(mark, start)
            if at >= 0:
                out = self._take(at)
                self._take(len(mark))
                return out
            start = max(0, len(self.buffered) - len(mark) + 1)
            if not self._more():
                raise Cut(f"end of stream after {self.buffered[:200]!r}")

    def _exactly(self, n):
        # Collected in a list: a body of many megabytes must not be copied again with every read.
        parts, have = [self._take(n)], 0
        have = len(parts[0])
        while have < n:
            if not self.buffered and not self._more():
                raise Cut(f"end of stream, {n - have} bytes missing")
            parts.append(self._take(n - have))
            have += len(parts[-1])
        return b"".join(parts)

    def read_head(self):
        lines = self._until(b"\r\n\r\n").split(b"\r\n")
        m = STATUS_LINE.match(lines[0])
        assert m, f"bad status line {lines[0]!r}"
        pairs = []
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            assert colon and HEADER_NAME.match(name), f"bad header line {line!r}"
            assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value), f"control character in header {line!r}"
            pairs.append((name.decode(), value.decode().strip()))
        return Response(int(m[1]), m[2].decode(), Headers(pairs), lines[0][:8].decode())

    def read_response(self, method="GET", on_bytes=None):
        """A whole final answer (interim 1xx ones are skipped); raises Cut when it is not whole."""
        response = self.read_head()
        while 100 <= response.status < 200:
            response = self.read_head()
        try:
            response.body = self._body(response, method)
        except Cut as e:
            e.response = response
            raise
        return response

    def _body(self, response, method):
        h = response.headers
        chunked = h.get("Transfer-Encoding", "").lower() == "chunked"
        assert not (chunked and "Content-Length" in h), "both Content-Length and Transfer-Encoding"
        if method == "HEAD" or response.status in (204, 304):
            return b""
        if chunked:
            assert response.version == "HTTP/1.1"
            parts = []
            while True:
                size = int(self._until(b"\r\n"), 16)
                if size == 0:
                    assert self._until(b"\r\n") == b"", "trailers were not announced"
                    return b"".join(parts)
                parts.append(self._exactly(size))
                response.chunks += 1
                assert self._exactly(2) == b"\r\n", "a chunk's length is wrong"
        if "Content-Length" in h:
            return self._exactly(int(h["Content-Length"]))
        assert h.get("Connection", "").lower() == "close" or response.version == "HTTP/1.0", f"no framing: {h}"
        while self._more():
            pass
        return self._take(len(self.buffered))

    def is_closed_by_peer(self):
        """True once the server has ended the connection with nothing more to read (no waiting)."""
        if self.buffered:
            return False
        ready, _, _ = select.select([self.sock], [], [], 0)
        if not ready:
            return False
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            return True
        self.buffered += data
        return not data

    def fill(self):
        """Waits until something has come; it is read by what is asked for next."""
        return bool(self.buffered) or self._more()

    def read_to_end(self):
        try:
            while self._more():
                pass
        except Cut:
            pass
        return self._take(len(self.buffered))


class Client:
    """One connection for each request, unless `connect()` is asked for. With a key, every request that names no other shows it."""

    def __init__(self, address, limit_s=READ_LIMIT_S, key=None, tls=None):
        self.address, self.limit_s, self.key, self.tls = address, limit_s, key, tls

    def without_key(self):
        return Client(self.address, self.limit_s, tls=self.tls)

    def _with_key(self, headers):
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if self.key and not any(n.lower() == "authorization" for n, _ in pairs):
            pairs.append(("Authorization", f"Bearer {self.key}"))
        return pairs

    def connect(self, **how):
        return Connection(self.address, how.pop("limit_s", self.limit_s), **{"tls": self.tls, **how})

    def request(self, method, target, body=None, headers=()):
        with self.connect() as c:
            return c.request(method, target, body, self._with_key(headers))

    def get(self, target, **headers):
        return self.request("GET", target, headers=[(k.replace("_", "-"), v) for k, v in headers.items()])

    @staticmethod
    def query_body(sql, fields):
        return json.dumps({"sql": sql, **fields}).encode()

    def query(self, sql, params=None, headers=(), **fields):
        """POST /v1/query with a JSON body; `fields` go into the body as they are."""
        if params is not None:
            fields["params"] = params
        pairs = [("Content-Type", "application/json")] + list(dict(headers).items())
        return self.request("POST", "/v1/query", self.query_body(sql, fields), pairs)

    def rows(self, sql, params=None, **fields):
        response = self.query(sql, params, **fields)
        assert response.status == 200, response
        return response.json()["data"]

    def raw_sql(self, sql, target="/v1/query", content_type="text/plain"):
        body = sql if isinstance(sql, bytes) else sql.encode()
        return self.request("POST", target, body, [("Content-Type", content_type)])

    def start_query(self, sql, headers=(), receive_buffer=None, **fields):
        """Sends the query and returns the connection, with the answer still to be read."""
        c = self.connect(receive_buffer=receive_buffer)
        pairs = [("Content-Type", "application/json")] + list(dict(headers).items())
        c.send_request("POST", "/v1/query", self.query_body(sql, fields), self._with_key(pairs))
        return c


def new_id():
    return str(uuid.uuid4())
