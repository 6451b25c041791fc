/* Jobs, queue and workers of the front (src/sched), with workers that the test plays itself: it holds the other ends of their links and
 * regions, and says what a worker, or the supervisor, would say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pool_fixture.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- job states ---- */

static void a_job_goes_only_where_the_table_lets_it(void **state)
{
    (void)state;
    static const bool may[JOB_STATES][JOB_STATES] = {
        [JOB_NEW] = {[JOB_QUEUED] = 1, [JOB_RUNNING] = 1, [JOB_FAILED] = 1, [JOB_CANCELLED] = 1},
        [JOB_QUEUED] = {[JOB_RUNNING] = 1, [JOB_FAILED] = 1, [JOB_CANCELLED] = 1},
        [JOB_RUNNING] = {[JOB_QUEUED] = 1, [JOB_DELIVERING] = 1, [JOB_FAILED] = 1, [JOB_CANCELLED] = 1},
        [JOB_DELIVERING] = {[JOB_DONE] = 1, [JOB_FAILED] = 1, [JOB_CANCELLED] = 1},
    };
    for (int a = 0; a < JOB_STATES; a++) {
        for (int b = 0; b < JOB_STATES; b++)
            assert_int_equal(job_may_go((enum job_state)a, (enum job_state)b), may[a][b]);
        struct job j = {.state = (enum job_state)a};
        assert_int_equal(job_is_over(&j), a >= JOB_DONE);
        assert_true(strlen(job_state_text((enum job_state)a)) > 0);
    }
}

/* ---- a job's way ---- */

static void a_job_runs_ends_and_frees_its_worker(void **state)
{
    struct world *w = *state;
    add_worker(w, 1);
    struct job *j = submit(w);
    assert_int_equal(j->state, JOB_RUNNING);
    assert_null(pool_worker_job(worker_of(w, 1))); /* sent, not taken up */
    uint32_t id = take(w, 1);
    assert_int_equal(id, j->id);
    assert_ptr_equal(pool_worker_job(worker_of(w, 1)), j);
    assert_memory_equal(w->worker[1].ring.request, "xxxxxxxx", 8);
    assert_true(atomic_load(&w->page->cell[1].deadline_ns) > clock_now_ns());
    atomic_store(&w->worker[1].ring.shared->produced, 100);
    say(w, 1, &(struct link_data){LINK_DATA, id});
    assert_int_equal(w->data, 1);
    say_end(w, 1, id, 100, 5);
    assert_int_equal(w->end, 1);
    assert_int_equal(j->state, JOB_DELIVERING);
    assert_int_equal(atomic_load(&w->page->cell[1].deadline_ns), 0);
    pool_consumed(w->pool, j, 60);
    job_set_state(j, JOB_CANCELLED); /* the client leaves: the rest is dropped */
    pool_release(w->pool, j);
    assert_int_equal(atomic_load(&w->worker[1].ring.shared->consumed), 100);
    assert_int_equal(pool_count(w->pool).idle, 1);
    assert_int_equal(w->replaced_count, 0);
    job_free(j);
}

static void what_no_doorbell_tells_of_is_found_at_the_tick(void **state)
{
    struct world *w = *state;
    const int64_t now = clock_now_ns(), patience = NS_PER_S;
    add_worker(w, 1);
    struct job *j = submit(w);
    take(w, 1);
    pool_tick(w->pool, now, patience);
    atomic_store(&w->worker[1].ring.shared->produced, 100);
    pool_tick(w->pool, now, patience);
    pool_tick(w->pool, now + patience - 1, patience);
    assert_int_equal(w->data, 0); /* the first rows wait for more, so that a small result has its length */
    pool_tick(w->pool, now + patience, patience);
    assert_int_equal(w->data, 1);
    pool_tick(w->pool, now + patience, patience);
    assert_int_equal(w->data, 1); /* nothing new */
    pool_consumed(w->pool, j, 100);
    pool_tick(w->pool, now + patience, patience);
    assert_int_equal(w->data, 1);
    atomic_store(&w->worker[1].ring.shared->produced, 101);
    pool_tick(w->pool, now + patience, patience);
    assert_int_equal(w->data, 2);
    assert_int_equal(ring_reader_ready(&worker_of(w, 1)->reader), 1);
    atomic_store(&w->worker[1].ring.shared->produced, 100); /* it goes back */
    pool_tick(w->pool, now + patience, patience);
    assert_int_equal(w->data, 2);
    assert_int_equal(w->replaced_count, 1);
    assert_int_equal(w->replaced_for[0], DEATH_LINK);
    die(w, 1, DEATH_LINK, STOP_NONE, SIGKILL);
    assert_int_equal(w->failed, 1);
    job_free(j);
}

