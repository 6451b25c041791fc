/* A column of a batch as encoders see it: DuckDB's vector layout without DuckDB's header.
 * src/engine/columns.c fills it from vectors; src/result reads it. Runs in the worker (and in tests). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* The logical types of the engine; the numbers are ours. */
enum column_type {
    COL_INVALID,
    COL_BOOLEAN,
    COL_TINYINT,
    COL_SMALLINT,
    COL_INTEGER,
    COL_BIGINT,
    COL_UTINYINT,
    COL_USMALLINT,
    COL_UINTEGER,
    COL_UBIGINT,
    COL_HUGEINT,
    COL_UHUGEINT,
    COL_FLOAT,
    COL_DOUBLE,
    COL_DECIMAL,
    COL_VARCHAR,
    COL_BLOB,
    COL_BIT,
    COL_BIGNUM,
    COL_DATE,
    COL_TIME,
    COL_TIME_NS,
    COL_TIME_TZ,
    COL_TIMESTAMP_S,
    COL_TIMESTAMP_MS,
    COL_TIMESTAMP,
    COL_TIMESTAMP_NS,
    COL_TIMESTAMP_TZ,
    COL_INTERVAL,
    COL_UUID,
    COL_ENUM,
    COL_LIST,
    COL_ARRAY,
    COL_STRUCT,
    COL_MAP,
    COL_UNION,
    COL_SQLNULL,
    COL_JSON_TEXT, /* VARCHAR that holds JSON text: type JSON */
    COL_VARIANT,   /* STRUCT inside: children keys VARCHAR[], children (keys_index, values_index)[], values (type_id, byte_offset)[], data */
    COL_GEOMETRY,  /* a BLOB of little-endian WKB */
    COL_TYPE_COUNT
};

/* Shape is set once for a result; `data`, `validity` and what they point to change with each batch and are the engine's. */
struct column {
    enum column_type type;
    uint8_t width, scale;     /* DECIMAL */
    uint8_t storage_bytes;    /* DECIMAL, ENUM: bytes of one stored value (1, 2, 4, 8, 16) */
    const char *name;         /* as the query names it; struct and union members: the field's name */
    const char *type_name;    /* as DuckDB prints the type, "DECIMAL(18,2)" */
    const void *data;         /* values, one after the other, as in DuckDB's flat vectors */
    const uint64_t *validity; /* bit i set: row i is not NULL; NULL pointer: no NULLs */
    struct column *children;  /* LIST, ARRAY: [0]; MAP: [0] = the key-value STRUCT; STRUCT: fields; UNION: [0] = tag, then members */
    uint32_t child_count;
    uint64_t array_size;          /* ARRAY */
    const char *const *enum_text; /* ENUM: its values, in order, NUL-terminated */
    const uint32_t *enum_length;  /* ENUM: their lengths, bytes */
    uint32_t enum_count;
};

/* Variable-length values (VARCHAR, BLOB, BIT, BIGNUM, GEOMETRY, JSON) as the vectors hold them: short ones inside, long ones behind a pointer. */
struct column_string {
    uint32_t length;
    union {
        char inlined[12];
        struct {
            char prefix[4];
            const char *data;
        } __attribute__((packed)) pointer;
    };
};
#define COLUMN_STRING_INLINE 12
_Static_assert(sizeof(struct column_string) == 16, "the engine's string is 16 bytes");

/* One value of a LIST or MAP: `length` rows of the child from `offset` on. */
struct column_list {
    uint64_t offset, length;
};

static inline const uint8_t *column_string_data(const struct column_string *s)
{
    return (const uint8_t *)(s->length <= COLUMN_STRING_INLINE ? s->inlined : s->pointer.data);
}

static inline const struct column_string *column_string_at(const struct column *c, uint64_t row)
{
    return &((const struct column_string *)c->data)[row];
}

static inline uint64_t column_enum_index(const struct column *c, uint64_t row)
{
    switch (c->storage_bytes) {
    case 1: return ((const uint8_t *)c->data)[row];
    case 2: return ((const uint16_t *)c->data)[row];
    default: return ((const uint32_t *)c->data)[row];
    }
}

static inline bool column_is_null(const struct column *c, uint64_t row) { return c->validity && !(c->validity[row >> 6] >> (row & 63) & 1); }
