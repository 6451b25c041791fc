/* A result that goes on in a file: the arithmetic, and the pool's part of the handshake, with a worker that the test plays itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/fd.h"
#include "sched/pool_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_BYTES ((size_t)131072)

/* ---- arithmetic ---- */

static int file_of(int64_t bytes)
{
    int fd = memfd_create("spool", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, bytes), 0);
    return fd;
}

static void the_turn_into_the_file_must_be_possible(void **state)
{
    (void)state;
    const struct {
        uint64_t base, consumed, known, limit, at;
        bool ok;
    } rows[] = {
        {1000, 1000, 1500, 1000 + 2 * RING_BYTES, 1500, true},
        {1000, 1000, 1500, 1000 + 2 * RING_BYTES, 1000 + RING_BYTES, true},
        {1000, 1000, 1500, 1000 + 2 * RING_BYTES, 1001 + RING_BYTES, false}, /* more than a ring in front of it */
        {1000, 1000, 1500, 1000 + 2 * RING_BYTES, 1499, false},              /* less than it said before */
        {1000, 1000, 1000, 1000 + 2 * RING_BYTES, 999, false},
        {1000, 1000, 1000, 1000 + 2 * RING_BYTES, UINT64_MAX, false},
        {1000, 1000, 1000, 1200, 1201, false}, /* beyond what it may write */
        {UINT64_MAX - 100, UINT64_MAX - 100, UINT64_MAX - 50, UINT64_MAX, UINT64_MAX - 10, true},
        /* The file has a beginning: the ring's part is measured from where the front stands. */
        {1000, 5000, 5500, 1000 + 4 * RING_BYTES, 5000 + RING_BYTES, true},
        {1000, 5000, 5500, 1000 + 4 * RING_BYTES, 5001 + RING_BYTES, false},
        {1000, 5000, 5000, 1000 + 4 * RING_BYTES, 4999, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ring_reader ring = {.consumed = rows[i].consumed, .limit = rows[i].known};
        struct spool_reader r = {.base = rows[i].base, .limit = rows[i].limit};
        assert_int_equal(spool_reader_start(&r, &ring, rows[i].at), rows[i].ok);
        if (rows[i].ok)
            assert_true(r.produced == rows[i].at && r.at == rows[i].at);
    }
}

static void what_is_announced_must_be_in_the_file(void **state)
{
    (void)state;
    int fd = file_of(500);
    struct spool_reader r = {.base = 1000, .at = 1100, .limit = 2000, .produced = 1100};
    assert_true(spool_reader_refresh(&r, 1100, fd));
    assert_true(spool_reader_refresh(&r, 1500, fd));
    assert_false(spool_reader_refresh(&r, 1499, fd)); /* never back */
    assert_false(spool_reader_refresh(&r, 1501, fd)); /* not there */
    assert_int_equal(ftruncate(fd, 5000), 0);
    assert_true(spool_reader_refresh(&r, 2000, fd));
    assert_false(spool_reader_refresh(&r, 2001, fd)); /* there, and not granted */
    assert_int_equal(r.produced, 2000);
    close(fd);
    assert_false(spool_reader_refresh(&(struct spool_reader){.limit = 10}, 5, -1));
}

static void writing_reports_a_file_that_must_not_grow(void **state)
{
    (void)state;
    int fd = file_of(0);
    static const char data[100000] = "x";
    assert_int_equal(spool_write(fd, data, sizeof data, 7), 0);
    assert_int_equal(spool_size(fd), (int64_t)sizeof data + 7);
    close(fd);
    assert_int_equal(spool_write(-1, data, 1, 0), -1);
    assert_int_equal(spool_write(-1, data, 0, 0), 0);
    assert_int_equal(spool_size(-1), -1);
}

/* ---- the handshake ---- */

struct world {
    struct event_base *base;
    struct control_page *page;
    int page_fd, nudge_fd, link_fd, file;
    struct log log;
    struct pool *pool;
    struct ring ring;
    struct job *job;
    uint32_t id;
    unsigned data, end, failed, spooled, want, buried, replaced, leaves;
    enum death_reason reason;
    struct error last;
};

static void on_data(struct job *j) { ((struct world *)j->owner)->data++; }
static void on_end(struct job *j) { ((struct world *)j->owner)->end++; }
static void on_spooled(struct job *j) { ((struct world *)j->owner)->spooled++; }
static void on_want(struct job *j) { ((struct world *)j->owner)->want++; }
static void on_failed(struct job *j)
{
    struct world *w = j->owner;
    w->failed++;
    w->last = j->error;
}
static void on_buried(struct job *j)
{
    struct world *w = j->owner;
    w->buried++;
    job_set_state(j, JOB_DONE);
    pool_release(w->pool, j);
}
static const struct job_events events = {on_data, on_end, on_failed, on_spooled, on_want, on_buried};

static void on_replace(void *ctx, uint32_t worker, enum death_reason reason)
{
    struct world *w = ctx;
    assert_int_equal(worker, 1);
    w->replaced++;
    w->reason = reason;
}

static void on_leaves(void *ctx, uint32_t worker)
{
    struct world *w = ctx;
    assert_int_equal(worker, 1);
    w->leaves++;
}

/* A pool with one worker that has taken its job up, and `ready` bytes of result in the ring, of which `taken` were consumed. */
static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    int pair[2], region = ring_create(REQUEST_BYTES);
    w->log = (struct log){.level = LOG_ERROR, .role = "front"};
    w->base = event_base_new();
    w->page_fd = fd_memory("page", sizeof(struct control_page));
    w->page = control_map(w->page_fd);
    w->nudge_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    w->file = file_of(0);
    assert_true(w->base && w->page && w->nudge_fd >= 0 && region >= 0);
    struct pool_options o = {.queue_length = 2, .queue_timeout_ms = 1000, .inline_bytes = 1000, .leaves = on_leaves};
    w->pool = pool_new(w->base, w->page, w->nudge_fd, &o, on_replace, w, &w->log);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(ring_map(region, REQUEST_BYTES, true, &w->ring), 0);
    w->link_fd = pair[1];
    struct control_assign m = {.type = CONTROL_ASSIGN, .worker = 1, .cell = 1, .pid = 1001, .request_bytes = REQUEST_BYTES};
    assert_int_equal(pool_add(w->pool, &m, pair[0], region), 0);

    w->job = job_new();
    w->job->sql = strdup("SELECT 1");
    w->job->sql_len = 8;
    w->job->timeout_ms = 30000;
    w->job->events = &events;
    w->job->owner = w;
    struct error err;
    union link_message run;
    assert_int_equal(pool_submit(w->pool, w->job, &err), 0);
    assert_int_equal(link_receive(w->link_fd, LINK_FRONT, LINK_IDLE, &run), 1);
    w->id = run.run.job;
    atomic_store(&w->ring.shared->taken, w->id);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    pool_free(w->pool);
    job_free(w->job);
    close(w->link_fd);
    ring_unmap(&w->ring);
    event_base_free(w->base);
    close(w->page_fd);
    close(w->nudge_fd);
    close(w->file);
    free(w);
    return 0;
}

