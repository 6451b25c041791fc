/* The Arrow stream of columns made by hand, read back by nanoarrow: what vectors of the engine rarely look like. What they do look like is
 * compared with the engine's own export by test/blackbox/test_formats.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nanoarrow/nanoarrow.h"
#include "nanoarrow/nanoarrow_ipc.h"
#include "result/encoder.h"
#include "test_encode_sink.h"

#include <stdio.h>
#include <sys/mman.h>

/* ---- writing ---- */

static void schema_begin(struct ArrowSchema *s, int columns)
{
    ArrowSchemaInit(s);
    assert_int_equal(ArrowSchemaSetTypeStruct(s, columns), NANOARROW_OK);
}

static void schema_set(struct ArrowSchema *s, const char *format, const char *name)
{
    assert_int_equal(ArrowSchemaSetFormat(s, format), NANOARROW_OK);
    assert_int_equal(ArrowSchemaSetName(s, name), NANOARROW_OK);
    s->flags = ARROW_FLAG_NULLABLE;
}

static struct ArrowSchema *schema_child(struct ArrowSchema *s, int children, int i, const char *format, const char *name)
{
    if (!s->n_children) {
        assert_int_equal(ArrowSchemaAllocateChildren(s, children), NANOARROW_OK);
        for (int k = 0; k < children; k++)
            ArrowSchemaInit(s->children[k]);
    }
    schema_set(s->children[i], format, name);
    return s->children[i];
}

/* One column's schema: "format" of the column; nested ones are filled in by `nest`. */
static char *encode_with(const struct column *c, uint32_t count, uint64_t rows, size_t window, size_t *ret_length, void (*make)(struct ArrowSchema *))
{
    struct test_sink t;
    test_sink_init(&t, window);
    struct encoder *e = encoder_new(&(struct encoder_options){FORMAT_ARROW}, c, count);
    assert_non_null(e);
    make(encoder_arrow_schema(e));
    int r = encoder_begin(e, &t.sink, &(struct result_head){"q"});
    if (r < 0)
        fail_msg("%s", encoder_failure(e) ? encoder_failure(e)->detail : "stopped");
    if (rows)
        assert_int_equal(encoder_rows(e, &t.sink, c, rows), 0);
    assert_int_equal(encoder_end(e, &t.sink, &(struct result_tail){.rows = rows}), 0);
    assert_null(encoder_failure(e));
    encoder_free(e);
    return test_sink_finish(&t, ret_length);
}

/* ---- reading ---- */

struct reader {
    struct ArrowArrayStream stream;
    struct ArrowSchema schema;
    struct ArrowArray array;
    struct ArrowArrayView view;
};

static void reader_open(struct reader *r, const char *bytes, size_t n)
{
    struct ArrowBuffer b;
    struct ArrowIpcInputStream in;
    ArrowBufferInit(&b);
    assert_int_equal(ArrowBufferAppend(&b, bytes, (int64_t)n), NANOARROW_OK);
    assert_int_equal(ArrowIpcInputStreamInitBuffer(&in, &b), NANOARROW_OK);
    assert_int_equal(ArrowIpcArrayStreamReaderInit(&r->stream, &in, NULL), NANOARROW_OK);
    assert_int_equal(ArrowArrayStreamGetSchema(&r->stream, &r->schema, NULL), NANOARROW_OK);
    assert_int_equal(ArrowArrayViewInitFromSchema(&r->view, &r->schema, NULL), NANOARROW_OK);
    r->array.release = NULL;
}

/* False at the end. */
static bool reader_next(struct reader *r)
{
    struct ArrowError why;
    if (r->array.release)
        ArrowArrayRelease(&r->array);
    if (ArrowArrayStreamGetNext(&r->stream, &r->array, &why) != NANOARROW_OK)
        fail_msg("%s", why.message);
    if (!r->array.release)
        return false;
    if (ArrowArrayViewSetArray(&r->view, &r->array, &why) != NANOARROW_OK ||
        ArrowArrayViewValidate(&r->view, NANOARROW_VALIDATION_LEVEL_FULL, &why) != NANOARROW_OK)
        fail_msg("%s", why.message);
    return true;
}

