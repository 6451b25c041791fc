/* `bulkhead top`: the server's JSON as values, and values as lines, when the server is not to be trusted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/screen.h"
#include "cli/top_view.h"
#include "core/clock.h"
#include "core/errors.h"

static const char status[] =
    "{\"version\":\"1.2.3\",\"uptime_s\":7325.5,\"workers\":[{\"slot\":0,\"kind\":\"pool\",\"state\":\"busy\",\"pid\":4711,\"query_id\":\"aaaa\","
    "\"memory_bytes\":81000000,\"queries\":17},{\"slot\":null,\"kind\":\"spare\",\"state\":\"spare\",\"pid\":4712,\"query_id\":null,\"memory_bytes\":"
    "1,"
    "\"queries\":0}],\"queue\":{\"length\":3,\"max\":64,\"background\":1,\"keys\":[{\"key\":\"alice\",\"waiting\":3,\"running\":1}]},\"sessions\":[{}"
    "],"
    "\"database\":{\"state\":\"served\",\"wal_bytes\":0},\"totals\":{\"queries\":100,\"ok\":90,\"refused\":5,\"result_bytes\":5000}}";
static const char queries[] =
    "{\"queries\":[{\"id\":\"b1\",\"key\":\"alice\",\"state\":\"queued\",\"sql\":\"SELECT 2\",\"queue_ms\":50,\"exec_ms\":0},"
    "{\"id\":\"a1\",\"key\":null,\"state\":\"running\",\"sql\":\"SELECT\\n "
    "1\",\"queue_ms\":1,\"exec_ms\":12345,\"cpu_ms\":20000.5,\"memory_bytes\":81000000}]}";

static struct top_model read_model(const char *s, const char *q, int64_t now)
{
    struct top_model m;
    struct error err;
    if (top_model_read(&m, s, strlen(s), q, strlen(q), now, &err) < 0)
        fail_msg("%s", err.detail);
    return m;
}

static void values_are_read_and_the_longest_query_is_first(void **state)
{
    (void)state;
    struct top_model m = read_model(status, queries, 1);
    assert_int_equal(m.worker_count, 2);
    assert_int_equal(m.workers[0].pid, 4711);
    assert_int_equal(m.workers[1].slot, -1);
    assert_null(m.workers[1].query_id);
    assert_int_equal(m.queue_length, 3);
    assert_int_equal(m.sessions, 1);
    assert_string_equal(m.keys[0].name, "alice");
    assert_string_equal(m.queries[0].id, "a1");
    assert_null(m.queries[0].key);
    assert_true(m.queries[1].cpu_ms < 0);
    top_model_clear(&m);
}

static void workers_stand_in_the_order_of_their_places(void **state)
{
    (void)state;
    static const int expected[] = {12, 11, 15, 14, 13};
    struct top_model m = read_model(
        "{\"version\":\"1\",\"workers\":[{\"slot\":null,\"kind\":\"spare\",\"pid\":13},{\"slot\":1,\"kind\":\"pool\",\"pid\":11},"
        "{\"slot\":null,\"kind\":\"session\",\"pid\":14},{\"slot\":10,\"kind\":\"pool\",\"pid\":15},"
        "{\"slot\":0,\"kind\":\"pool\",\"pid\":12}],\"queue\":{},\"database\":{}}",
        "{\"queries\":[]}", 1);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(m.workers[i].pid, expected[i]);
    top_model_clear(&m);
}

static void what_is_no_such_answer_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "{", "[]", "{}", "{\"workers\":{}}", "null", "{\"workers\":1}"};
    struct top_model m;
    struct error err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(top_model_read(&m, bad[i], strlen(bad[i]), queries, strlen(queries), 1, &err), -1);
        assert_int_equal(top_model_read(&m, status, strlen(status), bad[i], strlen(bad[i]), 1, &err), -1);
    }
    for (size_t n = 0; n < sizeof status - 1; n++)
        assert_int_equal(top_model_read(&m, status, n, queries, strlen(queries), 1, &err), -1);
}

static void values_of_a_wrong_type_are_unknown(void **state)
{
    (void)state;
    struct top_model m = read_model("{\"version\":5,\"uptime_s\":\"x\",\"workers\":[5,{\"slot\":\"a\",\"pid\":1.5}],\"queue\":[],\"database\":7}",
                                    "{\"queries\":[null,{\"id\":7,\"exec_ms\":\"1\"}]}", 1);
    struct buf b = BUF_INIT((size_t)1 << 20);
    struct top_screen s = {.now = &m, .address = "x"};
    top_view(&s, &b);
    assert_true(b.len > 100);
    buf_free(&b);
    top_model_clear(&m);
}

static void rates_are_per_second(void **state)
{
    (void)state;
    assert_true(top_rate(100, 150, NS_PER_S, 3 * NS_PER_S) == 25);
    assert_true(top_rate(100, 90, NS_PER_S, 3 * NS_PER_S) == 0); /* the server was started anew */
    assert_true(top_rate(0, 90, 0, 3 * NS_PER_S) == 0);
    struct top_model a = read_model(status, queries, 1 * NS_PER_S), b = read_model(status, queries, 2 * NS_PER_S);
    struct buf out = BUF_INIT((size_t)1 << 20);
    b.queries_total += 50;
    b.ok_total += 40;
    struct top_screen s = {.now = &b, .before = &a, .address = "x"};
    top_view(&s, &out);
    assert_true(buf_append(&out, "", 1));
    assert_non_null(strstr(out.data, "50.0 queries/s  10.0 failed/s"));
    buf_free(&out);
    top_model_clear(&a);
    top_model_clear(&b);
}

