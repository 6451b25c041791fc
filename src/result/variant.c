/* VARIANT: a tree in flat form, as the engine's cast to VARCHAR prints it. Runs in the worker.
 * One row holds its own keys, children and values: a value has a type and an offset into the row's bytes; there an object or array
 * has the number and the first index of its children, and a child the indexes of its key and value. Value 0 is the root. */
#include "core/errors.h"
#include "result/varchar.h"

#define DEPTH_MAX 5000 /* of recursion; the engine nests no deeper, as its own cast recurses with larger frames */

enum {
    VARIANT_NULL,
    VARIANT_TRUE,
    VARIANT_FALSE,
    VARIANT_DECIMAL = 15,
    VARIANT_VARCHAR,
    VARIANT_BLOB,
    VARIANT_OBJECT = 29,
    VARIANT_ARRAY,
    VARIANT_BIGNUM,
    VARIANT_BIT,
    VARIANT_GEOMETRY,
    VARIANT_TYPES
};

/* how a scalar of each type is stored */
static const struct {
    enum column_type type;
    uint8_t bytes;
} scalars[VARIANT_TYPES] = {
    [VARIANT_TRUE] = {COL_BOOLEAN, 0},
    [VARIANT_FALSE] = {COL_BOOLEAN, 0},
    [3] = {COL_TINYINT, 1},
    [4] = {COL_SMALLINT, 2},
    [5] = {COL_INTEGER, 4},
    [6] = {COL_BIGINT, 8},
    [7] = {COL_HUGEINT, 16},
    [8] = {COL_UTINYINT, 1},
    [9] = {COL_USMALLINT, 2},
    [10] = {COL_UINTEGER, 4},
    [11] = {COL_UBIGINT, 8},
    [12] = {COL_UHUGEINT, 16},
    [13] = {COL_FLOAT, 4},
    [14] = {COL_DOUBLE, 8},
    [VARIANT_DECIMAL] = {COL_DECIMAL, 0},
    [VARIANT_VARCHAR] = {COL_VARCHAR, 0},
    [VARIANT_BLOB] = {COL_BLOB, 0},
    [18] = {COL_UUID, 16},
    [19] = {COL_DATE, 4},
    [20] = {COL_TIME, 8},
    [21] = {COL_TIME_NS, 8},
    [22] = {COL_TIMESTAMP_S, 8},
    [23] = {COL_TIMESTAMP_MS, 8},
    [24] = {COL_TIMESTAMP, 8},
    [25] = {COL_TIMESTAMP_NS, 8},
    [26] = {COL_TIME_TZ, 8},
    [27] = {COL_TIMESTAMP_TZ, 8},
    [28] = {COL_INTERVAL, 16},
    [VARIANT_BIGNUM] = {COL_BIGNUM, 0},
    [VARIANT_BIT] = {COL_BIT, 0},
    [VARIANT_GEOMETRY] = {COL_GEOMETRY, 0},
};

/* One row, taken apart. */
struct variant {
    const struct column_string *keys;
    const uint32_t *key_index, *value_index; /* of the children */
    const uint8_t *types;
    const uint32_t *offsets;
    uint64_t key_count, child_count, value_count;
    const uint8_t *bytes, *bytes_end;
    int depth;
};

static struct variant variant_at(const struct column *c, uint64_t row)
{
    const struct column *keys = &c->children[0], *children = &c->children[1], *values = &c->children[2];
    const struct column_list *k = &((const struct column_list *)keys->data)[row];
    const struct column_list *ch = &((const struct column_list *)children->data)[row];
    const struct column_list *v = &((const struct column_list *)values->data)[row];
    const struct column_string *data = column_string_at(&c->children[3], row);
    const struct column *child = &children->children[0], *value = &values->children[0];
    return (struct variant){
        .keys = (const struct column_string *)keys->children[0].data + k->offset,
        .key_count = k->length,
        .key_index = (const uint32_t *)child->children[0].data + ch->offset,
        .value_index = (const uint32_t *)child->children[1].data + ch->offset,
        .child_count = ch->length,
        .types = (const uint8_t *)value->children[0].data + v->offset,
        .offsets = (const uint32_t *)value->children[1].data + v->offset,
        .value_count = v->length,
        .bytes = column_string_data(data),
        .bytes_end = column_string_data(data) + data->length,
    };
}

