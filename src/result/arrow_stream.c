/* The Arrow stream format: a schema, the dictionaries of ENUMs, a record batch for each chunk of rows. Runs in the worker. */
#include "result/arrow_compress.h"
#include "result/encoder.h"
#include <stdlib.h>
#include <string.h>

static const uint8_t zeros[ARROW_ALIGN];

static bool stream_open(struct encoder *e)
{
    struct arrow *a = e->state = calloc(1, sizeof *a);
    if (!a || !(a->messages = arrow_messages_new()))
        return false;
    return e->options.ipc_coding != CODING_ZSTD || (a->compress = arrow_compress_new());
}

static void stream_close(struct encoder *e)
{
    struct arrow *a = e->state;
    if (!a)
        return;
    arrow_tree_free(a);
    arrow_messages_free(a->messages);
    arrow_compress_free(a->compress);
    if (a->schema.release)
        a->schema.release(&a->schema);
    free(a);
}

static struct ArrowSchema *schema(struct encoder *e)
{
    struct arrow *a = e->state;
    return &a->schema;
}

static const struct error *failure(const struct encoder *e)
{
    const struct arrow *a = e->state;
    return a->error.code == ERR_OK ? NULL : &a->error;
}

/* ---- layout: what a message's head says about its body ---- */

static void layout_begin(struct arrow *a)
{
    a->field_count = a->buffer_count = 0;
    a->body_bytes = 0;
}

static int64_t padded(int64_t bytes) { return (bytes + ARROW_ALIGN - 1) / ARROW_ALIGN * ARROW_ALIGN; }

static void layout_buffer(struct arrow *a, uint64_t bytes)
{
    a->buffers[a->buffer_count++] = (struct arrow_buffer){a->body_bytes, (int64_t)bytes};
    a->body_bytes += padded((int64_t)bytes);
}

static void layout_node(struct arrow *a, const struct arrow_node *n)
{
    a->fields[a->field_count++] = (struct arrow_field){(int64_t)n->rows.count, (int64_t)n->null_count};
    for (unsigned i = 0; i < n->buffer_count; i++)
        layout_buffer(a, n->bytes[i]);
    for (uint32_t i = 0; i < n->child_count; i++)
        layout_node(a, &n->children[i]);
}

static int put_padding(struct sink *sink, uint64_t bytes) { return sink_write(sink, zeros, (size_t)(padded((int64_t)bytes) - (int64_t)bytes)); }

static int put_node(struct sink *sink, const struct arrow_node *n)
{
    for (unsigned i = 0; i < n->buffer_count; i++)
        if (arrow_put_buffer(sink, n, i) < 0 || put_padding(sink, n->bytes[i]) < 0)
            return -1;
    for (uint32_t i = 0; i < n->child_count; i++)
        if (put_node(sink, &n->children[i]) < 0)
            return -1;
    return 0;
}

/* ---- bodies that are compressed: laid out while they are made ---- */

static int no_memory(struct arrow *a) { return error_set(&a->error, ERR_OUT_OF_MEMORY, "no memory to compress a batch"); }

static int close_buffer(struct arrow *a) { return arrow_compress_close(a->compress, &a->buffers[a->buffer_count++]) ? 0 : no_memory(a); }

static int compress_node(struct arrow *a, const struct arrow_node *n)
{
    a->fields[a->field_count++] = (struct arrow_field){(int64_t)n->rows.count, (int64_t)n->null_count};
    for (unsigned i = 0; i < n->buffer_count; i++) {
        if (arrow_put_buffer(arrow_compress_buffer(a->compress), n, i) < 0)
            return no_memory(a);
        if (close_buffer(a) < 0)
            return -1;
    }
    for (uint32_t i = 0; i < n->child_count; i++)
        if (compress_node(a, &n->children[i]) < 0)
            return -1;
    return 0;
}

/* ---- dictionaries ---- */

static int put_offsets(struct sink *sink, const struct column *c)
{
    int32_t at = 0;
    for (uint32_t i = 0; i <= c->enum_count; i++) {
        if (sink_write(sink, &at, sizeof at) < 0)
            return -1;
        at += i < c->enum_count ? (int32_t)c->enum_length[i] : 0;
    }
    return 0;
}

static int put_names(struct sink *sink, const struct column *c)
{
    for (uint32_t i = 0; i < c->enum_count; i++)
        if (sink_write(sink, c->enum_text[i], c->enum_length[i]) < 0)
            return -1;
    return 0;
}

static int put_compressed_dictionary(struct arrow *a, struct sink *sink, const struct column *c, int64_t id)
{
    arrow_compress_begin(a->compress);
    (void)arrow_compress_buffer(a->compress); /* no NULLs */
    if (close_buffer(a) < 0)
        return -1;
    if (put_offsets(arrow_compress_buffer(a->compress), c) < 0)
        return no_memory(a);
    if (close_buffer(a) < 0)
        return -1;
    if (put_names(arrow_compress_buffer(a->compress), c) < 0)
        return no_memory(a);
    if (close_buffer(a) < 0)
        return -1;
    a->body_bytes = arrow_compress_length(a->compress);
    return arrow_put_batch_head(a, sink, c->enum_count, id) < 0 ? -1 : arrow_compress_put(a->compress, sink);
}

