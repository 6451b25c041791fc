/* The messages of Arrow's stream format: schema by nanoarrow, the heads of batches by flatcc's builder, framing by hand. Runs in the worker. */
#include "result/arrow.h"
#include "nanoarrow/nanoarrow_ipc.h"
#include "flatcc/flatcc_builder.h"
#include "nanoarrow/ipc/flatcc_generated.h"
#include <stdlib.h>
#include <string.h>

#define FB(name) org_apache_arrow_flatbuf_##name

_Static_assert(sizeof(struct arrow_field) == sizeof(struct FB(FieldNode)), "the same two numbers");
_Static_assert(sizeof(struct arrow_buffer) == sizeof(struct FB(Buffer)), "the same two numbers");

struct arrow_messages {
    flatcc_builder_t builder;
    uint8_t *bytes; /* of the last message */
    size_t cap;
};

struct arrow_messages *arrow_messages_new(void)
{
    struct arrow_messages *m = calloc(1, sizeof *m);
    if (m && flatcc_builder_init(&m->builder) != 0) {
        free(m);
        return NULL;
    }
    return m;
}

void arrow_messages_free(struct arrow_messages *m)
{
    if (!m)
        return;
    flatcc_builder_clear(&m->builder);
    free(m->bytes);
    free(m);
}

static int no_memory(struct arrow *a) { return error_set(&a->error, ERR_OUT_OF_MEMORY, "no memory for a message's head"); }

int arrow_put_schema(struct arrow *a, struct sink *sink)
{
    struct ArrowIpcEncoder encoder;
    struct ArrowBuffer out;
    struct ArrowError why = {0};
    if (ArrowIpcEncoderInit(&encoder) != NANOARROW_OK)
        return no_memory(a);
    ArrowBufferInit(&out);
    int r = 0;
    if (ArrowIpcEncoderEncodeSchema(&encoder, &a->schema, &why) != NANOARROW_OK || ArrowIpcEncoderFinalizeBuffer(&encoder, 1, &out) != NANOARROW_OK)
        r = error_set(&a->error, ERR_INTERNAL, "the schema can't be written as Arrow: %s", why.message);
    else
        r = sink_write(sink, out.data, (size_t)out.size_bytes);
    ArrowBufferReset(&out);
    ArrowIpcEncoderReset(&encoder);
    return r;
}

/* The record batch inside of a message, begun already. */
static bool build_batch(flatcc_builder_t *b, const struct arrow *a, int64_t rows)
{
    bool compressed = a->compress;
    return FB(RecordBatch_length_add)(b, rows) == 0 &&
           (!compressed || FB(RecordBatch_compression_create)(b, FB(CompressionType_ZSTD), FB(BodyCompressionMethod_BUFFER)) == 0) &&
           FB(RecordBatch_nodes_create)(b, (const struct FB(FieldNode) *)a->fields, a->field_count) == 0 &&
           FB(RecordBatch_buffers_create)(b, (const struct FB(Buffer) *)a->buffers, a->buffer_count) == 0;
}

static bool build(flatcc_builder_t *b, const struct arrow *a, int64_t rows, int64_t dictionary)
{
    bool ok = FB(Message_start_as_root)(b) == 0 && FB(Message_version_add)(b, FB(MetadataVersion_V5)) == 0;
    if (dictionary >= 0)
        ok = ok && FB(Message_header_DictionaryBatch_start)(b) == 0 && FB(DictionaryBatch_id_add)(b, dictionary) == 0 &&
             FB(DictionaryBatch_data_start)(b) == 0 && build_batch(b, a, rows) && FB(DictionaryBatch_data_end)(b) == 0 &&
             FB(Message_header_DictionaryBatch_end)(b) == 0;
    else
        ok = ok && FB(Message_header_RecordBatch_start)(b) == 0 && build_batch(b, a, rows) && FB(Message_header_RecordBatch_end)(b) == 0;
    return ok && FB(Message_bodyLength_add)(b, a->body_bytes) == 0 && FB(Message_end_as_root)(b);
}

static bool room(struct arrow_messages *m, size_t bytes)
{
    if (bytes <= m->cap)
        return true;
    free(m->bytes);
    m->bytes = malloc(bytes * 2);
    m->cap = m->bytes ? bytes * 2 : 0;
    return m->bytes;
}

/* Every message begins so; a length of 0 ends the stream. */
static void put_length(uint8_t *p, uint32_t length)
{
    memset(p, 0xff, 4);
    memcpy(p + 4, &length, 4);
}

int arrow_put_batch_head(struct arrow *a, struct sink *sink, int64_t rows, int64_t dictionary)
{
    struct arrow_messages *m = a->messages;
    flatcc_builder_reset(&m->builder);
    if (!build(&m->builder, a, rows, dictionary))
        return no_memory(a);
    size_t size = flatcc_builder_get_buffer_size(&m->builder), padded = (size + 7) / 8 * 8;
    if (!room(m, padded + 8))
        return no_memory(a);
    put_length(m->bytes, (uint32_t)padded);
    memset(m->bytes + 8 + size, 0, padded - size);
    if (!flatcc_builder_copy_buffer(&m->builder, m->bytes + 8, size))
        return no_memory(a);
    return sink_write(sink, m->bytes, padded + 8);
}

int arrow_put_end(struct sink *sink)
{
    uint8_t end[8];
    put_length(end, 0);
    return sink_write(sink, end, sizeof end);
}
