/* Orders sent early. Runs in front and worker. */
#include "link/early.h"
#include "core/errors.h"

#include <string.h>

static struct early *slot_of(const struct ring *r, unsigned slot) { return (struct early *)(r->early + slot * RING_EARLY_BYTES); }
static uint64_t word_of(unsigned slot, uint32_t job) { return (uint64_t)job << 1 | slot; }

void early_put(struct ring *r, unsigned slot, const struct link_run *run, const char *sql, const char *params, int64_t now_ns)
{
    struct early *a = slot_of(r, slot);
    CHECK(slot < RING_EARLY_SLOTS && run->job && !run->url_bytes && (uint64_t)run->sql_bytes + run->params_bytes <= EARLY_TEXT_BYTES);
    a->run = *run;
    a->put_ns = now_ns;
    memcpy(a->text, sql, run->sql_bytes);
    if (run->params_bytes)
        memcpy(a->text + run->sql_bytes, params, run->params_bytes);
    atomic_store(&r->shared->early, word_of(slot, run->job));
}

bool early_recall(struct ring *r, unsigned slot, uint32_t job)
{
    uint64_t word = word_of(slot, job);
    return atomic_compare_exchange_strong(&r->shared->early, &word, 0);
}

bool early_is_there(const struct ring *r, unsigned slot, uint32_t job) { return atomic_load(&r->shared->early) == word_of(slot, job); }

const struct early *early_take(struct ring *r)
{
    uint64_t word = atomic_load(&r->shared->early);
    if (!word || !atomic_compare_exchange_strong(&r->shared->early, &word, 0))
        return NULL;
    return slot_of(r, (unsigned)(word & 1));
}
