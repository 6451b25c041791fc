/* The first pass over a batch: which slots are NULL, where lists and strings begin, how long every buffer is. Runs in the worker.
 * The rows of most columns are used as they lie; only lists whose elements are scattered get an index of rows. */
#include "result/arrow.h"
#include "result/varchar.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Room for `bytes`; what was in it is lost. NULL: out of memory. */
static void *space(struct arrow_space *s, size_t bytes)
{
    if (bytes > s->cap) {
        size_t cap = bytes + bytes / 2;
        free(s->data);
        s->data = malloc(cap);
        s->cap = s->data ? cap : 0;
    }
    return s->data;
}

static size_t bitmap_bytes(uint64_t count) { return (count + 63) / 64 * 8; }

static bool bit(const uint8_t *bits, uint64_t i) { return bits[i / 8] >> (i % 8) & 1; }

static bool is_valid(const struct arrow_node *n, uint64_t slot) { return !n->validity || bit(n->validity, slot); }

static uint64_t count_zeros(const uint8_t *bits, uint64_t count)
{
    uint64_t ones = 0, i = 0, word;
    for (; i + 64 <= count; i += 64) {
        memcpy(&word, bits + i / 8, 8);
        ones += (uint64_t)__builtin_popcountll(word);
    }
    for (; i < count; i++)
        ones += bit(bits, i);
    return count - ones;
}

static void set_validity(struct arrow_node *n, const uint8_t *bits)
{
    n->null_count = bits ? count_zeros(bits, n->rows.count) : 0;
    n->validity = n->null_count ? bits : NULL;
}

/* Bit by bit: for rows in another order, masks, and types with a NULL of their own. */
static bool collect_validity(struct arrow_node *n)
{
    const struct arrow_rows *r = &n->rows;
    uint8_t *bits = space(&n->validity_bits, bitmap_bytes(r->count));
    if (!bits)
        return false;
    for (uint64_t i = 0; i < r->count; i += 8) {
        unsigned byte = 0;
        for (uint64_t k = i; k < i + 8 && k < r->count; k++)
            byte |= (unsigned)((!r->mask || bit(r->mask, k)) && !varchar_is_null(n->column, arrow_row(r, k))) << (k - i);
        bits[i / 8] = (uint8_t)byte;
    }
    set_validity(n, bits);
    return true;
}

static bool measure_validity(struct arrow_node *n)
{
    const struct arrow_rows *r = &n->rows;
    const struct column *c = n->column;
    bool own_null = c->type == COL_VARIANT || c->type == COL_UNION;
    if (r->count == 0 || (!own_null && !c->validity))
        set_validity(n, r->mask);
    else if (own_null || r->index || r->mask || r->first % 8)
        return collect_validity(n);
    else
        set_validity(n, (const uint8_t *)c->validity + r->first / 8);
    return true;
}

static uint64_t bits_to_bytes(uint64_t bits) { return (bits + 7) / 8; }

/* The offsets of strings; the sum of their lengths is the last one. */
static enum arrow_fit measure_bytes(struct arrow_node *n)
{
    const struct arrow_rows *r = &n->rows;
    const struct column_string *s = n->column->data;
    int32_t *offsets = space(&n->offsets, (r->count + 1) * sizeof *offsets);
    uint64_t total = 0;
    if (!offsets)
        return ARROW_NO_MEMORY;
    offsets[0] = 0;
    if (!r->index && !n->validity) {
        for (uint64_t i = 0; i < r->count; i++) {
            total += s[r->first + i].length;
            offsets[i + 1] = (int32_t)(uint32_t)total; /* meaningless when too large, which is found below */
        }
    } else {
        for (uint64_t i = 0; i < r->count; i++) {
            total += is_valid(n, i) ? s[arrow_row(r, i)].length : 0;
            offsets[i + 1] = (int32_t)(uint32_t)total;
        }
    }
    if (total > INT32_MAX)
        return ARROW_TOO_LARGE;
    n->bytes[1] = (r->count + 1) * sizeof *offsets;
    n->bytes[2] = total;
    return ARROW_FITS;
}

