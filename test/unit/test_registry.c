/* The register of queries: found by id in any case, forgotten in the order of their ends, never while somebody holds on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/registry.h"

static const char *id_of(unsigned n)
{
    static char text[QUERY_ID_BYTES];
    snprintf(text, sizeof text, "%08x-0000-4000-8000-0000000000ab", n);
    return text;
}

static struct record *add(struct registry *r, unsigned n) { return registry_add(r, id_of(n), "", "SELECT 1", 8); }

static void end(struct registry *r, struct record *rec)
{
    rec->state = JOB_DONE;
    registry_over(r, rec);
}

static void test_keys_are_uuids(void **state)
{
    (void)state;
    struct query_key a, b;
    assert_true(query_key_parse("00112233-4455-6677-8899-aabbccddeeff", &a));
    assert_int_equal(a.high, 0x0011223344556677);
    assert_int_equal(a.low, 0x8899aabbccddeeff);
    assert_true(query_key_parse("00112233-4455-6677-8899-AABBCCDDEEFF", &b));
    assert_memory_equal(&a, &b, sizeof a);
    static const char *const bad[] = {"",
                                      "0",
                                      "00112233-4455-6677-8899-aabbccddeef",
                                      "00112233-4455-6677-8899-aabbccddeeff0",
                                      "00112233-4455-6677-8899-aabbccddeefg",
                                      "0011223344556677-8899-aabb-ccddeeff--",
                                      "00112233+4455-6677-8899-aabbccddeeff",
                                      " 0112233-4455-6677-8899-aabbccddeeff"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(query_key_parse(bad[i], &a));
}

static void test_found_by_id_whatever_its_case(void **state)
{
    (void)state;
    struct registry *r = registry_new(10);
    struct record *rec = registry_add(r, "AAAAAAAA-bbbb-CCCC-dddd-EEEEEEEEEEEE", "", "SELECT 1", 8);
    assert_ptr_equal(registry_find(r, "aaaaaaaa-BBBB-cccc-DDDD-eeeeeeeeeeee"), rec);
    assert_null(registry_find(r, "aaaaaaaa-BBBB-cccc-DDDD-eeeeeeeeeeef"));
    assert_null(registry_find(r, "no id at all"));
    assert_string_equal(rec->id, "AAAAAAAA-bbbb-CCCC-dddd-EEEEEEEEEEEE");
    registry_free(r);
}

static void test_those_that_ended_first_are_forgotten_first(void **state)
{
    (void)state;
    struct registry *r = registry_new(3);
    struct record *rec[6];
    for (unsigned i = 0; i < 6; i++)
        rec[i] = add(r, i);
    assert_int_equal(registry_count(r), 6); /* those that live do not count against the history */
    static const unsigned order[] = {4, 0, 5, 1, 2, 3};
    for (size_t i = 0; i < 6; i++)
        end(r, rec[order[i]]);
    assert_int_equal(registry_count(r), 3);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(registry_find(r, id_of(order[i])) != NULL, i >= 3);
    registry_set_history(r, 1);
    assert_int_equal(registry_count(r), 1);
    assert_non_null(registry_find(r, id_of(3)));
    registry_set_history(r, 0);
    assert_null(registry_newest(r));
    registry_free(r);
}

static void test_pinned_ones_stay(void **state)
{
    (void)state;
    struct registry *r = registry_new(1);
    struct record *held = add(r, 1);
    record_pin(r, held);
    record_pin(r, held);
    end(r, held);
    for (unsigned i = 10; i < 20; i++)
        end(r, add(r, i));
    assert_ptr_equal(registry_find(r, id_of(1)), held);
    record_unpin(r, held);
    assert_ptr_equal(registry_find(r, id_of(1)), held);
    record_unpin(r, held); /* now it is one of those that are over, the youngest of them */
    assert_ptr_equal(registry_find(r, id_of(1)), held);
    assert_int_equal(registry_count(r), 1);
    end(r, add(r, 30));
    assert_null(registry_find(r, id_of(1)));

    struct record *over = registry_find(r, id_of(30)); /* pinned after its end */
    record_pin(r, over);
    end(r, add(r, 31));
    end(r, add(r, 32));
    assert_ptr_equal(registry_find(r, id_of(30)), over);
    record_unpin(r, over);
    assert_null(registry_find(r, id_of(32)));
    registry_free(r);
}

