"""API keys for tests."""

import re
import zlib

from lib.server import run_cli

KEY = re.compile(r"bh_[0-9A-Za-z]{49}\n\Z")


def new_key(keys_file, name, role="reader", *options):
    result = run_cli("key", "new", name, "--role", role, "--keys", keys_file, *options)
    assert result.returncode == 0, result
    assert KEY.match(result.stdout), result
    return result.stdout.strip()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def fake_key(i):
    """A key of the right form that no server knows."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

    def base62(n, width):
        return "".join(digits[n // 62**k % 62] for k in reversed(range(width)))
    body = "bh_" + base62(i, 43)
    return body + base62(zlib.crc32(body.encode()), 6)
