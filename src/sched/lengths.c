#include "sched/lengths.h"

#define LOOKED_AT_BYTES 1024   /* of each end */
#define BUSY_AT_MOST_US 100000 /* how long a busy machine keeps a quick query */

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

enum length lengths_judge(int64_t said_us, int64_t elapsed_us, int64_t cpu_us, bool first)
{
    if (first) {
        said_us -= LENGTHS_FIRST_US;
        cpu_us = cpu_us > LENGTHS_FIRST_US ? cpu_us - LENGTHS_FIRST_US : cpu_us > 0; /* not 0: it is known */
    }
    bool quick = cpu_us > 0 ? cpu_us <= LENGTHS_QUICK_US && elapsed_us <= BUSY_AT_MOST_US : elapsed_us <= LENGTHS_LONG_US;
    if (said_us <= LENGTHS_QUICK_US)
        return quick ? LENGTH_QUICK : LENGTH_MIDDLING;
    if (cpu_us > 0 && quick)
        return LENGTH_QUICK;
    return said_us <= LENGTHS_LONG_US ? LENGTH_MIDDLING : LENGTH_LONG;
}

void lengths_note(struct lengths *l, uint64_t key, enum length took)
{
    enum length before = lengths_of(l, key);
    size_t slot = key % LENGTHS_SLOTS;
    if (!key)
        return;
    bool doubted = l->doubted[slot] == key, stays = before == LENGTH_QUICK && took != LENGTH_UNKNOWN && !(took == LENGTH_LONG && doubted);
    if (doubted)
        l->doubted[slot] = 0;
    if (stays) {
        if (took == LENGTH_LONG)
            l->doubted[slot] = key;
        return;
    }
    if (before != LENGTH_UNKNOWN)
        l->text[before][slot] = 0;
    if (took != LENGTH_UNKNOWN)
        l->text[took][slot] = key;
}

enum length lengths_of(const struct lengths *l, uint64_t key)
{
    if (!l || !key)
        return LENGTH_UNKNOWN;
    for (enum length length = LENGTH_QUICK; length < LENGTHS; length++)
        if (l->text[length][key % LENGTHS_SLOTS] == key)
            return length;
    return LENGTH_UNKNOWN;
}
