/* JSON integers that are too wide for the parser, kept exact. Runs in the front. */
#include "core/buf.h"
#include "front/query_request.h"

#include <stdlib.h>
#include <string.h>

#define INT64_DIGITS 18 /* so many digits always fit */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Compares two digit strings without leading zeros as numbers. */
static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (a_len != b_len)
        return a_len < b_len ? -1 : 1;
    return memcmp(a, b, a_len);
}

static const char *type_for(const char *digits, size_t len, bool negative)
{
    const char *i64 = negative ? "9223372036854775808" : "9223372036854775807";
    const char *i128 = negative ? "170141183460469231731687303715884105728" : "170141183460469231731687303715884105727";
    if (compare(digits, len, i64, strlen(i64)) <= 0)
        return NULL;
    return compare(digits, len, i128, strlen(i128)) <= 0 ? "HUGEINT" : "DOUBLE";
}

/* The number token that starts at json[at]: its end, and whether it is an integer. */
static size_t token_end(const char *json, size_t len, size_t at, bool *ret_integer)
{
    *ret_integer = true;
    for (; at < len; at++) {
        char c = json[at];
        if (c == '.' || c == 'e' || c == 'E' || c == '+')
            *ret_integer = false;
        else if (!is_digit(c) && c != '-')
            break;
    }
    return at;
}

static size_t string_end(const char *json, size_t len, size_t at)
{
    for (at++; at < len && json[at] != '"'; at++)
        if (json[at] == '\\')
            at++;
    return at < len ? at + 1 : len;
}

static const char *wide_type(const char *token, size_t n)
{
    bool negative = token[0] == '-';
    const char *digits = token + negative;
    size_t count = n - negative;
    if (count <= INT64_DIGITS || digits[0] == '0' || memchr(digits, '-', count))
        return NULL;
    return type_for(digits, count, negative);
}

char *query_request_wide_integers(const char *json, size_t len, size_t *ret_len)
{
    struct buf out = BUF_INIT(len * 4 + 64);
    size_t copied = 0;
    for (size_t i = 0; i < len;) {
        if (json[i] == '"') {
            i = string_end(json, len, i);
            continue;
        }
        if (!is_digit(json[i]) && json[i] != '-') {
            i++;
            continue;
        }
        bool integer;
        size_t end = token_end(json, len, i, &integer);
        const char *type = integer ? wide_type(json + i, end - i) : NULL;
        if (type) {
            CHECK(buf_append(&out, json + copied, i - copied) && buf_printf(&out, "{\"type\":\"%s\",\"value\":\"", type) &&
                  buf_append(&out, json + i, end - i) && buf_puts(&out, "\"}"));
            copied = end;
        }
        i = end;
    }
    if (copied == 0)
        return NULL;
    CHECK(buf_append(&out, json + copied, len - copied));
    *ret_len = out.len;
    return out.data;
}
