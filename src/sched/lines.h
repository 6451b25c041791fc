/* The order of one tenant's jobs that wait, within a class: by age, but quick ones pass the others, and those that take long let the others pass
 * (lengths.h), both a few times in a row only, so that nothing waits for ever. Constant time, but for jobs whose text has shown to be of another
 * length since they came: these change lines when they come to the head. Knows no other tenant. Runs in the front. */
#pragma once
#include "sched/job.h"
#include "sched/lengths.h"

/* lengths: NULL where nothing is known of texts; then it is by age alone. */
void lines_append(struct tenant *t, struct job *job, const struct lengths *lengths);
/* Before its equals (it was started in vain). */
void lines_prepend(struct tenant *t, struct job *job, const struct lengths *lengths);
void lines_cut(struct tenant *t, struct job *job);
/* Whose turn it is; it stays in its line. NULL: none waits. */
struct job *lines_next(struct tenant *t, enum job_class c, const struct lengths *lengths);
/* Is that one known to be quick? */
bool lines_next_is_quick(struct tenant *t, enum job_class c, const struct lengths *lengths);
/* The first of those that are known to be quick; it stays there. NULL: none waits. */
struct job *lines_quick(struct tenant *t, enum job_class c, const struct lengths *lengths);
/* Is there one that was known to be quick when it came to its line? */
bool lines_has_quick(const struct tenant *t, enum job_class c);
/* The one that loses least by giving way: the newest of those that take longest. NULL: none waits. */
struct job *lines_newest(const struct tenant *t, enum job_class c);