static void test_an_id_is_free_again_when_its_query_is_over(void **state)
{
    (void)state;
    struct registry *r = registry_new(10);
    assert_true(registry_id_is_free(r, id_of(1), "anna"));
    struct record *rec = registry_add(r, id_of(1), "anna", "SELECT 1", 8);
    assert_false(registry_id_is_free(r, id_of(1), "anna"));
    end(r, rec);
    assert_true(registry_id_is_free(r, id_of(1), "anna"));
    assert_false(registry_id_is_free(r, id_of(1), "bert")); /* nobody may push another's query out */
    record_pin(r, rec);
    assert_false(registry_id_is_free(r, id_of(1), "anna"));
    record_unpin(r, rec);
    struct record *again = registry_add(r, id_of(1), "anna", "SELECT 2", 8);
    assert_int_equal(registry_count(r), 1);
    assert_ptr_equal(registry_find(r, id_of(1)), again);
    registry_free(r);
}

static void test_many_are_found_and_listed_newest_first(void **state)
{
    (void)state;
    struct registry *r = registry_new(100000);
    for (unsigned i = 0; i < 20000; i++)
        end(r, add(r, i));
    for (unsigned i = 0; i < 20000; i++)
        assert_non_null(registry_find(r, id_of(i)));
    unsigned i = 20000;
    for (const struct record *rec = registry_newest(r); rec; rec = rec->older)
        assert_string_equal(rec->id, id_of(--i));
    assert_int_equal(i, 0);
    registry_free(r);
}

static json_t *as_json(const struct record *rec)
{
    struct buf b = BUF_INIT(RECORD_JSON_BYTES * 2);
    assert_true(record_write(rec, &b));
    json_error_t at;
    json_t *v = json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, &at);
    if (!v)
        fail_msg("%s in %.*s", at.text, (int)b.len, b.data);
    buf_free(&b);
    return v;
}

static void test_a_record_is_one_json_object(void **state)
{
    (void)state;
    struct registry *r = registry_new(10);
    struct record *rec = registry_add(r, id_of(7), "anna", "SELECT '\"'", 10);
    json_t *v = as_json(rec);
    assert_string_equal(json_string_value(json_object_get(v, "state")), "queued");
    assert_string_equal(json_string_value(json_object_get(v, "sql")), "SELECT '\"'");
    assert_string_equal(json_string_value(json_object_get(v, "key")), "anna");
    static const char *const unknown[] = {"code", "progress", "worker", "memory_bytes", "cpu_ms", "stopped_by"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        assert_true(json_is_null(json_object_get(v, unknown[i])));
    assert_int_equal(strlen(json_string_value(json_object_get(v, "submitted_at"))), strlen("2024-01-01T00:00:00.000Z"));
    json_decref(v);

    struct error err;
    error_set(&err, ERR_TIMEOUT, "too long");
    err.stopped_by = STOP_TERM;
    record_set_error(rec, &err);
    rec->state = JOB_FAILED;
    rec->worker = 1;
    rec->cpu_us = 1500;
    v = as_json(rec);
    assert_string_equal(json_string_value(json_object_get(v, "code")), "timeout");
    assert_string_equal(json_string_value(json_object_get(v, "stopped_by")), "term");
    assert_string_equal(json_string_value(json_object_get(v, "detail")), "too long");
    assert_true(json_real_value(json_object_get(v, "cpu_ms")) == 1.5);
    json_decref(v);
    registry_free(r);
}

static void test_long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    static char sql[RECORD_SQL_BYTES + 100];
    for (size_t i = 0; i + 3 <= sizeof sql; i += 3)
        memcpy(sql + i, "\xe2\x82\xac", 3);
    struct registry *r = registry_new(10);
    struct record *rec = registry_add(r, id_of(1), "", sql, sizeof sql);
    json_t *v = as_json(rec);
    assert_int_equal(json_string_length(json_object_get(v, "sql")), RECORD_SQL_BYTES / 3 * 3);
    assert_true(json_is_true(json_object_get(v, "sql_truncated")));
    json_decref(v);
    memset(sql, 1, sizeof sql); /* six bytes of JSON each: the most that a record takes still fits */
    rec = registry_add(r, id_of(2), "", sql, sizeof sql);
    struct error err = {.code = ERR_SQL};
    memset(err.detail, 1, sizeof err.detail);
    record_set_error(rec, &err);
    json_decref(as_json(rec));
    registry_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_uuids),
        cmocka_unit_test(test_found_by_id_whatever_its_case),
        cmocka_unit_test(test_those_that_ended_first_are_forgotten_first),
        cmocka_unit_test(test_pinned_ones_stay),
        cmocka_unit_test(test_an_id_is_free_again_when_its_query_is_over),
        cmocka_unit_test(test_many_are_found_and_listed_newest_first),
        cmocka_unit_test(test_a_record_is_one_json_object),
        cmocka_unit_test(test_long_texts_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
