/* Any value as the engine's cast to VARCHAR prints it. Runs in the worker.
 * Recursion goes as deep as the type is nested, which the engine's parser bounds. */
#include "result/varchar.h"
#include "result/bytes.h"
#include "result/cell.h"
#include <strings.h>

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Whether an element of a nested value stands in quotes, by its text. A blob's text is judged by its bytes: those that are printed
 * as \xHH are not special, nor is the backslash. */
static bool needs_quotes(const uint8_t *s, size_t n, bool blob)
{
    static const uint8_t special[256] = {
        ['"'] = 1, ['\''] = 1, ['('] = 2, [')'] = 2, [','] = 2, [':'] = 2, ['='] = 2, ['['] = 2, [']'] = 2, ['{'] = 2, ['}'] = 2};
    if (n == 0)
        return true;
    if (blob ? s[0] == ' ' || s[n - 1] == ' ' : is_space(s[0]) || is_space(s[n - 1]))
        return true;
    if (n == 4 && strncasecmp((const char *)s, "null", 4) == 0)
        return true;
    for (size_t i = 0; i < n; i++)
        if (special[s[i]] > blob)
            return true;
    return false;
}

static int put_bytes(struct text *t, enum column_type type, const uint8_t *s, size_t n)
{
    switch (type) {
    case COL_BLOB: return bytes_put_blob(t, s, n);
    case COL_BIT: return bytes_put_bit(t, s, n);
    case COL_BIGNUM: return bytes_put_bignum(t, s, n);
    case COL_GEOMETRY: return bytes_put_geometry(t, s, n);
    default: return text_put(t, s, n);
    }
}

static bool bytes_need_quotes(enum column_type type, const uint8_t *s, size_t n)
{
    switch (type) {
    case COL_BIT: return n <= 1; /* no bits: an empty text */
    case COL_BIGNUM: return false;
    case COL_GEOMETRY: return !bytes_geometry_is_empty(s, n);
    default: return needs_quotes(s, n, type == COL_BLOB);
    }
}

static bool is_nested(enum column_type type)
{
    return type == COL_LIST || type == COL_ARRAY || type == COL_STRUCT || type == COL_MAP || type == COL_UNION || type == COL_VARIANT;
}

static int put_list(struct text *t, const struct column *child, uint64_t first, uint64_t count, bool raw)
{
    if (text_puts(t, "[") < 0)
        return -1;
    for (uint64_t i = 0; i < count; i++) {
        if (i > 0 && text_puts(t, ", ") < 0)
            return -1;
        int r;
        if (!raw)
            r = varchar_put_element(t, child, first + i);
        else if (varchar_is_null(child, first + i))
            r = text_puts(t, "NULL");
        else
            r = varchar_put(t, child, first + i);
        if (r < 0)
            return -1;
    }
    return text_puts(t, "]");
}

static int put_struct(struct text *t, const struct column *c, uint64_t row)
{
    bool named = c->child_count == 0 || c->children[0].name[0];
    if (text_puts(t, named ? "{" : "(") < 0)
        return -1;
    for (uint32_t i = 0; i < c->child_count; i++) {
        const struct column *child = &c->children[i];
        if (i > 0 && text_puts(t, ", ") < 0)
            return -1;
        if (named && (varchar_put_quoted(t, (const uint8_t *)child->name, strlen(child->name)) < 0 || text_puts(t, ": ") < 0))
            return -1;
        if (varchar_put_element(t, child, row) < 0)
            return -1;
    }
    return text_puts(t, named ? "}" : ")");
}

static int put_map(struct text *t, const struct column *c, uint64_t row)
{
    const struct column_list *list = &((const struct column_list *)c->data)[row];
    const struct column *entry = &c->children[0];
    if (text_puts(t, "{") < 0)
        return -1;
    for (uint64_t i = list->offset; i < list->offset + list->length; i++) {
        if (i > list->offset && text_puts(t, ", ") < 0)
            return -1;
        if (varchar_put_element(t, &entry->children[0], i) < 0 || text_puts(t, "=") < 0 || varchar_put_element(t, &entry->children[1], i) < 0)
            return -1;
    }
    return text_puts(t, "}");
}

static int put_union(struct text *t, const struct column *c, uint64_t row)
{
    const struct column *member = &c->children[1 + ((const uint8_t *)c->children[0].data)[row]];
    return varchar_is_null(member, row) ? text_puts(t, "NULL") : varchar_put(t, member, row);
}

bool varchar_is_null(const struct column *c, uint64_t row)
{
    if (column_is_null(c, row))
        return true;
    if (c->type == COL_UNION)
        return column_is_null(&c->children[0], row);
    return c->type == COL_VARIANT && variant_is_null(c, row);
}

int varchar_put(struct text *t, const struct column *c, uint64_t row)
{
    const struct column_list *list;
    uint64_t i;
    switch (c->type) {
    case COL_VARCHAR:
    case COL_JSON_TEXT:
    case COL_BLOB:
    case COL_BIT:
    case COL_BIGNUM:
    case COL_GEOMETRY: {
        const struct column_string *s = column_string_at(c, row);
        return put_bytes(t, c->type, column_string_data(s), s->length);
    }
    case COL_ENUM: i = column_enum_index(c, row); return text_put(t, c->enum_text[i], c->enum_length[i]);
    case COL_LIST: /* the one list whose elements the JSON extension prints itself, without quotes */
        list = &((const struct column_list *)c->data)[row];
        return put_list(t, &c->children[0], list->offset, list->length, c->children[0].type == COL_JSON_TEXT);
    case COL_ARRAY: /* never puts quotes */ return put_list(t, &c->children[0], row * c->array_size, c->array_size, true);
    case COL_STRUCT: return put_struct(t, c, row);
    case COL_MAP: return put_map(t, c, row);
    case COL_UNION: return put_union(t, c, row);
    case COL_VARIANT: return variant_put(t, c, row);
    default: {
        uint8_t out[CELL_MAX];
        cell_put_fn put = cell_varchar[c->type];
        return put ? text_put(t, out, (size_t)(put(out, c, row) - out)) : 0;
    }
    }
}

int varchar_put_quoted(struct text *t, const uint8_t *s, size_t n)
{
    if (text_puts(t, "'") < 0)
        return -1;
    t->quoted = true;
    int r = text_put(t, s, n);
    t->quoted = false;
    return r < 0 ? -1 : text_puts(t, "'");
}

int varchar_put_element(struct text *t, const struct column *c, uint64_t row)
{
    if (varchar_is_null(c, row))
        return text_puts(t, "NULL");
    if (is_nested(c->type))
        return varchar_put(t, c, row);
    cell_put_fn put = cell_varchar[c->type];
    if (put) {
        uint8_t out[CELL_MAX];
        size_t n = (size_t)(put(out, c, row) - out);
        return needs_quotes(out, n, false) ? varchar_put_quoted(t, out, n) : text_put(t, out, n);
    }
    const uint8_t *s;
    size_t n;
    if (c->type == COL_ENUM) {
        uint64_t i = column_enum_index(c, row);
        s = (const uint8_t *)c->enum_text[i];
        n = c->enum_length[i];
    } else {
        const struct column_string *string = column_string_at(c, row);
        s = column_string_data(string);
        n = string->length;
    }
    if (!bytes_need_quotes(c->type, s, n))
        return put_bytes(t, c->type, s, n);
    if (text_puts(t, "'") < 0)
        return -1;
    t->quoted = true;
    int r = put_bytes(t, c->type, s, n);
    t->quoted = false;
    return r < 0 ? -1 : text_puts(t, "'");
}