#define UUID_CHARACTERS 36

static enum arrow_fit measure_uuid(struct arrow_node *n)
{
    uint64_t count = n->rows.count, total = 0;
    int32_t *offsets = space(&n->offsets, (count + 1) * sizeof *offsets);
    if (!offsets)
        return ARROW_NO_MEMORY;
    if (count > INT32_MAX / UUID_CHARACTERS)
        return ARROW_TOO_LARGE;
    offsets[0] = 0;
    for (uint64_t i = 0; i < count; i++)
        offsets[i + 1] = (int32_t)(total += is_valid(n, i) ? UUID_CHARACTERS : 0);
    n->bytes[1] = (count + 1) * sizeof *offsets;
    n->bytes[2] = total;
    return ARROW_FITS;
}

/* Text whose length only writing it can tell. */
static enum arrow_fit measure_text(struct arrow_node *n)
{
    uint64_t count = n->rows.count;
    int32_t *offsets = space(&n->offsets, (count + 1) * sizeof *offsets);
    if (!offsets)
        return ARROW_NO_MEMORY;
    memory_sink_reset(&n->text);
    offsets[0] = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct text t = {&n->text.sink, TEXT_PLAIN, false};
        if (is_valid(n, i) && varchar_put(&t, n->column, arrow_row(&n->rows, i)) < 0)
            return ARROW_NO_MEMORY;
        if (memory_sink_length(&n->text) > INT32_MAX)
            return ARROW_TOO_LARGE;
        offsets[i + 1] = (int32_t)memory_sink_length(&n->text);
    }
    n->bytes[1] = (count + 1) * sizeof *offsets;
    n->bytes[2] = memory_sink_length(&n->text);
    return ARROW_FITS;
}

/* The elements' rows, one after the other. */
static bool index_lists(struct arrow_node *n, uint64_t total, struct arrow_rows *child)
{
    uint32_t *index = space(&n->index, total * sizeof *index);
    if (!index)
        return false;
    child->index = index;
    for (uint64_t i = 0; i < n->rows.count; i++) {
        if (!is_valid(n, i))
            continue;
        const struct column_list *l = &((const struct column_list *)n->column->data)[arrow_row(&n->rows, i)];
        CHECK(l->offset + l->length <= UINT32_MAX);
        for (uint64_t k = 0; k < l->length; k++)
            *index++ = (uint32_t)(l->offset + k);
    }
    return true;
}

static enum arrow_fit measure_list(struct arrow_node *n)
{
    const struct arrow_rows *r = &n->rows;
    int32_t *offsets = space(&n->offsets, (r->count + 1) * sizeof *offsets);
    uint64_t total = 0;
    struct arrow_rows child = {0};
    bool in_order = true;
    if (!offsets)
        return ARROW_NO_MEMORY;
    offsets[0] = 0;
    for (uint64_t i = 0; i < r->count; i++) {
        if (is_valid(n, i)) {
            const struct column_list *l = &((const struct column_list *)n->column->data)[arrow_row(r, i)];
            if (total == 0)
                child.first = l->offset;
            in_order &= l->length == 0 || l->offset == child.first + total;
            total += l->length;
        }
        if (total > INT32_MAX)
            return ARROW_TOO_LARGE;
        offsets[i + 1] = (int32_t)total;
    }
    child.count = total;
    if (!in_order && !index_lists(n, total, &child))
        return ARROW_NO_MEMORY;
    n->bytes[1] = (r->count + 1) * sizeof *offsets;
    return arrow_measure(&n->children[0], &n->column->children[0], child);
}