static void a_full_queue_refuses_and_an_old_place_in_it_expires(void **state)
{
    struct world *w = *state;
    struct error err;
    add_worker(w, 1);
    struct job *a = submit(w), *b = submit(w), *c = submit(w);
    assert_int_equal(b->state, JOB_QUEUED);
    assert_int_equal(submit_fails(w, 8, &err), -1);
    assert_int_equal(err.code, ERR_OVERLOADED);
    assert_in_range(err.retry_after_s, 1, 60);
    pool_tick(w->pool, clock_now_ns() + 2 * NS_PER_S, NS_PER_S);
    assert_int_equal(w->failed, 2);
    assert_int_equal(w->last.code, ERR_OVERLOADED);
    assert_int_equal(a->state, JOB_RUNNING);
    job_free(b);
    job_free(c);
    say(w, 1, &(struct link_fail){.type = LINK_FAIL, .job = take(w, 1), .error.code = ERR_SQL});
    assert_int_equal(w->last.code, ERR_SQL);
    job_free(a);
}

/* ---- a worker that lies ---- */

static void what_is_out_of_place_costs_the_worker_its_life(void **state)
{
    struct world *w = *state;
    const struct link_end ends[] = {{.type = LINK_END, .job = 999, .rows = 1}, {.type = LINK_END, .produced = RING_BYTES + 1}};
    for (uint32_t i = 1; i <= 2; i++) {
        add_worker(w, i);
        struct job *j = submit(w);
        struct link_end m = ends[i - 1];
        uint32_t id = take(w, i);
        m.job = m.job ? m.job : id;
        say(w, i, &m);
        assert_int_equal(w->end, 0);
        assert_int_equal(w->replaced_count, i);
        assert_int_equal(w->replaced_for[i - 1], DEATH_LINK);
        assert_int_equal(w->failed, i - 1); /* its client hears when the supervisor says how it ended */
        die(w, i, DEATH_LINK, STOP_TERM, SIGTERM);
        assert_int_equal(w->failed, i);
        assert_int_equal(w->last.code, ERR_WORKER_CRASHED);
        job_free(j);
    }
    add_worker(w, 3); /* nobody asked it for anything */
    say(w, 3, &(struct link_data){LINK_DATA, 1});
    assert_int_equal(w->replaced_for[2], DEATH_LINK);
}

static void a_time_nobody_can_have_worked_does_not_count(void **state)
{
    struct world *w = *state;
    add_worker(w, 1);
    for (int i = 0; i < 20; i++) {
        struct job *j = submit(w);
        say_end(w, 1, take(w, 1), 0, INT64_MAX);
        assert_in_range(j->exec_us, 0, 60 * 1000000);
        assert_in_range(w->pool->mean_exec_us, 0, 60 * 1000000);
        job_set_state(j, JOB_DONE);
        pool_release(w->pool, j);
        job_free(j);
    }
}

/* ---- deaths ---- */

static enum error_code death_gives(struct world *w, uint32_t id, enum death_reason reason, enum stop_stage stage, bool cancel)
{
    add_worker(w, id);
    struct job *j = submit(w);
    take(w, id);
    if (cancel)
        pool_cancel(w->pool, j, STOP_FOR_CANCEL);
    unsigned before = w->failed;
    die(w, id, reason, stage, SIGSEGV);
    assert_int_equal(w->failed, before + 1);
    job_free(j);
    return w->last.code;
}

static void the_reason_of_a_death_decides_the_answer(void **state)
{
    struct world *w = *state;
    assert_int_equal(death_gives(w, 1, DEATH_CRASH, STOP_NONE, false), ERR_WORKER_CRASHED);
    assert_int_equal(w->last.signal, SIGSEGV);
    assert_int_equal(death_gives(w, 2, DEATH_CRASH, STOP_INTERRUPT, false), ERR_WORKER_CRASHED);
    assert_int_equal(death_gives(w, 3, DEATH_TIMEOUT, STOP_KILL, false), ERR_TIMEOUT);
    assert_int_equal(w->last.stopped_by, STOP_KILL);
    assert_int_equal(w->last.limit_ms, 30000);
    assert_int_equal(death_gives(w, 4, DEATH_CRASH, STOP_INTERRUPT, true), ERR_CANCELLED);
    assert_int_equal(pool_count(w->pool).idle + pool_count(w->pool).busy + pool_count(w->pool).lost, 0);
}

