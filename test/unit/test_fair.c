/* Who is next: the order of waiting jobs between tenants, classes and limits. Places are given and taken by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "sched/fair.h"

#define JOBS_MAX 4096

struct world {
    struct fair *fair;
    struct tenant *tenant[8];
    struct job *made[JOBS_MAX];
    unsigned count;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    static const struct tenant_limits usual = {.share = 10};
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    w->fair = fair_new(false);
    fair_set_places(w->fair, 4);
    for (int i = 0; i < 8; i++)
        w->tenant[i] = tenant_new((uint32_t)i + 1, names[i], &usual);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < w->count; i++)
        job_free(w->made[i]);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(w->tenant[i]->refs, 1);
        tenant_unref(w->tenant[i]);
    }
    fair_free(w->fair);
    free(w);
    return 0;
}

static struct job *make(struct world *w, int tenant, enum job_class class)
{
    struct job *j = job_new();
    assert_true(w->count < JOBS_MAX);
    j->tenant = tenant < 0 ? NULL : tenant_ref(w->tenant[tenant]);
    j->class = class;
    w->made[w->count++] = j;
    return j;
}

static struct job *push(struct world *w, int tenant, enum job_class class)
{
    struct job *j = make(w, tenant, class);
    fair_push(w->fair, j);
    return j;
}

static void push_many(struct world *w, int tenant, int n)
{
    for (int i = 0; i < n; i++)
        push(w, tenant, JOB_INTERACTIVE);
}

/* The next one starts. */
static struct job *next(struct world *w)
{
    struct job *j = fair_pop(w->fair);
    if (j)
        fair_started(w->fair, j);
    return j;
}

static void end(struct world *w, struct job *j) { fair_ended(w->fair, j); }

static char name(const struct job *j) { return j ? (j->tenant ? j->tenant->name[0] : '-') : '.'; }

/* Starts `n` jobs, each ended at once; their tenants' letters. */
static void expect_order(struct world *w, const char *letters)
{
    for (size_t i = 0; letters[i]; i++) {
        struct job *j = next(w);
        if (name(j) != letters[i])
            fail_msg("place %zu of \"%s\" goes to %c", i, letters, name(j));
        if (j)
            end(w, j);
    }
}

static void within_a_tenant_the_oldest_is_first(void **state)
{
    struct world *w = *state;
    struct job *jobs[5];
    for (int i = 0; i < 5; i++)
        jobs[i] = push(w, 0, JOB_INTERACTIVE);
    assert_int_equal(fair_waiting(w->fair), 5);
    for (int i = 0; i < 5; i++) {
        struct job *j = next(w);
        assert_ptr_equal(j, jobs[i]);
        end(w, j);
    }
    assert_null(fair_pop(w->fair));
    assert_int_equal(fair_waiting(w->fair), 0);
}

static void one_query_does_not_wait_behind_another_key_s_thousand(void **state)
{
    struct world *w = *state;
    push_many(w, 0, 1000);
    struct job *running[4];
    for (int i = 0; i < 4; i++)
        running[i] = next(w); /* all places are a's */
    struct job *other = push(w, 1, JOB_INTERACTIVE);
    end(w, running[0]);
    assert_ptr_equal(next(w), other); /* the first that gets free */
    end(w, other);
    for (int i = 1; i < 4; i++)
        end(w, running[i]);
}

static void equals_take_turns(void **state)
{
    struct world *w = *state;
    for (int t = 0; t < 3; t++)
        push_many(w, t, 4);
    expect_order(w, "abcabcabcabc.");
}

static void a_tenant_that_came_later_gets_its_turn_too(void **state)
{
    struct world *w = *state;
    push_many(w, 0, 3);
    expect_order(w, "a");
    push_many(w, 1, 3);
    expect_order(w, "abab"); /* in the order in which they came to wait */
    expect_order(w, "b.");
}

static void who_holds_fewer_places_is_first(void **state)
{
    struct world *w = *state;
    push_many(w, 0, 10);
    struct job *a1 = next(w), *a2 = next(w); /* long ones */
    push_many(w, 1, 10);
    struct job *b1 = next(w);
    assert_int_equal(name(b1), 'b');
    struct job *b2 = next(w);
    assert_int_equal(name(b2), 'b');
    /* b's are short: each of its places comes back to it, and a's long ones never get more than their half. */
    for (int i = 0; i < 6; i++) {
        end(w, b1);
        b1 = next(w);
        assert_int_equal(name(b1), 'b');
    }
    end(w, a1);
    a1 = next(w);
    assert_int_equal(name(a1), 'a');
    end(w, a1), end(w, a2), end(w, b1), end(w, b2);
}

