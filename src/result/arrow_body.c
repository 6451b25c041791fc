/* The second pass over a batch: the bytes of each buffer. Runs in the worker.
 * A NULL slot of fixed width is zero, whatever the engine's vector holds there: that may be anything from its heap. */
#include "result/arrow.h"
#include "result/cell.h"
#include <string.h>

/* Slots for which a window is reserved at a time. A multiple of 8. */
#define PIECE 2048
#define SLOT_MAX 16
_Static_assert(PIECE *SLOT_MAX <= SINK_RESERVE_MAX, "a piece fits one reserve");

typedef uint8_t *(*put_slots_fn)(uint8_t *p, const struct arrow_node *n, uint64_t from, uint64_t count);

/* ---- validity ---- */

/* Whole bytes of bits; those behind the last slot are zero. */
static int put_bits(struct sink *sink, const uint8_t *bits, uint64_t count)
{
    if (sink_write(sink, bits, count / 8) < 0)
        return -1;
    if (count % 8 == 0)
        return 0;
    uint8_t last = bits[count / 8] & (uint8_t)((1 << count % 8) - 1);
    return sink_write(sink, &last, 1);
}

static void zero_nulls(uint8_t *slots, const struct arrow_node *n, uint64_t from, uint64_t count, size_t width)
{
    for (uint64_t i = 0; i < count; i += 8) { /* `from` is a multiple of 8 */
        uint8_t nulls = (uint8_t)~n->validity[(from + i) / 8];
        for (uint64_t k = i; nulls && k < i + 8 && k < count; k++, nulls >>= 1)
            if (nulls & 1)
                memset(slots + k * width, 0, width);
    }
}

/* ---- fixed width ---- */

#define GATHER(type)                     \
    for (uint64_t i = 0; i < count; i++) \
    memcpy(p + i * sizeof(type), data + r->index[from + i] * sizeof(type), sizeof(type))

static uint8_t *copy_slots(uint8_t *p, const struct arrow_node *n, uint64_t from, uint64_t count)
{
    const struct arrow_rows *r = &n->rows;
    const uint8_t *data = n->column->data;
    if (!r->index)
        memcpy(p, data + (r->first + from) * n->width, count * n->width);
    else if (n->width == 1)
        GATHER(uint8_t);
    else if (n->width == 2)
        GATHER(uint16_t);
    else if (n->width == 4)
        GATHER(uint32_t);
    else if (n->width == 8)
        GATHER(uint64_t);
    else
        GATHER(__int128);
    return p + count * n->width;
}

#define WIDEN(type)                                                          \
    for (uint64_t i = 0; i < count; i++) {                                   \
        int64_t v = ((const type *)n->column->data)[arrow_row(r, from + i)]; \
        int64_t wide[2] = {v, v >> 63};                                      \
        memcpy(p + i * 16, wide, 16);                                        \
    }

static uint8_t *widen_slots(uint8_t *p, const struct arrow_node *n, uint64_t from, uint64_t count)
{
    const struct arrow_rows *r = &n->rows;
    if (n->column->storage_bytes == 2)
        WIDEN(int16_t)
    else if (n->column->storage_bytes == 4)
        WIDEN(int32_t)
    else
        WIDEN(int64_t)
    return p + count * 16;
}

static uint8_t *time_tz_slots(uint8_t *p, const struct arrow_node *n, uint64_t from, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t micros = ((const uint64_t *)n->column->data)[arrow_row(&n->rows, from + i)] >> 24;
        memcpy(p + i * 8, &micros, 8);
    }
    return p + count * 8;
}

static uint8_t *interval_slots(uint8_t *p, const struct arrow_node *n, uint64_t from, uint64_t count)
{
    struct {
        uint32_t months, days;
        uint64_t time;
    } v;
    for (uint64_t i = 0; i < count; i++) {
        memcpy(&v, (const uint8_t *)n->column->data + arrow_row(&n->rows, from + i) * sizeof v, sizeof v);
        v.time *= 1000; /* wraps beyond 292 years, as in the engine's export */
        memcpy(p + i * sizeof v, &v, sizeof v);
    }
    return p + count * sizeof v;
}

static int put_fixed(struct sink *sink, const struct arrow_node *n, put_slots_fn put, size_t width)
{
    for (uint64_t from = 0; from < n->rows.count; from += PIECE) {
        uint64_t count = n->rows.count - from < PIECE ? n->rows.count - from : PIECE;
        uint8_t *p = sink_reserve(sink, count * width);
        if (!p)
            return -1;
        sink->pos = put(p, n, from, count);
        if (n->validity)
            zero_nulls(p, n, from, count, width);
    }
    return 0;
}

