/* Where a result goes: standard output, or a file that appears whole or not at all. Knows no formats and no workers.
 * Runs in the command line. */
#pragma once
#include "core/errors.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct output {
    int fd;
    bool own_fd;
    bool may_block; /* the fd could not be made non-blocking: written to in small pieces, when poll says so */
    bool is_file;   /* never blocks */
    bool is_socket;
    bool is_terminal;
    bool atomic;     /* what was written has no name yet, or a temporary one */
    char *path;      /* the final one, symbolic links resolved; NULL: standard output */
    char *directory; /* of path */
    char *temporary; /* NULL: the file has no name yet */
};
#define OUTPUT_NONE ((struct output){.fd = -1})

/* Opens standard output (path NULL or "-"), or what is no ordinary file (a pipe, a device); an ordinary file only gets its checks here, so
 * that nothing has to be cleaned up yet. `database` must not be the output. 0; -1 with *err. */
int output_open(struct output *o, const char *path, const char *database, struct error *err);
/* Makes the file that becomes the output. 0; -1 with *err. Nothing to do for the others. */
int output_prepare(struct output *o, struct error *err);
/* Columns of the terminal; 0: it is none. */
unsigned output_columns(const struct output *o);

/* What poll should watch for: the fd when it may block or its reader may leave, -1 for files. */
int output_poll_fd(const struct output *o);
/* How much was taken; 0: it would block; -1 with errno (EPIPE: the reader has gone). */
ssize_t output_write(struct output *o, const void *data, size_t len);

/* Everything was written: the file is made durable and gets its name. 0; -1 with *err. */
int output_commit(struct output *o, struct error *err);
/* Closes; what was not committed is gone. */
void output_close(struct output *o);
/* Fills *err from errno. Always -1. */
int output_failed(const struct output *o, const char *what, struct error *err);