static void a_larger_share_gets_more_places(void **state)
{
    struct world *w = *state;
    w->tenant[0]->limits.share = 30;
    push_many(w, 0, 100);
    push_many(w, 1, 100);
    struct job *held[40];
    int a = 0;
    for (int i = 0; i < 40; i++) {
        held[i] = next(w);
        a += name(held[i]) == 'a';
    }
    assert_in_range(a, 29, 31);
    for (int i = 0; i < 40; i++)
        end(w, held[i]);
}

static void a_limit_of_running_queries_holds_only_its_own_tenant_back(void **state)
{
    struct world *w = *state;
    w->tenant[0]->limits.concurrency = 2;
    push_many(w, 0, 5);
    push_many(w, 1, 1);
    struct job *a1 = next(w), *b = next(w), *a2 = next(w);
    assert_int_equal(name(a1), 'a');
    assert_int_equal(name(b), 'b');
    assert_int_equal(name(a2), 'a');
    assert_null(fair_pop(w->fair));
    struct job late = {.tenant = w->tenant[0]}, other = {.tenant = w->tenant[2]};
    assert_false(fair_may_pass(w->fair, &late));
    assert_true(fair_at_its_limit(w->fair, &late));
    assert_true(fair_may_pass(w->fair, &other)); /* the others of a do not stand before it: they can't start */
    end(w, a1);
    a1 = next(w);
    assert_int_equal(name(a1), 'a');
    w->tenant[0]->limits.concurrency = 0; /* a reload */
    fair_limits_changed(w->fair);
    end(w, next(w)), end(w, a1), end(w, a2), end(w, b);
    assert_int_equal(fair_waiting(w->fair), 1);
}

/* ---- classes ---- */

static void interactive_comes_first_and_background_does_not_starve(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 3; i++)
        push(w, 1, JOB_BACKGROUND);
    push_many(w, 0, 20);
    expect_order(w, "aaaaaaabaaaaaaabaaaaaab.");
}

static void a_tenant_s_own_background_waits_behind_its_interactive_ones(void **state)
{
    struct world *w = *state;
    struct job *bg = push(w, 0, JOB_BACKGROUND), *fg = push(w, 0, JOB_INTERACTIVE);
    struct job *first = next(w), *second = next(w);
    assert_ptr_equal(first, fg);
    assert_ptr_equal(second, bg);
    end(w, first), end(w, second);
}

static void background_never_takes_the_last_place(void **state)
{
    struct world *w = *state;
    struct job *bg[4];
    for (int i = 0; i < 6; i++)
        push(w, 0, JOB_BACKGROUND);
    for (int i = 0; i < 3; i++)
        bg[i] = next(w);
    assert_null(fair_pop(w->fair));
    struct job interactive = {.tenant = w->tenant[1]}, background = {.tenant = w->tenant[1], .class = JOB_BACKGROUND};
    assert_true(fair_may_pass(w->fair, &interactive));
    assert_false(fair_may_pass(w->fair, &background));
    fair_set_places(w->fair, 1); /* workers went: but one is always allowed */
    for (int i = 0; i < 3; i++)
        end(w, bg[i]);
    bg[0] = next(w);
    assert_int_equal(name(bg[0]), 'a');
    assert_null(fair_pop(w->fair));
    end(w, bg[0]);
}

/* ---- the full queue ---- */

static void the_newest_of_whom_waits_most_gives_way(void **state)
{
    struct world *w = *state;
    push_many(w, 0, 3);
    struct job *newest = push(w, 0, JOB_INTERACTIVE);
    push_many(w, 1, 1);
    struct job *c = make(w, 2, JOB_INTERACTIVE), *a = make(w, 0, JOB_INTERACTIVE);
    assert_ptr_equal(fair_victim(w->fair, c), newest);
    assert_null(fair_victim(w->fair, a)); /* nobody waits more than itself */
    struct job *bg = push(w, 0, JOB_BACKGROUND);
    push_many(w, 0, 1);
    assert_ptr_equal(fair_victim(w->fair, c), bg);
}

