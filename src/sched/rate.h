/* A limit of events per second, with a burst: the generic cell rate algorithm, whose whole state is one moment. Time is monotonic, so that a
 * clock that is set does neither lock anybody out nor let anybody in. Pure. Runs in the front. */
#pragma once
#include "core/clock.h"
#include <stdbool.h>

struct rate {
    int64_t free_ns; /* when all that was taken will be paid back; not later than now: nothing is owed. Zero: fresh */
};

/* Takes one event at `now`, of which `per_s` a second and `burst` at once are allowed (both > 0). True; or false with nothing taken, and in
 * *ret_wait_ns how long until one would be allowed. */
static inline bool rate_take(struct rate *r, int64_t now_ns, int64_t per_s, int64_t burst, int64_t *ret_wait_ns)
{
    int64_t each_ns = NS_PER_S / per_s;
    int64_t free_ns = r->free_ns > now_ns ? r->free_ns : now_ns;
    int64_t wait_ns = free_ns - now_ns - (burst - 1) * each_ns;
    if (wait_ns > 0) {
        *ret_wait_ns = wait_ns;
        return false;
    }
    r->free_ns = free_ns + each_ns;
    return true;
}

/* Seconds for a Retry-After: at least 1. */
static inline int rate_seconds(int64_t wait_ns)
{
    int64_t s = (wait_ns + NS_PER_S - 1) / NS_PER_S;
    return s < 1 ? 1 : s > 3600 ? 3600 : (int)s;
}