static void reader_close(struct reader *r)
{
    if (r->array.release)
        ArrowArrayRelease(&r->array);
    ArrowArrayViewReset(&r->view);
    ArrowSchemaRelease(&r->schema);
    ArrowArrayStreamRelease(&r->stream);
}

/* A value of an array as text: [1,NULL], {x,y}, text. */
static void print(FILE *f, const struct ArrowArrayView *v, int64_t i)
{
    if (v->storage_type == NANOARROW_TYPE_SPARSE_UNION) {
        int8_t child = ArrowArrayViewUnionChildIndex(v, i);
        fprintf(f, "%d:", child);
        print(f, v->children[child], i);
        return;
    }
    if (ArrowArrayViewIsNull(v, i)) {
        fputs("NULL", f);
        return;
    }
    switch (v->storage_type) {
    case NANOARROW_TYPE_STRING:
    case NANOARROW_TYPE_BINARY: {
        struct ArrowStringView s = ArrowArrayViewGetStringUnsafe(v, i);
        fprintf(f, "%.*s", (int)s.size_bytes, s.data);
        break;
    }
    case NANOARROW_TYPE_LIST:
    case NANOARROW_TYPE_MAP:
    case NANOARROW_TYPE_FIXED_SIZE_LIST: {
        int64_t size = v->layout.child_size_elements;
        bool fixed = v->storage_type == NANOARROW_TYPE_FIXED_SIZE_LIST;
        int64_t from = fixed ? i * size : ArrowArrayViewListChildOffset(v, i);
        int64_t to = fixed ? from + size : ArrowArrayViewListChildOffset(v, i + 1);
        fputc('[', f);
        for (int64_t k = from; k < to; k++) {
            fputs(k > from ? "," : "", f);
            print(f, v->children[0], k);
        }
        fputc(']', f);
        break;
    }
    case NANOARROW_TYPE_STRUCT:
        for (int64_t k = 0; k < v->n_children; k++) {
            fputc(k ? ',' : '{', f);
            print(f, v->children[k], i);
        }
        fputc('}', f);
        break;
    default: fprintf(f, "%lld", (long long)ArrowArrayViewGetIntUnsafe(v, i));
    }
}

/* All rows of all batches: "a;b;" for one column. */
static void assert_decodes(const struct column *c, uint32_t count, uint64_t rows, void (*make)(struct ArrowSchema *), const char *want)
{
    for (size_t w = 0; w < TEST_SINK_WINDOWS; w++) {
        size_t n, text_length;
        char *bytes = encode_with(c, count, rows, test_sink_windows[w], &n, make), *text = NULL;
        FILE *f = open_memstream(&text, &text_length);
        struct reader r;
        reader_open(&r, bytes, n);
        while (reader_next(&r))
            for (int64_t i = 0; i < r.array.length; i++) {
                for (int64_t k = 0; k < r.view.n_children; k++) {
                    fputs(k ? "|" : "", f);
                    print(f, r.view.children[k], i);
                }
                fputc(';', f);
            }
        fclose(f);
        assert_string_equal(text, want);
        reader_close(&r);
        free(text);
        free(bytes);
    }
}

/* ---- the tests ---- */

static void make_int_and_text(struct ArrowSchema *s)
{
    schema_begin(s, 2);
    schema_set(s->children[0], "i", "a");
    schema_set(s->children[1], "u", "b");
}

static void set_string(struct column_string *s, const char *text)
{
    memset(s, 0x5a, sizeof *s);
    s->length = (uint32_t)strlen(text);
    if (s->length <= COLUMN_STRING_INLINE) {
        memcpy(s->inlined, text, s->length);
    } else {
        memcpy(s->pointer.prefix, text, 4);
        s->pointer.data = text;
    }
}

