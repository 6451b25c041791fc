/* From ring or file to a client's socket (see the header). The bytes are not read here; into a file they go straight from the ring, and what there is
 * of a long result beyond that by the worker's hand. Runs in the front. */
#include "front/delivery.h"
#include "core/clock.h"
#include "front/admin.h"
#include "front/database.h"
#include "front/query_spool.h"
#include "session/lane.h"

/* A client that takes less than so much in so long, while the ring is full, is slow: the worker does not wait for it. */
#define SLOW_NS (30 * NS_PER_MS)
#define SLOW_BYTES ((uint64_t)256 << 10)

#define CLIENT_LEFT "the client left before it had the whole result"

/* ---- the body of an answer ---- */

/* What is in the file goes first; what is in the ring comes behind it. */
static int64_t file_left(const struct query *q) { return q->file_end - q->file_at; }

/* While the worker has the order to go on in a file, and has not said from where, the ring's rest must stay where it is. */
static size_t ring_left(const struct query *q)
{
    const struct job *job = q->job;
    bool turning = job->spool.phase == SPOOL_ASKED && job->state == JOB_RUNNING;
    return !job->worker || turning || job->spool.phase == SPOOL_ON ? 0 : ring_reader_ready(&job->worker->reader);
}

static size_t body_file(void *ctx, int *ret_fd, int64_t *ret_offset)
{
    const struct query *q = ctx;
    if (file_left(q) == 0)
        return 0;
    *ret_fd = spool_fd(q->file);
    *ret_offset = q->file_at;
    return (size_t)file_left(q);
}

static size_t body_peek(void *ctx, const uint8_t **ret_data)
{
    const struct query *q = ctx;
    size_t n = ring_left(q);
    if (n)
        *ret_data = ring_reader_data(&q->job->worker->reader);
    return n;
}

static void body_consume(void *ctx, size_t n)
{
    struct query *q = ctx;
    if (file_left(q) == 0) {
        pool_consumed(q->pool, q->job, n);
        return;
    }
    q->file_at += (int64_t)n;
    q->job->bytes += n;
    spool_discard(q->file, q->file_at);
}

static bool body_all(void *ctx, size_t n)
{
    const struct query *q = ctx;
    return q->job->state == JOB_DELIVERING && (size_t)file_left(q) + ring_left(q) == n;
}

/* Said with the first answer after it, whatever that is. */
static void tell_reset(struct query *q)
{
    if (q->job->session_reset && !q->reset_told)
        exchange_add_header(q->x, "Bulkhead-Session-Reset", "true");
    q->reset_told = true;
}

static void start_stream(struct query *q, int64_t length)
{
    struct body_source src = {.ctx = q, .file = body_file, .peek = body_peek, .consume = body_consume, .all = body_all};
    q->head_sent = true;
    tell_reset(q);
    if (!q->schema) {
        database_version_header(q->x, q->job->version);
        exchange_add_header(q->x, "Content-Security-Policy", "sandbox");
        exchange_add_header(q->x, "Vary", "Accept, Accept-Encoding");
        if (q->form.coding != CODING_NONE)
            exchange_add_header(q->x, "Content-Encoding", coding_name(q->form.coding));
        if (q->job->truncated && q->form.format != FORMAT_JSON) /* JSON says so itself; known here only if it ended before the head left */
            exchange_add_header(q->x, "Bulkhead-Truncated", "true");
    }
    exchange_stream(q->x, 200, negotiated_content_type(&q->form), length, &src);
}

/* ---- slow clients ---- */

static void drop_ready(struct query *q) { pool_consumed(q->pool, q->job, ring_reader_ready(&q->job->worker->reader)); }

static bool ring_is_nearly_full(const struct job *job)
{
    return job->worker && ring_reader_ready(&job->worker->reader) > RING_BYTES - RING_BYTES / 4;
}

/* An HTTP/1.0 client gets a Content-Length, so its answer is whole before it begins. */
static bool waits_for_all(const struct query *q) { return !q->head_sent && exchange_is_http10(q->x); }

/* Has the client taken hardly anything for a while? */
static bool is_slow(struct query *q, int64_t now_ns)
{
    uint64_t taken = q->job->worker->reader.consumed;
    if (waits_for_all(q))
        return true;
    if (!exchange_is_blocked(q->x) || q->slow_since_ns == 0 || taken - q->slow_at > SLOW_BYTES) {
        q->slow_since_ns = exchange_is_blocked(q->x) ? now_ns : 0;
        q->slow_at = taken;
        return false;
    }
    return now_ns - q->slow_since_ns >= SLOW_NS;
}

/* With no room in the spool a client is served as it can be: at its own speed, which holds the worker; and one that should get a length, without. */
static void do_without(struct query *q)
{
    if (waits_for_all(q))
        start_stream(q, -1);
    else
        pool_client_is_slow(q->pool, q->job);
}

/* The worker waits for a slow client. */
static void make_room(struct query *q)
{
    struct error err;
    if (query_spool_move(q, &err) < 0)
        do_without(q);
}

/* A running query's turn at the tick. */
static void look_at_running(struct query *q, int64_t now_ns)
{
    if (q->wants_room) {
        if (!query_spool_grow(q))
            do_without(q);
    } else if (q->job->spool.phase == SPOOL_NONE && pool_waits_for_room(q->job) && (file_left(q) > 0 || is_slow(q, now_ns))) {
        make_room(q);
    }
    if (query_spool_look(q) && q->head_sent && !exchange_is_blocked(q->x))
        exchange_resume(q->x);
}

/* All of it is in the file: the worker is needed no longer. */
static void leave_to_file(struct query *q)
{
    query_spool_end(q);
    pool_release(q->pool, q->job);
    query_leave_lane(q);
}

