/* The fair order's own state, shared by fair.c and fair_texts.c. Runs in the front. */
#pragma once
#include "sched/fair.h"
#include "sched/lines.h"

#define LEVELS 2048
#define WORDS (LEVELS / 64)
_Static_assert(WORDS <= 32, "bits of the summary");

struct level_list {
    struct tenant *head, *tail;
};

struct levels {
    struct level_list list[LEVELS];
    uint64_t filled[WORDS];
    uint32_t words; /* which words of `filled` are not 0 */
    unsigned tenants;
};

enum list { LIST_INTERACTIVE, LIST_BACKGROUND, LIST_QUICK, LISTS };
_Static_assert((int)LIST_INTERACTIVE == JOB_INTERACTIVE && (int)LIST_BACKGROUND == JOB_BACKGROUND && LISTS == TENANT_LISTS, "lists");

struct fair {
    struct levels levels[LISTS];
    struct tenant *own;      /* of jobs without a tenant */
    bool one_account;        /* all are its */
    struct lengths *lengths; /* NULL with one account: its jobs keep their order */
    struct tenant *active;
    struct tenant *parked, *last_parked; /* in the order in which they were parked */
    unsigned parked_count;
    unsigned early; /* have a place, and wait */
    unsigned waiting, background_running, places, in_a_row;
    int64_t now_ns;      /* of the last tick */
    uint64_t penalized;  /* penalties given, ever */
    int64_t forgiven_ns; /* penalties given until then count no more */
    bool penalties;      /* some active tenant has one, or is not trusted */
};

/* On whose account it is in this order. */
static inline struct tenant *fair_tenant_of(const struct fair *f, const struct job *job)
{
    return job->tenant && !f->one_account ? job->tenant : f->own;
}

/* As if it held so many places more. */
unsigned fair_penalty_places(const struct fair *f, const struct tenant *t);
