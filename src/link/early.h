/* An order sent early: a RUN in the memory that front and worker share, for a worker that is busy. The worker takes it up with the END or FAIL of its
 * job, without a message; until then the front can have it back. Whoever changes `ring_shared.early` from it to 0 has it.
 * There are two slots, used in turn: the job that runs may still read its statement in one of them. */
#pragma once
#include "link/messages.h"
#include "link/ring.h"

#define EARLY_TEXT_BYTES (RING_EARLY_BYTES - sizeof(struct link_run) - 8)

/* Written by the front; the worker has it read-only. */
struct early {
    struct link_run run;
    int64_t put_ns;              /* on the monotonic clock */
    char text[EARLY_TEXT_BYTES]; /* statement and parameters, as in the request area */
};
_Static_assert(sizeof(struct early) == RING_EARLY_BYTES, "slot");

/* Front: puts the order there. run->sql_bytes and params_bytes fit EARLY_TEXT_BYTES, url_bytes is 0; slot is not the one of the job that runs. */
void early_put(struct ring *r, unsigned slot, const struct link_run *run, const char *sql, const char *params, int64_t now_ns);
/* Front: takes it back. False: the worker has it. */
bool early_recall(struct ring *r, unsigned slot, uint32_t job);
/* Front: nobody has taken it yet. What the ring held before that is of the job before. */
bool early_is_there(const struct ring *r, unsigned slot, uint32_t job);
/* Worker: takes up what is there. NULL: nothing. */
const struct early *early_take(struct ring *r);
