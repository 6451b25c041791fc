/* The serve loop: RUN in, a result into the ring, END or FAIL out, and then what was sent early meanwhile. Runs in the worker's main thread. */
#include "core/clock.h"
#include "core/fault.h"
#include "core/fd.h"
#include "link/early.h"
#include "link/inherit.h"
#include "worker/worker.h"
#include "worker/write_result.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

/* What is to be done, and where its texts are. */
struct order {
    const struct link_run *run;
    const char *text; /* statement, parameters, address */
    size_t text_bytes;
    int64_t queue_us;
};

static int run_query(struct worker *w, const struct order *o, struct result_writer *r, struct error *err)
{
    const struct link_run *run = o->run;
    if ((uint64_t)run->sql_bytes + run->params_bytes + run->url_bytes > o->text_bytes || !result_can((enum result_format)run->format))
        return error_set(err, ERR_INTERNAL, "a request of impossible size or format");
    struct engine_query q = {.sql = o->text, .sql_len = run->sql_bytes, .session = run->session, .profile = run->profile};
    if (run->format == FORMAT_RAW) { /* the front has no SQL of its own: an answer made by SQL is asked for without one */
        q.sql = engine_schema_sql();
        q.sql_len = strlen(q.sql);
    }
    if (run->params_bytes) {
        q.params = o->text + run->sql_bytes;
        q.params_len = run->params_bytes;
    }
    if (run->url_bytes) {
        r->url = o->text + run->sql_bytes + run->params_bytes;
        if (r->url[run->url_bytes - 1])
            return error_set(err, ERR_INTERNAL, "an address without its end");
    }
    engine_track_progress(w->engine, run->progress);
    fault_point("run");
    r->stream = engine_query(w->engine, &q, err);
    if (!r->stream)
        return -1;
    fault_point("started");
    return result_write(r, err);
}

static int answer(struct worker *w, struct result_writer *r, int failed, const struct error *err)
{
    bool spent = engine_is_spent(w->engine);
    if (failed) {
        struct link_fail m = {.type = LINK_FAIL, .job = r->run->job, .produced = w->produced, .spent = spent, .error = *err};
        return worker_send(w, &m);
    }
    struct link_end m = {.type = LINK_END,
                         .job = r->run->job,
                         .produced = w->produced,
                         .rows = r->tail.rows,
                         .url_bytes = r->upload.bytes,
                         .exec_us = r->tail.exec_us,
                         .truncated = r->tail.truncated,
                         .cache = (uint8_t)stream_cache_use(r->stream),
                         .spent = spent,
                         .profiled = r->tail.profile.known,
                         .rows_scanned = r->tail.profile.rows_scanned,
                         .spill_bytes = r->tail.profile.spill_bytes,
                         .peak_memory_bytes = r->tail.profile.peak_memory_bytes};
    return worker_send(w, &m);
}

void worker_set_job(struct worker *w, uint32_t job)
{
    pthread_mutex_lock(&w->job_lock);
    w->job = job;
    if (job) {
        eventfd_t drop;
        if (atomic_exchange(&w->stop, false))
            (void)eventfd_read(w->wake_fd, &drop);
    }
    pthread_mutex_unlock(&w->job_lock);
}

/* *next: the order that is taken up behind this one; its slot is not written to until its job has ended. NULL: none. */
static int run_job(struct worker *w, const struct order *o, const struct early **next)
{
    const struct link_run *run = o->run;
    struct error err = {0};
    struct result_writer r = {.worker = w, .run = run, .started_ns = clock_now_ns(), .tail.queue_us = o->queue_us};
    atomic_store(&w->ring.shared->progress, 0);
    atomic_store(&w->ring.shared->taken, run->job);
    worker_set_job(w, run->job);
    int failed = run_query(w, o, &r, &err);
    worker_set_job(w, 0);
    fault_point("answer");
    /* Before the END, which the front runs at: it would have it back. A spent engine serves nobody. */
    *next = engine_is_spent(w->engine) ? NULL : early_take(&w->ring, w->early);
    w->early += *next != NULL;
    int sent = answer(w, &r, failed, &err);
    result_writer_free(&r);
    stream_free(r.stream);
    return sent;
}

/* A job, and those that were sent early. */
static int run_jobs(struct worker *w, const struct link_run *run)
{
    const struct early *next;
    struct order o = {run, w->ring.request, w->ring.request_bytes, run->queue_us};
    int r = run_job(w, &o, &next);
    while (r == 0 && next) {
        union link_message m = {.run = next->run};
        if (m.type != LINK_RUN || !link_check(&m, sizeof m.run, LINK_FRONT, LINK_IDLE)) {
            errno = EPROTO;
            return -1;
        }
        o = (struct order){&m.run, next->text, sizeof next->text, m.run.queue_us + (clock_now_ns() - next->put_ns) / 1000};
        r = run_job(w, &o, &next);
    }
    return r;
}

int serve(struct worker *w)
{
    for (;;) {
        union link_message m;
        auto_close int fd = -1;
        int n = link_receive_fd(w->link_fd, LINK_FRONT, LINK_IDLE, &m, &fd);
        if (n == 0)
            return WORKER_EXIT_DONE;
        if (n < 0)
            return WORKER_EXIT_LINK;
        if (m.type != LINK_RUN) /* crossed our END on its way */
            continue;
        if (run_jobs(w, &m.run) < 0)
            return errno == EPIPE || errno == ECONNRESET ? WORKER_EXIT_DONE : WORKER_EXIT_LINK;
    }
}
