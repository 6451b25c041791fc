/* The private copy: by reference where the file system can (btrfs, XFS: at once, whatever the size), else byte by byte inside the
 * kernel, with progress. Knows files, no databases. Runs in the publisher and the command line. */
#pragma once
#include "core/errors.h"
#include <stdbool.h>
#include <stdint.h>

struct copy_progress {
    /* Called at the start, at least every 16 MiB, and at the end. False: stop (the copy fails with ERR_CANCELLED). NULL: never. */
    bool (*step)(void *ctx, int64_t done_bytes, int64_t total_bytes);
    void *ctx;
};

/* Copies all of `from` into the empty file `to`. *ret_shared: it was done by reference. 0; -1 with *err (ERR_UNAVAILABLE: also for a full
 * disk, which is seen before the first byte where the file system tells; ERR_CANCELLED). `what` names the file in messages. */
int copy_file(int from, int to, const char *what, const struct copy_progress *progress, bool *ret_shared, struct error *err);