static int put_dictionary(struct arrow *a, struct sink *sink, const struct column *c, int64_t id)
{
    uint64_t bytes = 0, offset_bytes = (c->enum_count + (uint64_t)1) * sizeof(int32_t);
    for (uint32_t i = 0; i < c->enum_count; i++)
        bytes += c->enum_length[i];
    if (bytes > INT32_MAX)
        return error_set(&a->error, ERR_RESULT_TOO_LARGE, "the names of an ENUM have %llu bytes, more than Arrow's 32-bit offsets reach",
                         (unsigned long long)bytes);
    layout_begin(a);
    a->fields[a->field_count++] = (struct arrow_field){c->enum_count, 0};
    if (a->compress)
        return put_compressed_dictionary(a, sink, c, id);
    layout_buffer(a, 0);
    layout_buffer(a, offset_bytes);
    layout_buffer(a, bytes);
    if (arrow_put_batch_head(a, sink, c->enum_count, id) < 0 || put_offsets(sink, c) < 0 || put_padding(sink, offset_bytes) < 0)
        return -1;
    return put_names(sink, c) < 0 ? -1 : put_padding(sink, bytes);
}

/* In the order of the tree, as the schema numbers them. */
static int put_dictionaries(struct arrow *a, struct sink *sink, const struct column *columns, uint32_t count, int64_t *next_id)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct column *c = &columns[i];
        bool is_leaf = c->type == COL_VARIANT; /* written as text, whatever is inside */
        if (c->type == COL_ENUM && put_dictionary(a, sink, c, (*next_id)++) < 0)
            return -1;
        if (!is_leaf && put_dictionaries(a, sink, c->children, c->child_count, next_id) < 0)
            return -1;
    }
    return 0;
}

/* ---- the stream ---- */

static int begin(struct encoder *e, struct sink *sink, const struct result_head *head)
{
    (void)head;
    struct arrow *a = e->state;
    int64_t next_id = 0;
    CHECK(a->schema.release);
    if (!arrow_tree_new(a, e->columns, e->column_count) || arrow_put_schema(a, sink) < 0)
        return -1;
    return put_dictionaries(a, sink, e->columns, e->column_count, &next_id);
}

static int put_compressed_batch(struct arrow *a, struct sink *sink, uint64_t count)
{
    layout_begin(a);
    arrow_compress_begin(a->compress);
    for (uint32_t i = 0; i < a->node_count; i++)
        if (compress_node(a, &a->nodes[i]) < 0)
            return -1;
    a->body_bytes = arrow_compress_length(a->compress);
    return arrow_put_batch_head(a, sink, (int64_t)count, -1) < 0 ? -1 : arrow_compress_put(a->compress, sink);
}

static int put_batch(struct arrow *a, struct sink *sink, uint64_t count)
{
    if (a->compress)
        return put_compressed_batch(a, sink, count);
    layout_begin(a);
    for (uint32_t i = 0; i < a->node_count; i++)
        layout_node(a, &a->nodes[i]);
    if (arrow_put_batch_head(a, sink, (int64_t)count, -1) < 0)
        return -1;
    for (uint32_t i = 0; i < a->node_count; i++)
        if (put_node(sink, &a->nodes[i]) < 0)
            return -1;
    return 0;
}

static int too_large(struct arrow *a, uint32_t column)
{
    error_set(&a->error, ERR_RESULT_TOO_LARGE,
              "a single value of column %u passes 2 GiB or 2^31 - 1 elements, more than Arrow's 32-bit offsets reach", column + 1);
    a->error.limit_bytes = INT32_MAX;
    return -1;
}

/* Rows whose strings or lists pass the 32-bit offsets go out in halves. */
static int put_rows(struct arrow *a, struct sink *sink, const struct column *columns, uint64_t first, uint64_t count)
{
    enum arrow_fit fit = ARROW_FITS;
    uint32_t i = 0;
    for (; i < a->node_count && fit == ARROW_FITS; i++)
        fit = arrow_measure(&a->nodes[i], &columns[i], (struct arrow_rows){.count = count, .first = first});
    if (fit == ARROW_NO_MEMORY)
        return error_set(&a->error, ERR_OUT_OF_MEMORY, "no memory to lay out %llu rows", (unsigned long long)count);
    if (fit == ARROW_FITS)
        return put_batch(a, sink, count);
    if (count == 1)
        return too_large(a, i - 1);
    uint64_t half = count / 2;
    return put_rows(a, sink, columns, first, half) < 0 ? -1 : put_rows(a, sink, columns, first + half, count - half);
}

static int rows(struct encoder *e, struct sink *sink, const struct column *columns, uint64_t count)
{
    return put_rows(e->state, sink, columns, 0, count);
}

static int end(struct encoder *e, struct sink *sink, const struct result_tail *tail)
{
    (void)e, (void)tail;
    return arrow_put_end(sink);
}

const struct format format_arrow = {
    .open = stream_open, .close = stream_close, .begin = begin, .rows = rows, .end = end, .arrow_schema = schema, .failure = failure};
