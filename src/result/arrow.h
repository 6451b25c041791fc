/* What the files of the Arrow stream format share. A batch is made in two passes over the vectors: the first measures every buffer, because
 * their places stand in front of them; the second writes them. Runs in the worker.
 *
 * Types are those of the engine's own Arrow export: its schema is taken as it is, and each column is written as its format asks. */
#pragma once
#include "core/errors.h"
#include "result/column.h"
#include "result/format.h"
#include "result/memory_sink.h"
#include "nanoarrow/nanoarrow.h"

/* How the slots of an array are made from the engine's values. */
enum arrow_kind {
    ARROW_NULL,     /* no buffers */
    ARROW_COPY,     /* the engine's bytes as they are: numbers, dates, enum indexes */
    ARROW_BOOL,     /* bytes to bits */
    ARROW_WIDEN,    /* decimals of 2, 4 and 8 bytes to 16 */
    ARROW_TIME_TZ,  /* the time alone: its offset has no place in Arrow */
    ARROW_INTERVAL, /* microseconds to nanoseconds */
    ARROW_BYTES,    /* strings and blobs, with 32-bit offsets */
    ARROW_UUID,     /* as text */
    ARROW_TEXT,     /* as a cast to VARCHAR: what the engine's export can't express */
    ARROW_LIST,     /* lists and maps */
    ARROW_FIXED_LIST,
    ARROW_STRUCT,
    ARROW_UNION,
};

#define ARROW_BUFFERS_MAX 3
/* Buffers begin at multiples of this in a message's body, so that a reader may use them where they are. */
#define ARROW_ALIGN 64

/* Memory of a node that is kept from batch to batch. */
struct arrow_space {
    void *data;
    size_t cap;
};

/* Which rows of a column fill an array's slots. */
struct arrow_rows {
    uint64_t count, first;
    const uint32_t *index; /* row of each slot; NULL: first, first + 1... */
    const uint8_t *mask;   /* bit not set: NULL because of what it is inside of; NULL: no such slots */
};

static inline uint64_t arrow_row(const struct arrow_rows *r, uint64_t slot) { return r->index ? r->index[slot] : r->first + slot; }

struct arrow_node {
    enum arrow_kind kind;
    uint8_t buffer_count;
    uint8_t width;      /* ARROW_COPY: bytes of a value */
    int64_t dictionary; /* id; -1: none */
    struct arrow_node *children;
    uint32_t child_count;
    /* Of the present batch, set by arrow_measure: */
    const struct column *column;
    struct arrow_rows rows;
    const uint8_t *validity; /* a bit for each slot, beyond the last one anything; NULL: no NULLs */
    uint64_t null_count;
    uint64_t bytes[ARROW_BUFFERS_MAX];
    struct arrow_space offsets, validity_bits, index, mask_bits, member_bits; /* the last: made by the union it is in */
    struct memory_sink text;
};

struct arrow_field {
    int64_t length, null_count;
};
struct arrow_buffer {
    int64_t offset, length;
};

struct arrow {
    struct ArrowSchema schema; /* the engine's; release is NULL until it was given */
    struct arrow_node *nodes;  /* of the columns */
    uint32_t node_count;
    /* Of a message. */
    struct arrow_field *fields;
    struct arrow_buffer *buffers;
    uint32_t field_max, buffer_max, field_count, buffer_count;
    int64_t body_bytes;
    struct arrow_messages *messages;
    struct arrow_compress *compress; /* NULL: buffers go out as they are */
    struct error error;              /* code ERR_OK: none */
};

/* arrow_tree.c: nodes for the columns, checked against a->schema. False with a->error. */
bool arrow_tree_new(struct arrow *a, const struct column *columns, uint32_t count);
void arrow_tree_free(struct arrow *a);

/* arrow_measure.c */
enum arrow_fit { ARROW_FITS, ARROW_TOO_LARGE, ARROW_NO_MEMORY };
/* Looks at these rows of the column and sets what the node's batch will be. TOO_LARGE: some offset passes 2^31 - 1. */
enum arrow_fit arrow_measure(struct arrow_node *n, const struct column *c, struct arrow_rows rows);

/* arrow_body.c: writes buffer i of the node, exactly n->bytes[i] bytes. 0, or -1: stop. */
int arrow_put_buffer(struct sink *sink, const struct arrow_node *n, unsigned i);

/* arrow_message.c: messages of the stream. All int ones: 0, or -1: stop, or a->error. */
struct arrow_messages *arrow_messages_new(void); /* NULL: out of memory */
void arrow_messages_free(struct arrow_messages *m);
int arrow_put_schema(struct arrow *a, struct sink *sink);
/* What stands in front of a body: a record batch's, or with an id >= 0 a dictionary's; from a->fields, buffers and body_bytes. */
int arrow_put_batch_head(struct arrow *a, struct sink *sink, int64_t rows, int64_t dictionary);
int arrow_put_end(struct sink *sink);
