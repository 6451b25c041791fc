/* Scratch directories for spilling: one root per server or command, one directory below it per worker; and the spool's. Knows nothing of what is
 * spilled or spooled.
 * Runs in the supervisor and the command line. */
#pragma once
#include "core/errors.h"
#include "core/log.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct scratch {
    char root[2048]; /* "": no spilling */
    int lock;        /* held while the root is in use; -1: none */
};
#define SCRATCH_NONE ((struct scratch){.lock = -1})

/* Makes a root below `parent` ("": /var/tmp) and wipes the roots there whose owners are dead; with a limit of 0 there is none.
 * 0; -1 with *err, and then *s is SCRATCH_NONE. */
int scratch_open(struct scratch *s, const char *parent, int64_t limit_bytes, struct log *log, struct error *err);
/* The same for the spool, with its directory open in *ret_fd (the caller's): the front, whose user `uid` is (0: our own), makes files there that have no name. With max_bytes 0 there
 * is none, and the fd is no directory. */
int scratch_open_spool(struct scratch *s, const char *parent, int64_t max_bytes, uid_t uid, int *ret_fd, struct log *log, struct error *err);
/* A worker's directory, owned by that user (0: by ourselves); "" when there is no spilling. False with errno. */
bool scratch_make(const struct scratch *s, uint32_t worker, uid_t uid, char *ret, size_t cap);
/* What a worker has on disk: the files in its directory, and, where that can be told, those that it removed and still has open (its user `uid` is 0:
 * it can't be told). INT64_MAX for more files than can be counted now and then. */
int64_t scratch_used_bytes(const char *path, pid_t pid, uid_t uid);
/* Removes a directory with all in it; "" is nothing. */
void scratch_remove(const char *path);
/* Removes the root and gives its lock back. Accepts SCRATCH_NONE and leaves it behind. */
void scratch_close(struct scratch *s);