static const uint8_t *bytes_of(const struct variant *v, uint64_t index)
{
    CHECK(index < v->value_count && v->offsets[index] <= v->bytes_end - v->bytes);
    return v->bytes + v->offsets[index];
}

static uint32_t read_varint(const struct variant *v, const uint8_t **p)
{
    uint32_t n = 0;
    for (unsigned shift = 0;; shift += 7) {
        CHECK(*p < v->bytes_end && shift < 35);
        uint8_t byte = *(*p)++;
        n |= (uint32_t)(byte & 127) << shift;
        if (!(byte & 128))
            return n;
    }
}

/* A scalar as row 0 of a column of its own. */
struct scalar {
    struct column column;
    union {
        uint8_t bytes[16];
        struct column_string string;
        uint64_t align;
    } value;
};

static uint8_t decimal_bytes(unsigned width) { return width > 18 ? 16 : width > 9 ? 8 : width > 4 ? 4 : 2; }

static void scalar_load(const struct variant *v, uint64_t index, struct scalar *s)
{
    const uint8_t *p = bytes_of(v, index);
    unsigned type = v->types[index];
    uint8_t size = scalars[type].bytes;
    s->column = (struct column){.type = scalars[type].type, .data = &s->value};
    if (s->column.type == COL_BOOLEAN) {
        s->value.bytes[0] = type == VARIANT_TRUE;
        return;
    }
    if (s->column.type == COL_DECIMAL) {
        s->column.width = (uint8_t)read_varint(v, &p);
        s->column.scale = (uint8_t)read_varint(v, &p);
        s->column.storage_bytes = size = decimal_bytes(s->column.width);
    }
    if (size > 0) {
        CHECK(v->bytes_end - p >= size);
        memcpy(s->value.bytes, p, size);
        return;
    }
    uint32_t length = read_varint(v, &p);
    CHECK(v->bytes_end - p >= length);
    s->value.string.length = length;
    if (length <= COLUMN_STRING_INLINE)
        memcpy(s->value.string.inlined, p, length);
    else
        s->value.string.pointer.data = (const char *)p;
}

static int put_value(struct text *t, struct variant *v, uint64_t index, bool element);

/* Elements are quoted as in a list of their type; when the types differ they are printed as they are. */
static bool same_types(const struct variant *v, uint32_t first, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (v->types[v->value_index[first + i]] != v->types[v->value_index[first]])
            return false;
    return true;
}

static int put_children(struct text *t, struct variant *v, uint64_t index, bool object)
{
    const uint8_t *p = bytes_of(v, index);
    uint32_t count = read_varint(v, &p), first = count ? read_varint(v, &p) : 0;
    CHECK((uint64_t)first + count <= v->child_count && v->depth < DEPTH_MAX);
    for (uint32_t i = 0; i < count; i++)
        CHECK(v->value_index[first + i] < v->value_count);
    bool element = object || same_types(v, first, count);
    v->depth++;
    if (text_puts(t, object ? "{" : "[") < 0)
        return -1;
    for (uint32_t i = first; i < first + count; i++) {
        if (i > first && text_puts(t, ", ") < 0)
            return -1;
        if (object) {
            CHECK(v->key_index[i] < v->key_count);
            const struct column_string *key = &v->keys[v->key_index[i]];
            if (varchar_put_quoted(t, column_string_data(key), key->length) < 0 || text_puts(t, ": ") < 0)
                return -1;
        }
        if (put_value(t, v, v->value_index[i], element) < 0)
            return -1;
    }
    v->depth--;
    return text_puts(t, object ? "}" : "]");
}

static int put_value(struct text *t, struct variant *v, uint64_t index, bool element)
{
    CHECK(index < v->value_count && v->types[index] < VARIANT_TYPES);
    unsigned type = v->types[index];
    if (type == VARIANT_NULL)
        return text_puts(t, "NULL");
    if (type == VARIANT_OBJECT || type == VARIANT_ARRAY)
        return put_children(t, v, index, type == VARIANT_OBJECT);
    struct scalar s;
    scalar_load(v, index, &s);
    return element ? varchar_put_element(t, &s.column, 0) : varchar_put(t, &s.column, 0);
}

bool variant_is_null(const struct column *c, uint64_t row)
{
    struct variant v = variant_at(c, row);
    return v.value_count == 0 || v.types[0] == VARIANT_NULL;
}

int variant_put(struct text *t, const struct column *c, uint64_t row)
{
    struct variant v = variant_at(c, row);
    return put_value(t, &v, 0, false);
}
