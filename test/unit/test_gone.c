/* Ids that were once given out: remembered over a front's death, by id and owner, the newest 8192 of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "link/gone.h"

static void test_noted_ids_are_known_to_their_owner_only(void **state)
{
    (void)state;
    struct gone_ring *r = calloc(1, sizeof *r);
    assert_false(gone_was(r, gone_hash(1, 2, "")));
    gone_note(r, gone_hash(1, 2, "anna"));
    assert_true(gone_was(r, gone_hash(1, 2, "anna")));
    assert_false(gone_was(r, gone_hash(1, 2, "")));
    assert_false(gone_was(r, gone_hash(1, 2, "bert")));
    assert_false(gone_was(r, gone_hash(2, 1, "anna")));
    free(r);
}

static void test_the_newest_stay(void **state)
{
    (void)state;
    struct gone_ring *r = calloc(1, sizeof *r);
    for (uint64_t i = 0; i < GONE_ENTRIES + 10; i++)
        gone_note(r, gone_hash(i, 0, ""));
    for (uint64_t i = 0; i < GONE_ENTRIES + 10; i++)
        assert_int_equal(gone_was(r, gone_hash(i, 0, "")), i >= 10);
    free(r);
}

static void test_no_id_hashes_to_the_empty_place(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 100000; i++)
        assert_true(gone_hash(i, i * i, "") != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noted_ids_are_known_to_their_owner_only),
        cmocka_unit_test(test_the_newest_stay),
        cmocka_unit_test(test_no_id_hashes_to_the_empty_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
