/* The short lane (src/sched/pool_short_lane.c): which jobs a spare runs while all other workers are busy, and what becomes of it. Worker 1 has a
 * slot, worker 2 is the spare. */
#include "pool_fixture.h"

static void drop(struct world *w, struct job *j)
{
    assert_int_equal(j->state, JOB_QUEUED);
    pool_cancel(w->pool, j, STOP_FOR_CANCEL);
    job_free(j);
}

static int world_with_lane(void **state)
{
    setup(state);
    struct world *w = *state;
    struct pool_options o = {.queue_length = 100, .queue_timeout_ms = 60000, .inline_bytes = 1000};
    pool_set_options(w->pool, &o);
    add_worker(w, 1);
    add_worker_as(w, 2, REQUEST_BYTES, true);
    return 0;
}

/* The slot's worker is at a result of unknown length, of which something has left. */
static struct job *pin(struct world *w)
{
    struct job *j = submit_letter(w, 'p');
    assert_true(runs_on(j, 1));
    j->head_of_result_seen = true;
    return j;
}

static void behind_what_only_computes_everybody_waits(void **state)
{
    struct world *w = *state;
    finish_after(w, submit_letter(w, 'q'), 1);
    struct job *p = submit_letter(w, 'p'), *quick = submit_letter(w, 'q'), *unknown = submit_letter(w, 'u');
    assert_true(runs_on(p, 1));
    pool_tick(w->pool, clock_now_ns(), NS_PER_S);
    assert_int_equal(quick->state, JOB_QUEUED);
    assert_int_equal(unknown->state, JOB_QUEUED);
    p->head_of_result_seen = true;
    pool_tick(w->pool, clock_now_ns(), NS_PER_S);
    assert_true(runs_on(quick, 2));
    assert_int_equal(unknown->state, JOB_QUEUED); /* of unknown length, it keeps its place */
    finish_after(w, quick, 1);
    drop(w, unknown);
    finish_after(w, p, 1);
}

static void a_spare_is_none_of_the_pool_s_workers_until_it_works(void **state)
{
    struct world *w = *state;
    struct pool_counts c = pool_count(w->pool);
    assert_int_equal(c.idle, 1);
    assert_int_equal(w->pool->serving, 1);
    struct job *p = pin(w), *a = submit_letter(w, 'a');
    assert_true(runs_on(a, 2));
    assert_int_equal(a->slot, -1);
    c = pool_count(w->pool);
    assert_int_equal(c.busy, 2);
    assert_int_equal(c.working_spares, 1);
    assert_int_equal(w->pool->serving, 1);
    finish_after(w, a, 1);
    assert_int_equal(pool_count(w->pool).idle, 0);
    finish_after(w, p, 1);
    assert_int_equal(pool_count(w->pool).idle, 1);
}

static void only_a_small_text_that_is_not_here_may_be_unknown(void **state)
{
    struct world *w = *state;
    struct job *p = pin(w);
    struct job *same = submit_letter(w, 'p'), *background = submit_text(w, NULL, 'b', 8, JOB_BACKGROUND),
               *large = submit_text(w, NULL, 'l', 20000, JOB_INTERACTIVE);
    assert_int_equal(same->state, JOB_QUEUED);
    assert_int_equal(background->state, JOB_QUEUED);
    assert_int_equal(large->state, JOB_QUEUED);
    struct job *also_large = submit_text(w, NULL, 'l', 20000, JOB_INTERACTIVE);
    drop(w, also_large);
    struct job *other = submit_letter(w, 'o'); /* whatever waits */
    assert_true(runs_on(other, 2));
    struct job *next = submit_letter(w, 'n');
    assert_int_equal(next->state, JOB_QUEUED); /* the lane is taken */
    finish_after(w, other, 1);
    assert_int_equal(next->state, JOB_QUEUED); /* of unknown length, it keeps its place */
    struct job *again = submit_letter(w, 'n');
    assert_int_equal(again->state, JOB_QUEUED); /* the other one waits */
    drop(w, again);
    drop(w, next);
    struct job *now = submit_letter(w, 'n');
    assert_true(runs_on(now, 2));
    finish_after(w, now, 1);
    drop(w, same);
    drop(w, large);
    drop(w, background);
    finish_after(w, p, 1);
}

