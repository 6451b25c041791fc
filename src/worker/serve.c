/* The serve loop: RUN in, rows through the encoder into the ring, END or FAIL out. Runs in the worker's main thread. */
#include "core/clock.h"
#include "core/fault.h"
#include "link/inherit.h"
#include "result/encoder.h"
#include "worker/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

struct run_state {
    const struct link_run *run;
    struct stream *stream;
    struct encoder *encoder;
    struct ring_sink sink;
    struct result_tail tail;
    int64_t started_ns;
};

/* The encoder gave up. It says why, or else the sink said stop: the job was interrupted, or the front has gone (then the next receive says so). */
static int stopped(const struct run_state *r, struct error *err)
{
    const struct error *e = encoder_failure(r->encoder);
    if (!e)
        return error_set(err, ERR_CANCELLED, "the query was interrupted");
    *err = *e;
    return -1;
}

static int encode_stream(struct run_state *r, struct error *err)
{
    uint32_t column_count;
    const struct column *columns = stream_columns(r->stream, &column_count);
    struct encoder_options options = {.format = (enum result_format)r->run->format,
                                      .big_numbers_as_text = r->run->big_numbers_as_text};
    r->encoder = encoder_new(&options, columns, column_count);
    CHECK(r->encoder);
    struct ArrowSchema *schema = encoder_arrow_schema(r->encoder);
    if (schema && stream_arrow_schema(r->stream, schema, err) < 0)
        return -1;
    struct sink *sink = &r->sink.sink;
    if (encoder_begin(r->encoder, sink, &(struct result_head){.query_id = r->run->query_id}) < 0)
        return stopped(r, err);
    uint64_t limit = r->run->max_rows ? r->run->max_rows : UINT64_MAX;
    for (;;) {
        int64_t n = stream_next(r->stream, err);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        uint64_t rows = (uint64_t)n;
        if (rows > limit - r->tail.rows) {
            rows = limit - r->tail.rows;
            r->tail.truncated = true;
        }
        if (rows && encoder_rows(r->encoder, sink, columns, rows) < 0)
            return stopped(r, err);
        r->tail.rows += rows;
        if (r->tail.truncated)
            break;
        ring_sink_publish(&r->sink);
        fault_point("rows");
    }
    r->tail.exec_us = (clock_now_ns() - r->started_ns) / 1000;
    if (encoder_end(r->encoder, sink, &r->tail) < 0)
        return stopped(r, err);
    ring_sink_publish(&r->sink);
    return 0;
}

static int run_query(struct worker *w, struct run_state *r, struct error *err)
{
    const struct link_run *run = r->run;
    if ((uint64_t)run->sql_bytes + run->params_bytes > w->ring.request_bytes || !encoder_can((enum result_format)run->format))
        return error_set(err, ERR_INTERNAL, "a request of impossible size or format");
    struct engine_query q = {.sql = w->ring.request, .sql_len = run->sql_bytes};
    if (run->format == FORMAT_RAW) { /* the front has no SQL of its own: an answer made by SQL is asked for without one */
        q.sql = engine_schema_sql();
        q.sql_len = strlen(q.sql);
    }
    if (run->params_bytes) {
        q.params = w->ring.request + run->sql_bytes;
        q.params_len = run->params_bytes;
    }
    fault_point("run");
    r->stream = engine_query(w->engine, &q, err);
    if (!r->stream)
        return -1;
    fault_point("started");
    ring_sink_start(&r->sink, w, run);
    return encode_stream(r, err);
}

static int answer(struct worker *w, struct run_state *r, int failed, const struct error *err)
{
    bool spent = engine_is_spent(w->engine);
    if (failed) {
        struct link_fail m = {.type = LINK_FAIL, .job = r->run->job, .produced = w->produced, .spent = spent, .error = *err};
        return link_send(w->link_fd, &m);
    }
    struct link_end m = {.type = LINK_END,
                         .job = r->run->job,
                         .produced = w->produced,
                         .rows = r->tail.rows,
                         .exec_us = r->tail.exec_us,
                         .truncated = r->tail.truncated,
                         .cache = (uint8_t)stream_cache_use(r->stream),
                         .spent = spent};
    return link_send(w->link_fd, &m);
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

static int run_job(struct worker *w, const struct link_run *run)
{
    struct error err = {0};
    struct run_state r = {.run = run, .started_ns = clock_now_ns(), .tail.queue_us = run->queue_us};
    atomic_store(&w->ring.shared->taken, run->job);
    worker_set_job(w, run->job);
    int failed = run_query(w, &r, &err);
    worker_set_job(w, 0);
    fault_point("answer");
    int sent = answer(w, &r, failed, &err);
    encoder_free(r.encoder);
    stream_free(r.stream);
    return sent;
}

int serve(struct worker *w)
{
    for (;;) {
        union link_message m;
        int n = link_receive(w->link_fd, LINK_FRONT, LINK_IDLE, &m);
        if (n == 0)
            return WORKER_EXIT_DONE;
        if (n < 0)
            return WORKER_EXIT_LINK;
        if (m.type == LINK_SPACE) /* crossed our END on its way */
            continue;
        if (run_job(w, &m.run) < 0)
            return errno == EPIPE || errno == ECONNRESET ? WORKER_EXIT_DONE : WORKER_EXIT_LINK;
    }
}