static int put_bools(struct sink *sink, const struct arrow_node *n)
{
    const struct arrow_rows *r = &n->rows;
    const uint8_t *data = n->column->data;
    for (uint64_t i = 0; i < r->count; i += 8) {
        unsigned byte = 0;
        for (uint64_t k = i; k < i + 8 && k < r->count; k++)
            byte |= (unsigned)(data[arrow_row(r, k)] != 0) << (k - i);
        uint8_t *p = sink_reserve(sink, 1);
        if (!p)
            return -1;
        *p = (uint8_t)(n->validity ? byte & n->validity[i / 8] : byte);
        sink->pos = p + 1;
    }
    return 0;
}

static int put_tags(struct sink *sink, const struct arrow_node *n)
{
    const struct arrow_rows *r = &n->rows;
    const uint8_t *tags = n->column->children[0].data;
    for (uint64_t i = 0; i < r->count; i++) {
        uint8_t *p = sink_reserve(sink, 1);
        if (!p)
            return -1;
        bool valid = !n->validity || (n->validity[i / 8] >> i % 8 & 1);
        *p = valid ? tags[arrow_row(r, i)] : 0;
        sink->pos = p + 1;
    }
    return 0;
}

/* ---- strings ---- */

/* Any length up to 64 in copies that overlap, so that no length needs a loop. */
static uint8_t *copy_string(uint8_t *p, const struct column_string *s)
{
    size_t n = s->length;
    if (n <= COLUMN_STRING_INLINE) {
        memcpy(p, s->inlined, COLUMN_STRING_INLINE); /* with what is behind it: the next one is written over that */
        return p + n;
    }
    const char *from = s->pointer.data;
    if (n <= 16) {
        memcpy(p, from, 8);
        memcpy(p + n - 8, from + n - 8, 8);
    } else if (n <= 32) {
        memcpy(p, from, 16);
        memcpy(p + n - 16, from + n - 16, 16);
    } else if (n <= 64) {
        memcpy(p, from, 32);
        memcpy(p + n - 32, from + n - 32, 32);
    } else {
        memcpy(p, from, n);
    }
    return p + n;
}

/* Strings up to this length share windows of STRINGS_ROOM. */
#define STRING_SHORT 2000
#define STRINGS_ROOM 16384

static int put_strings(struct sink *sink, const struct arrow_node *n)
{
    const struct arrow_rows *r = &n->rows;
    const struct column_string *strings = n->column->data;
    uint8_t *p = sink->pos;
    for (uint64_t i = 0; i < r->count; i++) {
        if (n->validity && !(n->validity[i / 8] >> i % 8 & 1))
            continue;
        const struct column_string *s = &strings[arrow_row(r, i)];
        if ((size_t)(sink->end - p) >= s->length + COLUMN_STRING_INLINE && s->length <= STRING_SHORT) {
            p = copy_string(p, s);
            continue;
        }
        sink->pos = p;
        if (s->length > STRING_SHORT ? sink_write(sink, column_string_data(s), s->length) < 0 : !sink_reserve(sink, STRINGS_ROOM))
            return -1;
        p = s->length > STRING_SHORT ? sink->pos : copy_string(sink->pos, s);
    }
    sink->pos = p;
    return 0;
}

static int put_uuids(struct sink *sink, const struct arrow_node *n)
{
    for (uint64_t i = 0; i < n->rows.count; i++) {
        if (n->validity && !(n->validity[i / 8] >> i % 8 & 1))
            continue;
        uint8_t *p = sink_reserve(sink, CELL_MAX);
        if (!p)
            return -1;
        sink->pos = cell_varchar[COL_UUID](p, n->column, arrow_row(&n->rows, i));
    }
    return 0;
}

static int put_data(struct sink *sink, const struct arrow_node *n)
{
    if (n->kind == ARROW_BYTES)
        return put_strings(sink, n);
    return n->kind == ARROW_UUID ? put_uuids(sink, n) : sink_write(sink, n->text.data, n->bytes[2]);
}

/* ---- all ---- */

int arrow_put_buffer(struct sink *sink, const struct arrow_node *n, unsigned i)
{
    if (i == 2)
        return put_data(sink, n);
    if (n->kind == ARROW_UNION)
        return put_tags(sink, n);
    if (i == 0)
        return n->validity ? put_bits(sink, n->validity, n->rows.count) : 0;
    switch (n->kind) {
    case ARROW_COPY: return put_fixed(sink, n, copy_slots, n->width);
    case ARROW_BOOL: return put_bools(sink, n);
    case ARROW_WIDEN: return put_fixed(sink, n, widen_slots, n->width);
    case ARROW_TIME_TZ: return put_fixed(sink, n, time_tz_slots, n->width);
    case ARROW_INTERVAL: return put_fixed(sink, n, interval_slots, n->width);
    default: /* offsets of strings and lists */ return sink_write(sink, n->offsets.data, n->bytes[1]);
    }
}