static void nobody_gives_way_to_an_equal(void **state)
{
    struct world *w = *state;
    push_many(w, 0, 2);
    push_many(w, 1, 1);
    struct job *b = make(w, 1, JOB_INTERACTIVE), *c = make(w, 2, JOB_INTERACTIVE);
    assert_null(fair_victim(w->fair, b));
    assert_non_null(fair_victim(w->fair, c));
}

/* ---- leaving, parking, penalties ---- */

static void leaving_from_the_middle_keeps_the_order(void **state)
{
    struct world *w = *state;
    struct job *jobs[5];
    for (int i = 0; i < 5; i++)
        jobs[i] = push(w, 0, JOB_INTERACTIVE);
    fair_remove(w->fair, jobs[2]);
    fair_remove(w->fair, jobs[0]);
    fair_remove(w->fair, jobs[4]);
    struct job *first = next(w), *second = next(w);
    assert_ptr_equal(first, jobs[1]);
    assert_ptr_equal(second, jobs[3]);
    end(w, first), end(w, second);
    assert_null(fair_pop(w->fair));
}

static void a_job_started_in_vain_is_first_again(void **state)
{
    struct world *w = *state;
    struct job *a = push(w, 0, JOB_INTERACTIVE);
    push(w, 0, JOB_INTERACTIVE);
    assert_ptr_equal(fair_pop(w->fair), a);
    fair_push_front(w->fair, a);
    assert_ptr_equal(fair_pop(w->fair), a);
    fair_push_front(w->fair, a);
    assert_int_equal(fair_waiting(w->fair), 2);
}

static void a_parked_tenant_lets_others_go_first(void **state)
{
    struct world *w = *state;
    struct job *a = push(w, 0, JOB_INTERACTIVE);
    push_many(w, 1, 2);
    fair_park(w->fair, a);
    fair_park(w->fair, a);
    assert_int_equal(fair_parked(w->fair), 1);
    expect_order(w, "bb.");
    fair_unpark(w->fair);
    expect_order(w, "a.");
    a = push(w, 0, JOB_INTERACTIVE);
    fair_park(w->fair, a);
    fair_remove(w->fair, a); /* it left while it was parked */
    assert_int_equal(fair_parked(w->fair), 0);
}

/* What became free while they were parked was made free for them. */
static void who_was_parked_comes_back_before_its_equals(void **state)
{
    struct world *w = *state;
    for (int tenant = 0; tenant < 4; tenant++)
        push(w, tenant, JOB_INTERACTIVE);
    for (int i = 0; i < 2; i++) {
        struct job *head = fair_pop(w->fair);
        fair_push_front(w->fair, head);
        fair_park(w->fair, head);
    }
    fair_unpark(w->fair);
    expect_order(w, "abcd.");
}

static void a_killed_worker_counts_as_a_place_for_a_while(void **state)
{
    struct world *w = *state;
    int64_t now = 1000 * NS_PER_S;
    fair_tick(w->fair, now);
    struct job *bad = push(w, 0, JOB_INTERACTIVE);
    fair_penalize(w->fair, bad, now);
    push_many(w, 0, 2);
    push_many(w, 1, 3);
    struct job *b1 = next(w), *second, *third;
    assert_int_equal(name(b1), 'b'); /* a is at one already */
    second = next(w);
    third = next(w);
    assert_int_equal(name(second), 'a'); /* equals now, and a waited first */
    assert_int_equal(name(third), 'b');
    end(w, b1), end(w, second), end(w, third);
    fair_tick(w->fair, now + 11 * NS_PER_S); /* forgotten: a comes in its turn */
    expect_order(w, "baa.");
}

static void penalties_can_be_forgiven(void **state)
{
    struct world *w = *state;
    int64_t now = 1000 * NS_PER_S;
    fair_tick(w->fair, now);
    struct job *bad = push(w, 0, JOB_INTERACTIVE);
    for (int i = 0; i < 4; i++)
        fair_penalize(w->fair, bad, now);
    push_many(w, 1, 2);
    fair_forgive(w->fair, now);
    struct job *first = next(w), *second = next(w);
    assert_int_equal(name(first) + name(second), 'a' + 'b'); /* equals again */
    fair_penalize(w->fair, second, now + 1);                 /* and from here on it counts again */
    end(w, first), end(w, second);
}

