/* JSON text from the engine on its way into a JSON document. Runs in the worker.
 * The text is walked twice by the same code: without a sink to see whether it is JSON, then to write it. No recursion. */
#include "result/json_text.h"
#include "core/utf8.h"
#include "result/escape.h"
#include "result/real.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

/* Outcomes of every step. */
enum { GOOD = 0, STOP = -1, INVALID = 1 };

struct walk {
    const uint8_t *pos, *end;
    struct sink *sink; /* NULL: only look */
};

static int emit(struct walk *w, const void *s, size_t n) { return w->sink ? sink_write(w->sink, s, n) : GOOD; }

static void skip_space(struct walk *w)
{
    while (w->pos < w->end && (*w->pos == ' ' || *w->pos == '\t' || *w->pos == '\n' || *w->pos == '\r'))
        w->pos++;
}

static bool take(struct walk *w, uint8_t c)
{
    if (w->pos == w->end || *w->pos != c)
        return false;
    w->pos++;
    return true;
}

static bool take_word(struct walk *w, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(w->end - w->pos) < n || strncasecmp((const char *)w->pos, word, n) != 0)
        return false;
    w->pos += n;
    return true;
}

static int hex4(struct walk *w, uint32_t *ret_v)
{
    uint32_t v = 0;
    if (w->end - w->pos < 4)
        return INVALID;
    for (int i = 0; i < 4; i++) {
        uint8_t c = *w->pos++;
        if (!isxdigit(c))
            return INVALID;
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    *ret_v = v;
    return GOOD;
}

/* Behind \u: one character, two escapes if it is beyond the first 65,536. */
static int unicode_escape(struct walk *w, uint8_t out[4], size_t *ret_n)
{
    uint32_t c, low;
    if (hex4(w, &c))
        return INVALID;
    if (c >= 0xdc00 && c < 0xe000)
        return INVALID;
    if (c >= 0xd800 && c < 0xdc00) {
        if (!take(w, '\\') || !take(w, 'u') || hex4(w, &low) || low < 0xdc00 || low >= 0xe000)
            return INVALID;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    size_t n = 0;
    if (c < 0x80) {
        out[n++] = (uint8_t)c;
    } else if (c < 0x800) {
        out[n++] = (uint8_t)(0xc0 | c >> 6);
        out[n++] = (uint8_t)(0x80 | (c & 63));
    } else {
        if (c < 0x10000) {
            out[n++] = (uint8_t)(0xe0 | c >> 12);
        } else {
            out[n++] = (uint8_t)(0xf0 | c >> 18);
            out[n++] = (uint8_t)(0x80 | (c >> 12 & 63));
        }
        out[n++] = (uint8_t)(0x80 | (c >> 6 & 63));
        out[n++] = (uint8_t)(0x80 | (c & 63));
    }
    *ret_n = n;
    return GOOD;
}

static int escape(struct walk *w)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint8_t out[4];
    size_t n = 1;
    if (w->pos == w->end)
        return INVALID;
    uint8_t c = *w->pos++;
    const char *hit = c ? strchr(from, c) : NULL;
    if (hit)
        out[0] = (uint8_t)to[hit - from];
    else if (c != 'u' || unicode_escape(w, out, &n))
        return INVALID;
    struct text t = {w->sink, TEXT_JSON, false};
    return w->sink ? text_put(&t, out, n) : GOOD;
}

/* Behind the opening quote, to behind the closing one. */
static int string(struct walk *w)
{
    int r = emit(w, "\"", 1);
    while (r == GOOD) {
        const uint8_t *run = w->pos;
        while (w->pos < w->end && *w->pos >= 0x20 && *w->pos != '"' && *w->pos != '\\')
            w->pos++;
        if (w->pos == w->end || *w->pos < 0x20)
            return INVALID;
        r = emit(w, run, (size_t)(w->pos - run));
        if (r == GOOD && *w->pos++ == '"')
            return emit(w, "\"", 1);
        if (r == GOOD)
            r = escape(w);
    }
    return r;
}

static size_t digits(struct walk *w)
{
    const uint8_t *start = w->pos;
    while (w->pos < w->end && isdigit(*w->pos))
        w->pos++;
    return (size_t)(w->pos - start);
}

/* A number with a point or exponent is written like a double; one that is none (too large) as it stands. */
static int put_real(struct walk *w, const uint8_t *start)
{
    char copy[512];
    size_t n = (size_t)(w->pos - start);
    if (!w->sink)
        return GOOD;
    if (n >= sizeof(copy))
        return emit(w, start, n);
    memcpy(copy, start, n);
    copy[n] = 0;
    double v = strtod(copy, NULL);
    if (!__builtin_isfinite(v))
        return emit(w, start, n);
    uint8_t *p = sink_reserve(w->sink, REAL_TEXT_MAX);
    if (!p)
        return STOP;
    w->sink->pos = real_put_double(p, v, REAL_JSON);
    return GOOD;
}

static int number(struct walk *w)
{
    const uint8_t *start = w->pos;
    bool negative = take(w, '-'), real = false;
    if (take_word(w, "infinity") || take_word(w, "inf"))
        return negative ? emit(w, "\"-Infinity\"", 11) : emit(w, "\"Infinity\"", 10);
    if (take_word(w, "nan"))
        return emit(w, "\"NaN\"", 5);
    const uint8_t *first = w->pos;
    size_t whole = digits(w);
    if (whole == 0 || (whole > 1 && *first == '0'))
        return INVALID;
    if (take(w, '.')) {
        real = true;
        if (digits(w) == 0)
            return INVALID;
    }
    if (take(w, 'e') || take(w, 'E')) {
        real = true;
        if (!take(w, '+'))
            take(w, '-');
        if (digits(w) == 0)
            return INVALID;
    }
    if (real)
        return put_real(w, start);
    if (*first == '0')
        start = first; /* -0 */
    return emit(w, start, (size_t)(w->pos - start));
}

static int word(struct walk *w, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(w->end - w->pos) < n || memcmp(w->pos, text, n) != 0)
        return INVALID;
    w->pos += n;
    return emit(w, text, n);
}