static void what_is_known_to_be_quick_comes_off_the_queue(void **state)
{
    struct world *w = *state;
    finish_after(w, submit_letter(w, 'q'), 1);
    finish_after(w, submit_letter(w, 'm'), 10);
    struct job *p = pin(w);
    struct job *m = submit_letter(w, 'm');
    assert_int_equal(m->state, JOB_QUEUED); /* known, and not to be quick */
    struct job *q[3];
    for (int i = 0; i < 3; i++)
        q[i] = submit_letter(w, 'q'); /* though others with its text are here */
    assert_true(runs_on(q[0], 2));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(q[i + 1]->state, JOB_QUEUED);
        finish_after(w, q[i], 1);
        assert_true(runs_on(q[i + 1], 2));
    }
    finish_after(w, q[2], 1);
    assert_int_equal(m->state, JOB_QUEUED);
    finish_after(w, p, 1);
    assert_true(runs_on(m, 1));
    finish_after(w, m, 1);
}

static void what_cost_more_in_a_fresh_process_may_be_quick_all_the_same(void **state)
{
    struct world *w = *state;
    finish_after(w, submit_letter(w, 'q'), 4); /* the first one of its worker */
    finish_after(w, submit_letter(w, 'm'), 4);
    struct job *p = submit_letter(w, 'p'), *m = submit_letter(w, 'm'), *q = submit_letter(w, 'q');
    assert_int_equal(q->state, JOB_QUEUED); /* nothing has left yet */
    p->head_of_result_seen = true;
    pool_tick(w->pool, clock_now_ns(), NS_PER_S);
    assert_true(runs_on(q, 2));
    assert_int_equal(m->state, JOB_QUEUED);
    finish_after(w, q, 1);
    assert_int_equal(m->state, JOB_QUEUED);
    drop(w, m);
    finish_after(w, p, 1);
}

static void it_is_not_needed_while_a_place_is_free_in_a_moment(void **state)
{
    struct world *w = *state;
    finish_after(w, submit_letter(w, 'q'), 1);
    struct job *first = submit_letter(w, 'q');
    assert_true(runs_on(first, 1));
    first->head_of_result_seen = true;
    first->started_ns += NS_PER_S; /* however slowly this test runs */
    struct job *second = submit_letter(w, 'q');
    assert_int_equal(second->state, JOB_QUEUED);
    pool_tick(w->pool, clock_now_ns(), NS_PER_S);
    assert_int_equal(second->state, JOB_QUEUED);
    first->started_ns -= NS_PER_S + 30 * NS_PER_MS; /* that was no quick one */
    pool_tick(w->pool, clock_now_ns(), NS_PER_S);
    assert_true(runs_on(second, 2));
    finish_after(w, second, 1);
    finish_after(w, first, 1);
}

static void whose_unknown_text_holds_it_for_long_waits_with_the_next(void **state)
{
    struct world *w = *state;
    static const struct tenant_limits usual = {.share = 10};
    struct tenant *a = tenant_new(1, "a", &usual), *b = tenant_new(2, "b", &usual);
    finish_after(w, submit_text(w, a, 'q', 8, JOB_INTERACTIVE), 1);
    struct job *p = pin(w), *wrong = submit_text(w, a, 'w', 8, JOB_INTERACTIVE);
    assert_true(runs_on(wrong, 2));
    finish_after(w, wrong, 1000);
    struct job *next = submit_text(w, a, 'x', 8, JOB_INTERACTIVE), *quick = submit_text(w, a, 'q', 8, JOB_INTERACTIVE);
    assert_int_equal(next->state, JOB_QUEUED);
    assert_true(runs_on(quick, 2)); /* that is known */
    finish_after(w, quick, 1);
    struct job *other = submit_text(w, b, 'x', 8, JOB_INTERACTIVE);
    assert_true(runs_on(other, 2));
    finish_after(w, other, 1);
    drop(w, next);
    a->turns.unknown_until_ns = 0; /* later */
    next = submit_text(w, a, 'x', 8, JOB_INTERACTIVE);
    assert_true(runs_on(next, 2));
    finish_after(w, next, 1);
    finish_after(w, p, 1);
    tenant_unref(a);
    tenant_unref(b);
}