static void numbers_and_strings_with_nulls(void **state)
{
    (void)state;
    int32_t a[] = {1, 0x5a5a5a5a, 3};
    struct column_string b[3];
    uint64_t valid_a = 5, valid_b = 3 + ~7ULL;
    set_string(&b[0], "twelve bytes");
    set_string(&b[1], "thirteen byte");
    set_string(&b[2], "not shown at all, as it is NULL");
    struct column c[] = {{.type = COL_INTEGER, .name = "a", .data = a, .validity = &valid_a},
                         {.type = COL_VARCHAR, .name = "b", .data = b, .validity = &valid_b}};
    assert_decodes(c, 2, 3, make_int_and_text, "1|twelve bytes;NULL|thirteen byte;3|NULL;");
    assert_decodes(c, 2, 0, make_int_and_text, "");
}

static void nothing_of_a_null_slot_leaves(void **state)
{
    (void)state;
    enum { N = 2048 };
    static uint64_t secret[N], valid[N / 64];
    static struct column_string names[N];
    struct column c[] = {{.type = COL_INTERVAL, .name = "a", .data = NULL, .validity = valid},
                         {.type = COL_VARCHAR, .name = "b", .data = names, .validity = valid},
                         {.type = COL_BIGINT, .name = "c", .data = secret, .validity = valid}};
    static uint64_t intervals[2 * N];
    memset(secret, 0xd7, sizeof secret);
    memset(intervals, 0xd7, sizeof intervals);
    memset(names, 0xd7, sizeof names);
    c[0].data = intervals;
    (void)c;
    size_t n;
    struct test_sink t;
    test_sink_init(&t, 65536);
    struct encoder *e = encoder_new(&(struct encoder_options){FORMAT_ARROW}, c, 3);
    struct ArrowSchema *s = encoder_arrow_schema(e);
    schema_begin(s, 3);
    schema_set(s->children[0], "tin", "a");
    schema_set(s->children[1], "u", "b");
    schema_set(s->children[2], "l", "c");
    assert_int_equal(encoder_begin(e, &t.sink, &(struct result_head){"q"}), 0);
    assert_int_equal(encoder_rows(e, &t.sink, c, N - 3), 0);
    encoder_free(e);
    char *bytes = test_sink_finish(&t, &n);
    assert_null(memchr(bytes, 0xd7, n));
    free(bytes);
}

static void make_list(struct ArrowSchema *s)
{
    schema_begin(s, 1);
    schema_set(s->children[0], "+l", "x");
    schema_child(s->children[0], 1, 0, "u", "l");
}

/* Lists that share elements, go backwards, leave gaps: the engine's operators may hand them out so. */
static void scattered_lists_are_gathered(void **state)
{
    (void)state;
    struct column_string e[5];
    static const char *const texts[] = {"a", "bb", "a long string, beyond what is inlined", "", "e"};
    for (int i = 0; i < 5; i++)
        set_string(&e[i], texts[i]);
    uint64_t element_valid = 0x1f & ~2ULL, valid = 0x7f & ~4ULL;
    struct column_list l[] = {{3, 2}, {0, 3}, {1000000, 1000000}, {4, 0}, {0, 1}, {0, 5}, {2, 1}};
    struct column element = {.type = COL_VARCHAR, .name = "", .data = e, .validity = &element_valid};
    struct column c[] = {{.type = COL_LIST, .name = "x", .data = l, .validity = &valid, .children = &element, .child_count = 1}};
    assert_decodes(c, 1, 7, make_list,
                   "[,e];[a,NULL,a long string, beyond what is inlined];NULL;[];[a];[a,NULL,a long string, beyond what is inlined,,e];"
                   "[a long string, beyond what is inlined];");
    element_valid = ~0ULL;
    element.validity = NULL;
    struct column_list in_order[] = {{1, 1}, {7, 0}, {2, 2}, {4, 1}};
    c[0].data = in_order;
    c[0].validity = NULL;
    assert_decodes(c, 1, 4, make_list, "[bb];[];[a long string, beyond what is inlined,];[e];");
}

