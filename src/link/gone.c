/* Ids that were once given out. Runs in the front. */
#include "link/gone.h"

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

uint64_t gone_hash(uint64_t id_high, uint64_t id_low, const char *owner)
{
    uint64_t h = mix(mix(1, id_high), id_low);
    for (const char *p = owner; *p; p++)
        h = mix(h, (uint8_t)*p);
    return h ? h : 1; /* 0 is an empty place */
}

void gone_note(struct gone_ring *r, uint64_t hash)
{
    uint64_t at = atomic_fetch_add_explicit(&r->count, 1, memory_order_relaxed);
    atomic_store_explicit(&r->hash[at % GONE_ENTRIES], hash, memory_order_relaxed);
}

bool gone_was(struct gone_ring *r, uint64_t hash)
{
    for (int i = 0; i < GONE_ENTRIES; i++)
        if (atomic_load_explicit(&r->hash[i], memory_order_relaxed) == hash)
            return true;
    return false;
}