static void whose_quick_text_holds_it_for_long_is_not_trusted_at_all(void **state)
{
    struct world *w = *state;
    static const struct tenant_limits usual = {.share = 10};
    struct tenant *a = tenant_new(1, "a", &usual), *b = tenant_new(2, "b", &usual);
    finish_after(w, submit_text(w, a, 'q', 8, JOB_INTERACTIVE), 1);
    finish_after(w, submit_text(w, a, 'r', 8, JOB_INTERACTIVE), 1);
    struct job *p = pin(w), *wrong = submit_text(w, a, 'r', 8, JOB_INTERACTIVE);
    assert_true(runs_on(wrong, 2));
    finish_after(w, wrong, 1000);
    struct job *quick = submit_text(w, a, 'q', 8, JOB_INTERACTIVE), *other = submit_text(w, b, 'x', 8, JOB_INTERACTIVE);
    assert_int_equal(quick->state, JOB_QUEUED);
    assert_true(runs_on(other, 2));
    finish_after(w, other, 1);
    assert_int_equal(quick->state, JOB_QUEUED);
    pool_tick(w->pool, clock_now_ns() + 20 * NS_PER_S, 100 * NS_PER_S);
    assert_true(runs_on(quick, 2)); /* ten times a second are over */
    finish_after(w, quick, 1);
    finish_after(w, p, 1);
    tenant_unref(a);
    tenant_unref(b);
}

static void a_tenant_s_limit_and_its_penalty_hold_there_too(void **state)
{
    struct world *w = *state;
    static const struct tenant_limits one = {.share = 10, .concurrency = 1}, usual = {.share = 10};
    struct tenant *a = tenant_new(1, "a", &one), *b = tenant_new(2, "b", &usual);
    struct job *p = submit_text(w, a, 'p', 8, JOB_INTERACTIVE), *more = submit_text(w, a, 'm', 8, JOB_INTERACTIVE);
    assert_true(runs_on(p, 1));
    p->head_of_result_seen = true;
    assert_int_equal(more->state, JOB_QUEUED);
    struct job *of_b = submit_text(w, b, 'm', 8, JOB_INTERACTIVE);
    assert_true(runs_on(of_b, 2));
    finish_after(w, of_b, 1);
    fair_penalize(w->pool->fair, p, clock_now_ns());
    of_b = submit_text(w, b, 'k', 8, JOB_INTERACTIVE);
    fair_penalize(w->pool->fair, of_b, clock_now_ns());
    finish_after(w, of_b, 1);
    of_b = submit_text(w, b, 'n', 8, JOB_INTERACTIVE);
    assert_int_equal(of_b->state, JOB_QUEUED);
    drop(w, of_b);
    drop(w, more);
    finish_after(w, p, 1);
    tenant_unref(a);
    tenant_unref(b);
}

static void it_takes_a_slot_in_the_middle_of_its_query(void **state)
{
    struct world *w = *state;
    struct job *p = pin(w), *quick = submit_letter(w, 'q'), *waits = submit_letter(w, 'p');
    take(w, 1);
    die(w, 1, DEATH_CRASH, STOP_NONE, SIGSEGV);
    assert_int_equal(p->state, JOB_FAILED);
    job_free(p);
    pool_give_slot(w->pool, 2, 7);
    assert_true(runs_on(quick, 2));
    assert_int_equal(quick->slot, 7);
    assert_int_equal(w->pool->serving, 1);
    assert_int_equal(waits->state, JOB_QUEUED);
    finish_after(w, quick, 1);
    assert_true(runs_on(waits, 2)); /* it gets whatever comes */
    finish_after(w, waits, 1);
}

static void an_idle_one_serves_at_once_when_it_has_a_slot(void **state)
{
    struct world *w = *state;
    struct job *p = pin(w), *waits = submit_letter(w, 'p');
    take(w, 1);
    die(w, 1, DEATH_CRASH, STOP_NONE, SIGSEGV);
    assert_int_equal(p->state, JOB_FAILED);
    job_free(p);
    assert_int_equal(waits->state, JOB_QUEUED);
    pool_give_slot(w->pool, 9, 0); /* nobody's number */
    assert_int_equal(waits->state, JOB_QUEUED);
    pool_give_slot(w->pool, 2, 0);
    assert_true(runs_on(waits, 2));
    finish_after(w, waits, 1);
    pool_give_slot(w->pool, 2, 5); /* it has one */
    assert_int_equal(worker_of(w, 2)->slot, 0);
    assert_int_equal(w->pool->serving, 1);
}

static void its_death_is_a_worker_s_and_leaves_no_lane(void **state)
{
    struct world *w = *state;
    struct job *p = pin(w), *quick = submit_letter(w, 'q');
    assert_true(runs_on(quick, 2));
    take(w, 2);
    die(w, 2, DEATH_CRASH, STOP_NONE, SIGSEGV);
    assert_int_equal(quick->state, JOB_FAILED);
    job_free(quick);
    assert_int_equal(w->last.code, ERR_WORKER_CRASHED);
    assert_null(w->pool->short_lane);
    struct job *next = submit_letter(w, 'n');
    assert_int_equal(next->state, JOB_QUEUED);
    drop(w, next);
    finish_after(w, p, 1);
}