static void make_deep(struct ArrowSchema *s)
{
    schema_begin(s, 1);
    schema_set(s->children[0], "+l", "x");
    struct ArrowSchema *st = schema_child(s->children[0], 1, 0, "+s", "l");
    schema_child(st, 3, 0, "s", "n");
    schema_child(schema_child(st, 3, 1, "+w:2", "f"), 1, 0, "b", "");
    struct ArrowSchema *u = schema_child(st, 3, 2, "+us:0,1", "u");
    schema_child(u, 2, 0, "l", "num");
    schema_child(schema_child(u, 2, 1, "+w:1", "arr"), 1, 0, "C", "");
}

/* LIST(STRUCT(n, f BOOLEAN[2], u UNION(num, arr UTINYINT[1]))), scattered, with NULLs at every level. */
static void nulls_go_down_through_every_level(void **state)
{
    (void)state;
    int16_t n[] = {10, 11, 12, 13};
    uint8_t f[] = {1, 0, 1, 1, 0, 0, 1, 0}, tag[] = {0, 1, 1, 0}, arr[] = {1, 2, 3, 4};
    int64_t num[] = {100, 101, 102, 103};
    uint64_t struct_valid = 0xd, f_valid = 0xb, tag_valid = 0x7;
    struct column bools = {.type = COL_BOOLEAN, .name = "", .data = f}, bytes = {.type = COL_UTINYINT, .name = "", .data = arr};
    struct column members[] = {{.type = COL_UTINYINT, .name = "", .data = tag, .validity = &tag_valid},
                               {.type = COL_BIGINT, .name = "num", .data = num},
                               {.type = COL_ARRAY, .name = "arr", .array_size = 1, .children = &bytes, .child_count = 1}};
    struct column fields[] = {{.type = COL_SMALLINT, .name = "n", .data = n},
                              {.type = COL_ARRAY, .name = "f", .array_size = 2, .validity = &f_valid, .children = &bools, .child_count = 1},
                              {.type = COL_UNION, .name = "u", .children = members, .child_count = 3}};
    struct column element = {.type = COL_STRUCT, .name = "", .validity = &struct_valid, .children = fields, .child_count = 3};
    struct column_list l[] = {{2, 2}, {0, 2}, {0, 0}, {2, 1}};
    uint64_t valid = 0xb;
    struct column c[] = {{.type = COL_LIST, .name = "x", .data = l, .validity = &valid, .children = &element, .child_count = 1}};
    assert_decodes(c, 1, 4, make_deep, "[{12,NULL,1:[3]},{13,[1,0],0:NULL}];[{10,[1,0],0:100},NULL];NULL;[{12,NULL,1:[3]}];");
    struct column_list in_order[] = {{0, 1}, {1, 1}, {9, 9}, {2, 2}};
    c[0].data = in_order;
    assert_decodes(c, 1, 4, make_deep, "[{10,[1,0],0:100}];[NULL];NULL;[{12,NULL,1:[3]},{13,[1,0],0:NULL}];");
}

static void make_text(struct ArrowSchema *s)
{
    schema_begin(s, 1);
    schema_set(s->children[0], "u", "x");
}

struct counter {
    struct sink sink;
    uint8_t window[65536];
    uint64_t bytes;
};

static int count_more(struct sink *sink, size_t need)
{
    struct counter *c = (struct counter *)sink;
    (void)need;
    c->bytes += sink->pos ? (uint64_t)(sink->pos - c->window) : 0;
    sink->pos = c->window;
    sink->end = c->window + sizeof c->window;
    return 0;
}

