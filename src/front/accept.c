/* Headers that list what a client takes (see the header). Runs in the front. */
#include "front/accept.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char *skip_space(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* To the first of `stops` outside of quotes, or to the end. */
static const char *find(const char *p, const char *end, const char *stops)
{
    bool quoted = false;
    for (; p < end; p++) {
        if (quoted && *p == '\\' && p + 1 < end)
            p++;
        else if (*p == '"')
            quoted = !quoted;
        else if (!quoted && strchr(stops, *p))
            break;
    }
    return p;
}

static const char *trim_end(const char *begin, const char *end)
{
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return end;
}

/* 0, 1, and up to three decimals between; -1 for anything else. */
static int parse_quality(const char *s, size_t n)
{
    if (n < 1 || n > 5 || (s[0] != '0' && s[0] != '1') || (n > 1 && s[1] != '.'))
        return -1;
    int q = (s[0] - '0') * 1000;
    for (size_t i = 2, unit = 100; i < n; i++, unit /= 10) {
        if (!isdigit((unsigned char)s[i]))
            return -1;
        q += (s[i] - '0') * (int)unit;
    }
    return q <= 1000 ? q : -1;
}

bool accept_param(const struct accept_item *item, const char *name, const char **ret_value, size_t *ret_len)
{
    size_t n = strlen(name);
    for (const char *p = item->params; p < item->end;) {
        p = skip_space(p + (*p == ';'));
        const char *end = find(p, item->end, ";");
        if ((size_t)(end - p) > n && strncasecmp(p, name, n) == 0 && p[n] == '=') {
            const char *value = p + n + 1, *last = trim_end(value, end);
            bool quoted = last - value >= 2 && value[0] == '"' && last[-1] == '"';
            *ret_value = value + quoted;
            *ret_len = (size_t)(last - value) - 2 * quoted;
            return true;
        }
        p = end;
    }
    return false;
}

bool accept_next(const char **p, struct accept_item *ret)
{
    const char *all_end = *p + strlen(*p), *begin, *end;
    do {
        begin = *p = skip_space(*p);
        end = find(begin, all_end, ",");
        *p = end < all_end ? end + 1 : end;
    } while (begin == end && end < all_end);
    if (begin == end)
        return false;
    const char *value_end = find(begin, end, ";"), *q;
    size_t q_len;
    *ret = (struct accept_item){
        .value = begin, .len = (size_t)(trim_end(begin, value_end) - begin), .params = value_end, .end = trim_end(value_end, end), .q = 1000};
    if (accept_param(ret, "q", &q, &q_len))
        ret->q = parse_quality(q, q_len);
    return true;
}

bool accept_is(const struct accept_item *item, const char *text)
{
    return item->len == strlen(text) && strncasecmp(item->value, text, item->len) == 0;
}