static void say(struct world *w, const void *message)
{
    assert_int_equal(link_send(w->link_fd, message), 0);
    event_base_loop(w->base, EVLOOP_NONBLOCK);
}

static void bell(struct world *w) { say(w, &(struct link_data){LINK_DATA, w->id}); }

/* Writes known bytes into the ring. */
static void produce(struct world *w, size_t upto)
{
    for (size_t i = (size_t)atomic_load(&w->ring.shared->produced); i < upto; i++)
        w->ring.bytes[i % RING_BYTES] = (uint8_t)(i * 7);
    atomic_store(&w->ring.shared->produced, upto);
    bell(w);
}

static void put(struct world *w, uint64_t base, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        assert_int_equal(pwrite(w->file, &byte, 1, spool_offset(base, i)), 1);
    }
}

static void assert_file(struct world *w, uint64_t base, uint64_t upto)
{
    for (uint64_t i = base; i < upto; i++) {
        uint8_t byte;
        assert_int_equal(pread(w->file, &byte, 1, spool_offset(base, i)), 1);
        if (byte != (uint8_t)(i * 7))
            fail_msg("the file is wrong at %d", (int)(i - base));
    }
}

/* The order as the worker gets it. */
static struct link_spool divert_behind(struct world *w, int64_t written, int64_t bytes)
{
    union link_message m;
    int fd = -1;
    assert_true(pool_divert(w->pool, w->job, w->file, w->file, written, bytes, false));
    assert_int_equal(link_receive_fd(w->link_fd, LINK_FRONT, LINK_BUSY, &m, &fd), 1);
    assert_int_equal(m.type, LINK_SPOOL);
    assert_true(fd >= 0);
    close(fd);
    return m.spool;
}

