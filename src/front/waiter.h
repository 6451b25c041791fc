/* Requests that wait for a query's end: the long poll. Runs in the front. */
#pragma once
#include "front/front.h"
#include "front/registry.h"

/* The longest that a request may wait; a longer wish is cut to it. */
#define WAIT_MAX_MS (5 * 60 * 1000)

/* Reads ?wait=; 0 when absent. 0, or -1 with *err. */
int waiter_parse(const struct exchange *x, int64_t *ret_ms, struct error *err);
/* Holds the request until the query is over, the time is up or the server drains, and calls answer then, which answers. The record stays
 * known until then. Nothing is answered before this returns. */
void waiter_add(struct front *f, struct exchange *x, struct record *rec, int64_t wait_ms,
                void (*answer)(struct front *f, struct exchange *x, struct record *rec));
/* The query is over: answers all who wait for it. */
void waiters_tell(struct front *f, struct record *rec);
/* Answers everybody now (the server drains). */
void waiters_tell_all(struct front *f);