static void penalties_have_a_maximum_and_an_end(void **state)
{
    struct world *w = *state;
    int64_t now = 1000 * NS_PER_S;
    struct job *bad = push(w, 0, JOB_INTERACTIVE);
    for (int i = 0; i < 1000; i++)
        fair_penalize(w->fair, bad, now);
    push_many(w, 1, 50);
    struct job *held[8];
    for (int i = 0; i < 4; i++) {
        held[i] = next(w);
        assert_int_equal(name(held[i]), 'b');
    }
    held[4] = next(w); /* b holds four: a with four kills is its equal */
    held[5] = next(w);
    assert_true(name(held[4]) == 'a' || name(held[5]) == 'a');
    for (int i = 0; i < 6; i++)
        end(w, held[i]);
    push_many(w, 0, 1);
    fair_tick(w->fair, now + 60 * NS_PER_S);
    struct job *x = next(w), *y = next(w);
    assert_true(name(x) == 'a' || name(y) == 'a');
    end(w, x), end(w, y);
}

static void count_figures(void *ctx, const struct fair_figures *f)
{
    char *seen = ctx;
    seen[strlen(seen)] = f->name[0];
    assert_int_equal(f->waiting + f->running, 1);
}

static void jobs_without_a_tenant_are_one_tenant_s(void **state)
{
    struct world *w = *state;
    push(w, -1, JOB_INTERACTIVE);
    push(w, -1, JOB_INTERACTIVE);
    push(w, 0, JOB_INTERACTIVE);
    expect_order(w, "-a-.");
}

static void figures_name_who_is_here(void **state)
{
    struct world *w = *state;
    char seen[9] = "";
    push(w, 0, JOB_INTERACTIVE);
    push(w, 1, JOB_INTERACTIVE);
    struct job *a = next(w);
    fair_each(w->fair, count_figures, seen);
    assert_int_equal(strlen(seen), 2);
    end(w, a);
    memset(seen, 0, sizeof seen);
    fair_each(w->fair, count_figures, seen);
    assert_string_equal(seen, "b");
}

/* Whatever happens in whatever order: nothing is lost, nobody runs beyond its limit, and the books balance. */
static void a_hundred_thousand_random_steps_lose_nothing(void **state)
{
    struct world *w = *state;
    struct job *waiting[200], *running[8];
    unsigned nw = 0, nr = 0, seed = 12345;
    w->tenant[0]->limits.concurrency = 1;
    w->tenant[1]->limits.share = 1;
    w->tenant[2]->limits.share = 100;
    for (int step = 0; step < 100000; step++) {
        seed = seed * 1103515245 + 12345;
        unsigned r = seed >> 16;
        if (r % 5 < 2 && nw < 200) {
            struct job *j = job_new();
            j->tenant = tenant_ref(w->tenant[r / 8 % 8]);
            j->class = r / 64 % 3 == 0 ? JOB_BACKGROUND : JOB_INTERACTIVE;
            fair_push(w->fair, j);
            waiting[nw++] = j;
        } else if (r % 5 == 2 && nr < 8) {
            struct job *j = next(w);
            for (unsigned i = 0; j && i < nw; i++)
                if (waiting[i] == j) {
                    waiting[i] = waiting[--nw];
                    running[nr++] = j;
                    j = NULL;
                }
            assert_null(j); /* what starts was waiting */
        } else if (r % 5 == 3 && nr > 0) {
            unsigned i = r / 8 % nr;
            end(w, running[i]);
            if (r % 7 == 0)
                fair_penalize(w->fair, running[i], (int64_t)step * NS_PER_MS);
            job_free(running[i]);
            running[i] = running[--nr];
        } else if (nw > 0 && r % 11 == 0) {
            unsigned i = r / 8 % nw;
            if (r % 2)
                fair_park(w->fair, waiting[i]);
            fair_remove(w->fair, waiting[i]);
            job_free(waiting[i]);
            waiting[i] = waiting[--nw];
        }
        if (r % 13 == 0)
            fair_unpark(w->fair);
        fair_tick(w->fair, (int64_t)step * NS_PER_MS);
        assert_int_equal(fair_waiting(w->fair), nw);
        assert_true(w->tenant[0]->turns.running <= 1);
    }
    fair_unpark(w->fair);
    while (nr > 0) {
        end(w, running[--nr]);
        job_free(running[nr]);
    }
    for (struct job *j; (j = next(w)); nw--) { /* everything that waits can be had in the end */
        end(w, j);
        job_free(j);
    }
    assert_int_equal(nw, 0);
}

