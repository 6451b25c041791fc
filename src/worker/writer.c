/* A worker that writes (see the header): RUN in, the script run, checkpoint, the file closed and verified, END or FAIL out. What the script
 * answers is kept in memory until all that has worked: nobody is told of rows that were not written. Runs in the worker's main thread. */
#include "worker/writer.h"
#include "core/clock.h"
#include "core/fault.h"
#include "engine/engine_write.h"
#include "link/inherit.h"
#include "result/encoder.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The answer fits the ring, so that it can be handed over without waiting for a reader. After so many bytes no further rows are taken. */
#define ANSWER_BYTES_MAX (RING_BYTES - SINK_RESERVE_MAX)
#define ANSWER_BYTES_ENOUGH (ANSWER_BYTES_MAX / 2)

struct answer {
    struct sink sink; /* first: what the encoder writes to */
    uint8_t *bytes;
};

struct write_job {
    struct worker *w;
    const struct link_run *run;
    enum writer_mode mode;
    const struct engine_options *opts;
    struct answer answer;
    struct result_tail tail;
    int64_t started_ns;
    struct table_counts before, after;
    uint32_t statements;
};

enum writer_mode writer_mode_of(const char *text)
{
    static const char *const texts[] = {[WRITER_COPY] = "copy", [WRITER_IN_PLACE] = "in-place", [WRITER_LOOK] = "look"};
    for (int mode = WRITER_COPY; mode <= WRITER_LOOK; mode++)
        if (strcmp(text, texts[mode]) == 0)
            return (enum writer_mode)mode;
    return WRITER_NONE;
}

/* ---- the answer ---- */

static int answer_full(struct sink *sink, size_t need)
{
    (void)sink, (void)need;
    return -1;
}

static void answer_init(struct answer *a)
{
    a->bytes = malloc(ANSWER_BYTES_MAX);
    CHECK(a->bytes);
    a->sink = (struct sink){.pos = a->bytes, .end = a->bytes + ANSWER_BYTES_MAX, .more = answer_full};
}

static size_t answer_len(const struct answer *a) { return (size_t)(a->sink.pos - a->bytes); }

/* The end of the result must always fit. */
#define TAIL_BYTES 512

/* Rows until there are enough: as many as were asked for, or as fit. What does not fit any more is taken back, chunk by chunk. */
static int put_rows(struct write_job *j, struct encoder *enc, struct stream *s, const struct column *columns, struct error *err)
{
    struct answer *a = &j->answer;
    uint64_t limit = j->run->max_rows ? j->run->max_rows : UINT64_MAX;
    a->sink.end -= TAIL_BYTES;
    int64_t n;
    while ((n = stream_next(s, err)) > 0) {
        uint64_t rows = (uint64_t)n;
        uint8_t *before = a->sink.pos;
        if (rows > limit - j->tail.rows) {
            rows = limit - j->tail.rows;
            j->tail.truncated = true;
        }
        if (rows && encoder_rows(enc, &a->sink, columns, rows) < 0) {
            a->sink.pos = before;
            j->tail.truncated = true;
            rows = 0;
        }
        j->tail.rows += rows;
        j->tail.truncated |= answer_len(a) > ANSWER_BYTES_ENOUGH;
        if (j->tail.truncated)
            break;
    }
    a->sink.end += TAIL_BYTES;
    return n < 0 ? -1 : 0;
}

static int put_result(void *ctx, struct stream *s, struct error *err)
{
    struct write_job *j = ctx;
    uint32_t count;
    const struct column *columns = stream_columns(s, &count);
    struct encoder_options options = {.format = (enum result_format)j->run->format, .big_numbers_as_text = j->run->big_numbers_as_text};
    struct encoder *enc = encoder_new(&options, columns, count);
    CHECK(enc);
    struct sink *sink = &j->answer.sink;
    int rc = encoder_begin(enc, sink, &(struct result_head){.query_id = j->run->query_id}) < 0
                 ? error_set(err, ERR_RESULT_TOO_LARGE, "the names of the last statement's columns do not fit a script's answer")
                 : put_rows(j, enc, s, columns, err);
    j->tail.exec_us = (clock_now_ns() - j->started_ns) / 1000;
    if (rc == 0)
        CHECK(encoder_end(enc, sink, &j->tail) == 0);
    encoder_free(enc);
    return rc;
}