static void a_job_that_was_never_taken_up_runs_again_once(void **state)
{
    struct world *w = *state;
    add_worker(w, 1);
    struct job *j = submit(w);
    die(w, 1, DEATH_CRASH, STOP_NONE, SIGKILL);
    assert_int_equal(j->state, JOB_QUEUED);
    assert_int_equal(w->failed, 0);
    add_worker(w, 2);
    assert_int_equal(j->state, JOB_RUNNING);
    die(w, 2, DEATH_CRASH, STOP_NONE, SIGKILL);
    assert_int_equal(w->failed, 1);
    assert_int_equal(w->last.code, ERR_WORKER_CRASHED);
    job_free(j);
}

static void a_result_outlives_its_worker(void **state)
{
    struct world *w = *state;
    add_worker(w, 1);
    struct job *j = submit(w);
    uint32_t id = take(w, 1);
    memcpy(w->worker[1].ring.bytes, "result", 6);
    say_end(w, 1, id, 6, 1);
    die(w, 1, DEATH_CRASH, STOP_NONE, SIGSEGV);
    assert_int_equal(w->failed, 0);
    assert_memory_equal(ring_reader_data(&j->worker->reader), "result", 6);
    pool_consumed(w->pool, j, 6);
    job_set_state(j, JOB_DONE);
    pool_release(w->pool, j);
    job_free(j);
    assert_null(pool_workers(w->pool));
}

static void a_spent_worker_gets_no_further_job(void **state)
{
    struct world *w = *state;
    add_worker(w, 1);
    struct job *j = submit(w);
    say(w, 1, &(struct link_fail){.type = LINK_FAIL, .job = take(w, 1), .spent = 1, .error.code = ERR_OUT_OF_MEMORY});
    assert_int_equal(w->replaced_for[0], DEATH_SPENT);
    job_free(j);
    j = submit(w);
    assert_int_equal(j->state, JOB_QUEUED);
    assert_false(has_order(w, 1));
    add_worker(w, 2);
    assert_true(has_order(w, 2));
    say_end(w, 2, take(w, 2), 0, 1);
    job_set_state(j, JOB_DONE);
    pool_release(w->pool, j);
    job_free(j);
}

/* ---- tenants ---- */

static struct job *job_of(struct world *w, struct tenant *t)
{
    struct job *j = job_with(w, 8);
    j->tenant = tenant_ref(t);
    return j;
}

static struct job *submit_for(struct world *w, struct tenant *t)
{
    struct job *j = job_of(w, t);
    struct error err;
    assert_int_equal(pool_submit(w->pool, j, &err), 0);
    return j;
}

static void finish(struct world *w, uint32_t worker, struct job *j)
{
    say_end(w, worker, take(w, worker), 0, 1);
    job_set_state(j, JOB_DONE);
    pool_release(w->pool, j);
    job_free(j);
}

static void a_full_queue_takes_a_place_from_whom_has_most(void **state)
{
    struct world *w = *state;
    static const struct tenant_limits usual = {.share = 10};
    struct tenant *a = tenant_new(1, "a", &usual), *b = tenant_new(2, "b", &usual);
    struct error err;
    add_worker(w, 1);
    struct job *a1 = submit_for(w, a), *a2 = submit_for(w, a), *a3 = submit_for(w, a); /* one runs, two fill the queue */
    struct job *b1 = submit_for(w, b);
    assert_int_equal(w->failed, 1);
    assert_int_equal(a3->state, JOB_FAILED);
    assert_int_equal(a3->error.code, ERR_OVERLOADED);
    assert_in_range(a3->error.retry_after_s, 1, 60);
    struct job *b2 = job_of(w, b);
    assert_int_equal(pool_submit(w->pool, b2, &err), -1); /* equals now */
    assert_int_equal(err.code, ERR_OVERLOADED);
    finish(w, 1, a1);
    assert_int_equal(b1->state, JOB_RUNNING); /* a held the place until now */
    finish(w, 1, b1);
    finish(w, 1, a2);
    job_free(a3);
    job_free(b2);
    tenant_unref(a);
    tenant_unref(b);
}

