/* The two escapings of the wire formats, and writing through them. Runs in the worker.
 * Clean stretches are found sixteen bytes at a time; whatever the length, a piece is escaped into one reserved window. */
#include "result/escape.h"
#include "result/scan.h"

#define PIECE 1024 /* bytes of input for which a window is reserved; worst case of JSON: six times as much */

static uint8_t *escape_one(uint8_t *p, uint8_t c)
{
    static const char hex[] = "0123456789ABCDEF";
    static const char letters[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\'};
    if (c >= 0x20 && c != '"' && c != '\\') {
        *p = c;
        return p + 1;
    }
    *p++ = '\\';
    if (letters[c]) {
        *p = (uint8_t)letters[c];
        return p + 1;
    }
    memcpy(p, "u00", 3);
    p[3] = (uint8_t)hex[c >> 4];
    p[4] = (uint8_t)hex[c & 15];
    return p + 5;
}

uint8_t *escape_json(uint8_t *p, const uint8_t *s, size_t n)
{
    for (;;) {
        size_t clean = scan_copy(p, s, n, SCAN_JSON);
        p += clean;
        if (clean == n)
            return p;
        p = escape_one(p, s[clean]);
        s += clean + 1;
        n -= clean + 1;
    }
}

uint8_t *escape_json_inlined(uint8_t *p, const uint8_t *s, size_t n) { return scan_copy_inlined(p, s, n, SCAN_JSON) ? p + n : escape_json(p, s, n); }

static int put_json_pieces(struct sink *sink, const uint8_t *s, size_t n)
{
    while (n > 0) {
        size_t piece = n < PIECE ? n : PIECE;
        uint8_t *p = sink_reserve(sink, 6 * piece);
        if (!p)
            return -1;
        sink->pos = escape_json(p, s, piece);
        s += piece;
        n -= piece;
    }
    return 0;
}

int escape_put_json(struct sink *sink, const uint8_t *s, size_t n)
{
    if (n <= PIECE) {
        uint8_t *p = sink_reserve(sink, 6 * n + 2);
        if (!p)
            return -1;
        *p = '"';
        p = escape_json(p + 1, s, n);
        *p = '"';
        sink->pos = p + 1;
        return 0;
    }
    if (sink_write(sink, "\"", 1) < 0 || put_json_pieces(sink, s, n) < 0)
        return -1;
    return sink_write(sink, "\"", 1);
}

static int put_csv_pieces(struct sink *sink, const uint8_t *s, size_t n)
{
    while (n > 0) {
        const uint8_t *quote = memchr(s, '"', n);
        size_t run = quote ? (size_t)(quote - s) + 1 : n;
        if (sink_write(sink, s, run) < 0 || (quote && sink_write(sink, "\"", 1) < 0))
            return -1;
        s += run;
        n -= run;
    }
    return 0;
}

static uint8_t *quote_csv(uint8_t *p, const uint8_t *s, size_t n)
{
    *p++ = '"';
    for (;;) {
        size_t clean = scan_copy(p, s, n, SCAN_QUOTE);
        p += clean;
        if (clean == n)
            break;
        memset(p, '"', 2);
        p += 2;
        s += clean + 1;
        n -= clean + 1;
    }
    *p = '"';
    return p + 1;
}

uint8_t *escape_csv(uint8_t *p, const uint8_t *s, size_t n) { return n > 0 && scan_copy(p, s, n, SCAN_CSV) == n ? p + n : quote_csv(p, s, n); }

uint8_t *escape_csv_inlined(uint8_t *p, const uint8_t *s, size_t n)
{
    return n > 0 && scan_copy_inlined(p, s, n, SCAN_CSV) ? p + n : quote_csv(p, s, n);
}

static bool csv_needs_quotes(const uint8_t *s, size_t n)
{
    size_t i = 0;
    for (; n - i >= 16; i += 16)
        if (scan_sixteen(s + i, SCAN_CSV))
            return true;
    for (; i < n; i++)
        if (s[i] == ',' || s[i] == '"' || s[i] == '\n' || s[i] == '\r')
            return true;
    return n == 0;
}

int escape_put_csv(struct sink *sink, const uint8_t *s, size_t n)
{
    if (!csv_needs_quotes(s, n))
        return sink_write(sink, s, n);
    if (sink_write(sink, "\"", 1) < 0 || put_csv_pieces(sink, s, n) < 0)
        return -1;
    return sink_write(sink, "\"", 1);
}

static int put_filtered(struct text *t, const uint8_t *s, size_t n)
{
    switch (t->filter) {
    case TEXT_JSON: return put_json_pieces(t->sink, s, n);
    case TEXT_CSV: return put_csv_pieces(t->sink, s, n);
    default: return sink_write(t->sink, s, n);
    }
}

int text_put(struct text *t, const void *data, size_t n)
{
    const uint8_t *s = data, *end = s + n;
    while (t->quoted && s < end) {
        const uint8_t *run = s;
        while (s < end && *s != '\'' && *s != '\\')
            s++;
        if (put_filtered(t, run, (size_t)(s - run)) < 0)
            return -1;
        if (s == end)
            return 0;
        if (put_filtered(t, (const uint8_t *)"\\", 1) < 0 || put_filtered(t, s, 1) < 0)
            return -1;
        s++;
    }
    return put_filtered(t, s, (size_t)(end - s));
}
