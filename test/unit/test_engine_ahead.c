/* Large results, whose chunks a thread fetches ahead (src/engine/ahead.c): all rows in order, late errors, streams left at any point, interrupts.
 * On the real library, with two threads. */
#include "unit/engine_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define ROWS 300000
#define CHUNK_ROWS 2048
#define AFTER_MANY 20 /* chunks: the thread has taken over */

static struct fixture f;

static int set_up(void **state)
{
    (void)state;
    fixture_open(&f);
    make_database(f.path, "CREATE TABLE t AS SELECT i, 'row ' || i AS s FROM range(300000) r(i)");
    f.engine = open_engine(f.path, 8);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static struct stream *start(const char *sql)
{
    struct error err = {0};
    struct engine_query q = {.sql = sql, .sql_len = strlen(sql)};
    struct stream *s = engine_query(f.engine, &q, &err);
    assert_string_equal(err.detail, "");
    assert_non_null(s);
    return s;
}

/* Up to `most` chunks; the rows must be 0, 1, 2... as they are in the table. What stream_next said last. */
static int64_t take(struct stream *s, unsigned most, int64_t *ret_rows, struct error *err)
{
    int64_t n = 1;
    *ret_rows = 0;
    while (most-- > 0 && (n = stream_next(s, err)) > 0) {
        uint32_t count;
        const struct column *c = stream_columns(s, &count);
        for (int64_t i = 0; i < n; i++) {
            char text[32];
            int64_t row = *ret_rows + i;
            const struct column_string *string = column_string_at(&c[1], (uint64_t)i);
            assert_int_equal(((const int64_t *)c[0].data)[i], row);
            snprintf(text, sizeof text, "row %lld", (long long)row);
            assert_int_equal(string->length, strlen(text));
            assert_memory_equal(column_string_data(string), text, string->length);
        }
        *ret_rows += n;
    }
    return n;
}

static void every_row_comes_once_and_in_order(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        struct error err = {0};
        int64_t rows;
        struct stream *s = start("SELECT i, s FROM t");
        assert_int_equal(take(s, UINT32_MAX, &rows, &err), 0);
        assert_int_equal(rows, ROWS);
        assert_int_equal(stream_next(s, &err), 0); /* and stays at its end */
        stream_free(s);
    }
}

static void an_error_far_behind_the_first_rows_ends_the_stream(void **state)
{
    (void)state;
    struct error err = {0};
    int64_t rows;
    struct stream *s = start("SELECT CASE WHEN i < 200000 THEN i ELSE error('late') END, s FROM t");
    assert_int_equal(take(s, UINT32_MAX, &rows, &err), -1);
    assert_true(rows > AFTER_MANY * CHUNK_ROWS && rows <= 200000);
    assert_int_equal(err.code, ERR_SQL);
    assert_non_null(strstr(err.detail, "late"));
    stream_free(s);
    assert_answer(f.engine, "SELECT 7", "7\n");
}

static void a_stream_may_be_left_at_any_chunk(void **state)
{
    (void)state;
    for (unsigned chunks = 0; chunks < 40; chunks++) {
        struct error err = {0};
        int64_t rows;
        struct stream *s = start("SELECT i, s FROM t");
        assert_true(take(s, chunks, &rows, &err) > 0);
        stream_free(s);
        assert_answer(f.engine, "SELECT 7", "7\n");
        assert_false(engine_is_spent(f.engine));
    }
}

/* The rest would take for ever. */
#define LONG_TAIL "SELECT i, s FROM t WHERE i < 60000 UNION ALL SELECT a.i, 'x' FROM t a, t b, t c WHERE a.i + b.i + c.i < 0"

static void a_stream_left_in_a_long_fetch_ends_it(void **state)
{
    (void)state;
    struct error err = {0};
    int64_t rows;
    struct stream *s = start(LONG_TAIL);
    assert_true(take(s, AFTER_MANY, &rows, &err) > 0);
    stream_free(s);
    assert_answer(f.engine, "SELECT 7", "7\n");
}

static void an_interrupt_between_two_chunks_ends_the_stream(void **state)
{
    (void)state;
    struct error err = {0};
    int64_t rows;
    struct stream *s = start("SELECT i, s FROM t");
    assert_true(take(s, AFTER_MANY, &rows, &err) > 0);
    engine_interrupt(f.engine);
    assert_int_equal(stream_next(s, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    stream_free(s);
    assert_answer(f.engine, "SELECT 7", "7\n");
}

static void *interrupt_later(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    engine_interrupt(arg);
    return NULL;
}

static void an_interrupt_reaches_a_stream_that_waits(void **state)
{
    (void)state;
    struct error err = {0};
    int64_t rows;
    pthread_t thread;
    struct stream *s = start(LONG_TAIL);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_later, f.engine), 0);
    assert_int_equal(take(s, UINT32_MAX, &rows, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_true(rows <= 60000);
    pthread_join(thread, NULL);
    stream_free(s);
    assert_answer(f.engine, "SELECT 7", "7\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_comes_once_and_in_order),
        cmocka_unit_test(an_error_far_behind_the_first_rows_ends_the_stream),
        cmocka_unit_test(a_stream_may_be_left_at_any_chunk),
        cmocka_unit_test(a_stream_left_in_a_long_fetch_ends_it),
        cmocka_unit_test(an_interrupt_between_two_chunks_ends_the_stream),
        cmocka_unit_test(an_interrupt_reaches_a_stream_that_waits),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