static void a_key_s_own_limits_are_rate_limited(void **state)
{
    struct world *w = *state;
    static const struct tenant_limits narrow = {.share = 10, .concurrency = 1, .queue = 1};
    struct tenant *a = tenant_new(1, "a", &narrow);
    struct error err;
    add_worker(w, 1);
    add_worker(w, 2);
    struct job *first = submit_for(w, a), *second = submit_for(w, a), *third = job_of(w, a);
    assert_int_equal(first->state, JOB_RUNNING);
    assert_int_equal(second->state, JOB_QUEUED); /* though a worker is free */
    assert_int_equal(pool_submit(w->pool, third, &err), -1);
    assert_int_equal(err.code, ERR_RATE_LIMITED);
    assert_in_range(err.retry_after_s, 1, 60);
    pool_tick(w->pool, clock_now_ns() + 2 * NS_PER_S, NS_PER_S);
    assert_int_equal(second->state, JOB_FAILED);
    assert_int_equal(second->error.code, ERR_RATE_LIMITED);
    struct job *other = submit(w);
    assert_int_equal(other->state, JOB_RUNNING);
    uint32_t worker = first->worker->id;
    finish(w, worker, first);
    finish(w, 3 - worker, other);
    job_free(second);
    job_free(third);
    tenant_unref(a);
}

static void background_jobs_wait_without_a_time_limit(void **state)
{
    struct world *w = *state;
    struct error err;
    add_worker(w, 1);
    struct job *runs = submit(w), *bg = job_with(w, 8);
    bg->class = JOB_BACKGROUND;
    assert_int_equal(pool_submit(w->pool, bg, &err), 0);
    assert_int_equal(pool_count(w->pool).background, 1);
    pool_tick(w->pool, clock_now_ns() + 3600 * NS_PER_S, NS_PER_S);
    assert_int_equal(bg->state, JOB_QUEUED);
    finish(w, 1, runs);
    assert_int_equal(bg->state, JOB_RUNNING);
    finish(w, 1, bg);
}

static void with_isolation_no_worker_serves_two_keys(void **state)
{
    struct world *w = *state;
    static const struct tenant_limits usual = {.share = 10};
    struct tenant *a = tenant_new(1, "a", &usual), *b = tenant_new(2, "b", &usual);
    struct pool_options o = {.queue_length = 8, .queue_timeout_ms = 1000, .inline_bytes = 1000, .isolation_by_key = true};
    pool_set_options(w->pool, &o);
    add_worker(w, 1);
    finish(w, 1, submit_for(w, a));
    finish(w, 1, submit_for(w, a)); /* the same key: the same worker */
    assert_int_equal(w->replaced_count, 0);
    struct job *b1 = submit_for(w, b), *b2 = submit_for(w, b);
    assert_int_equal(b1->state, JOB_QUEUED);
    assert_int_equal(w->replaced_count, 1);
    assert_int_equal(w->replaced[0], 1);
    assert_int_equal(w->replaced_for[0], DEATH_RETIRED);
    add_worker(w, 2);
    assert_int_equal(b1->state, JOB_RUNNING);
    finish(w, 2, b1);
    assert_int_equal(b2->state, JOB_RUNNING); /* its own worker goes on with it */
    finish(w, 2, b2);
    assert_int_equal(w->replaced_count, 1);
    die(w, 1, DEATH_RETIRED, STOP_TERM, SIGTERM);
    tenant_unref(a);
    tenant_unref(b);
}

static void with_isolation_two_who_wait_get_two_workers(void **state)
{
    struct world *w = *state;
    static const struct tenant_limits usual = {.share = 10};
    struct tenant *t[3] = {tenant_new(1, "a", &usual), tenant_new(2, "b", &usual), tenant_new(3, "c", &usual)};
    struct pool_options o = {.queue_length = 8, .queue_timeout_ms = 1000, .inline_bytes = 1000, .isolation_by_key = true};
    pool_set_options(w->pool, &o);
    add_worker(w, 1);
    add_worker(w, 2);
    struct job *a1 = submit_for(w, t[0]), *a2 = submit_for(w, t[0]);
    uint32_t first = a1->worker->id;
    finish(w, first, a1);
    finish(w, 3 - first, a2);
    struct job *b = submit_for(w, t[1]), *c = submit_for(w, t[2]);
    assert_int_equal(w->replaced_count, 2); /* one for each, not more */
    add_worker(w, 3);
    assert_int_equal(b->state, JOB_RUNNING);
    assert_int_equal(c->state, JOB_QUEUED);
    add_worker(w, 4);
    assert_int_equal(c->state, JOB_RUNNING);
    assert_int_equal(w->replaced_count, 2);
    finish(w, 3, b);
    finish(w, 4, c);
    for (int i = 0; i < 3; i++)
        tenant_unref(t[i]);
}

