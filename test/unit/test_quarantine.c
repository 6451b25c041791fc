/* Texts that end workers: who is refused what, for how long, and what never counts against anybody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/quarantine.h"

#include <stdio.h>
#include <string.h>

#define MINUTE (60 * INT64_C(1000000000))
#define FOR_MS (10 * 60 * 1000)
static const char bad[] = "SELECT bad", other[] = "SELECT other";

static enum strike_result strike(struct quarantine *q, uint32_t tenant, const char *sql, enum strike why, int64_t now)
{
    return quarantine_strike(q, tenant, sql, strlen(sql), why, 30000, now);
}

static bool refused_with(struct quarantine *q, uint32_t tenant, const char *sql, int64_t timeout_ms, int64_t now)
{
    struct error err = {0};
    if (quarantine_check(q, tenant, sql, strlen(sql), timeout_ms, now, &err) == 0)
        return false;
    assert_int_equal(err.code, ERR_FORBIDDEN);
    assert_string_equal(err.what, "quarantine");
    assert_true(err.retry_after_s >= 1 && err.retry_after_s <= FOR_MS / 1000 + 1);
    return true;
}

static bool refused(struct quarantine *q, uint32_t tenant, const char *sql, int64_t now) { return refused_with(q, tenant, sql, 30000, now); }

static void two_strikes_of_any_kind_are_enough(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        struct quarantine *q = quarantine_new(FOR_MS);
        assert_false(refused(q, 1, bad, 0));
        assert_int_equal(strike(q, 1, bad, k & 1 ? STRIKE_CRASH : STRIKE_TIMEOUT, 0), STRIKE_NOTED);
        assert_false(refused(q, 1, bad, 1));
        assert_int_equal(strike(q, 1, bad, k & 2 ? STRIKE_CRASH : STRIKE_TIMEOUT, MINUTE), STRIKE_REFUSED_TO_ONE);
        assert_true(refused(q, 1, bad, MINUTE));
        assert_false(refused(q, 1, other, MINUTE));
        assert_false(refused(q, 2, bad, MINUTE)); /* another's statement is another's matter */
        struct error err;
        assert_int_equal(quarantine_check(q, 1, "SELECT bad ", 11, 30000, MINUTE, &err), 0);
        quarantine_free(q);
    }
}

static void all_are_refused_after_crashes_of_two(void **state)
{
    (void)state;
    struct quarantine *q = quarantine_new(FOR_MS);
    assert_int_equal(strike(q, 1, bad, STRIKE_CRASH, 0), STRIKE_NOTED);
    assert_int_equal(strike(q, 1, bad, STRIKE_CRASH, 1), STRIKE_REFUSED_TO_ONE);
    assert_int_equal(strike(q, 1, bad, STRIKE_CRASH, 2), STRIKE_REFUSED_TO_ONE); /* one alone can't do it, however often */
    assert_false(refused(q, 3, bad, 2));
    assert_int_equal(strike(q, 2, bad, STRIKE_CRASH, 3), STRIKE_REFUSED_TO_ALL);
    for (uint32_t tenant = 1; tenant < 5; tenant++)
        assert_true(refused(q, tenant, bad, 4));
    assert_false(refused(q, 3, other, 4));
    assert_false(refused(q, 3, bad, 11 * MINUTE));
    quarantine_free(q);
}

static void slow_texts_of_many_are_nobody_elses_matter(void **state)
{
    (void)state;
    struct quarantine *q = quarantine_new(FOR_MS);
    for (uint32_t tenant = 1; tenant < 10; tenant++)
        for (int i = 0; i < 3; i++)
            assert_int_not_equal(strike(q, tenant, bad, STRIKE_TIMEOUT, i), STRIKE_REFUSED_TO_ALL);
    assert_false(refused(q, 10, bad, 5));
    /* One crash more is one crash. */
    assert_int_not_equal(strike(q, 1, bad, STRIKE_CRASH, 5), STRIKE_REFUSED_TO_ALL);
    assert_false(refused(q, 10, bad, 6));
    quarantine_free(q);
}

static void a_slow_text_may_be_tried_with_more_time(void **state)
{
    (void)state;
    struct quarantine *q = quarantine_new(FOR_MS);
    strike(q, 1, bad, STRIKE_TIMEOUT, 0);
    strike(q, 1, bad, STRIKE_TIMEOUT, 1);
    assert_true(refused_with(q, 1, bad, 30000, 2));
    assert_true(refused_with(q, 1, bad, 100, 2));
    assert_false(refused_with(q, 1, bad, 30001, 2));
    quarantine_strike(q, 1, bad, strlen(bad), STRIKE_TIMEOUT, 60000, 3);
    assert_true(refused_with(q, 1, bad, 60000, 4));
    assert_false(refused_with(q, 1, bad, 60001, 4));
    strike(q, 1, bad, STRIKE_CRASH, 5); /* a crash does not get better with time */
    assert_true(refused_with(q, 1, bad, 300000, 6));
    quarantine_free(q);
}

