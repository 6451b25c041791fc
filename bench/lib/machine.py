"""Tells how fast the machine's memory is after a pause: hosts of virtual machines may take pages away from idle guests.

Such a host makes whatever touches much memory after a pause slow, in ways no counter of the guest shows; every delay after a
pause (cold start, a new worker's first query) then says more of the host than of the server.
"""

import mmap
import time

SIZE = 16 << 20
PAGE = 4096
PAUSE_S = 0.3


def _walk_ms(memory):
    begun = time.monotonic()
    touched = memory[::PAGE]
    took = (time.monotonic() - begun) * 1000
    assert len(touched) == SIZE // PAGE
    return took


def measure(rec):
    """One read of each page of 16 MB, in a row and after a pause."""
    with mmap.mmap(-1, SIZE) as memory:
        memory.write(b"\x01" * SIZE)
        _walk_ms(memory)
        rec.add("machine.walk_ms", min(_walk_ms(memory) for _ in range(3)))
        time.sleep(PAUSE_S)
        rec.add("machine.walk_rested_ms", _walk_ms(memory))


def sentence(rec):
    if not rec.has("machine.walk_ms"):
        return ""
    return (
        f"To read one byte of each page of 16 MB took {rec.median('machine.walk_ms'):.2f} ms in a row, and "
        f"{rec.median('machine.walk_rested_ms'):.2f} ms after {PAUSE_S:g} s of sleep: where the second is many times the first, the host takes "
        "memory away from an idle guest, and the delays after a pause (cold start, a new worker's first answer) are the host's."
    )