/* Any value but an object or array. */
static int scalar(struct walk *w)
{
    if (w->pos == w->end)
        return INVALID;
    switch (*w->pos) {
    case '"': w->pos++; return string(w);
    case 't': return word(w, "true");
    case 'f': return word(w, "false");
    case 'n': return w->end - w->pos >= 3 && strncasecmp((const char *)w->pos, "nan", 3) == 0 ? number(w) : word(w, "null");
    default: return number(w);
    }
}

static int member_key(struct walk *w)
{
    if (!take(w, '"'))
        return INVALID;
    int r = string(w);
    if (r)
        return r;
    skip_space(w);
    return take(w, ':') ? emit(w, ":", 1) : INVALID;
}

/* What is open, a bit each: set for an object. */
struct nesting {
    unsigned depth;
    uint64_t object[JSON_TEXT_DEPTH / 64];
};

static bool in_object(const struct nesting *n) { return n->object[(n->depth - 1) / 64] >> (n->depth - 1) % 64 & 1; }

static int open(struct walk *w, struct nesting *n, bool object)
{
    if (n->depth == JSON_TEXT_DEPTH)
        return INVALID;
    uint64_t bit = 1ULL << n->depth % 64;
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): bits from depth on may be garbage, nobody reads them */
    n->object[n->depth / 64] = (n->object[n->depth / 64] & ~bit) | (object ? bit : 0);
    n->depth++;
    w->pos++;
    return emit(w, object ? "{" : "[", 1);
}

/* Closes whatever ends here, behind a value or an opening bracket. *ret_more: another value of the innermost one follows. */
static int close_or_comma(struct walk *w, struct nesting *n, bool behind_open, bool *ret_more)
{
    for (*ret_more = false; n->depth > 0; behind_open = false) {
        bool object = in_object(n);
        skip_space(w);
        bool comma = !behind_open && take(w, ',');
        skip_space(w);
        if (take(w, object ? '}' : ']')) { /* also behind a comma */
            n->depth--;
            if (emit(w, object ? "}" : "]", 1) < 0)
                return STOP;
            continue;
        }
        if (!comma && !behind_open)
            return INVALID;
        *ret_more = true;
        return comma ? emit(w, ",", 1) : GOOD;
    }
    return GOOD;
}

static int document(struct walk *w)
{
    struct nesting n;
    n.depth = 0;
    for (bool more = true; more;) {
        int r = GOOD;
        skip_space(w);
        if (n.depth > 0 && in_object(&n))
            r = member_key(w);
        if (r)
            return r;
        skip_space(w);
        bool object = w->pos < w->end && *w->pos == '{', array = w->pos < w->end && *w->pos == '[';
        r = object || array ? open(w, &n, object) : scalar(w);
        if (r || (r = close_or_comma(w, &n, object || array, &more)))
            return r;
    }
    skip_space(w);
    return w->pos == w->end ? GOOD : INVALID;
}

int json_text_put(struct sink *sink, const uint8_t *s, size_t n)
{
    struct walk look = {s, s + n, NULL}, write = {s, s + n, sink};
    if (document(&look) != GOOD || !utf8_valid((const char *)s, n))
        return escape_put_json(sink, s, n);
    return document(&write);
}