/* -1: it is not there. */
static int64_t rows_in(const struct table_counts *c, const struct table_count *t)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->tables[i].name, t->name) == 0 && strcmp(c->tables[i].schema, t->schema) == 0)
            return c->tables[i].rows;
    return -1;
}

/* False: it did not fit, and is not there. */
static bool put_change(struct buf *b, const struct table_count *t, int64_t before, int64_t after)
{
    size_t len = b->len;
    if (before == after)
        return true;
    if (buf_puts(b, b->data[len - 1] == '[' ? "{\"schema\":" : ",{\"schema\":") && buf_json_string(b, t->schema, strlen(t->schema)) &&
        buf_puts(b, ",\"name\":") && buf_json_string(b, t->name, strlen(t->name)) &&
        buf_printf(b, ",\"rows_before\":%lld,\"rows\":%lld}", (long long)before, (long long)after))
        return true;
    b->len = len;
    return false;
}

/* What was done, for the command line: the tables whose number of rows is another one now (rows_before -1: new; rows -1: dropped), as many as
 * fit. */
static void put_report(struct write_job *j)
{
    struct buf b = {.data = (char *)j->answer.bytes, .cap = ANSWER_BYTES_MAX - TAIL_BYTES, .max = ANSWER_BYTES_MAX - TAIL_BYTES};
    bool whole = true;
    CHECK(buf_printf(&b, "{\"statements\":%u,\"tables\":%zu,\"changed\":[", j->statements, j->after.count));
    for (size_t i = 0; whole && i < j->after.count; i++)
        whole = put_change(&b, &j->after.tables[i], rows_in(&j->before, &j->after.tables[i]), j->after.tables[i].rows);
    for (size_t i = 0; whole && i < j->before.count; i++)
        if (rows_in(&j->after, &j->before.tables[i]) < 0)
            whole = put_change(&b, &j->before.tables[i], j->before.tables[i].rows, -1);
    b.max = b.cap = ANSWER_BYTES_MAX;
    CHECK(buf_printf(&b, "],\"whole\":%s}\n", whole ? "true" : "false"));
    j->answer.sink.pos = j->answer.bytes + b.len;
}

/* ---- the work ---- */

/* From here on no interrupt can reach the engine. */
static void close_engine(struct worker *w)
{
    pthread_mutex_lock(&w->job_lock);
    struct engine *e = w->engine;
    w->engine = NULL;
    pthread_mutex_unlock(&w->job_lock);
    engine_close(e);
}

static int check_stop(const struct worker *w, struct error *err)
{
    return atomic_load(&w->stop) ? error_set(err, ERR_CANCELLED, "the write was interrupted") : 0;
}

/* From here on a death is the script's own: nobody tries it again (link/ring.h). */
static void take_up(struct write_job *j) { atomic_store(&j->w->ring.shared->taken, j->run->job); }

/* The script is another one's: on a copy. Nobody has heard of this one yet. */
static void leave_to_writer(struct write_job *j)
{
    atomic_store(&j->w->ring.shared->taken, 0);
    _exit(WORKER_EXIT_WRITES);
}

static int script_of(struct write_job *j, struct script *ret, struct error *err)
{
    struct worker *w = j->w;
    const struct link_run *run = j->run;
    /* Only formats whose rows can be taken back (put_rows). */
    bool can = run->format == FORMAT_RAW || run->format == FORMAT_JSON || run->format == FORMAT_NDJSON || run->format == FORMAT_CSV;
    if ((uint64_t)run->sql_bytes + run->params_bytes > w->ring.request_bytes || !can)
        return error_set(err, ERR_INTERNAL, "a request of impossible size or format");
    struct script s = {.sql = w->ring.request, .len = run->sql_bytes, .one_transaction = j->mode == WRITER_IN_PLACE, .ctx = j};
    if (run->format != FORMAT_RAW)
        s.rows = put_result;
    if (run->params_bytes) {
        s.params = w->ring.request + run->sql_bytes;
        s.params_len = run->params_bytes;
    }
    *ret = s;
    return 0;
}

