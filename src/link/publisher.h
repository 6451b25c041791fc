/* What supervisor and publisher say to each other: a SOCK_SEQPACKET pair, one struct. The publisher does for one admin write what blocks on the
 * disk (lock, copy, rename), so that the supervisor never does. Runs in the supervisor and the publisher. */
#pragma once
#include "core/errors.h"
#include <limits.h>
#include <stdint.h>

enum publisher_type {
    PUBLISHER_PROGRESS, /* from the publisher: so far the copy is */
    PUBLISHER_COPIED,   /* from the publisher: it is there, at `path` */
    PUBLISHER_COMMIT,   /* to the publisher: the writer has closed it, put it in the database's place */
    PUBLISHER_DONE,     /* from the publisher: it is */
    PUBLISHER_FAILED,   /* from the publisher: the database is as it was, and `error` says why */
    PUBLISHER_TYPES
};

struct publisher_message {
    uint32_t type;
    uint32_t pad;
    int64_t done_bytes, total_bytes; /* PROGRESS */
    int64_t kept;                    /* DONE: the number of the old version; 0: it was not kept */
    struct error error;              /* FAILED */
    char note[256];                  /* DONE: what did not work as wished; "" */
    char path[PATH_MAX];             /* COPIED */
};