static struct job *push_text(struct world *w, int tenant, uint64_t key)
{
    struct job *j = make(w, tenant, JOB_INTERACTIVE);
    j->text_key = key;
    fair_push(w->fair, j);
    return j;
}

static void expect_texts(struct world *w, const uint64_t *keys, int n)
{
    for (int i = 0; i < n; i++) {
        struct job *j = next(w);
        assert_non_null(j);
        assert_int_equal(j->text_key, keys[i]);
        end(w, j);
    }
    assert_null(fair_pop(w->fair));
}

/* 7 takes long. Four of it wait when that is found out, then five of 3: three of those go before each of the others. */
static void what_takes_long_lets_shorter_ones_pass(void **state)
{
    static const uint64_t order[] = {3, 3, 3, 7, 3, 3, 7, 7, 7};
    struct world *w = *state;
    for (int i = 0; i < 5; i++)
        push_text(w, 0, 7);
    struct job *first = next(w);
    for (int i = 0; i < 5; i++)
        push_text(w, 0, 3);
    fair_learn(w->fair, first, LENGTH_LONG);
    end(w, first);
    expect_texts(w, order, 9);
}

static void what_was_short_the_last_time_is_short(void **state)
{
    static const uint64_t order[] = {7, 3};
    struct world *w = *state;
    struct job *j = push_text(w, 0, 7);
    fair_learn(w->fair, j, LENGTH_LONG);
    fair_learn(w->fair, j, LENGTH_MIDDLING);
    fair_remove(w->fair, j);
    push_text(w, 0, 7);
    push_text(w, 0, 3);
    expect_texts(w, order, 2);
}

static void what_is_forgotten_is_unknown(void **state)
{
    (void)state;
    struct lengths *l = calloc(1, sizeof *l);
    assert_non_null(l);
    lengths_note(l, 0, LENGTH_LONG);
    assert_int_equal(lengths_of(l, 0), LENGTH_UNKNOWN);
    lengths_note(l, 8, LENGTH_QUICK);
    lengths_note(l, 8 + LENGTHS_SLOTS, LENGTH_LONG); /* another length's slots */
    assert_int_equal(lengths_of(l, 8), LENGTH_QUICK);
    assert_int_equal(lengths_of(l, 8 + LENGTHS_SLOTS), LENGTH_LONG);
    lengths_note(l, 8 + 2 * LENGTHS_SLOTS, LENGTH_QUICK);
    assert_int_equal(lengths_of(l, 8), LENGTH_UNKNOWN);
    assert_int_equal(lengths_of(l, 8 + 2 * LENGTHS_SLOTS), LENGTH_QUICK);
    assert_int_equal(lengths_of(NULL, 8), LENGTH_UNKNOWN);
    assert_int_equal(lengths_judge(LENGTHS_QUICK_US, LENGTHS_QUICK_US, 0, false), LENGTH_QUICK);
    assert_int_equal(lengths_judge(LENGTHS_LONG_US, LENGTHS_LONG_US, 0, false), LENGTH_MIDDLING);
    assert_int_equal(lengths_judge(LENGTHS_LONG_US + 1, LENGTHS_LONG_US + 1, 0, false), LENGTH_LONG);
    free(l);
}

static void the_first_query_of_a_process_is_not_blamed_for_it(void **state)
{
    (void)state;
    int64_t cold = LENGTHS_FIRST_US, quick = LENGTHS_QUICK_US, slow = LENGTHS_LONG_US;
    assert_int_equal(lengths_judge(quick + 1, quick + 1, quick + 1, false), LENGTH_MIDDLING);
    assert_int_equal(lengths_judge(quick + cold, quick + cold, quick + cold, true), LENGTH_QUICK);
    assert_int_equal(lengths_judge(slow, slow, quick + cold, true), LENGTH_QUICK); /* beside others, with little CPU time of its own */
    assert_int_equal(lengths_judge(slow, slow, 1, true), LENGTH_QUICK);
    assert_int_equal(lengths_judge(quick + cold + 1, quick + cold + 1, quick + cold + 1, true), LENGTH_MIDDLING);
    assert_int_equal(lengths_judge(slow + cold + 1, slow + cold + 1, slow, true), LENGTH_LONG);
}

