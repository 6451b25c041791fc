/* What goes through a coding comes out again when it is decoded, whatever the windows; and it comes out early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "result/coding.h"
#include "test_encode_sink.h"

#include <stdio.h>
#include <zlib.h>
#include <zstd.h>

#define MS ((int64_t)1000000)

/* As much as can be decoded of a coded text, which need not be whole. NULL-terminated. */
static char *decode(enum result_coding kind, const char *coded, size_t n, size_t room, size_t *ret_length)
{
    char *out = malloc(room + 1);
    assert_non_null(out);
    if (kind == CODING_GZIP) {
        z_stream z = {.next_in = (Bytef *)coded, .avail_in = (uInt)n, .next_out = (Bytef *)out, .avail_out = (uInt)room};
        assert_int_equal(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
        int r = inflate(&z, Z_SYNC_FLUSH);
        assert_true(r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR);
        *ret_length = room - z.avail_out;
        inflateEnd(&z);
    } else {
        ZSTD_DCtx *d = ZSTD_createDCtx();
        ZSTD_inBuffer from = {coded, n, 0};
        ZSTD_outBuffer to = {out, room, 0};
        while (from.pos < from.size && !ZSTD_isError(ZSTD_decompressStream(d, &to, &from)))
            ;
        assert_int_equal(from.pos, from.size);
        ZSTD_freeDCtx(d);
        *ret_length = to.pos;
    }
    out[*ret_length] = 0;
    return out;
}

/* Text that compresses, and some that does not. */
static char *make_text(size_t n)
{
    char *text = malloc(n + 1);
    uint64_t seed = 88172645463325252ULL;
    for (size_t i = 0; i < n; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        text[i] = i / 100000 % 2 ? (char)seed : "some text that comes again and again "[i % 37];
    }
    return text;
}

static void round_trip(struct coding *c, enum result_coding kind, const char *text, size_t n, size_t piece, size_t window)
{
    struct test_sink t;
    test_sink_init(&t, window);
    struct sink *s = coding_begin(c, &t.sink, 0);
    for (size_t at = 0; at < n; at += piece)
        assert_int_equal(sink_write(s, text + at, n - at < piece ? n - at : piece), 0);
    assert_int_equal(coding_end(c), 0);
    size_t coded_length, length;
    char *coded = test_sink_finish(&t, &coded_length), *back = decode(kind, coded, coded_length, n + 16, &length);
    assert_int_equal(length, n);
    assert_memory_equal(back, text, n);
    free(back);
    free(coded);
}

static void everything_comes_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 65535, 65536, 65537, 1000000};
    char *text = make_text(1000000);
    for (int kind = CODING_GZIP; kind <= CODING_ZSTD; kind++) {
        struct coding *c = coding_new((enum result_coding)kind);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            for (size_t w = 0; w < TEST_SINK_WINDOWS; w++)
                for (size_t piece = 7000; piece < 2000000; piece *= 30)
                    round_trip(c, (enum result_coding)kind, text, sizes[i], piece, test_sink_windows[w]);
        coding_free(c);
    }
    coding_free(NULL);
    free(text);
}

static size_t readable(struct test_sink *t, enum result_coding kind)
{
    size_t length;
    test_sink_take(t);
    char *copy = malloc(t->length + 1);
    memcpy(copy, t->out, t->length);
    char *back = decode(kind, copy, t->length, 1000000, &length);
    free(back);
    free(copy);
    if (t->window)
        t->window += (size_t)(t->sink.pos - t->window); /* taken */
    return length;
}

/* The first rows of a slow query must not sit in the compressor until the last one comes. */
static void a_flush_that_is_due_makes_all_of_it_readable(void **state)
{
    (void)state;
    for (int kind = CODING_GZIP; kind <= CODING_ZSTD; kind++) {
        struct coding *c = coding_new((enum result_coding)kind);
        struct test_sink t;
        test_sink_init(&t, 1 << 20);
        struct sink *s = coding_begin(c, &t.sink, 1000 * MS);
        assert_int_equal(sink_write(s, "first row", 9), 0);
        assert_int_equal(coding_flush_if_due(c, 1001 * MS), 0);
        assert_int_equal(t.sink.pos == NULL ? 0 : t.sink.pos - t.window, 0); /* too early, too little */
        assert_int_equal(coding_flush_if_due(c, 1100 * MS), 0);
        uint8_t *start = t.window;
        assert_int_equal(readable(&t, (enum result_coding)kind), 9);
        assert_int_equal(sink_write(s, "second", 6), 0);
        assert_int_equal(coding_flush_if_due(c, 1120 * MS), 0);
        assert_int_equal(readable(&t, (enum result_coding)kind), 9);
        assert_int_equal(coding_flush_if_due(c, 1200 * MS), 0);
        assert_int_equal(readable(&t, (enum result_coding)kind), 15);
        t.window = start;
        free(t.out);
        free(start);
        coding_free(c);
    }
}

static void much_is_flushed_at_once(void **state)
{
    (void)state;
    char *text = make_text(200000);
    for (int kind = CODING_GZIP; kind <= CODING_ZSTD; kind++) {
        struct coding *c = coding_new((enum result_coding)kind);
        struct test_sink t;
        test_sink_init(&t, 1 << 20);
        struct sink *s = coding_begin(c, &t.sink, 0);
        assert_int_equal(sink_write(s, text, 200000), 0);
        assert_int_equal(coding_flush_if_due(c, 0), 0);
        uint8_t *start = t.window;
        assert_int_equal(readable(&t, (enum result_coding)kind), 200000);
        free(t.out);
        free(start);
        coding_free(c);
    }
    free(text);
}

static void a_sink_that_says_stop_stops_it(void **state)
{
    (void)state;
    char *text = make_text(1000000);
    for (int kind = CODING_GZIP; kind <= CODING_ZSTD; kind++) {
        struct coding *c = coding_new((enum result_coding)kind);
        struct test_sink t;
        test_sink_init(&t, 4096);
        t.stop_after = 3;
        struct sink *s = coding_begin(c, &t.sink, 0);
        assert_int_equal(sink_write(s, text, 1000000), -1);
        free(test_sink_finish(&t, NULL));
        round_trip(c, (enum result_coding)kind, text, 5000, 100, 65536); /* and the next result is whole */
        coding_free(c);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(a_flush_that_is_due_makes_all_of_it_readable),
        cmocka_unit_test(much_is_flushed_at_once),
        cmocka_unit_test(a_sink_that_says_stop_stops_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