static struct link_spool divert(struct world *w, int64_t bytes) { return divert_behind(w, 0, bytes); }

static void a_result_goes_on_in_the_file_without_a_gap(void **state)
{
    struct world *w = *state;
    produce(w, 1000);
    pool_consumed(w->pool, w->job, 300);
    struct link_spool order = divert(w, 1 << 20);
    assert_int_equal(order.base, 300);
    assert_int_equal(order.limit, 300 + (1 << 20));
    assert_false(pool_divert(w->pool, w->job, w->file, w->file, 0, 1 << 20, false)); /* once */
    assert_int_equal(w->leaves, 1);                                                  /* it will have to be replaced, and is not yet */
    assert_int_equal(w->replaced, 0);
    produce(w, 1200); /* it had not seen the order yet */
    say(w, &(struct link_spooled){LINK_SPOOLED, w->id, 1200});
    assert_int_equal(w->spooled, 1);
    assert_file(w, 300, 1200);
    put(w, 300, 1200, 5000);
    atomic_store(&w->ring.shared->produced, 5000);
    bell(w);
    assert_int_equal(w->job->spool.reader.produced, 5000);
    say(w, &(struct link_want){LINK_WANT, w->id});
    assert_int_equal(w->want, 1);
    assert_true(pool_grant(w->pool, w->job, 2 << 20));
    union link_message m;
    assert_int_equal(link_receive(w->link_fd, LINK_FRONT, LINK_BUSY, &m), 1);
    assert_true(m.type == LINK_GRANT && m.grant.limit == 300 + (2 << 20));
    put(w, 300, 5000, 6000);
    say(w, &(struct link_end){.type = LINK_END, .job = w->id, .produced = 6000, .rows = 3});
    assert_int_equal(w->end, 1);
    assert_file(w, 300, 6000);
    /* It has had a descriptor: it is replaced at once, and its death is told. */
    assert_int_equal(w->replaced, 1);
    assert_int_equal(w->reason, DEATH_RETIRED);
    assert_int_equal(w->buried, 0);
    pool_died(w->pool, &(struct control_died){CONTROL_DIED, 1, DEATH_RETIRED, STOP_TERM, SIGTERM, 0});
    assert_int_equal(w->buried, 1);
    assert_null(pool_workers(w->pool));
}

static void what_the_front_has_written_stays_in_front(void **state)
{
    struct world *w = *state;
    produce(w, 1000);
    pool_consumed(w->pool, w->job, 300); /* by the client */
    put(w, 300, 300, 700);
    pool_consumed(w->pool, w->job, 400); /* into the file */
    struct link_spool order = divert_behind(w, 400, 2 << 20);
    assert_int_equal(order.base, 300);
    assert_int_equal(order.limit, 300 + (2 << 20));
    produce(w, 1200);
    say(w, &(struct link_spooled){LINK_SPOOLED, w->id, 1200});
    assert_int_equal(w->spooled, 1);
    assert_file(w, 300, 1200);
    put(w, 300, 1200, 5000);
    say(w, &(struct link_end){.type = LINK_END, .job = w->id, .produced = 5000, .rows = 3});
    assert_int_equal(w->end, 1);
    assert_int_equal(pool_spooled_bytes(w->job), 4700);
    assert_file(w, 300, 5000);
    pool_died(w->pool, &(struct control_died){CONTROL_DIED, 1, DEATH_RETIRED, STOP_TERM, SIGTERM, 0});
}

