/* The Arrow arrays that stand for a result's columns: one node each, with its children. Runs in the worker. */
#include "result/arrow.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How each type is written, and the format that the engine's schema must have for it ("d:" and the like: as its beginning). */
static const struct rule {
    const char *format;
    enum arrow_kind kind;
    uint8_t width, buffers;
    bool is_prefix;
} rules[COL_TYPE_COUNT] = {
    [COL_SQLNULL] = {"n", ARROW_NULL, 0, 0},
    [COL_BOOLEAN] = {"b", ARROW_BOOL, 0, 2},
    [COL_TINYINT] = {"c", ARROW_COPY, 1, 2},
    [COL_SMALLINT] = {"s", ARROW_COPY, 2, 2},
    [COL_INTEGER] = {"i", ARROW_COPY, 4, 2},
    [COL_BIGINT] = {"l", ARROW_COPY, 8, 2},
    [COL_UTINYINT] = {"C", ARROW_COPY, 1, 2},
    [COL_USMALLINT] = {"S", ARROW_COPY, 2, 2},
    [COL_UINTEGER] = {"I", ARROW_COPY, 4, 2},
    [COL_UBIGINT] = {"L", ARROW_COPY, 8, 2},
    [COL_HUGEINT] = {"d:38,0", ARROW_COPY, 16, 2},
    [COL_UHUGEINT] = {"d:38,0", ARROW_COPY, 16, 2},
    [COL_FLOAT] = {"f", ARROW_COPY, 4, 2},
    [COL_DOUBLE] = {"g", ARROW_COPY, 8, 2},
    [COL_DECIMAL] = {"d:", ARROW_WIDEN, 16, 2, true},
    [COL_VARCHAR] = {"u", ARROW_BYTES, 0, 3},
    [COL_JSON_TEXT] = {"u", ARROW_BYTES, 0, 3},
    [COL_BLOB] = {"z", ARROW_BYTES, 0, 3},
    [COL_BIT] = {"z", ARROW_BYTES, 0, 3},
    [COL_BIGNUM] = {"z", ARROW_BYTES, 0, 3},
    [COL_GEOMETRY] = {"z", ARROW_BYTES, 0, 3},
    [COL_VARIANT] = {"u", ARROW_TEXT, 0, 3},
    [COL_UUID] = {"u", ARROW_UUID, 0, 3},
    [COL_DATE] = {"tdD", ARROW_COPY, 4, 2},
    [COL_TIME] = {"ttu", ARROW_COPY, 8, 2},
    [COL_TIME_NS] = {"ttn", ARROW_COPY, 8, 2},
    [COL_TIME_TZ] = {"ttu", ARROW_TIME_TZ, 8, 2},
    [COL_TIMESTAMP_S] = {"tss:", ARROW_COPY, 8, 2},
    [COL_TIMESTAMP_MS] = {"tsm:", ARROW_COPY, 8, 2},
    [COL_TIMESTAMP] = {"tsu:", ARROW_COPY, 8, 2},
    [COL_TIMESTAMP_NS] = {"tsn:", ARROW_COPY, 8, 2},
    [COL_TIMESTAMP_TZ] = {"tsu:", ARROW_COPY, 8, 2, true},
    [COL_INTERVAL] = {"tin", ARROW_INTERVAL, 16, 2},
    [COL_LIST] = {"+l", ARROW_LIST, 0, 2},
    [COL_MAP] = {"+m", ARROW_LIST, 0, 2},
    [COL_ARRAY] = {"+w:", ARROW_FIXED_LIST, 0, 1, true},
    [COL_STRUCT] = {"+s", ARROW_STRUCT, 0, 1},
    [COL_UNION] = {"+us:", ARROW_UNION, 0, 1, true},
};

static bool schema_differs(struct arrow *a, const struct column *c, const struct ArrowSchema *s)
{
    error_set(&a->error, ERR_INTERNAL, "column \"%.60s\": the engine exports type %.60s to Arrow as \"%.20s\", which this build does not write",
              c->name ? c->name : "", c->type_name ? c->type_name : "?", s->format);
    return false;
}

static bool no_memory(struct arrow *a)
{
    error_set(&a->error, ERR_OUT_OF_MEMORY, "no memory for the result's columns");
    return false;
}

