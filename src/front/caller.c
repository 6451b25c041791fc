/* Who asks. Keys are not built yet: everybody is the same. Runs in the front. */
#include "front/caller.h"

#include <string.h>

struct caller caller_of(const struct front *f, const struct exchange *x)
{
    (void)f;
    (void)x;
    return (struct caller){.key = "", .sees_all = true};
}

bool caller_may_see(const struct caller *c, const struct record *rec) { return c->sees_all || strcmp(c->key, rec->owner) == 0; }
