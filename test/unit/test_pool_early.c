/* Orders sent early (src/sched/pool_early.c, src/link/early.c): quick jobs that a busy worker may take up behind its own, and how they are had
 * back. The text 'q' is known to be quick. */
#include "pool_fixture.h"

#include "link/early.h"

static uint32_t taken[WORKERS_MAX + 1]; /* orders, by worker */

static int world_with_quick_text(void **state)
{
    setup(state);
    memset(taken, 0, sizeof taken);
    struct world *w = *state;
    struct pool_options o = {.queue_length = 100, .queue_timeout_ms = 60000, .inline_bytes = 1000};
    pool_set_options(w->pool, &o);
    add_worker(w, 1);
    finish_after(w, submit_letter(w, 'q'), 1);
    return 0;
}

/* It runs, and will never have run for long. */
static struct job *running(struct world *w)
{
    struct job *j = submit_letter(w, 'q');
    assert_true(runs_on(j, 1));
    j->started_ns = clock_now_ns() + 3600 * NS_PER_S;
    return j;
}

static bool is_early(const struct job *j)
{
    bool there = false;
    for (unsigned i = 0; j->early_at && i < j->early_at->early_count; i++)
        there |= j->early_at->early[i] == j;
    return there && j->state == JOB_QUEUED;
}

/* What is there for the worker; it has it then. */
static const struct early *peek(struct world *w, uint32_t id)
{
    const struct early *e = early_take(&w->worker[id].ring, taken[id]);
    taken[id] += e != NULL;
    return e;
}

static void deliver(struct world *w, struct job *j)
{
    assert_int_equal(j->state, JOB_DELIVERING);
    job_set_state(j, JOB_DONE);
    pool_release(w->pool, j);
    job_free(j);
}

static void fail_in_queue(struct world *w, struct job *j)
{
    pool_cancel(w->pool, j, STOP_FOR_CANCEL);
    assert_int_equal(j->state, JOB_CANCELLED);
    job_free(j);
}

/* The worker takes it up, as the real one does with its END. */
static uint32_t take_early(struct world *w, uint32_t id, char letter)
{
    const struct early *e = peek(w, id);
    assert_non_null(e);
    union link_message m = {.run = e->run};
    assert_true(link_check(&m, sizeof m.run, LINK_FRONT, LINK_IDLE));
    assert_int_equal(e->text[0], letter);
    return e->run.job;
}

static void set_taken(struct world *w, uint32_t id, uint32_t job) { atomic_store(&w->worker[id].ring.shared->taken, job); }
static void set_produced(struct world *w, uint64_t n) { atomic_store(&w->worker[1].ring.shared->produced, n); }

static void a_quick_job_follows_another_without_a_message(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q'), *c = submit_letter(w, 'q'), *d = submit_letter(w, 'q');
    uint32_t a_id = take(w, 1);
    assert_true(is_early(b));
    assert_true(is_early(c));
    assert_int_equal(d->state, JOB_QUEUED);
    assert_null(d->early_at); /* two at a time */
    assert_int_equal(pool_count(w->pool).queued, 3);
    uint32_t b_id = take_early(w, 1, 'q');
    assert_int_equal(b_id, b->id);
    say_end(w, 1, a_id, 0, 1);
    assert_int_equal(a->state, JOB_DELIVERING);
    assert_int_equal(b->state, JOB_RUNNING);
    assert_int_equal(atomic_load(&w->page->cell[1].job), b_id);
    assert_true(atomic_load(&w->page->cell[1].deadline_ns) > clock_now_ns());
    deliver(w, a);
    assert_true(runs_on(b, 1));
    assert_false(has_order(w, 1));
    assert_true(is_early(c));
    assert_true(is_early(d));
    assert_int_equal(take_early(w, 1, 'q'), c->id);
    assert_int_equal(take_early(w, 1, 'q'), d->id);
    say_end(w, 1, b_id, 0, 1); /* the front is late */
    assert_true(is_early(d));
    deliver(w, b);
    say_end(w, 1, c->id, 0, 1);
    deliver(w, c);
    assert_true(runs_on(d, 1));
    say_end(w, 1, d->id, 0, 1);
    deliver(w, d);
    assert_int_equal(pool_count(w->pool).idle, 1);
    assert_int_equal(w->replaced_count, 0);
}