/* What is in front of the file's own part is no room for a lie. */
static void the_turn_can_t_be_before_what_the_front_has_taken(void **state)
{
    struct world *w = *state;
    produce(w, 1000);
    pool_consumed(w->pool, w->job, 700);
    struct link_spool order = divert_behind(w, 700, 2 << 20);
    assert_int_equal(order.base, 0);
    say(w, &(struct link_spooled){LINK_SPOOLED, w->id, 699});
    assert_int_equal(w->spooled, 0);
    assert_int_equal(w->replaced, 1);
    assert_int_equal(w->reason, DEATH_LINK);
}

static void an_end_that_overtakes_the_order_leaves_all_in_the_ring(void **state)
{
    struct world *w = *state;
    produce(w, 1000);
    (void)divert(w, 1 << 20);
    say(w, &(struct link_end){.type = LINK_END, .job = w->id, .produced = 1500, .rows = 3});
    assert_int_equal(w->end, 1);
    assert_int_equal(w->spooled, 0);
    assert_int_equal(w->job->spool.phase, SPOOL_ASKED);
    assert_int_equal(ring_reader_ready(&w->job->worker->reader), 1500);
    assert_int_equal(w->replaced, 1); /* it may keep the descriptor */
    pool_consumed(w->pool, w->job, 1500);
    job_set_state(w->job, JOB_DONE);
    pool_release(w->pool, w->job);
}

static void a_failure_after_the_turn_ends_the_job_and_the_worker(void **state)
{
    struct world *w = *state;
    produce(w, 1000);
    (void)divert(w, 1 << 20);
    say(w, &(struct link_spooled){LINK_SPOOLED, w->id, 1000});
    struct link_fail m = {.type = LINK_FAIL, .job = w->id, .produced = UINT64_MAX, .error.code = ERR_SPOOL_FULL};
    say(w, &m);
    assert_int_equal(w->failed, 1);
    assert_int_equal(w->last.code, ERR_SPOOL_FULL);
    assert_int_equal(w->replaced, 1);
}

static void the_clock_stands_while_a_grant_is_missing(void **state)
{
    struct world *w = *state;
    produce(w, 1000);
    (void)divert(w, 1 << 20);
    say(w, &(struct link_spooled){LINK_SPOOLED, w->id, 1000});
    assert_true(atomic_load(&w->page->cell[1].deadline_ns) > 0);
    pool_client_is_slow(w->pool, w->job);
    assert_int_equal(atomic_load(&w->page->cell[1].deadline_ns), 0);
    assert_true(pool_grant(w->pool, w->job, 2 << 20));
    assert_true(atomic_load(&w->page->cell[1].deadline_ns) > 0);
}

static void a_limit_of_ours_is_the_reason_that_is_told(void **state)
{
    struct world *w = *state;
    struct error err;
    error_set(&err, ERR_SPOOL_FULL, "full");
    pool_stop(w->pool, w->job, &err);
    assert_int_equal(atomic_load(&w->page->cell[1].cancel_job), w->id);
    say(w, &(struct link_fail){.type = LINK_FAIL, .job = w->id, .error.code = ERR_CANCELLED});
    assert_int_equal(w->last.code, ERR_SPOOL_FULL);
    assert_string_equal(w->last.detail, "full");
}

