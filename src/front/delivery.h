/* A result on its way to a client that waits for it: from the ring, or from a file of the spool once the client is slower than the worker, so
 * that a slow client holds no worker. Runs in the front. */
#pragma once
#include "front/query.h"

/* Makes it the one who hears of the query's job and its exchange. */
void delivery_take(struct query *q);
/* Called with every tick: turns what slow clients get into files. */
void delivery_tick(struct front *f, int64_t now_ns);