/* The supervisor has given it up and sent another, but its last words are still to come. */
static void one_that_is_on_its_way_out_does_not_hide_the_next(void **state)
{
    struct world *w = *state;
    struct job *p = pin(w), *quick = submit_letter(w, 'q');
    uint32_t id = take(w, 2);
    add_worker_as(w, 3, REQUEST_BYTES, true);
    struct job *next = submit_letter(w, 'n');
    assert_true(runs_on(next, 3));
    say(w, 2, &(struct link_fail){.type = LINK_FAIL, .job = id, .error.code = ERR_SQL});
    assert_int_equal(quick->state, JOB_FAILED);
    job_free(quick);
    finish_after(w, next, 1);
    die(w, 2, DEATH_TIMEOUT, STOP_TERM, SIGTERM);
    next = submit_letter(w, 'm');
    assert_true(runs_on(next, 3));
    finish_after(w, next, 1);
    finish_after(w, p, 1);
}

static void it_is_replaced_like_the_others(void **state)
{
    struct world *w = *state;
    struct job *p = pin(w), *quick = submit_letter(w, 'q');
    pool_replace_all(w->pool);
    assert_int_equal(w->replaced_count, 0);
    finish_after(w, quick, 1);
    assert_int_equal(w->replaced_count, 1);
    assert_int_equal(w->replaced[0], 2);
    assert_int_equal(w->replaced_for[0], DEATH_RETIRED);
    assert_null(w->pool->short_lane);
    add_worker_as(w, 3, REQUEST_BYTES, true);
    pool_retire(w->pool, 3);
    assert_int_equal(w->replaced_count, 2);
    struct job *next = submit_letter(w, 'n');
    assert_int_equal(next->state, JOB_QUEUED);
    drop(w, next);
    finish_after(w, p, 1);
}

static void with_isolation_it_serves_one_key(void **state)
{
    struct world *w = *state;
    static const struct tenant_limits usual = {.share = 10};
    struct tenant *a = tenant_new(1, "a", &usual), *b = tenant_new(2, "b", &usual);
    struct pool_options o = {.queue_length = 8, .queue_timeout_ms = 1000, .inline_bytes = 1000, .isolation_by_key = true};
    pool_set_options(w->pool, &o);
    struct job *p = submit_text(w, a, 'p', 8, JOB_INTERACTIVE);
    p->head_of_result_seen = true;
    finish_after(w, submit_text(w, a, 'q', 8, JOB_INTERACTIVE), 1);
    struct job *again = submit_text(w, a, 'q', 8, JOB_INTERACTIVE);
    assert_true(runs_on(again, 2));
    finish_after(w, again, 1);
    assert_int_equal(w->replaced_count, 0);
    struct job *other = submit_text(w, b, 'q', 8, JOB_INTERACTIVE);
    assert_int_equal(other->state, JOB_QUEUED);
    assert_int_equal(w->replaced_count, 1);
    assert_int_equal(w->replaced[0], 2);
    drop(w, other);
    finish_after(w, p, 1);
    tenant_unref(a);
    tenant_unref(b);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_with_lane, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_spare_is_none_of_the_pool_s_workers_until_it_works),
        TEST(behind_what_only_computes_everybody_waits),
        TEST(only_a_small_text_that_is_not_here_may_be_unknown),
        TEST(what_is_known_to_be_quick_comes_off_the_queue),
        TEST(what_cost_more_in_a_fresh_process_may_be_quick_all_the_same),
        TEST(it_is_not_needed_while_a_place_is_free_in_a_moment),
        TEST(whose_unknown_text_holds_it_for_long_waits_with_the_next),
        TEST(whose_quick_text_holds_it_for_long_is_not_trusted_at_all),
        TEST(a_tenant_s_limit_and_its_penalty_hold_there_too),
        TEST(it_takes_a_slot_in_the_middle_of_its_query),
        TEST(an_idle_one_serves_at_once_when_it_has_a_slot),
        TEST(its_death_is_a_worker_s_and_leaves_no_lane),
        TEST(one_that_is_on_its_way_out_does_not_hide_the_next),
        TEST(it_is_replaced_like_the_others),
        TEST(with_isolation_it_serves_one_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