static void a_worker_s_death_counts_against_its_key(void **state)
{
    struct world *w = *state;
    static const struct tenant_limits usual = {.share = 10};
    struct tenant *a = tenant_new(1, "a", &usual), *b = tenant_new(2, "b", &usual);
    add_worker(w, 1);
    struct job *bad = submit_for(w, a);
    take(w, 1);
    struct job *a2 = submit_for(w, a), *b2 = submit_for(w, b);
    die(w, 1, DEATH_CRASH, STOP_NONE, SIGSEGV);
    assert_int_equal(bad->state, JOB_FAILED);
    add_worker(w, 2);
    assert_int_equal(b2->state, JOB_RUNNING); /* though a's came first */
    finish(w, 2, b2);
    finish(w, 2, a2);
    job_free(bad);
    tenant_unref(a);
    tenant_unref(b);
}

/* ---- sizes ---- */

static void what_does_not_fit_a_worker_is_refused(void **state)
{
    struct world *w = *state;
    struct error err;
    add_worker(w, 1);
    assert_int_equal(submit_fails(w, REQUEST_BYTES + 1, &err), -1);
    assert_int_equal(err.code, ERR_PAYLOAD_TOO_LARGE);
    assert_int_equal(err.limit_bytes, REQUEST_BYTES);
    struct job *first = submit(w), *large = job_with(w, REQUEST_BYTES + 1), *last = job_with(w, REQUEST_BYTES);
    assert_int_equal(pool_submit(w->pool, large, &err), 0); /* waits: nobody knows for which worker */
    assert_int_equal(pool_submit(w->pool, last, &err), 0);
    say_end(w, 1, take(w, 1), 0, 1);
    job_set_state(first, JOB_DONE);
    pool_release(w->pool, first);
    assert_int_equal(w->failed, 1);
    assert_int_equal(w->last.code, ERR_PAYLOAD_TOO_LARGE);
    assert_int_equal(last->state, JOB_RUNNING); /* the next in the queue does not wait for it */
    say_end(w, 1, take(w, 1), 0, 1);
    job_set_state(last, JOB_DONE);
    pool_release(w->pool, last);
    job_free(first);
    job_free(large);
    job_free(last);
}

/* ---- no workers ---- */