static bool format_fits(const struct column *c, const char *format, const struct rule *r)
{
    if (!r->format)
        return false;
    if (c->type == COL_DECIMAL) { /* 128 bits wide, said or unsaid */
        char want[32], plain[32];
        snprintf(want, sizeof want, "d:%u,%u,128", c->width, c->scale);
        snprintf(plain, sizeof plain, "d:%u,%u", c->width, c->scale);
        return strcmp(format, want) == 0 || strcmp(format, plain) == 0;
    }
    return r->is_prefix ? strncmp(format, r->format, strlen(r->format)) == 0 : strcmp(format, r->format) == 0;
}

static bool node_set(struct arrow *a, struct arrow_node *n, const struct column *c, const struct ArrowSchema *s);

static bool children_set(struct arrow *a, struct arrow_node *n, const struct column *c, const struct ArrowSchema *s)
{
    const struct column *children = c->children;
    uint32_t count = c->child_count;
    if (c->type == COL_UNION) { /* the tag becomes the array's own buffer */
        children++;
        count--;
    }
    if (s->n_children != (int64_t)count)
        return schema_differs(a, c, s);
    n->children = calloc(count ? count : 1, sizeof *n->children);
    if (!n->children)
        return no_memory(a);
    n->child_count = count;
    for (uint32_t i = 0; i < count; i++)
        if (!node_set(a, &n->children[i], &children[i], s->children[i]))
            return false;
    return true;
}

static bool enum_set(struct arrow *a, struct arrow_node *n, const struct column *c, const struct ArrowSchema *s)
{
    static const char formats[] = {[1] = 'C', [2] = 'S', [4] = 'I'};
    if (c->storage_bytes > 4 || s->format[0] != formats[c->storage_bytes] || !s->dictionary || strcmp(s->dictionary->format, "u") != 0)
        return schema_differs(a, c, s);
    n->kind = ARROW_COPY;
    n->width = c->storage_bytes;
    n->buffer_count = 2;
    return true;
}

static bool node_set(struct arrow *a, struct arrow_node *n, const struct column *c, const struct ArrowSchema *s)
{
    const struct rule *r = &rules[c->type];
    n->dictionary = -1;
    a->field_max++;
    if (c->type == COL_ENUM) {
        a->buffer_max += 2;
        return enum_set(a, n, c, s);
    }
    if (!format_fits(c, s->format, r) || s->dictionary)
        return schema_differs(a, c, s);
    n->kind = r->kind;
    n->width = r->width;
    n->buffer_count = r->buffers;
    a->buffer_max += r->buffers;
    if (c->type == COL_DECIMAL && c->storage_bytes == 16)
        n->kind = ARROW_COPY;
    return r->kind < ARROW_LIST || children_set(a, n, c, s);
}

bool arrow_tree_new(struct arrow *a, const struct column *columns, uint32_t count)
{
    if (a->schema.n_children != (int64_t)count) {
        error_set(&a->error, ERR_INTERNAL, "the engine exports %lld columns to Arrow, the result has %u", (long long)a->schema.n_children, count);
        return false;
    }
    a->nodes = calloc(count ? count : 1, sizeof *a->nodes);
    if (!a->nodes)
        return no_memory(a);
    a->node_count = count;
    for (uint32_t i = 0; i < count; i++)
        if (!node_set(a, &a->nodes[i], &columns[i], a->schema.children[i]))
            return false;
    if (a->buffer_max < ARROW_BUFFERS_MAX) /* a dictionary's */
        a->buffer_max = ARROW_BUFFERS_MAX;
    a->fields = calloc(a->field_max + 1, sizeof *a->fields);
    a->buffers = calloc(a->buffer_max, sizeof *a->buffers);
    return (a->fields && a->buffers) || no_memory(a);
}

static void node_free(struct arrow_node *n)
{
    for (uint32_t i = 0; i < n->child_count; i++)
        node_free(&n->children[i]);
    free(n->children);
    free(n->offsets.data);
    free(n->validity_bits.data);
    free(n->index.data);
    free(n->mask_bits.data);
    free(n->member_bits.data);
    memory_sink_free(&n->text);
}

void arrow_tree_free(struct arrow *a)
{
    for (uint32_t i = 0; i < a->node_count; i++)
        node_free(&a->nodes[i]);
    free(a->nodes);
    free(a->fields);
    free(a->buffers);
}
