"""Waiting on conditions. Nothing in the suites sleeps and hopes; everything waits for something it can name."""

import os
import time

# BULKHEAD_TEST_PATIENCE: how many times longer than usual a slow machine (one without a processor of its own) may take before a test gives up.
PATIENCE = float(os.environ.get("BULKHEAD_TEST_PATIENCE") or 1)
DEFAULT_S = 15.0


class Timeout(AssertionError):
    """A condition did not come true. The limit is generous: it only ends a hanging test."""


def wait_until(condition, what, limit_s=DEFAULT_S, every_s=0.01):
    """Calls `condition` until it returns something true, and returns that."""
    limit_s *= PATIENCE
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Timeout(f"not within {limit_s:g} s: {what() if callable(what) else what}")
        time.sleep(every_s)


def stays(condition, what, for_s=0.5, every_s=0.02):
    """Asserts that `condition` holds all the time for `for_s` seconds (for things that must NOT happen)."""
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        assert condition(), f"did not stay so: {what() if callable(what) else what}"
        time.sleep(every_s)
