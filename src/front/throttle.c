/* The table of addresses that showed wrong keys. Runs in the front. */
#include "front/throttle.h"
#include "core/errors.h"
#include "sched/rate.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Sets of a few places each: an address belongs into one set, where it takes the place that was quiet for longest. 4096 places, 64 KB. */
#define SETS 1024
#define WAYS 4

struct place {
    uint64_t address; /* its keyed hash; 0: free */
    struct rate rate;
};

struct throttle {
    uint64_t seed; /* so that nobody can aim at a set */
    struct place places[SETS][WAYS];
};

struct throttle *throttle_new(void)
{
    struct throttle *t = calloc(1, sizeof *t);
    CHECK(t && getrandom(&t->seed, sizeof t->seed, 0) == sizeof t->seed);
    return t;
}

void throttle_free(struct throttle *t) { free(t); }

/* A mixer with full avalanche (the finaliser of MurmurHash3). */
static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 33) * UINT64_C(0xff51afd7ed558ccd);
    v = (v ^ v >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return v ^ v >> 33;
}

static uint64_t hash_of(const struct throttle *t, const struct address *a)
{
    static const uint8_t v4_prefix[12] = {[10] = 0xFF, [11] = 0xFF};
    uint64_t high, low;
    memcpy(&high, a->bytes, 8);
    memcpy(&low, a->bytes + 8, 8);
    if (memcmp(a->bytes, v4_prefix, sizeof v4_prefix) != 0)
        low = 0; /* whoever has an IPv6 address has its whole /64 */
    uint64_t h = mix(mix(mix(t->seed ^ a->kind) ^ high) ^ low);
    return h ? h : 1;
}

bool throttle_wrong_key(struct throttle *t, const struct address *a, int64_t now_ns, int64_t *ret_wait_ns)
{
    uint64_t h = hash_of(t, a);
    struct place *set = t->places[h % SETS], *p = &set[0];
    for (int i = 0; i < WAYS; i++) {
        if (set[i].address == h) {
            p = &set[i];
            break;
        }
        if (set[i].rate.free_ns < p->rate.free_ns)
            p = &set[i];
    }
    if (p->address != h)
        *p = (struct place){.address = h};
    return rate_take(&p->rate, now_ns, THROTTLE_PER_S, THROTTLE_BURST, ret_wait_ns);
}
