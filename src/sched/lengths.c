#include "sched/lengths.h"

#define LOOKED_AT_BYTES 1024 /* of each end */

/* FNV-1a, 64 bits (Fowler, Noll, Vo). No secret depends on it: whoever makes two texts collide is wrong about his own queries. */
static uint64_t hash(uint64_t h, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

uint64_t lengths_key(uint32_t tenant, const char *sql, size_t len)
{
    size_t ends = len < LOOKED_AT_BYTES ? len : LOOKED_AT_BYTES;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    h = hash(h, &tenant, sizeof tenant);
    h = hash(h, &len, sizeof len);
    h = hash(h, sql, ends);
    if (len > ends)
        h = hash(h, sql + len - ends, ends);
    return h ? h : 1;
}

void lengths_note(struct lengths *l, uint64_t key, bool took_long)
{
    uint64_t *slot = &l->long_text[key % LENGTHS_SLOTS];
    if (took_long)
        *slot = key;
    else if (*slot == key)
        *slot = 0;
}

bool lengths_is_long(const struct lengths *l, uint64_t key) { return l && key && l->long_text[key % LENGTHS_SLOTS] == key; }
