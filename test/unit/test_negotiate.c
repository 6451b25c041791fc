/* Which form a result takes, from the texts of a request alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "front/accept.h"
#include "front/negotiate.h"

#include <string.h>

static int choose(enum result_format asked, const char *accept)
{
    struct negotiated n;
    struct error err;
    if (negotiate(&(struct wishes){asked, accept, NULL}, &n, &err) == 0)
        return (int)n.format;
    assert_int_equal(err.code, ERR_NOT_ACCEPTABLE);
    assert_non_null(
        strstr(err.detail, "application/json, application/x-ndjson, text/csv, application/vnd.apache.arrow.stream, application/vnd.apache.parquet"));
    return -1;
}

static void accept_chooses_the_format(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        int format; /* -1: 406 */
    } rows[] = {
        {NULL, FORMAT_JSON},
        {"", FORMAT_JSON},
        {" , ,, ", FORMAT_JSON},
        {"*/*", FORMAT_JSON},
        {"application/*", FORMAT_JSON},
        {"text/*", FORMAT_CSV},
        {"text/csv", FORMAT_CSV},
        {"TEXT/CSV", FORMAT_CSV},
        {"text/csv; charset=utf-8; header=present", FORMAT_CSV},
        {"text/csv;charset=\"UTF-8\"", FORMAT_CSV},
        {"text/csv;charset=latin1", -1},
        {"text/csv;header=absent", -1},
        {"application/x-ndjson", FORMAT_NDJSON},
        /* quality first */
        {"application/json;q=0.5, text/csv", FORMAT_CSV},
        {"application/json;q=0.5, text/csv;q=0.4", FORMAT_JSON},
        {"application/json; q=0.123, text/csv ; q=0.124", FORMAT_CSV},
        {"text/csv;q=0.9, */*;q=0.1", FORMAT_CSV},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", FORMAT_JSON},
        /* then what is named most exactly, then our order */
        {"text/csv, */*", FORMAT_CSV},
        {"*/*, application/x-ndjson", FORMAT_NDJSON},
        {"text/*, application/json", FORMAT_JSON},
        {"text/csv, application/json", FORMAT_JSON},
        {"text/csv, application/x-ndjson", FORMAT_NDJSON},
        /* the most exact range decides about its type */
        {"*/*, application/json;q=0", FORMAT_NDJSON},
        {"application/json;q=0, application/*", FORMAT_NDJSON},
        {"application/*;q=0, */*", FORMAT_CSV},
        {"text/csv;q=0, text/*", -1},
        {"*/*;q=0", -1},
        {"application/json;q=0", -1},
        {"application/json;q=0.0, application/json;q=0.3", FORMAT_JSON},
        /* nonsense matches nothing */
        {"image/png", -1},
        {"json", -1},
        {"*", -1},
        {"*/json", -1},
        {"application/json;q=2", -1},
        {"application/json;q=", -1},
        {"application/json;q=0.1234", -1},
        {"application/json;q=high, text/csv;q=0.1", FORMAT_CSV},
        {"application/json;q=-1", -1},
        {"application/", -1},
        {"/", -1},
        {";q=1", -1},
        {"\"application/json\"", -1},
        {"text/csv;x=\"a,application/json", FORMAT_CSV},
        {"text/csv;x=\"a, b;q=0\";q=0.5", FORMAT_CSV},
        {"application/json;;;q=1;", FORMAT_JSON},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (choose(FORMAT_COUNT, rows[i].accept) != rows[i].format)
            fail_msg("%s: %d, want %d", rows[i].accept, choose(FORMAT_COUNT, rows[i].accept), rows[i].format);
}

static void the_requests_own_word_counts_more_than_the_header(void **state)
{
    (void)state;
    assert_int_equal(choose(FORMAT_CSV, "application/json"), FORMAT_CSV);
    assert_int_equal(choose(FORMAT_JSON, "text/csv, */*;q=0"), FORMAT_JSON);
    assert_int_equal(choose(FORMAT_NDJSON, NULL), FORMAT_NDJSON);
}

