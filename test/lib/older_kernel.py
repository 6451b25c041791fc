"""A kernel that has less: what runs in `preexec=without("landlock_create_ruleset")` gets ENOSYS (or `errno=`) for those system calls, as it would
from an older kernel, or from a container's filter. By a seccomp filter, as containers do it."""

import ctypes
import errno as codes
import platform
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, FAIL_WITH = 0x7fff0000, 0x00050000
LOAD_WORD, EQUAL, ANSWER = 0x20, 0x15, 0x06
NUMBERS = {  # x86_64, others (asm-generic)
    "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445), "landlock_restrict_self": (446, 446),
    "unshare": (272, 97), "seccomp": (317, 277), "pidfd_open": (434, 434), "close_range": (436, 436), "memfd_create": (319, 279), "memfd_secret": (447, 447),
}


PRCTL = (157, 167)


def number(name):
    return NUMBERS[name][0 if platform.machine() == "x86_64" else 1]


def install(*names, errno=codes.ENOSYS):
    """Over the calling process and all it will start, for good. "prctl:22" is prctl with that first argument."""
    program = [struct.pack("HBBI", LOAD_WORD, 0, 0, 0)]  # struct seccomp_data starts with the number
    for name in names:
        if name.startswith("prctl:"):
            program += [struct.pack("HBBI", EQUAL, 0, 3, PRCTL[platform.machine() != "x86_64"]), struct.pack("HBBI", LOAD_WORD, 0, 0, 16),
                        struct.pack("HBBI", EQUAL, 0, 1, int(name[6:])), struct.pack("HBBI", ANSWER, 0, 0, FAIL_WITH | errno), struct.pack("HBBI", LOAD_WORD, 0, 0, 0)]
            continue
        program.append(struct.pack("HBBI", EQUAL, 0, 1, number(name)))
        program.append(struct.pack("HBBI", ANSWER, 0, 0, FAIL_WITH | errno))
    program.append(struct.pack("HBBI", ANSWER, 0, 0, ALLOW))
    code = b"".join(program)
    buffer = ctypes.create_string_buffer(code, len(code))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer)))
    if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot install a filter")


def without(*names, errno=codes.ENOSYS):
    """A preexec function."""
    return lambda: install(*names, errno=errno)