/* The worker is done, and only its ring is still needed: 1 MB at most, which may as well lie in the file. True: it was let go. */
static bool let_worker_go(struct query *q)
{
    struct error err;
    if (query_spool_take(q, &err) < 0)
        return false;
    leave_to_file(q);
    return true;
}

void delivery_tick(struct front *f, int64_t now_ns)
{
    struct query *next;
    for (struct query *q = f->queries; q; q = next) {
        next = q->next;
        if (!q->x || q->asynchronous || q->without_body)
            continue;
        if (q->job->state == JOB_RUNNING)
            look_at_running(q, now_ns);
        else if (q->job->state == JOB_DELIVERING && !q->publishing && q->job->worker && is_slow(q, now_ns) && let_worker_go(q))
            next = f->queries; /* another query runs there now, or has ended: whichever that was */
    }
}

/* ---- what the pool tells ---- */

static void on_data(struct job *job)
{
    struct query *q = job->owner;
    struct error err;
    if (!q->x)
        return; /* being cancelled; what it wrote is dropped with it */
    if (q->without_body) {
        drop_ready(q);
        return;
    }
    (void)query_spool_look(q);
    if (file_left(q) > 0 && ring_left(q) > 0)
        (void)query_spool_follow(q, &err); /* with no room it stays in the ring until the client has come so far */
    if (waits_for_all(q)) {
        if (job->spool.phase == SPOOL_NONE && ring_is_nearly_full(job))
            make_room(q);
        return;
    }
    if (!q->head_sent)
        start_stream(q, -1);
    else
        exchange_resume(q->x);
    /* The exchange may be gone now, and q with it only after the job's end: q->x says. */
    if (q->x && job->state == JOB_RUNNING && exchange_is_blocked(q->x) && ring_is_nearly_full(job)) {
        pool_client_is_slow(q->pool, job);
        (void)is_slow(q, clock_now_ns()); /* from now on; the ticks see how it goes on */
    }
}

/* The length is the body's that a GET would have got. */
static void answer_head(struct query *q)
{
    drop_ready(q);
    struct exchange *x = q->x;
    size_t length = q->job->bytes;
    exchange_set_user(x, NULL);
    job_set_state(q->job, JOB_DONE);
    pool_release(q->pool, q->job);
    query_finish(q);
    exchange_answer(x, 200, "application/json", NULL, length);
}

/* The worker has done its part, and the whole result is in ring or file. */
static void deliver(struct query *q)
{
    if (q->job->spool.phase == SPOOL_ON)
        leave_to_file(q);
    else if (file_left(q) > 0)
        (void)let_worker_go(q);
    if (q->without_body) {
        answer_head(q);
    } else if (q->head_sent) {
        exchange_finish(q->x);
    } else {
        struct exchange *x = q->x;
        start_stream(q, file_left(q) + (int64_t)ring_left(q));
        exchange_tell(x); /* a small answer is out: its worker is for the next job, without another turn of the loop */
    }
}

static void on_end(struct job *job)
{
    struct query *q = job->owner;
    struct error err;
    query_sample(q, clock_now_ns());
    if (!q->x) {
        error_set(&err, ERR_CANCELLED, CLIENT_LEFT);
        query_fail(q, &err);
    } else if (q->admin && q->own_lane->writes) {
        admin_publish(q);
    } else {
        deliver(q);
    }
}

void query_published(struct query *q, const struct error *err)
{
    struct exchange *x = q->x;
    q->publishing = 0;
    if (x && !err) {
        deliver(q);
        return;
    }
    /* Published is published, though nobody is there any more to hear of it. */
    if (err)
        q->job->error = *err;
    query_count(q, err);
    job_set_state(q->job, err ? JOB_FAILED : JOB_DONE);
    pool_release(q->pool, q->job);
    if (x)
        exchange_problem(x, err, q->job->query_id);
    query_finish(q);
}

static void on_failed(struct job *job)
{
    struct query *q = job->owner;
    const struct error *e = &job->error;
    query_log_failure(q);
    query_count(q, e);
    struct exchange *x = q->x;
    if (x && q->head_sent)
        exchange_abort(x);
    else if (x) {
        tell_reset(q);
        exchange_problem(x, e, job->query_id);
    }
    query_finish(q);
}

static void on_spooled(struct job *job)
{
    struct query *q = job->owner;
    (void)query_spool_look(q);
    if (q->x && q->head_sent)
        exchange_resume(q->x);
}

static void on_want(struct job *job)
{
    struct query *q = job->owner;
    if (q->x && !query_spool_grow(q))
        do_without(q);
}

/* ---- what the HTTP server tells ---- */

static void on_sent(struct asker *a)
{
    struct query *q = (struct query *)a;
    query_count(q, NULL);
    job_set_state(q->job, JOB_DONE);
    pool_release(q->pool, q->job);
    query_finish(q);
}

static void on_gone(struct asker *a)
{
    struct query *q = (struct query *)a;
    struct error err;
    q->x = NULL;
    if (q->publishing)
        return;
    if (q->job->state == JOB_DELIVERING) {
        error_set(&err, ERR_CANCELLED, CLIENT_LEFT);
        query_fail(q, &err);
    } else {
        pool_cancel(q->pool, q->job, STOP_FOR_CANCEL); /* may end q */
    }
}

void delivery_take(struct query *q)
{
    static const struct job_events events = {.data = on_data, .end = on_end, .failed = on_failed, .spooled = on_spooled, .want = on_want};
    q->asker = (struct asker){.gone = on_gone, .sent = on_sent};
    q->job->events = &events;
}
