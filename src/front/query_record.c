/* What a living query costs and how far it is, from its job and its worker's /proc into its record. Runs in the front. */
#include "core/clock.h"
#include "core/resident.h"
#include "front/admin.h"
#include "front/query.h"

/* A worker's memory is read at most so often: it moves slowly, and reading costs a few microseconds. */
#define SAMPLE_NS (250 * NS_PER_MS)

void query_sample(struct query *q, int64_t now_ns)
{
    struct pool_worker *w = q->job->worker;
    if (!w || q->schema)
        return;
    if (now_ns - w->sampled_ns >= SAMPLE_NS) {
        w->sampled_ns = now_ns;
        w->memory_bytes = resident_bytes(w->pid);
        pool_note_cpu(q->job);
    }
    if (w->memory_bytes > q->job->memory_bytes)
        q->job->memory_bytes = w->memory_bytes;
}

void query_sample_all(struct front *f, int64_t now_ns)
{
    for (struct query *q = f->queries; q; q = q->next)
        if (q->job->state == JOB_RUNNING)
            query_sample(q, now_ns);
}

void query_update_record(struct record *rec)
{
    if (!rec->live)
        return;
    const struct job *j = rec->live->job;
    int64_t now = clock_now_ns(), end = j->finished_ns ? j->finished_ns : now;
    if (j->state == JOB_RUNNING)
        pool_note_cpu(rec->live->job);
    if (j->state == JOB_QUEUED && rec->live->admin)
        rec->progress = admin_copy_progress(rec->live);
    else if (j->state == JOB_RUNNING)
        rec->progress = pool_progress(j);
    rec->state = j->state == JOB_NEW ? JOB_QUEUED : j->state;
    rec->queue_us = ((j->started_ns ? j->started_ns : end) - j->submitted_ns) / 1000;
    rec->exec_us = j->exec_us ? j->exec_us : j->started_ns ? (end - j->started_ns) / 1000 : 0;
    rec->rows = j->rows;
    rec->bytes = j->bytes;
    rec->memory_bytes = j->memory_bytes;
    rec->profiled = j->profiled;
    rec->rows_scanned = j->rows_scanned;
    rec->spill_bytes = j->spill_bytes;
    rec->peak_memory_bytes = j->peak_memory_bytes;
    rec->cpu_us = j->started_ns ? j->cpu_us : -1;
    if (j->started_ns)
        rec->worker = j->slot;
}
