/* Asynchronous queries: nobody waits at the other end, and the result goes into a file that is kept (results.h). Runs in the front. */
#pragma once
#include "front/query.h"

/* Makes it the one who hears of the query's job. */
void async_take(struct query *q);
/* The query waits or runs: its client gets 202, and is done with. */
void async_accepted(struct query *q);
/* Its export has its name, or can't have it. */
void async_exported(struct query *q, const struct error *err);
/* Called with every tick. */
void async_tick(struct front *f);
/* The server ends: who could not fetch the result any more need not have it made. */
void async_drain(struct front *f);