static void codings_are_chosen_by_quality(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int text, binary; /* -1: 406 */
    } rows[] = {
        {NULL, CODING_NONE, CODING_NONE},
        {"", CODING_NONE, CODING_NONE},
        {"identity", CODING_NONE, CODING_NONE},
        {"*", CODING_NONE, CODING_NONE},
        {"br, deflate", CODING_NONE, CODING_NONE},
        {"gzip", CODING_GZIP, CODING_NONE},
        {"x-gzip", CODING_GZIP, CODING_NONE},
        {"GZIP", CODING_GZIP, CODING_NONE},
        {"zstd", CODING_ZSTD, CODING_NONE},
        {"gzip, deflate, br, zstd", CODING_ZSTD, CODING_NONE},
        {"gzip, zstd;q=0.9", CODING_GZIP, CODING_NONE},
        {"gzip;q=0.5, zstd;q=0.6", CODING_ZSTD, CODING_NONE},
        {"zstd;q=0, gzip", CODING_GZIP, CODING_NONE},
        {"gzip;q=0", CODING_NONE, CODING_NONE},
        {"gzip;q=0, *", CODING_NONE, CODING_NONE},
        {"gzip, *", CODING_GZIP, CODING_NONE},
        {"identity, gzip;q=0.5", CODING_NONE, CODING_NONE},
        {"identity;q=0.5, gzip;q=0.5", CODING_GZIP, CODING_NONE},
        {"gzip;q=nonsense", CODING_NONE, CODING_NONE},
        /* who refuses plain bytes gets no plain bytes */
        {"identity;q=0", -1, -1},
        {"*;q=0", -1, -1},
        {"br, identity;q=0", -1, -1},
        {"gzip, identity;q=0", CODING_GZIP, CODING_GZIP},
        {"zstd, *;q=0", CODING_ZSTD, CODING_ZSTD},
        {"identity;q=0, *", CODING_ZSTD, CODING_ZSTD},
        {"identity;q=0, zstd;q=0, *;q=0.5", CODING_GZIP, CODING_GZIP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int f = 0; f < FORMAT_COUNT; f++) {
            struct negotiated n = {.coding = CODING_NONE};
            struct error err;
            bool binary = f == FORMAT_ARROW || f == FORMAT_PARQUET;
            int want = binary ? rows[i].binary : rows[i].text;
            int got = negotiate(&(struct wishes){(enum result_format)f, NULL, rows[i].header}, &n, &err) < 0 ? -1 : (int)n.coding;
            if (got != want)
                fail_msg("%s for %s: %d, want %d", rows[i].header, format_name((enum result_format)f), got, want);
        }
}

static void arrow_is_compressed_inside_for_who_asks(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        int ipc;
    } rows[] = {
        {NULL, CODING_NONE},
        {"application/vnd.apache.arrow.stream", CODING_NONE},
        {"application/vnd.apache.arrow.stream; codecs=zstd", CODING_ZSTD},
        {"application/vnd.apache.arrow.stream;codecs=\"lz4,ZSTD\";q=0.5, */*;q=0.1", CODING_ZSTD},
        {"application/vnd.apache.arrow.stream; codecs=lz4", CODING_NONE},
        {"text/csv; codecs=zstd, application/vnd.apache.arrow.stream", CODING_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct negotiated n;
        struct error err;
        assert_int_equal(negotiate(&(struct wishes){FORMAT_ARROW, rows[i].accept, "gzip, zstd"}, &n, &err), 0);
        assert_int_equal(n.ipc_coding, rows[i].ipc);
        assert_int_equal(negotiate(&(struct wishes){FORMAT_CSV, rows[i].accept, NULL}, &n, &err), 0);
        assert_int_equal(n.ipc_coding, CODING_NONE);
    }
}

static void content_types_say_how_text_is_to_be_read(void **state)
{
    (void)state;
    assert_string_equal(negotiated_content_type(&(struct negotiated){FORMAT_JSON}), "application/json");
    assert_string_equal(negotiated_content_type(&(struct negotiated){FORMAT_NDJSON}), "application/x-ndjson");
    assert_string_equal(negotiated_content_type(&(struct negotiated){FORMAT_CSV}), "text/csv; charset=utf-8; header=present");
    assert_string_equal(negotiated_content_type(&(struct negotiated){FORMAT_ARROW, CODING_NONE, CODING_ZSTD}),
                        "application/vnd.apache.arrow.stream; codecs=zstd");
}

static void parameters_are_found_whatever_stands_around_them(void **state)
{
    (void)state;
    const char *p = " a/b ; x = 1;y=\"q \\\" ; z=2\" ;Z=3 , c ", *v;
    size_t n;
    struct accept_item item;
    assert_true(accept_next(&p, &item));
    assert_true(accept_is(&item, "A/B"));
    assert_int_equal(item.q, 1000);
    assert_false(accept_param(&item, "x", &v, &n)); /* blanks round the = are not HTTP */
    assert_true(accept_param(&item, "y", &v, &n));
    assert_int_equal(n, 10);
    assert_memory_equal(v, "q \\\" ; z=2", 10);
    assert_true(accept_param(&item, "z", &v, &n));
    assert_int_equal(n, 1);
    assert_int_equal(v[0], '3');
    assert_false(accept_param(&item, "", &v, &n));
    assert_true(accept_next(&p, &item));
    assert_true(accept_is(&item, "c"));
    assert_false(accept_next(&p, &item));
    assert_false(accept_next(&p, &item));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_chooses_the_format),
        cmocka_unit_test(the_requests_own_word_counts_more_than_the_header),
        cmocka_unit_test(codings_are_chosen_by_quality),
        cmocka_unit_test(arrow_is_compressed_inside_for_who_asks),
        cmocka_unit_test(content_types_say_how_text_is_to_be_read),
        cmocka_unit_test(parameters_are_found_whatever_stands_around_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
