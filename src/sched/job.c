/* Job states and their one writer. Runs in the front. */
#include "sched/job.h"

#include <stdlib.h>

static const char *const texts[JOB_STATES] = {"new", "queued", "running", "delivering", "done", "failed", "cancelled"};

/* From which states (bits) a state may be entered. Running back to queued: the worker died before it took the job up. */
static const unsigned from[JOB_STATES] = {
    [JOB_QUEUED] = 1u << JOB_NEW | 1u << JOB_RUNNING,
    [JOB_RUNNING] = 1u << JOB_NEW | 1u << JOB_QUEUED,
    [JOB_DELIVERING] = 1u << JOB_RUNNING,
    [JOB_DONE] = 1u << JOB_DELIVERING,
    [JOB_FAILED] = 1u << JOB_NEW | 1u << JOB_QUEUED | 1u << JOB_RUNNING | 1u << JOB_DELIVERING,
    [JOB_CANCELLED] = 1u << JOB_NEW | 1u << JOB_QUEUED | 1u << JOB_RUNNING | 1u << JOB_DELIVERING,
};

const char *job_state_text(enum job_state s) { return texts[s]; }

bool job_may_go(enum job_state a, enum job_state b) { return from[b] & 1u << a; }

void job_set_state(struct job *job, enum job_state state)
{
    CHECK(job_may_go(job->state, state));
    job->state = state;
}

struct job *job_new(void)
{
    struct job *j = calloc(1, sizeof *j);
    CHECK(j);
    return j;
}

void job_free(struct job *job)
{
    if (!job)
        return;
    tenant_unref(job->tenant);
    free(job->sql);
    free(job->params);
    free(job->url);
    free(job);
}