/* 5 is quick: seven of it pass, then one of the others has its turn, and of those every fourth is a long one. */
static void quick_ones_pass_and_nothing_waits_for_ever(void **state)
{
    struct world *w = *state;
    struct job *j = push_text(w, 0, 5);
    fair_learn(w->fair, j, LENGTH_QUICK);
    fair_remove(w->fair, j);
    j = push_text(w, 0, 7);
    fair_learn(w->fair, j, LENGTH_LONG);
    for (int i = 0; i < 4; i++)
        push_text(w, 0, 3);
    for (int i = 0; i < 40; i++)
        push_text(w, 0, 5);
    for (int i = 0; i < 45; i++) {
        j = next(w);
        uint64_t expected = i % 8 != 7 ? 5 : i == 31 ? 7 : 3;
        if (j->text_key != expected)
            fail_msg("number %d is %d", i, (int)j->text_key);
        end(w, j);
    }
    assert_null(fair_pop(w->fair));
}

static void a_job_whose_text_turned_out_quick_or_long_changes_lines(void **state)
{
    struct world *w = *state;
    struct job *one[3];
    one[0] = push_text(w, 0, 7);
    one[1] = push_text(w, 0, 5);
    one[2] = push_text(w, 0, 9);
    push_text(w, 0, 7);
    push_text(w, 0, 5);
    fair_learn(w->fair, one[0], LENGTH_LONG);
    fair_learn(w->fair, one[1], LENGTH_QUICK);
    fair_learn(w->fair, one[2], LENGTH_MIDDLING);
    /* The 5 behind the 9 is found to be quick only when the 9 has gone. */
    static const uint64_t found[] = {5, 9, 5, 7, 7};
    expect_texts(w, found, 5);
}

static void one_account_keeps_its_order(void **state)
{
    static const uint64_t order[] = {7, 3};
    struct world *w = *state, own = {.fair = fair_new(true)};
    for (int i = 0; i < 8; i++)
        own.tenant[i] = w->tenant[i];
    struct job *j = push_text(&own, -1, 7);
    fair_learn(own.fair, j, LENGTH_LONG);
    push_text(&own, -1, 3);
    expect_texts(&own, order, 2);
    for (unsigned i = 0; i < own.count; i++)
        job_free(own.made[i]);
    fair_free(own.fair);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(within_a_tenant_the_oldest_is_first),
        TEST(one_query_does_not_wait_behind_another_key_s_thousand),
        TEST(equals_take_turns),
        TEST(a_tenant_that_came_later_gets_its_turn_too),
        TEST(who_holds_fewer_places_is_first),
        TEST(a_larger_share_gets_more_places),
        TEST(a_limit_of_running_queries_holds_only_its_own_tenant_back),
        TEST(interactive_comes_first_and_background_does_not_starve),
        TEST(a_tenant_s_own_background_waits_behind_its_interactive_ones),
        TEST(background_never_takes_the_last_place),
        TEST(the_newest_of_whom_waits_most_gives_way),
        TEST(nobody_gives_way_to_an_equal),
        TEST(leaving_from_the_middle_keeps_the_order),
        TEST(a_job_started_in_vain_is_first_again),
        TEST(a_parked_tenant_lets_others_go_first),
        TEST(who_was_parked_comes_back_before_its_equals),
        TEST(a_killed_worker_counts_as_a_place_for_a_while),
        TEST(penalties_have_a_maximum_and_an_end),
        TEST(penalties_can_be_forgiven),
        TEST(jobs_without_a_tenant_are_one_tenant_s),
        TEST(figures_name_who_is_here),
        TEST(what_takes_long_lets_shorter_ones_pass),
        TEST(what_was_short_the_last_time_is_short),
        TEST(what_is_forgotten_is_unknown),
        TEST(the_first_query_of_a_process_is_not_blamed_for_it),
        TEST(quick_ones_pass_and_nothing_waits_for_ever),
        TEST(a_job_whose_text_turned_out_quick_or_long_changes_lines),
        TEST(one_account_keeps_its_order),
        TEST(a_hundred_thousand_random_steps_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
