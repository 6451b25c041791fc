/* A tenant: on whose account jobs run. One for each API key, and one for all callers of a server without keys. Knows its limits and what it
 * has in the pool; not the key itself, no role, no request. Runs in the front. */
#pragma once
#include "sched/rate.h"
#include <stdbool.h>
#include <stdint.h>

#define TENANT_NAME_BYTES 41

/* 0: no limit, except share. */
struct tenant_limits {
    int64_t concurrency;    /* jobs running at once */
    int64_t queue;          /* jobs waiting */
    int64_t per_s, burst;   /* requests */
    int64_t share;          /* of the workers, against others': 10 is usual */
    int64_t timeout_max_ms; /* of one job */
    int64_t memory_bytes;   /* by how much one job may make its worker grow */
};

#define TENANT_CLASSES 2 /* enum job_class */
#define TENANT_LINES 3
#define TENANT_LISTS 3 /* a class each, and those who have a quick one waiting */

struct job;

/* What fair.c keeps of a tenant. */
struct tenant_turns {
    struct {
        struct {
            struct job *head, *tail; /* oldest first */
        } line[TENANT_LINES];        /* its jobs of this class that wait: those whose text is known to be quick, those that may be short, and
                                           those whose text is known to take long */
        unsigned quick_in_a_row;     /* quick ones that went first while others waited */
        unsigned short_in_a_row;     /* short ones that went first while a long one waited */
        unsigned count;
    } waiting[TENANT_CLASSES];
    struct {
        int level;                  /* the list of tenants it is on; -1: none */
        struct tenant *prev, *next; /* there */
    } listed[TENANT_LISTS];
    unsigned running;
    unsigned early;                           /* of those: sent to a worker that is busy still, they count as waiting */
    int64_t unknown_until_ns, quick_until_ns; /* until then it gets to the short lane with no unknown text, with none at all: it held it for long */
    bool parked;
    struct tenant *next_parked;
    bool active; /* something waits or runs */
    struct tenant *prev_active, *next_active;
    int64_t penalty_until_ns, penalty_given_ns; /* the last one */
};

struct tenant {
    uint32_t id; /* never 0, never used again in this process's life */
    unsigned refs;
    char name[TENANT_NAME_BYTES]; /* the key's; "" without keys */
    bool revoked;                 /* its key is gone or has expired: nothing of it may go on */
    struct tenant_limits limits;
    struct rate rate;
    struct tenant_turns turns;
};

/* With one reference, the caller's. */
struct tenant *tenant_new(uint32_t id, const char *name, const struct tenant_limits *limits);
struct tenant *tenant_ref(struct tenant *t);
/* Gives a reference back; the last frees. NULL is allowed. */
void tenant_unref(struct tenant *t);
