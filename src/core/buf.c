/* The buffer. Runs in every process. */
#include "core/buf.h"
#include "core/errors.h"
#include "core/utf8.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 256

bool buf_reserve(struct buf *b, size_t extra)
{
    if (extra > b->max || b->len > b->max - extra)
        return false;
    if (b->len + extra <= b->cap)
        return true;
    size_t cap = b->cap ? b->cap : FIRST_BYTES;
    while (cap < b->len + extra)
        cap = cap > b->max / 2 ? b->max : cap * 2;
    char *data = realloc(b->data, cap);
    CHECK(data);
    b->data = data;
    b->cap = cap;
    return true;
}

bool buf_append(struct buf *b, const void *data, size_t len)
{
    if (len == 0)
        return true;
    if (!buf_reserve(b, len))
        return false;
    memcpy(b->data + b->len, data, len);
    b->len += len;
    return true;
}

bool buf_puts(struct buf *b, const char *text) { return buf_append(b, text, strlen(text)); }

bool buf_printf(struct buf *b, const char *format, ...)
{
    char space[256];
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(space, sizeof space, format, args);
    va_end(args);
    CHECK(n >= 0);
    bool ok;
    if ((size_t)n < sizeof space) {
        ok = buf_append(b, space, (size_t)n);
    } else {
        char *text; /* longer texts are rare, and vsnprintf wants room for a NUL that the buffer need not have */
        CHECK(vasprintf(&text, format, again) == n);
        ok = buf_append(b, text, (size_t)n);
        free(text);
    }
    va_end(again);
    return ok;
}

/* Most characters of most texts: themselves, in one byte. */
static bool is_plain(uint8_t c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; }

/* How a character of n bytes stands in a JSON string; NULL: as it is. What steers is escaped: the text may end up on a terminal. */
static const char *escape(const char *s, size_t n, char space[8])
{
    switch (n == 1 ? s[0] : 0) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: break;
    }
    uint32_t c = utf8_code_point(s, n);
    if (!utf8_is_control(c))
        return NULL;
    snprintf(space, 8, "\\u%04x", c & 0xFFFF);
    return space;
}

static bool put_string(struct buf *b, const char *text, size_t len)
{
    char space[8];
    size_t plain = 0, i = 0;      /* plain: where the run of bytes that stay as they are began */
    if (!buf_reserve(b, len + 2)) /* it gets no shorter */
        return false;
    b->data[b->len++] = '"';
    bool ok = true;
    while (ok && i < len) {
        uint8_t c = (uint8_t)text[i];
        if (is_plain(c)) {
            i++;
            continue;
        }
        size_t n = utf8_character(text + i, len - i);
        const char *other = n == 0 ? "\xEF\xBF\xBD" : escape(text + i, n, space);
        if (other) {
            ok = buf_append(b, text + plain, i - plain) && buf_puts(b, other);
            i += n ? n : 1;
            plain = i;
        } else {
            i += n;
        }
    }
    return ok && buf_append(b, text + plain, len - plain) && buf_append(b, "\"", 1);
}

bool buf_json_string(struct buf *b, const char *text, size_t len)
{
    size_t before = b->len;
    if (put_string(b, text, len))
        return true;
    b->len = before;
    return false;
}

void buf_consume(struct buf *b, size_t n)
{
    CHECK(n <= b->len);
    b->len -= n;
    if (b->len)
        memmove(b->data, b->data + n, b->len);
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = BUF_INIT(b->max);
}
