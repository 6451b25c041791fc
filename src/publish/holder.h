/* Who has a file open or locked, as far as this user may see. Knows /proc, no databases. Runs in the supervisor, the publisher and the
 * command line. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_holder {
    int32_t pid;       /* 0: nobody can be named (another container's, or a lock that belongs to no process) */
    bool writes;       /* it holds a lock against readers too */
    char command[160]; /* its command line, control characters replaced; "" when it can't be read */
};

/* True when another process holds a record lock that keeps a writer out of the whole file (DuckDB's readers and writers hold one). */
bool holder_locked(int fd, struct file_holder *ret);
/* True when another process has the file open, locked or not, and may be looked at. Walks /proc: some milliseconds; not for the supervisor. */
bool holder_open(int fd, struct file_holder *ret);
/* "process 12 (duckdb sales.db)" */
void holder_text(const struct file_holder *h, char *ret, size_t cap);

/* Copies a text that others wrote, with everything that could steer a terminal replaced by '?'. */
void holder_clean(const char *text, char *ret, size_t cap);
