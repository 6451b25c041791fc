/* Orders sent early. Runs in front and worker. */
#include "link/early.h"
#include "core/errors.h"

#include <string.h>

static struct early *slot_of(const struct ring *r, uint32_t number)
{
    return (struct early *)(r->early + number % RING_EARLY_SLOTS * RING_EARLY_BYTES);
}

static _Atomic uint32_t *word_of(const struct ring *r, uint32_t number) { return &r->shared->early[number % RING_EARLY_SLOTS]; }

void early_put(struct ring *r, uint32_t number, const struct link_run *run, const char *sql, const char *params, int64_t now_ns)
{
    struct early *e = slot_of(r, number);
    CHECK(run->job && !run->url_bytes && (uint64_t)run->sql_bytes + run->params_bytes <= EARLY_TEXT_BYTES);
    e->run = *run;
    e->put_ns = now_ns;
    memcpy(e->text, sql, run->sql_bytes);
    if (run->params_bytes)
        memcpy(e->text + run->sql_bytes, params, run->params_bytes);
    atomic_store(word_of(r, number), run->job);
}

bool early_recall(struct ring *r, uint32_t number, uint32_t job) { return atomic_compare_exchange_strong(word_of(r, number), &job, 0); }

bool early_is_there(const struct ring *r, uint32_t number, uint32_t job) { return atomic_load(word_of(r, number)) == job; }

const struct early *early_take(struct ring *r, uint32_t number)
{
    uint32_t job = atomic_load(word_of(r, number));
    return job && atomic_compare_exchange_strong(word_of(r, number), &job, 0) ? slot_of(r, number) : NULL;
}
