/* Where a database lies: its directory, its name, and the names that the write path uses beside it. Knows paths, not contents.
 * Runs in the supervisor, the publisher and the command line. */
#pragma once
#include "core/errors.h"
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* What may lie beside NAME. The engine's: its log, and the two that a crash in the middle of a checkpoint can leave. */
#define PLACE_WAL ".wal"
#define PLACE_WAL_CHECKPOINT ".wal.checkpoint"
#define PLACE_WAL_RECOVERY ".wal.recovery"
/* Ours: the lock of the write path (stays), the private copy and what the engine puts beside that (removed by the next run), what a rollback
 * took away, and the versions that were kept: NAME.bulkhead-version-1, -2, ... in the order in which they were replaced. */
#define PLACE_LOCK ".bulkhead-lock"
#define PLACE_COPY ".bulkhead-new"
#define PLACE_UNDONE ".bulkhead-undone"
#define PLACE_VERSION ".bulkhead-version-"
#define PLACE_SUFFIX_MAX 64 /* bytes that the longest name is longer than NAME */

struct place {
    char path[PATH_MAX]; /* the file itself: absolute, symbolic links followed */
    char directory[PATH_MAX];
    char name[NAME_MAX + 1];
    int dir_fd; /* of `directory`; all that is done beside the database is done by it */
};
#define PLACE_NONE ((struct place){.dir_fd = -1})

/* Finds the database behind `path`. It must be a regular file; with may_be_new it may also be missing (its directory must be there).
 * 0; -1 with *err and nothing to close. */
int place_open(struct place *p, const char *path, bool may_be_new, struct error *err);
void place_close(struct place *p);

/* NAME followed by a suffix; always fits. */
void place_beside(const struct place *p, const char *suffix, char ret[NAME_MAX + 1]);
/* The same as an absolute path, for messages and for processes without dir_fd. */
void place_beside_path(const struct place *p, const char *suffix, char ret[PATH_MAX]);
/* Is there a file beside it? Its size, or -1. */
long long place_size(const struct place *p, const char *suffix);
