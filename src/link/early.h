/* Orders sent early: RUNs in the memory that front and worker share, for a worker that is busy. The worker takes the next one up with the END or FAIL of
 * its job, without a message; until then the front can have it back, the last one first. Whoever changes a slot's `ring_shared.early` to 0 has its order.
 * Orders are numbered from 0; both sides count: the front those that it has put and not taken back, the worker those that it has taken. A number's slot
 * is used again when EARLY_MOST further ones are there at most, besides the one that runs, whose statement may still be read. */
#pragma once
#include "link/messages.h"
#include "link/ring.h"

#define EARLY_MOST 2 /* at a time */
_Static_assert(EARLY_MOST + 1 < RING_EARLY_SLOTS, "slots");
#define EARLY_TEXT_BYTES (RING_EARLY_BYTES - sizeof(struct link_run) - 8)

/* Written by the front; the worker has it read-only. */
struct early {
    struct link_run run;
    int64_t put_ns;              /* on the monotonic clock */
    char text[EARLY_TEXT_BYTES]; /* statement and parameters, as in the request area */
};
_Static_assert(sizeof(struct early) == RING_EARLY_BYTES, "slot");

/* Front: puts the order there. run->sql_bytes and params_bytes fit EARLY_TEXT_BYTES, url_bytes is 0. */
void early_put(struct ring *r, uint32_t number, const struct link_run *run, const char *sql, const char *params, int64_t now_ns);
/* Front: takes it back. False: the worker has it. */
bool early_recall(struct ring *r, uint32_t number, uint32_t job);
/* Front: nobody has taken it yet. What the ring held before that is of the job before. */
bool early_is_there(const struct ring *r, uint32_t number, uint32_t job);
/* Worker: takes up the one of that number. NULL: it is not there. */
const struct early *early_take(struct ring *r, uint32_t number);
