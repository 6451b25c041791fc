/* What the fair order knows of texts: how long they take, which of them are here, and who was wrong about that. Runs in the front. */
#include "sched/fair_internal.h"

void fair_identify(struct fair *f, struct job *job)
{
    job->text_key = f->lengths && job->sql_len ? lengths_key(fair_tenant_of(f, job)->id, job->sql, job->sql_len) : 0;
}

enum length fair_length(const struct fair *f, const struct job *job) { return lengths_of(f->lengths, job->text_key); }

void fair_learn(struct fair *f, const struct job *job, enum length took)
{
    if (f->lengths)
        lengths_note(f->lengths, job->text_key, took);
}

void fair_entered(struct fair *f, struct job *job)
{
    if (job->is_here || !f->lengths || !job->text_key)
        return;
    job->is_here = true;
    f->lengths->here[job->text_key % LENGTHS_SLOTS]++;
}

void fair_left(struct fair *f, struct job *job)
{
    if (job->is_here)
        f->lengths->here[job->text_key % LENGTHS_SLOTS]--;
    job->is_here = false;
}

bool fair_is_here(const struct fair *f, const struct job *job) { return f->lengths && f->lengths->here[job->text_key % LENGTHS_SLOTS] > 0; }

bool fair_trusts(const struct fair *f, const struct job *job, int64_t now_ns)
{
    const struct tenant *t = fair_tenant_of(f, job);
    if (now_ns < t->turns.quick_until_ns)
        return false;
    return fair_length(f, job) == LENGTH_QUICK || (now_ns >= t->turns.unknown_until_ns && fair_penalty_places(f, t) == 0);
}
