/* The system calls a process may still make: one table (syscalls.def), made into a seccomp filter. Knows no worker and no front. Runs in worker,
 * front, broker and probes. */
#pragma once
#include "core/errors.h"
#include <stddef.h>

enum filter_kind {
    FILTER_WORKER,  /* while the engine opens, and afterwards */
    FILTER_NETWORK, /* the same for a worker whose sources are on other machines: with sockets */
    FILTER_WRITER,  /* the same for one that writes a database: files beside it are renamed */
    FILTER_CLOSED,  /* what the worker loses besides, once it is open: new executable memory, and the calls that build a sandbox */
    FILTER_FRONT,
    FILTER_BROKER, /* sockets and names; nothing that leads to files or processes */
    FILTER_KINDS
};

/* Puts the filter over the calling thread and all it will start; needs no_new_privs. It can't be taken off again. The text says how many calls
 * are left. 0, or -1 with the reason in the text. */
int filter_install(enum filter_kind kind, char *ret_text, size_t cap);