static void trouble_without_a_worker_is_told_at_once(void **state)
{
    struct world *w = *state;
    struct error err;
    struct job *j = submit(w);
    assert_int_equal(j->state, JOB_QUEUED);
    pool_set_trouble(w->pool, "the file is missing");
    assert_int_equal(w->failed, 1);
    assert_int_equal(w->last.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(w->last.detail, "the file is missing"));
    job_free(j);
    assert_int_equal(submit_fails(w, 8, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    pool_set_trouble(w->pool, "");
    pool_drain(w->pool);
    assert_int_equal(submit_fails(w, 8, &err), -1);
    assert_non_null(strstr(err.detail, "shutting down"));
}

static void a_death_of_nobody_and_nonsense_are_ignored(void **state)
{
    struct world *w = *state;
    add_worker(w, 1);
    die(w, 77, DEATH_CRASH, STOP_NONE, SIGKILL);
    die(w, 1, DEATH_REASONS, STOP_NONE, SIGKILL);
    die(w, 1, DEATH_CRASH, STOP_COUNT, SIGKILL);
    assert_int_equal(pool_count(w->pool).idle, 1);
}

/* ---- how long texts take ---- */

/* Runs a job of that text, which says to have taken `exec_us`, `elapsed_ms` after its start, and has had so much CPU time (0: nobody knows). */
static enum length learnt_from(struct world *w, int64_t exec_us, int64_t elapsed_ms, int64_t cpu_us)
{
    struct job *j = submit(w);
    uint32_t id = take(w, 1);
    j->started_ns = clock_now_ns() - elapsed_ms * NS_PER_MS;
    j->cpu_from_ns = INT64_MAX; /* the clock of no process of ours */
    j->cpu_us = cpu_us;
    say_end(w, 1, id, 0, exec_us);
    enum length length = fair_length(w->pool->fair, j);
    job_set_state(j, JOB_DONE);
    pool_release(w->pool, j);
    job_free(j);
    return length;
}

static void a_text_is_quick_until_it_takes_long_twice(void **state)
{
    struct world *w = *state;
    add_worker(w, 1);
    assert_int_equal(learnt_from(w, 1000, 1, 1000), LENGTH_QUICK);
    assert_int_equal(learnt_from(w, 10000, 11, 10000), LENGTH_QUICK);
    assert_int_equal(learnt_from(w, 30000, 31, 30000), LENGTH_QUICK); /* once is an accident */
    assert_int_equal(learnt_from(w, 10000, 11, 10000), LENGTH_QUICK);
    assert_int_equal(learnt_from(w, 30000, 31, 30000), LENGTH_QUICK);
    assert_int_equal(learnt_from(w, 30000, 31, 30000), LENGTH_LONG);
    assert_int_equal(learnt_from(w, 10000, 11, 10000), LENGTH_MIDDLING);
    assert_int_equal(learnt_from(w, 10000, 11, 10000), LENGTH_MIDDLING);
    assert_int_equal(learnt_from(w, 30000, 31, 30000), LENGTH_LONG);
    assert_int_equal(learnt_from(w, 1000, 1, 1000), LENGTH_QUICK);
}

static void a_busy_machine_makes_no_query_long(void **state)
{
    struct world *w = *state;
    add_worker(w, 1);
    assert_int_equal(learnt_from(w, 30000, 31, 1500), LENGTH_QUICK);
    assert_int_equal(learnt_from(w, 30000, 31, 1500), LENGTH_QUICK);
}

/* A worker taken over could have all its texts pass others'. */
static void quick_is_not_the_worker_s_word_alone(void **state)
{
    struct world *w = *state;
    add_worker(w, 1);
    assert_int_equal(learnt_from(w, 0, 5000, 0), LENGTH_MIDDLING);
    assert_int_equal(learnt_from(w, 0, 5000, 5000000), LENGTH_MIDDLING);
    assert_int_equal(learnt_from(w, 0, 5000, 1), LENGTH_MIDDLING); /* whatever it waited for */
}

static void a_lane_s_pool_needs_no_key_of_the_text(void **state)
{
    struct world *w = *state;
    struct pool_options o = {.queue_length = 2, .queue_timeout_ms = 1000, .one_account = true};
    struct pool *shared = w->pool;
    w->pool = pool_new(w->base, w->page, w->nudge_fd, &o, on_replace, w, &w->log);
    struct job *j = submit(w);
    assert_int_equal(j->text_key, 0);
    pool_cancel(w->pool, j, STOP_FOR_CANCEL);
    job_free(j);
    pool_free(w->pool);
    w->pool = shared;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_job_goes_only_where_the_table_lets_it),
        TEST(a_job_runs_ends_and_frees_its_worker),
        TEST(what_no_doorbell_tells_of_is_found_at_the_tick),
        TEST(a_full_queue_refuses_and_an_old_place_in_it_expires),
        TEST(what_is_out_of_place_costs_the_worker_its_life),
        TEST(a_time_nobody_can_have_worked_does_not_count),
        TEST(the_reason_of_a_death_decides_the_answer),
        TEST(a_job_that_was_never_taken_up_runs_again_once),
        TEST(a_result_outlives_its_worker),
        TEST(a_spent_worker_gets_no_further_job),
        TEST(a_full_queue_takes_a_place_from_whom_has_most),
        TEST(a_key_s_own_limits_are_rate_limited),
        TEST(background_jobs_wait_without_a_time_limit),
        TEST(with_isolation_no_worker_serves_two_keys),
        TEST(with_isolation_two_who_wait_get_two_workers),
        TEST(a_worker_s_death_counts_against_its_key),
        TEST(what_does_not_fit_a_worker_is_refused),
        TEST(trouble_without_a_worker_is_told_at_once),
        TEST(a_death_of_nobody_and_nonsense_are_ignored),
        TEST(a_text_is_quick_until_it_takes_long_twice),
        TEST(a_busy_machine_makes_no_query_long),
        TEST(quick_is_not_the_worker_s_word_alone),
        TEST(a_lane_s_pool_needs_no_key_of_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
