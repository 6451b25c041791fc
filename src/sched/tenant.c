/* Tenants. Runs in the front. */
#include "sched/tenant.h"
#include "core/errors.h"

#include <stdio.h>
#include <stdlib.h>

struct tenant *tenant_new(uint32_t id, const char *name, const struct tenant_limits *limits)
{
    struct tenant *t = calloc(1, sizeof *t);
    CHECK(t);
    t->id = id;
    t->refs = 1;
    t->limits = *limits;
    for (int list = 0; list < TENANT_LISTS; list++)
        t->turns.listed[list].level = -1;
    snprintf(t->name, sizeof t->name, "%s", name);
    return t;
}

struct tenant *tenant_ref(struct tenant *t)
{
    t->refs++;
    return t;
}

void tenant_unref(struct tenant *t)
{
    if (!t)
        return;
    CHECK(t->refs > 0);
    if (--t->refs == 0)
        free(t);
}