/* Every size: never more lines or columns than there are. */
static void a_screen_fits(void **state)
{
    (void)state;
    struct top_model m = read_model(status, queries, 1);
    screen_init();
    for (unsigned rows = 1; rows < 30; rows++)
        for (unsigned columns = 1; columns < 140; columns += 7) {
            struct buf b = BUF_INIT((size_t)1 << 20);
            struct top_screen s = {.now = &m, .address = "127.0.0.1:8480", .selected = "a1", .rows = rows, .columns = columns};
            top_view(&s, &b);
            assert_true(buf_append(&b, "", 1));
            unsigned lines = 1;
            size_t width = 0;
            for (const char *p = b.data; *p; p++) {
                if (*p == '\x1b') {
                    p = strpbrk(p, "KJ");
                    assert_non_null(p);
                } else if (*p == '\n') {
                    lines++;
                    width = 0;
                } else if (*p != '\r') {
                    assert_true(++width <= columns);
                }
            }
            assert_true(lines <= rows);
            buf_free(&b);
        }
    top_model_clear(&m);
}

static void nothing_from_the_server_steers_the_terminal(void **state)
{
    (void)state;
    struct top_model m = read_model(
        "{\"version\":\"\\u001b[31m\",\"workers\":[{\"kind\":\"\\u009b1m\",\"state\":\"a\\nb\",\"query_id\":\"\\u0007\"}],"
        "\"queue\":{\"keys\":[{\"key\":\"\\u001b]0;x\\u0007\"}]},\"database\":{\"state\":\"\\r\\n\"}}",
        "{\"queries\":[{\"id\":\"\\u001b\",\"key\":\"\\u202e\",\"state\":\"\\t\",\"sql\":\"a\\u0001b\"},{\"sql\":\"\\u001b[2J\"}]}", 1);
    struct buf b = BUF_INIT((size_t)1 << 20);
    struct top_screen s = {.now = &m, .address = "\x1b[0m", .trouble = "\x1b[1m"};
    top_view(&s, &b);
    for (size_t i = 0; i < b.len; i++) {
        unsigned char c = (unsigned char)b.data[i], next = i + 1 < b.len ? (unsigned char)b.data[i + 1] : 0;
        assert_true((c >= 0x20 || c == '\n') && c != 0x7f);
        assert_false(c == 0xC2 && next >= 0x80 && next < 0xA0);
    }
    buf_free(&b);
    top_model_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_stand_in_the_order_of_their_places),
        cmocka_unit_test(values_are_read_and_the_longest_query_is_first),
        cmocka_unit_test(what_is_no_such_answer_is_refused),
        cmocka_unit_test(values_of_a_wrong_type_are_unknown),
        cmocka_unit_test(rates_are_per_second),
        cmocka_unit_test(a_screen_fits),
        cmocka_unit_test(nothing_from_the_server_steers_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