static void what_the_worker_did_not_take_is_sent_as_ever(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q');
    assert_true(is_early(b));
    say_end(w, 1, take(w, 1), 0, 1);
    assert_int_equal(b->state, JOB_QUEUED);
    assert_null(b->early_at);
    assert_null(peek(w, 1));
    deliver(w, a);
    assert_true(runs_on(b, 1));
    finish_after(w, b, 1);
}

static void the_order_is_kept_when_both_are_had_back(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q'), *c = submit_letter(w, 'q'), *d = submit_letter(w, 'q');
    fail_in_queue(w, b); /* c behind it comes back as well */
    assert_null(c->early_at);
    say_end(w, 1, take(w, 1), 0, 1);
    deliver(w, a);
    assert_true(runs_on(c, 1));
    assert_int_equal(take(w, 1), c->id);
    assert_true(is_early(d));
    assert_int_equal(take_early(w, 1, 'q'), d->id);
    say_end(w, 1, c->id, 0, 1);
    deliver(w, c);
    say_end(w, 1, d->id, 0, 1);
    deliver(w, d);
    assert_int_equal(w->replaced_count, 0);
}

static void the_last_is_had_back_though_the_first_is_taken(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q'), *c = submit_letter(w, 'q');
    uint32_t a_id = take(w, 1);
    take_early(w, 1, 'q');
    add_worker(w, 2);
    assert_true(runs_on(c, 2));
    assert_null(peek(w, 1));
    say_end(w, 1, a_id, 0, 1);
    deliver(w, a);
    assert_true(runs_on(b, 1));
    b->started_ns = clock_now_ns() + 3600 * NS_PER_S;
    c->started_ns = b->started_ns;
    struct job *d = submit_letter(w, 'q'), *e = submit_letter(w, 'q');
    assert_true(is_early(d));
    assert_true(is_early(e));
    assert_true(d->early_at != e->early_at); /* one for each first */
    fail_in_queue(w, d);
    fail_in_queue(w, e);
    say_end(w, 1, b->id, 0, 1);
    deliver(w, b);
    finish_after(w, c, 1);
}

static void another_worker_that_gets_free_takes_it_over(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q');
    assert_true(is_early(b));
    add_worker(w, 2);
    assert_true(runs_on(b, 2));
    assert_null(peek(w, 1));
    finish_after(w, b, 1);
    finish_after(w, a, 1);
}

static void only_what_is_quick_goes_and_only_behind_what_is_quick(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *unknown = submit_letter(w, 'u');
    assert_int_equal(unknown->state, JOB_QUEUED);
    assert_null(unknown->early_at);
    struct job *large = submit_text(w, NULL, 'q', 40000, JOB_INTERACTIVE), *background = submit_text(w, NULL, 'q', 8, JOB_BACKGROUND);
    assert_null(large->early_at);
    assert_null(background->early_at);
    fail_in_queue(w, large);
    fail_in_queue(w, background);
    fail_in_queue(w, unknown);
    a->head_of_result_seen = true; /* a large one after all */
    struct job *b = submit_letter(w, 'q');
    assert_null(b->early_at);
    a->head_of_result_seen = false;
    a->started_ns = clock_now_ns() - NS_PER_S; /* or a slow one */
    struct job *c = submit_letter(w, 'q');
    assert_null(c->early_at);
    fail_in_queue(w, c);
    fail_in_queue(w, b);
    finish_after(w, a, 1);
}

static void the_statement_of_the_job_that_runs_is_not_written_over(void **state)
{
    struct world *w = *state;
    finish_after(w, submit_letter(w, 'r'), 1); /* quick as well */
    struct job *a = running(w), *b = submit_letter(w, 'r');
    uint32_t a_id = take(w, 1);
    const struct early *of_b = peek(w, 1);
    say_end(w, 1, a_id, 0, 1);
    deliver(w, a);
    b->started_ns = clock_now_ns() + 3600 * NS_PER_S;
    for (int i = 0; i < 3; i++) { /* had back each time */
        struct job *c = submit_letter(w, 'q');
        assert_true(is_early(c));
        assert_memory_equal(of_b->text, "rrrrrrrr", 8);
        fail_in_queue(w, c);
    }
    say_end(w, 1, b->id, 0, 1);
    deliver(w, b);
}