/* `size` bits for each one of the node's validity. */
static bool widen_mask(struct arrow_node *n, uint64_t size, struct arrow_rows *child)
{
    uint8_t *bits = space(&n->mask_bits, bitmap_bytes(child->count));
    if (!bits)
        return false;
    memset(bits, 0, bitmap_bytes(child->count));
    for (uint64_t i = 0; i < n->rows.count; i++)
        for (uint64_t k = i * size; bit(n->validity, i) && k < (i + 1) * size; k++)
            bits[k / 8] |= (uint8_t)(1 << k % 8);
    child->mask = bits;
    return true;
}

static enum arrow_fit measure_fixed_list(struct arrow_node *n)
{
    const struct arrow_rows *r = &n->rows;
    uint64_t size = n->column->array_size;
    struct arrow_rows child = {.count = r->count * size, .first = r->first * size};
    if (child.count > INT32_MAX)
        return ARROW_TOO_LARGE;
    if (r->index) {
        uint32_t *index = space(&n->index, child.count * sizeof *index);
        if (!index)
            return ARROW_NO_MEMORY;
        for (uint64_t i = 0; i < r->count; i++) {
            CHECK((r->index[i] + 1) * size <= UINT32_MAX);
            for (uint64_t k = 0; k < size; k++)
                index[i * size + k] = (uint32_t)(r->index[i] * size + k);
        }
        child.index = index;
    }
    if (n->validity && !widen_mask(n, size, &child))
        return ARROW_NO_MEMORY;
    return arrow_measure(&n->children[0], &n->column->children[0], child);
}

static enum arrow_fit measure_struct(struct arrow_node *n)
{
    struct arrow_rows child = n->rows;
    child.mask = n->validity;
    enum arrow_fit fit = ARROW_FITS;
    for (uint32_t i = 0; i < n->child_count && fit == ARROW_FITS; i++)
        fit = arrow_measure(&n->children[i], &n->column->children[i], child);
    return fit;
}

/* A union has no NULLs of its own: every slot is one member's, the others' slots are NULL; a NULL is the first member's. */
static enum arrow_fit measure_union(struct arrow_node *n)
{
    const struct arrow_rows *r = &n->rows;
    const uint8_t *tags = n->column->children[0].data;
    enum arrow_fit fit = ARROW_FITS;
    for (uint32_t m = 0; m < n->child_count && fit == ARROW_FITS; m++) {
        struct arrow_rows child = *r;
        uint8_t *bits = space(&n->children[m].member_bits, bitmap_bytes(r->count));
        if (!bits)
            return ARROW_NO_MEMORY;
        memset(bits, 0, bitmap_bytes(r->count));
        for (uint64_t i = 0; i < r->count; i++)
            if (is_valid(n, i) && tags[arrow_row(r, i)] == m)
                bits[i / 8] |= (uint8_t)(1 << i % 8);
        child.mask = bits;
        fit = arrow_measure(&n->children[m], &n->column->children[1 + m], child);
    }
    n->null_count = 0;
    n->bytes[0] = r->count;
    return fit;
}

enum arrow_fit arrow_measure(struct arrow_node *n, const struct column *c, struct arrow_rows rows)
{
    n->column = c;
    n->rows = rows;
    if (n->kind == ARROW_NULL) {
        n->null_count = rows.count;
        return ARROW_FITS;
    }
    if (!measure_validity(n))
        return ARROW_NO_MEMORY;
    n->bytes[0] = n->validity ? bits_to_bytes(rows.count) : 0;
    switch (n->kind) {
    case ARROW_BOOL: n->bytes[1] = bits_to_bytes(rows.count); return ARROW_FITS;
    case ARROW_BYTES: return measure_bytes(n);
    case ARROW_UUID: return measure_uuid(n);
    case ARROW_TEXT: return measure_text(n);
    case ARROW_LIST: return measure_list(n);
    case ARROW_FIXED_LIST: return measure_fixed_list(n);
    case ARROW_STRUCT: return measure_struct(n);
    case ARROW_UNION: return measure_union(n);
    default: n->bytes[1] = rows.count * n->width; return ARROW_FITS;
    }
}
