/* Who asks. Runs in the front. */
#include "front/caller.h"
#include "front/front.h"

#include <string.h>

struct caller caller_of(const struct front *f, const struct exchange *x)
{
    CHECK(f->caller_exchange == x);
    return f->caller;
}

bool caller_may_see(const struct caller *c, const struct record *rec) { return c->sees_all || (!rec->disowned && strcmp(c->key, rec->owner) == 0); }
