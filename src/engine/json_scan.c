/* JSON as a stream of events (see the header). Runs in the worker. */
#include "engine/json_scan.h"
#include "core/errors.h"

#include <stdlib.h>
#include <string.h>

enum expect { EXPECT_VALUE, EXPECT_VALUE_OR_END, EXPECT_KEY, EXPECT_KEY_OR_END, EXPECT_COMMA_OR_END, EXPECT_NOTHING };

void json_scan_start(struct json_scan *s, const char *text, size_t len)
{
    s->at = text;
    s->end = text + len;
    s->span = (struct span){text, 0};
    s->depth = 0;
    s->expect = EXPECT_VALUE;
    s->last = SCAN_ATOM;
}

static bool in_object(const struct json_scan *s) { return s->objects[(s->depth - 1) / 64] >> ((s->depth - 1) % 64) & 1; }

static void skip_blanks(struct json_scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
}

static void after_value(struct json_scan *s) { s->expect = s->depth ? EXPECT_COMMA_OR_END : EXPECT_NOTHING; }

static enum scan_event open_container(struct json_scan *s, bool object)
{
    if (s->depth == SCAN_DEPTH_MAX)
        return SCAN_DEEP;
    uint64_t bit = (uint64_t)1 << (s->depth % 64), *word = &s->objects[s->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    s->depth++;
    s->at++;
    s->expect = object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
    return object ? SCAN_OBJECT : SCAN_ARRAY;
}

static enum scan_event close_container(struct json_scan *s)
{
    bool object = in_object(s);
    s->at++;
    s->depth--;
    after_value(s);
    return object ? SCAN_OBJECT_END : SCAN_ARRAY_END;
}

/* At the opening quote. */
static bool take_string(struct json_scan *s)
{
    const char *p = ++s->at;
    while (p < s->end && *p != '"') {
        if ((unsigned char)*p < 0x20 || (*p == '\\' && s->end - p < 2))
            return false;
        p += *p == '\\' ? 2 : 1;
    }
    if (p == s->end)
        return false;
    s->span = (struct span){s->at, (size_t)(p - s->at)};
    s->at = p + 1;
    return true;
}

static bool atom_is_known(struct span a)
{
    static const char *const words[] = {"true", "false", "null", "Infinity", "-Infinity", "NaN"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (span_is(a, words[i]))
            return true;
    bool digit = false;
    for (size_t i = 0; i < a.len; i++) {
        if (!strchr("0123456789+-.eE", a.at[i]))
            return false;
        digit |= a.at[i] >= '0' && a.at[i] <= '9';
    }
    return digit;
}

static bool take_atom(struct json_scan *s)
{
    const char *p = s->at;
    while (p < s->end && !strchr(",:]}[{\" \t\r\n", *p))
        p++;
    s->span = (struct span){s->at, (size_t)(p - s->at)};
    s->at = p;
    return atom_is_known(s->span);
}

static enum scan_event take_value(struct json_scan *s)
{
    char c = *s->at;
    if (c == '{' || c == '[')
        return open_container(s, c == '{');
    bool ok = c == '"' ? take_string(s) : take_atom(s);
    after_value(s);
    return !ok ? SCAN_BAD : c == '"' ? SCAN_STRING : SCAN_ATOM;
}

static enum scan_event take_key(struct json_scan *s)
{
    if (*s->at != '"' || !take_string(s))
        return SCAN_BAD;
    skip_blanks(s);
    if (s->at == s->end || *s->at != ':')
        return SCAN_BAD;
    s->at++;
    s->expect = EXPECT_VALUE;
    return SCAN_KEY;
}

static enum scan_event next(struct json_scan *s)
{
    skip_blanks(s);
    if (s->at == s->end)
        return s->expect == EXPECT_NOTHING ? SCAN_DONE : SCAN_BAD;
    bool may_end = s->expect == EXPECT_COMMA_OR_END || s->expect == EXPECT_KEY_OR_END || s->expect == EXPECT_VALUE_OR_END;
    if (may_end && *s->at == (in_object(s) ? '}' : ']'))
        return close_container(s);
    if (s->expect == EXPECT_COMMA_OR_END) {
        if (*s->at != ',')
            return SCAN_BAD;
        s->at++;
        s->expect = in_object(s) ? EXPECT_KEY : EXPECT_VALUE;
        skip_blanks(s);
        if (s->at == s->end)
            return SCAN_BAD;
    }
    switch ((enum expect)s->expect) {
    case EXPECT_KEY:
    case EXPECT_KEY_OR_END: return take_key(s);
    case EXPECT_VALUE:
    case EXPECT_VALUE_OR_END: return take_value(s);
    default: return SCAN_BAD;
    }
}

enum scan_event json_scan_next(struct json_scan *s)
{
    if (s->last != SCAN_BAD && s->last != SCAN_DEEP && s->last != SCAN_DONE)
        s->last = (uint8_t)next(s);
    return (enum scan_event)s->last;
}

bool span_is(struct span s, const char *text)
{
    return s.len == strlen(text) && (s.len == 0 || memcmp(s.at, text, s.len) == 0); /* one that was never set has no text at all */
}

static int hex4(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

/* Behind \u. The number of bytes taken, 0 when it is broken; a character outside of the first plane is a pair. */
static size_t unicode_escape(const char *p, const char *end, char *out, size_t *out_len)
{
    int v = hex4(p, end);
    size_t taken = 4;
    if (v < 0 || (v >= 0xDC00 && v <= 0xDFFF))
        return 0;
    if (v >= 0xD800 && v <= 0xDBFF) {
        int low = end - p >= 10 && p[4] == '\\' && p[5] == 'u' ? hex4(p + 6, end) : -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return 0;
        v = 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
        taken = 10;
    }
    size_t n = 0;
    if (v < 0x80) {
        out[n++] = (char)v;
    } else {
        if (v < 0x800) {
            out[n++] = (char)(0xC0 | v >> 6);
        } else {
            if (v < 0x10000) {
                out[n++] = (char)(0xE0 | v >> 12);
            } else {
                out[n++] = (char)(0xF0 | v >> 18);
                out[n++] = (char)(0x80 | (v >> 12 & 0x3F));
            }
            out[n++] = (char)(0x80 | (v >> 6 & 0x3F));
        }
        out[n++] = (char)(0x80 | (v & 0x3F));
    }
    *out_len += n;
    return taken;
}

char *span_text(struct span s, size_t *ret_len)
{
    static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    char *out = malloc(s.len + 1);
    CHECK(out);
    size_t n = 0;
    const char *end = s.at + s.len;
    for (const char *p = s.at; p < end; p++) {
        if (*p != '\\') {
            out[n++] = *p;
            continue;
        }
        const char *name = ++p < end && *p ? strchr(names, *p) : NULL;
        size_t taken = p < end && *p == 'u' ? unicode_escape(p + 1, end, out + n, &n) : 0;
        if (name)
            out[n++] = bytes[name - names];
        else if (taken)
            p += taken;
        else {
            free(out);
            return NULL;
        }
    }
    out[n] = 0;
    *ret_len = n;
    return out;
}