static int run_look(struct write_job *j, struct error *err)
{
    struct script s;
    if (script_of(j, &s, err) < 0)
        return -1;
    int reads = engine_script_reads(j->w->engine, s.sql, s.len, err);
    if (reads < 0)
        return -1;
    if (reads == 0)
        leave_to_writer(j);
    take_up(j);
    if (engine_script(j->w->engine, &s, &j->statements, err) == 0)
        return check_stop(j->w, err);
    if (engine_failed_for_reading_only(err)) /* a SELECT that draws from a sequence */
        leave_to_writer(j);
    return -1;
}

static int run_script(struct write_job *j, struct error *err)
{
    struct worker *w = j->w;
    struct script s;
    if (script_of(j, &s, err) < 0)
        return -1;
    fault_point("import:script");
    if (engine_count_tables(w->engine, &j->before, err) < 0 || engine_script(w->engine, &s, &j->statements, err) < 0)
        return -1;
    fault_point("import:written");
    return check_stop(w, err) < 0 || engine_count_tables(w->engine, &j->after, err) < 0 ? -1 : 0;
}

static int run_write(struct write_job *j, struct error *err)
{
    if (j->mode == WRITER_LOOK)
        return run_look(j, err);
    take_up(j);
    if (run_script(j, err) < 0)
        return -1;
    if (!j->opts->database_path[0]) /* in memory: there is no file to look at */
        return 0;
    if (engine_checkpoint(j->w->engine, err) < 0)
        return -1;
    fault_point("import:checkpointed");
    close_engine(j->w);
    fault_point("import:closed");
    if (check_stop(j->w, err) < 0 || engine_verify(j->opts, &j->after, err) < 0)
        return -1;
    fault_point("import:verified");
    if (j->mode == WRITER_COPY)
        (void)!write(WORKER_FD_STATUS, "W", 1); /* the supervisor's; the command line goes by END */
    if (j->run->format == FORMAT_RAW)
        put_report(j);
    return check_stop(j->w, err);
}

static int answer(struct write_job *j, int failed, const struct error *err)
{
    struct worker *w = j->w;
    if (failed) {
        struct link_fail m = {.type = LINK_FAIL, .job = j->run->job, .produced = w->produced, .error = *err};
        return link_send(w->link_fd, &m);
    }
    struct ring_sink out;
    ring_sink_start(&out, w, j->run);
    if (sink_write(&out.sink, j->answer.bytes, answer_len(&j->answer)) < 0)
        return -1;
    ring_sink_publish(&out);
    struct link_end m = {.type = LINK_END,
                         .job = j->run->job,
                         .produced = w->produced,
                         .rows = j->tail.rows,
                         .exec_us = (clock_now_ns() - j->started_ns) / 1000,
                         .truncated = j->tail.truncated};
    return link_send(w->link_fd, &m);
}

static int run_job(struct worker *w, enum writer_mode mode, const struct engine_options *opts, const struct link_run *run)
{
    struct error err = {0};
    struct write_job j = {.w = w, .run = run, .mode = mode, .opts = opts, .started_ns = clock_now_ns(), .tail.queue_us = run->queue_us};
    answer_init(&j.answer);
    worker_set_job(w, run->job);
    int failed = run_write(&j, &err);
    worker_set_job(w, 0);
    close_engine(w);
    fault_point("import:answer");
    int sent = answer(&j, failed, &err);
    table_counts_free(&j.before);
    table_counts_free(&j.after);
    free(j.answer.bytes);
    return sent;
}

int writer_serve(struct worker *w, enum writer_mode mode, const struct engine_options *opts)
{
    union link_message m;
    signal(SIGXFSZ, SIG_IGN); /* a file that gets too large is an error of the statement, not the end of the process */
    do {
        int n = link_receive(w->link_fd, LINK_FRONT, LINK_IDLE, &m);
        if (n <= 0)
            return n == 0 ? WORKER_EXIT_DONE : WORKER_EXIT_LINK;
    } while (m.type != LINK_RUN);
    if (run_job(w, mode, opts, &m.run) < 0)
        return errno == EPIPE || errno == ECONNRESET ? WORKER_EXIT_DONE : WORKER_EXIT_LINK;
    while (link_receive(w->link_fd, LINK_FRONT, LINK_IDLE, &m) > 0) /* nothing is left to do but to wait for the end */
        if (m.type == LINK_RUN)
            return WORKER_EXIT_LINK;
    return WORKER_EXIT_DONE;
}
