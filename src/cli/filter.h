/* What stands between a result's bytes and the output when they don't go out as they are. Bytes go in as the output takes what comes
 * out, so that no filter holds more than it must. Runs in the command line. */
#pragma once
#include "core/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What comes out is handed on in pieces of about this size. */
#define FILTER_PIECE_BYTES ((size_t)65536)

struct filter {
    /* How many bytes it took; fewer than len only while not `last`; -1: they are no result. */
    ssize_t (*feed)(struct filter *f, const char *data, size_t len, bool last);
    /* Everything was fed. -1: it can't have been everything. */
    int (*end)(struct filter *f, uint64_t rows, bool truncated);
    /* Writes the next piece into the empty `out`; leaves it empty when there is none (yet). */
    void (*more)(struct filter *f);
    void (*free)(struct filter *f);
    struct buf out;
};

/* A text format on its way to a terminal: control characters are escaped. */
struct filter *filter_terminal_new(void);
/* The JSON format as a table for people, cut to so many columns (0: not cut). */
struct filter *filter_table_new(unsigned columns);
static inline void filter_free(struct filter *f)
{
    if (f)
        f->free(f);
}