static void it_is_cancelled_like_one_that_waits_until_it_is_taken(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q');
    uint32_t a_id = take(w, 1);
    assert_true(is_early(b));
    fail_in_queue(w, b);
    assert_null(peek(w, 1));
    b = submit_letter(w, 'q');
    take_early(w, 1, 'q');
    pool_cancel(w->pool, b, STOP_FOR_CANCEL);
    assert_int_equal(b->state, JOB_QUEUED); /* its worker may be at it, and nothing is known of that */
    assert_int_equal(atomic_load(&w->page->cell[1].cancel_job), 0);
    say_end(w, 1, a_id, 0, 1);
    assert_int_equal(b->state, JOB_RUNNING);
    assert_int_equal(atomic_load(&w->page->cell[1].cancel_job), b->id);
    deliver(w, a);
    say(w, 1, &(struct link_fail){.type = LINK_FAIL, .job = b->id, .error.code = ERR_CANCELLED});
    assert_int_equal(b->state, JOB_CANCELLED);
    job_free(b);
    assert_int_equal(pool_count(w->pool).idle, 1);
}

static void it_is_had_back_from_behind_a_slow_one(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q');
    pool_tick(w->pool, clock_now_ns(), NS_PER_S);
    assert_true(is_early(b));
    a->started_ns = clock_now_ns() - NS_PER_S;
    pool_tick(w->pool, clock_now_ns(), NS_PER_S);
    assert_int_equal(b->state, JOB_QUEUED);
    assert_null(b->early_at);
    assert_int_equal(pool_count(w->pool).queued, 1);
    finish_after(w, a, 1);
    assert_true(runs_on(b, 1));
    finish_after(w, b, 1);
}

static void its_bytes_are_not_taken_for_those_before(void **state)
{
    struct world *w = *state;
    const int64_t later = clock_now_ns() + NS_PER_S;
    struct job *a = running(w), *b = submit_letter(w, 'q');
    uint32_t a_id = take(w, 1);
    set_produced(w, 100);
    uint32_t b_id = take_early(w, 1, 'q');
    set_produced(w, 300); /* its END is on its way, and b writes */
    pool_tick(w->pool, later, 0);
    pool_tick(w->pool, later + 1, 0);
    assert_int_equal(w->data, 0);
    say_end(w, 1, a_id, 100, 1);
    assert_int_equal(ring_reader_ready(&worker_of(w, 1)->reader), 100);
    deliver(w, a);
    assert_int_equal(atomic_load(&w->worker[1].ring.shared->consumed), 100);
    say(w, 1, &(struct link_data){LINK_DATA, b_id});
    assert_int_equal(w->data, 1);
    assert_int_equal(ring_reader_ready(&worker_of(w, 1)->reader), 200);
    say_end(w, 1, b_id, 300, 1);
    deliver(w, b);
    assert_int_equal(w->replaced_count, 0);
}

static void while_a_result_is_delivered_the_link_waits_and_the_ring_does_not(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q');
    uint32_t a_id = take(w, 1), b_id = take_early(w, 1, 'q');
    set_produced(w, RING_BYTES);
    say_end(w, 1, a_id, RING_BYTES - 10, 1);
    atomic_store(&w->worker[1].ring.shared->waiting, 1); /* b has no room */
    say(w, 1, &(struct link_data){LINK_DATA, b_id});
    assert_int_equal(w->data, 0); /* a's reader is slow: what b's worker says comes later */
    assert_false(has_order(w, 1));
    pool_consumed(w->pool, a, RING_BYTES / 2);
    union link_message m;
    assert_int_equal(link_receive(w->worker[1].link_fd, LINK_FRONT, LINK_BUSY, &m), 1);
    assert_int_equal(m.type, LINK_SPACE);
    deliver(w, a);
    event_base_loop(w->base, EVLOOP_NONBLOCK);
    assert_int_equal(w->data, 1);
    say_end(w, 1, b_id, RING_BYTES, 1);
    deliver(w, b);
    assert_int_equal(w->replaced_count, 0);
}

