/* The lock of the write path: one import, admin write, rollback or recovery of a database at a time, across processes. It is flock() on a
 * file beside the database: the kernel gives it back however its holder dies. The file stays, and says who holds it (or held it last).
 * Runs in the supervisor, the publisher and the command line. */
#pragma once
#include "publish/place.h"
#include <stdint.h>

enum lock_mode {
    LOCK_COPY,     /* the holder works on a copy: readers are not concerned */
    LOCK_IN_PLACE, /* the holder needs the file for itself: servers give it up until the lock is free */
};

struct lock_holder {
    int32_t pid; /* 0: it did not say */
    enum lock_mode mode;
    char command[160]; /* control characters replaced */
};

/* Takes it. A holder that is just ending is waited for, a little. *ret_fd is the caller's; closing it gives the lock back.
 * 0; -1 with *err: ERR_CONFLICT (the detail names the holder), ERR_UNAVAILABLE. */
int lock_take(const struct place *p, enum lock_mode mode, const char *command, int *ret_fd, struct error *err);
/* Is it held, and by whom? (By looking: the answer may be old when it comes.) */
bool lock_is_held(const struct place *p, struct lock_holder *ret);