/* Each of these costs the worker its life. */
static void lies(struct world *w, int which)
{
    switch (which) {
    case 0: /* it was not asked */ say(w, &(struct link_spooled){LINK_SPOOLED, w->id, 1000}); return;
    case 1: say(w, &(struct link_want){LINK_WANT, w->id}); return;
    }
    struct link_spool order = divert(w, 4096);
    switch (which) {
    case 2: /* it asks for more before it has begun */ say(w, &(struct link_want){LINK_WANT, w->id}); return;
    case 3: /* further than it may */ say(w, &(struct link_spooled){LINK_SPOOLED, w->id, order.limit + 1}); return;
    case 4: /* of another job */ say(w, &(struct link_spooled){LINK_SPOOLED, w->id + 1, 1000}); return;
    }
    say(w, &(struct link_spooled){LINK_SPOOLED, w->id, 1000});
    assert_int_equal(w->replaced, 0);
    switch (which) {
    case 5: /* twice */ say(w, &(struct link_spooled){LINK_SPOOLED, w->id, 1000}); return;
    case 6: /* announced, and not there */
        atomic_store(&w->ring.shared->produced, 2000);
        bell(w);
        return;
    case 7: /* back */
        atomic_store(&w->ring.shared->produced, 999);
        bell(w);
        return;
    case 8: /* more than it may */
        assert_int_equal(ftruncate(w->file, 1 << 20), 0);
        say(w, &(struct link_end){.type = LINK_END, .job = w->id, .produced = order.limit + 1});
        return;
    case 9: /* shorter at the end than it was */
        put(w, 0, 1000, 3000);
        atomic_store(&w->ring.shared->produced, 3000);
        bell(w);
        assert_int_equal(w->replaced, 0);
        assert_int_equal(ftruncate(w->file, 10), 0);
        say(w, &(struct link_end){.type = LINK_END, .job = w->id, .produced = 3500});
        return;
    }
}

static void a_worker_that_lies_is_replaced(void **state)
{
    (void)state;
    for (int i = 0; i <= 9; i++) {
        void *one;
        setup(&one);
        struct world *w = one;
        produce(w, 1000);
        lies(w, i);
        if (w->replaced != 1 || w->reason != DEATH_LINK || w->end || w->failed)
            fail_msg("lie %d was believed", i);
        pool_died(w->pool, &(struct control_died){CONTROL_DIED, 1, DEATH_LINK, STOP_TERM, SIGTERM, 0});
        assert_int_equal(w->failed, 1);
        assert_int_equal(w->last.code, ERR_WORKER_CRASHED);
        teardown(&one);
    }
}

static void a_worker_that_has_shown_bytes_has_taken_its_job(void **state)
{
    struct world *w = *state;
    produce(w, 1000);
    atomic_store(&w->ring.shared->taken, 0);
    pool_died(w->pool, &(struct control_died){CONTROL_DIED, 1, DEATH_CRASH, STOP_NONE, SIGSEGV, 0});
    assert_int_equal(w->failed, 1); /* not run again: the client may have some of them */
}

int main(void)
{
#define WITH_WORLD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_turn_into_the_file_must_be_possible),
        cmocka_unit_test(what_is_announced_must_be_in_the_file),
        cmocka_unit_test(writing_reports_a_file_that_must_not_grow),
        WITH_WORLD(a_result_goes_on_in_the_file_without_a_gap),
        WITH_WORLD(what_the_front_has_written_stays_in_front),
        WITH_WORLD(the_turn_can_t_be_before_what_the_front_has_taken),
        WITH_WORLD(an_end_that_overtakes_the_order_leaves_all_in_the_ring),
        WITH_WORLD(a_failure_after_the_turn_ends_the_job_and_the_worker),
        WITH_WORLD(the_clock_stands_while_a_grant_is_missing),
        WITH_WORLD(a_limit_of_ours_is_the_reason_that_is_told),
        cmocka_unit_test(a_worker_that_lies_is_replaced),
        WITH_WORLD(a_worker_that_has_shown_bytes_has_taken_its_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
