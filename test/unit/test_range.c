/* Which bytes of a result a request is for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "front/range.h"

#define TAG "\"abc\""

struct row {
    const char *range, *if_range;
    int64_t bytes;
    enum range_kind kind;
    int64_t first, end;
};

static void ranges_are_chosen_as_the_rfc_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {NULL, NULL, 100, RANGE_WHOLE, 0, 100},
        {"bytes=0-0", NULL, 100, RANGE_PART, 0, 1},
        {"bytes=10-19", NULL, 100, RANGE_PART, 10, 20},
        {"bytes=10-", NULL, 100, RANGE_PART, 10, 100},
        {"bytes=10-1000", NULL, 100, RANGE_PART, 10, 100},
        {"bytes=-5", NULL, 100, RANGE_PART, 95, 100},
        {"bytes=-500", NULL, 100, RANGE_PART, 0, 100},
        {"BYTES= 1-2 ", NULL, 100, RANGE_PART, 1, 3},
        {"bytes=99-", NULL, 100, RANGE_PART, 99, 100},
        {"bytes=100-", NULL, 100, RANGE_OUTSIDE, 0, 0},
        {"bytes=100-200", NULL, 100, RANGE_OUTSIDE, 0, 0},
        {"bytes=-0", NULL, 100, RANGE_OUTSIDE, 0, 0},
        {"bytes=0-", NULL, 0, RANGE_OUTSIDE, 0, 0},
        {"bytes=-1", NULL, 0, RANGE_OUTSIDE, 0, 0},
        {"bytes=99999999999999999999999-", NULL, 100, RANGE_OUTSIDE, 0, 0},
        {"bytes=0-99999999999999999999999", NULL, 100, RANGE_PART, 0, 100},
        {"bytes=9223372036854775807-9223372036854775807", NULL, 100, RANGE_OUTSIDE, 0, 0},
        /* ignored: nonsense, other units, lists */
        {"bytes=5-2", NULL, 100, RANGE_WHOLE, 0, 100},
        {"bytes=", NULL, 100, RANGE_WHOLE, 0, 100},
        {"bytes=-", NULL, 100, RANGE_WHOLE, 0, 100},
        {"bytes=--5", NULL, 100, RANGE_WHOLE, 0, 100},
        {"bytes=1", NULL, 100, RANGE_WHOLE, 0, 100},
        {"bytes=1-x", NULL, 100, RANGE_WHOLE, 0, 100},
        {"bytes=0-1,3-4", NULL, 100, RANGE_WHOLE, 0, 100},
        {"rows=0-1", NULL, 100, RANGE_WHOLE, 0, 100},
        {"", NULL, 100, RANGE_WHOLE, 0, 100},
        /* If-Range */
        {"bytes=1-2", TAG, 100, RANGE_PART, 1, 3},
        {"bytes=1-2", "\"other\"", 100, RANGE_WHOLE, 0, 100},
        {"bytes=1-2", "W/" TAG, 100, RANGE_WHOLE, 0, 100},
        {"bytes=1-2", "Sun, 06 Nov 1994 08:49:37 GMT", 100, RANGE_WHOLE, 0, 100},
        {"bytes=200-", "\"other\"", 100, RANGE_WHOLE, 0, 100},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct range r = range_choose(rows[i].range, rows[i].if_range, TAG, rows[i].bytes);
        if (r.kind != rows[i].kind || r.first != rows[i].first || r.end != rows[i].end)
            fail_msg("%s: %d [%lld, %lld)", rows[i].range ? rows[i].range : "(none)", (int)r.kind, (long long)r.first, (long long)r.end);
    }
}

static void conditions_compare_tags(void **state)
{
    (void)state;
    assert_int_equal(range_condition(NULL, NULL, TAG), CONDITION_NONE);
    assert_int_equal(range_condition(NULL, TAG, TAG), CONDITION_NOT_MODIFIED);
    assert_int_equal(range_condition(NULL, "W/" TAG, TAG), CONDITION_NOT_MODIFIED);
    assert_int_equal(range_condition(NULL, "\"a\", " TAG, TAG), CONDITION_NOT_MODIFIED);
    assert_int_equal(range_condition(NULL, "*", TAG), CONDITION_NOT_MODIFIED);
    assert_int_equal(range_condition(NULL, "\"a\", \"b\"", TAG), CONDITION_NONE);
    assert_int_equal(range_condition(NULL, "\"ab\"", TAG), CONDITION_NONE);
    assert_int_equal(range_condition(NULL, "nonsense", TAG), CONDITION_NONE);
    assert_int_equal(range_condition(NULL, "\"abc", TAG), CONDITION_NONE);
    assert_int_equal(range_condition("*", NULL, TAG), CONDITION_NONE);
    assert_int_equal(range_condition(TAG, NULL, TAG), CONDITION_NONE);
    assert_int_equal(range_condition("W/" TAG, NULL, TAG), CONDITION_FAILED);
    assert_int_equal(range_condition("\"a\"", NULL, TAG), CONDITION_FAILED);
    assert_int_equal(range_condition("\"a\"", TAG, TAG), CONDITION_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_chosen_as_the_rfc_says),
        cmocka_unit_test(conditions_compare_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
