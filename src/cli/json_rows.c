/* A streaming reader for the one JSON document that a worker sends. Runs in the command line. */
#include "cli/json_rows.h"

#include <string.h>

#define HEAD_MAX ((size_t)16 << 20)
#define REPLACEMENT 0xFFFDu /* for half a surrogate pair */
#define DEPTH_MAX 100000    /* only counted, never on a stack */

void json_rows_init(struct json_rows *p, const struct json_rows_events *events, void *ctx)
{
    *p = (struct json_rows){.events = events, .ctx = ctx, .head = BUF_INIT(HEAD_MAX), .cell = BUF_INIT(JSON_CELL_MAX)};
}

void json_rows_free(struct json_rows *p)
{
    buf_free(&p->head);
    buf_free(&p->cell);
}

/* Inside or at the edge of a JSON string: true when the byte needs no further look. */
static bool string_byte(struct json_rows *p, char c)
{
    if (p->escaped)
        p->escaped = false;
    else if (p->in_string && c == '\\')
        p->escaped = true;
    else if (c == '"')
        p->in_string = !p->in_string;
    else
        return p->in_string;
    return true;
}

static void nest(struct json_rows *p, char c)
{
    if (c == '{' || c == '[')
        p->depth++;
    else if (c == '}' || c == ']')
        p->depth--;
}

static int end_head(struct json_rows *p)
{
    if (!buf_puts(&p->head, "]}"))
        return -1;
    json_t *doc = json_loadb(p->head.data, p->head.len, JSON_ALLOW_NUL, NULL);
    const json_t *columns = json_object_get(doc, "columns");
    int ok = json_is_array(columns) ? p->events->columns(p->ctx, columns) : -1;
    json_decref(doc);
    buf_free(&p->head);
    p->phase = JSON_ROWS_BETWEEN;
    return ok;
}

static int head_byte(struct json_rows *p, char c)
{
    static const char mark[] = "\"data\":[";
    const size_t n = sizeof mark - 1;
    if (!buf_append(&p->head, &c, 1))
        return -1;
    if (string_byte(p, c))
        return 0;
    nest(p, c);
    if (p->depth <= 0 || p->depth > DEPTH_MAX)
        return -1;
    if (c == '[' && p->depth == 2 && p->head.len >= n && memcmp(p->head.data + p->head.len - n, mark, n) == 0)
        return end_head(p);
    return 0;
}

static void put(struct json_rows *p, const char *bytes, size_t n) { p->cut = p->cut || !buf_append(&p->cell, bytes, n); }

static int end_cell(struct json_rows *p, enum json_cell kind)
{
    if (kind == JSON_CELL_JSON && p->cell.len == 4 && memcmp(p->cell.data, "null", 4) == 0)
        kind = JSON_CELL_NULL;
    int ok = p->events->cell(p->ctx, kind, p->cell.len ? p->cell.data : "", p->cell.len, p->cut);
    p->cell.len = 0;
    p->cut = false;
    return ok;
}

static int end_row(struct json_rows *p)
{
    p->phase = JSON_ROWS_BETWEEN;
    return p->events->row(p->ctx);
}

static void put_character(struct json_rows *p, uint32_t c)
{
    char s[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; i-- > 1; c >>= 6)
        s[i] = (char)(0x80 | (c & 0x3F));
    s[0] = (char)(lead[n] | c);
    put(p, s, n);
}

static int hex_byte(struct json_rows *p, char c)
{
    int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    if (digit < 0)
        return -1;
    p->hex = p->hex << 4 | (uint32_t)digit;
    if (--p->hex_left > 0)
        return 0;
    bool second = p->hex >= 0xDC00 && p->hex < 0xE000;
    uint32_t high = p->high;
    p->high = 0;
    if (high && !second)
        put_character(p, REPLACEMENT);
    if (p->hex >= 0xD800 && p->hex < 0xDC00)
        p->high = p->hex;
    else if (second && high)
        put_character(p, 0x10000 + ((high - 0xD800) << 10) + (p->hex - 0xDC00));
    else
        put_character(p, second ? REPLACEMENT : p->hex);
    return 0;
}

static int string_cell_byte(struct json_rows *p, char c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (p->hex_left)
        return hex_byte(p, c);
    if (p->high && (p->escaped ? c != 'u' : c != '\\')) { /* it waits in vain */
        p->high = 0;
        put_character(p, REPLACEMENT);
    }
    if (p->escaped) {
        p->escaped = false;
        if (c == 'u') {
            p->hex_left = 4;
            p->hex = 0;
            return 0;
        }
        const char *hit = c ? strchr(from, c) : NULL;
        if (!hit)
            return -1;
        put(p, &to[hit - from], 1);
    } else if (c == '\\') {
        p->escaped = true;
    } else if (c == '"') {
        p->phase = JSON_ROWS_AFTER;
        return end_cell(p, JSON_CELL_TEXT);
    } else {
        put(p, &c, 1);
    }
    return 0;
}

static int after_cell(struct json_rows *p, char c)
{
    if (c == ']')
        return end_row(p);
    p->phase = JSON_ROWS_START;
    return c == ',' ? 0 : -1;
}

static int plain_cell_byte(struct json_rows *p, char c)
{
    if (!p->in_string && p->depth == 0 && (c == ',' || c == ']')) {
        if (end_cell(p, JSON_CELL_JSON) < 0)
            return -1;
        return after_cell(p, c);
    }
    put(p, &c, 1);
    if (!string_byte(p, c))
        nest(p, c);
    return p->depth < 0 || p->depth > DEPTH_MAX ? -1 : 0;
}

static int data_byte(struct json_rows *p, char c)
{
    switch (p->phase) {
    case JSON_ROWS_HEAD: return head_byte(p, c);
    case JSON_ROWS_BETWEEN:
        p->phase = c == '[' ? JSON_ROWS_START : c == ']' ? JSON_ROWS_TAIL : JSON_ROWS_BETWEEN;
        return c == '[' || c == ']' || c == ',' ? 0 : -1;
    case JSON_ROWS_START:
        if (c == ']')
            return end_row(p);
        p->depth = 0;
        p->phase = c == '"' ? JSON_ROWS_STRING : JSON_ROWS_PLAIN;
        return c == '"' ? 0 : plain_cell_byte(p, c);
    case JSON_ROWS_STRING: return string_cell_byte(p, c);
    case JSON_ROWS_PLAIN: return plain_cell_byte(p, c);
    case JSON_ROWS_AFTER: return after_cell(p, c);
    case JSON_ROWS_TAIL: return 0;
    }
    return -1;
}

int json_rows_feed(struct json_rows *p, const char *data, size_t len)
{
    for (size_t i = 0; i < len && p->phase != JSON_ROWS_TAIL; i++)
        if (data_byte(p, data[i]) < 0)
            return -1;
    return 0;
}