static void with_its_worker_dies_what_was_taken_and_nothing_else(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q');
    set_taken(w, 1, take(w, 1));
    assert_true(is_early(b));
    die(w, 1, DEATH_CRASH, STOP_NONE, SIGSEGV);
    assert_int_equal(a->state, JOB_FAILED);
    assert_int_equal(a->error.code, ERR_WORKER_CRASHED);
    assert_int_equal(b->state, JOB_QUEUED);
    job_free(a);
    add_worker(w, 2);
    assert_true(runs_on(b, 2));
    b->started_ns = clock_now_ns() + 3600 * NS_PER_S;
    struct job *c = submit_letter(w, 'q');
    uint32_t b_id = take(w, 2);
    set_taken(w, 2, take_early(w, 2, 'q'));
    say_end(w, 2, b_id, 0, 1);
    die(w, 2, DEATH_CRASH, STOP_NONE, SIGSEGV); /* b's result is not delivered yet */
    assert_int_equal(c->state, JOB_FAILED);
    assert_int_equal(c->error.code, ERR_WORKER_CRASHED);
    job_free(c);
    deliver(w, b);
}

static void taken_and_not_begun_it_runs_elsewhere(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q');
    uint32_t a_id = take(w, 1);
    take_early(w, 1, 'q');
    say_end(w, 1, a_id, 0, 1);
    deliver(w, a);
    die(w, 1, DEATH_CRASH, STOP_NONE, SIGSEGV);
    assert_int_equal(b->state, JOB_QUEUED);
    add_worker(w, 2);
    assert_true(runs_on(b, 2));
    finish_after(w, b, 1);
}

static void a_job_that_fails_makes_room_for_it(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q');
    uint32_t a_id = take(w, 1), b_id = take_early(w, 1, 'q');
    say(w, 1, &(struct link_fail){.type = LINK_FAIL, .job = a_id, .error.code = ERR_SQL});
    assert_int_equal(a->state, JOB_FAILED);
    job_free(a);
    assert_true(runs_on(b, 1));
    assert_int_equal(atomic_load(&w->page->cell[1].job), b_id);
    say_end(w, 1, b_id, 0, 1);
    deliver(w, b);
}

static void a_worker_that_goes_gives_it_back(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q');
    assert_true(is_early(b));
    pool_retire(w->pool, 1);
    assert_null(b->early_at);
    assert_null(peek(w, 1));
    struct job *c = submit_letter(w, 'q');
    assert_null(c->early_at);
    finish_after(w, a, 1);
    assert_int_equal(w->replaced_count, 1);
    assert_int_equal(b->state, JOB_QUEUED);
    fail_in_queue(w, b);
    fail_in_queue(w, c);
}

static void the_end_of_the_pool_is_its_end(void **state)
{
    struct world *w = *state;
    struct error why;
    struct job *a = running(w), *b = submit_letter(w, 'q');
    set_taken(w, 1, take(w, 1));
    take_early(w, 1, 'q');
    error_set(&why, ERR_UNAVAILABLE, "over");
    pool_end(w->pool, &why);
    assert_int_equal(b->state, JOB_FAILED);
    assert_int_equal(b->error.code, ERR_UNAVAILABLE);
    job_free(b);
    die(w, 1, DEATH_RETIRED, STOP_TERM, SIGTERM);
    assert_int_equal(a->state, JOB_CANCELLED);
    job_free(a);
    assert_false(pool_has_jobs(w->pool));
}

static void it_counts_as_waiting_against_the_limits(void **state)
{
    struct world *w = *state;
    static const struct tenant_limits narrow = {.share = 10, .queue = 1};
    struct tenant *t = tenant_new(1, "a", &narrow);
    struct error err;
    finish_after(w, submit_text(w, t, 'q', 8, JOB_INTERACTIVE), 1);
    struct job *a = submit_text(w, t, 'q', 8, JOB_INTERACTIVE);
    a->started_ns = clock_now_ns() + 3600 * NS_PER_S;
    struct job *b = submit_text(w, t, 'q', 8, JOB_INTERACTIVE), *c = job_with(w, 8);
    assert_true(is_early(b));
    c->tenant = tenant_ref(t);
    assert_int_equal(pool_submit(w->pool, c, &err), -1);
    assert_int_equal(err.code, ERR_RATE_LIMITED);
    job_free(c);
    fail_in_queue(w, b);
    finish_after(w, a, 1);
    tenant_unref(t);
}