/* Two strings of 1.5 GB pass 32-bit offsets together, not one by one. One of 3 GB is refused with a reason. */
static void too_much_for_32_bit_offsets_goes_out_in_halves(void **state)
{
    (void)state;
    size_t large = (size_t)3 << 30;
    void *zeros = mmap(NULL, large, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(zeros != MAP_FAILED);
    struct column_string s[3] = {{.length = (uint32_t)(large / 2)}, {.length = 1}, {.length = (uint32_t)(large / 2)}};
    s[0].pointer.data = s[2].pointer.data = zeros;
    struct column c[] = {{.type = COL_VARCHAR, .name = "x", .data = s}};
    struct counter t = {.sink.more = count_more};
    struct encoder *e = encoder_new(&(struct encoder_options){FORMAT_ARROW}, c, 1);
    make_text(encoder_arrow_schema(e));
    assert_int_equal(encoder_begin(e, &t.sink, &(struct result_head){"q"}), 0);
    assert_int_equal(encoder_rows(e, &t.sink, c, 3), 0);
    count_more(&t.sink, 0);
    assert_true(t.bytes > large && t.bytes < large + 65536);
    s[1].length = (uint32_t)large;
    s[1].pointer.data = zeros;
    assert_int_equal(encoder_rows(e, &t.sink, c, 3), -1);
    assert_non_null(encoder_failure(e));
    assert_int_equal(encoder_failure(e)->code, ERR_RESULT_TOO_LARGE);
    encoder_free(e);
    munmap(zeros, large);
}

static void make_wrong(struct ArrowSchema *s)
{
    schema_begin(s, 1);
    schema_set(s->children[0], "vu", "x");
}

/* Should another version of the engine export a type in another way, that is said, not sent. */
static void a_schema_that_does_not_fit_the_columns_is_refused(void **state)
{
    (void)state;
    struct test_sink t;
    test_sink_init(&t, 65536);
    struct column c[] = {{.type = COL_VARCHAR, .name = "x", .type_name = "VARCHAR"}};
    struct encoder *e = encoder_new(&(struct encoder_options){FORMAT_ARROW}, c, 1);
    make_wrong(encoder_arrow_schema(e));
    assert_int_equal(encoder_begin(e, &t.sink, &(struct result_head){"q"}), -1);
    assert_int_equal(encoder_failure(e)->code, ERR_INTERNAL);
    assert_non_null(strstr(encoder_failure(e)->detail, "\"vu\""));
    encoder_free(e);
    free(test_sink_finish(&t, NULL));
}

static void a_sink_that_says_stop_ends_the_batch(void **state)
{
    (void)state;
    struct column_string b[3];
    int32_t a[] = {1, 2, 3};
    for (int i = 0; i < 3; i++)
        set_string(&b[i], "some text that is rather long");
    struct column c[] = {{.type = COL_INTEGER, .name = "a", .data = a}, {.type = COL_VARCHAR, .name = "b", .data = b}};
    for (long stop = 0; stop < 6; stop++) {
        struct test_sink t;
        test_sink_init(&t, 1);
        t.stop_after = stop;
        struct encoder *e = encoder_new(&(struct encoder_options){FORMAT_ARROW}, c, 2);
        make_int_and_text(encoder_arrow_schema(e));
        int r = encoder_begin(e, &t.sink, &(struct result_head){"q"});
        if (r == 0)
            r = encoder_rows(e, &t.sink, c, 3);
        assert_int_equal(r, -1);
        assert_null(encoder_failure(e));
        encoder_free(e);
        free(test_sink_finish(&t, NULL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_strings_with_nulls),
        cmocka_unit_test(nothing_of_a_null_slot_leaves),
        cmocka_unit_test(scattered_lists_are_gathered),
        cmocka_unit_test(nulls_go_down_through_every_level),
        cmocka_unit_test(too_much_for_32_bit_offsets_goes_out_in_halves),
        cmocka_unit_test(a_schema_that_does_not_fit_the_columns_is_refused),
        cmocka_unit_test(a_sink_that_says_stop_ends_the_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