static void it_ends_and_begins_again_at_once(void **state)
{
    (void)state;
    struct quarantine *q = quarantine_new(FOR_MS);
    strike(q, 1, bad, STRIKE_CRASH, 0);
    strike(q, 1, bad, STRIKE_CRASH, 0);
    assert_true(refused(q, 1, bad, 10 * MINUTE - 1));
    assert_false(refused(q, 1, bad, 10 * MINUTE));
    assert_int_equal(strike(q, 1, bad, STRIKE_CRASH, 11 * MINUTE), STRIKE_REFUSED_TO_ONE);
    assert_true(refused(q, 1, bad, 20 * MINUTE));
    /* After an hour without a strike nothing is known of it. */
    assert_int_equal(strike(q, 1, bad, STRIKE_CRASH, 100 * MINUTE), STRIKE_NOTED);
    assert_false(refused(q, 1, bad, 100 * MINUTE));
    /* Strikes of two tenants hours apart are no pattern. */
    assert_int_equal(strike(q, 2, bad, STRIKE_CRASH, 300 * MINUTE), STRIKE_NOTED);
    quarantine_free(q);
}

static void it_can_be_off_and_be_cleared(void **state)
{
    (void)state;
    struct quarantine *q = quarantine_new(0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(strike(q, 1, bad, STRIKE_CRASH, i), STRIKE_NOTED);
    assert_false(refused(q, 1, bad, 6));
    quarantine_set(q, FOR_MS);
    strike(q, 1, bad, STRIKE_CRASH, 6);
    strike(q, 1, bad, STRIKE_CRASH, 7);
    assert_true(refused(q, 1, bad, 8));
    assert_int_equal(quarantine_clear(q, 8), 1);
    assert_int_equal(quarantine_clear(q, 8), 0);
    assert_false(refused(q, 1, bad, 8));
    strike(q, 1, bad, STRIKE_CRASH, 9);
    strike(q, 1, bad, STRIKE_CRASH, 9);
    quarantine_set(q, 0);
    assert_false(refused(q, 1, bad, 9));
    struct error err;
    assert_int_equal(quarantine_check(NULL, 1, bad, strlen(bad), 1, 9, &err), 0);
    quarantine_free(q);
    quarantine_free(NULL);
}

static void it_is_bounded_and_nobody_flushes_anothers(void **state)
{
    (void)state;
    char sql[64];
    struct quarantine *q = quarantine_new(FOR_MS);
    strike(q, 1, bad, STRIKE_CRASH, 0);
    strike(q, 1, bad, STRIKE_CRASH, 0);
    for (int i = 0; i < 5000; i++) { /* one tenant with ever new texts */
        snprintf(sql, sizeof sql, "SELECT %d", i);
        strike(q, 2, sql, STRIKE_CRASH, i);
        strike(q, 2, sql, STRIKE_CRASH, i);
    }
    assert_true(refused(q, 1, bad, 5000));
    assert_true(refused(q, 2, "SELECT 4999", 5000));
    assert_false(refused(q, 2, "SELECT 1", 5000));
    struct quarantine_figures f = quarantine_figures(q, 5000);
    assert_int_equal(f.refused, QUARANTINE_ROWS_OF_ONE + 1);
    assert_int_equal(f.strikes[STRIKE_CRASH], 10002);
    assert_int_equal(f.refusals, 2);
    for (uint32_t tenant = 3; tenant < 2000; tenant++) { /* many tenants */
        strike(q, tenant, bad, STRIKE_TIMEOUT, tenant);
        strike(q, tenant, bad, STRIKE_TIMEOUT, tenant);
    }
    assert_int_equal(quarantine_figures(q, 5000).refused, QUARANTINE_ROWS);
    quarantine_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_strikes_of_any_kind_are_enough),         cmocka_unit_test(all_are_refused_after_crashes_of_two),
        cmocka_unit_test(slow_texts_of_many_are_nobody_elses_matter), cmocka_unit_test(a_slow_text_may_be_tried_with_more_time),
        cmocka_unit_test(it_ends_and_begins_again_at_once),           cmocka_unit_test(it_can_be_off_and_be_cleared),
        cmocka_unit_test(it_is_bounded_and_nobody_flushes_anothers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
