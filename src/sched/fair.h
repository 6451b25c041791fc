/* Who is next: the jobs that wait, in an order that is fair between tenants. Knows tenants and jobs; no workers, no time but the penalties'.
 * Runs in the front.
 *
 * Fair means: a place goes to the tenant that holds the fewest places for its share, in turn among equals; within a tenant to the oldest job, but
 * for texts that are known to be quick or to take long (lines.h). So one tenant's thousand jobs delay another's one by no more than the next place
 * that gets free, and a tenant with long jobs does not crowd out one with short ones. (Taking turns alone would give every other place to the long
 * jobs, until they hold them all.)
 * Interactive jobs come before background ones; every eighth place is a background job's, if one waits, and one place is never theirs.
 * Every step takes constant time, whatever waits; only fair_victim looks at each tenant that has something here. */
#pragma once
#include "sched/job.h"
#include "sched/lengths.h"

struct fair;

/* one_account: whatever tenants the jobs have, they wait in one line. A tenant keeps the books of one fair order: only one may be without. */
struct fair *fair_new(bool one_account);
void fair_free(struct fair *f);

/* What the job's text is known by, where that is of use. Before it is pushed or started. */
void fair_identify(struct fair *f, struct job *job);
/* How long its text takes. */
enum length fair_length(const struct fair *f, const struct job *job);
/* A job is over: how long it took is remembered for its text. */
void fair_learn(struct fair *f, const struct job *job, enum length took);

/* The job waits or runs from now on (also when it did so before); it does not any more. */
void fair_entered(struct fair *f, struct job *job);
void fair_left(struct fair *f, struct job *job);
/* Does another job with the same text wait or run? Seldom true though none does. */
bool fair_is_here(const struct fair *f, const struct job *job);
/* The job was no quick one. Taken for one though its text was unknown: its tenant's unknown texts are not trusted until then. Taken for one by its text:
 * nothing of its tenant's is, and fair_pop_quick passes it over. */
void fair_distrust(struct fair *f, const struct job *job, enum length taken_for, int64_t until_ns);
/* It is trusted; with a text that nobody knows only when it has not cost a worker lately. */
bool fair_trusts(const struct fair *f, const struct job *job, int64_t now_ns);

/* How many places there are: background jobs may have all but one of them, and always one. */
void fair_set_places(struct fair *f, unsigned places);

/* The job waits, as the last of its tenant's class, or as the first again (it was started in vain). */
void fair_push(struct fair *f, struct job *job);
void fair_push_front(struct fair *f, struct job *job);
/* Takes a waiting job out. */
void fair_remove(struct fair *f, struct job *job);
/* Takes out the job whose turn it is; NULL: none waits that may start. */
struct job *fair_pop(struct fair *f);
/* The same if that is an interactive one known to be quick; NULL: it is not. */
struct job *fair_pop_if_quick(struct fair *f);
/* Takes out the quick one whose turn it is among the interactive ones that are known to be; NULL: none of them waits that may start. */
struct job *fair_pop_quick(struct fair *f);
/* Its tenant may have one more running, and is not parked. */
bool fair_has_room(const struct fair *f, const struct job *job);
/* May a job that has just come start at once: its tenant has room, and nobody waits before it? */
bool fair_may_pass(const struct fair *f, const struct job *job);

/* The job has a place / gives it back. */
void fair_started(struct fair *f, struct job *job);
void fair_ended(struct fair *f, struct job *job);
/* It has a place, and counts as waiting all the same: it was sent to a worker that is busy. / It runs, or is about to give the place back. */
void fair_sent_early(struct fair *f, struct job *job);
void fair_early_over(struct fair *f, struct job *job);
/* So many are. */
unsigned fair_early(const struct fair *f);

/* The tenant can't use the places that are free now: others go first, until fair_unpark. Then those that were parked go before their equals, in the
 * order in which they were parked: a place that became free meanwhile was made free for them. */
void fair_park(struct fair *f, struct job *of);
void fair_unpark(struct fair *f);
unsigned fair_parked(const struct fair *f); /* tenants */

/* The tenant cost a worker: for a while it is treated as if it held one place more. */
void fair_penalize(struct fair *f, struct job *of, int64_t now_ns);
uint64_t fair_penalties(const struct fair *f); /* given since the start */
/* All penalties given until now count no more. */
void fair_forgive(struct fair *f, int64_t now_ns);
/* Lets penalties fade. Call it now and then. */
void fair_tick(struct fair *f, int64_t now_ns);

/* Tenants' limits have changed. */
void fair_limits_changed(struct fair *f);

unsigned fair_waiting(const struct fair *f);
unsigned fair_waiting_of(const struct fair *f, const struct job *job); /* of the job's tenant */
bool fair_at_its_limit(const struct fair *f, const struct job *job);   /* as many run as its tenant may have */
/* When all room is taken and this job comes: the job that should give way, because its tenant has so many waiting that it has more than
 * the newcomer's even then. Its newest, background first. NULL: nobody. */
struct job *fair_victim(struct fair *f, const struct job *newcomer);

/* Each tenant that has jobs here or running. */
struct fair_figures {
    const char *name;
    unsigned waiting, running, penalty;
};
void fair_each(const struct fair *f, void (*fn)(void *ctx, const struct fair_figures *figures), void *ctx);