static void with_isolation_it_stays_with_its_key(void **state)
{
    struct world *w = *state;
    static const struct tenant_limits usual = {.share = 10};
    struct tenant *t = tenant_new(1, "a", &usual), *other = tenant_new(2, "b", &usual);
    struct pool_options o = {.queue_length = 100, .queue_timeout_ms = 60000, .inline_bytes = 1000, .isolation_by_key = true};
    finish_after(w, submit_text(w, t, 'q', 8, JOB_INTERACTIVE), 1);
    finish_after(w, submit_text(w, other, 'q', 8, JOB_INTERACTIVE), 1);
    pool_set_options(w->pool, &o);
    add_worker(w, 2);
    struct job *a = submit_text(w, t, 'q', 8, JOB_INTERACTIVE);
    uint32_t on = a->worker->id;
    struct job *held = submit_text(w, other, 'q', 8, JOB_INTERACTIVE);
    assert_int_equal(held->state, JOB_RUNNING);
    a->started_ns = held->started_ns = clock_now_ns() + 3600 * NS_PER_S;
    held->head_of_result_seen = true;
    struct job *b = submit_text(w, other, 'q', 8, JOB_INTERACTIVE);
    assert_null(b->early_at);
    fail_in_queue(w, b);
    b = submit_text(w, t, 'q', 8, JOB_INTERACTIVE);
    assert_true(is_early(b));
    assert_int_equal(b->early_at->id, on);
    fail_in_queue(w, b);
    finish_after(w, a, 1);
    finish_after(w, held, 1);
    tenant_unref(t);
    tenant_unref(other);
}

static void a_worker_that_scribbles_over_the_order_is_at_fault(void **state)
{
    struct world *w = *state;
    struct job *a = running(w), *b = submit_letter(w, 'q');
    uint32_t a_id = take(w, 1);
    assert_true(is_early(b));
    for (int i = 0; i < RING_EARLY_SLOTS; i++)
        atomic_store(&w->worker[1].ring.shared->early[i], UINT32_MAX);
    say_end(w, 1, a_id, 0, 1);
    deliver(w, a);
    assert_true(runs_on(b, 1)); /* by its word; its deadline is the supervisor's */
    assert_int_equal(atomic_load(&w->page->cell[1].job), b->id);
    say_end(w, 1, 999, 0, 1);
    assert_int_equal(w->replaced_count, 1);
    assert_int_equal(w->replaced_for[0], DEATH_LINK);
    die(w, 1, DEATH_LINK, STOP_KILL, SIGKILL);
    assert_int_equal(b->state, JOB_QUEUED);
    fail_in_queue(w, b);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_with_quick_text, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_quick_job_follows_another_without_a_message),
        TEST(what_the_worker_did_not_take_is_sent_as_ever),
        TEST(the_order_is_kept_when_both_are_had_back),
        TEST(the_last_is_had_back_though_the_first_is_taken),
        TEST(another_worker_that_gets_free_takes_it_over),
        TEST(only_what_is_quick_goes_and_only_behind_what_is_quick),
        TEST(the_statement_of_the_job_that_runs_is_not_written_over),
        TEST(it_is_cancelled_like_one_that_waits_until_it_is_taken),
        TEST(it_is_had_back_from_behind_a_slow_one),
        TEST(its_bytes_are_not_taken_for_those_before),
        TEST(while_a_result_is_delivered_the_link_waits_and_the_ring_does_not),
        TEST(with_its_worker_dies_what_was_taken_and_nothing_else),
        TEST(taken_and_not_begun_it_runs_elsewhere),
        TEST(a_job_that_fails_makes_room_for_it),
        TEST(a_worker_that_goes_gives_it_back),
        TEST(the_end_of_the_pool_is_its_end),
        TEST(it_counts_as_waiting_against_the_limits),
        TEST(with_isolation_it_stays_with_its_key),
        TEST(a_worker_that_scribbles_over_the_order_is_at_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
