/* Forwarding headers. Pure. Runs in the front. */
#include "front/forwarded.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define HOPS_MAX 32

struct proxies {
    const struct address_range *ranges;
    size_t count;
};

static bool trusted(const struct proxies *p, const struct address *a)
{
    for (size_t i = 0; i < p->count; i++)
        if (address_range_has(&p->ranges[i], a))
            return true;
    return false;
}

static bool space(char c) { return c == ' ' || c == '\t'; }

static void trim(const char **text, size_t *len)
{
    while (*len && space(**text)) {
        ++*text;
        --*len;
    }
    while (*len && space((*text)[*len - 1]))
        --*len;
}

/* `for=` of one element "for=192.0.2.60;proto=http;by=203.0.113.43"; the value may stand in quotes. */
static bool element_address(const char *text, size_t len, struct address *ret)
{
    for (size_t at = 0; at < len;) {
        const char *semicolon = memchr(text + at, ';', len - at), *pair = text + at;
        size_t n = semicolon ? (size_t)(semicolon - pair) : len - at;
        at += n + 1;
        trim(&pair, &n);
        if (n < 4 || strncasecmp(pair, "for=", 4) != 0)
            continue;
        pair += 4;
        n -= 4;
        if (n >= 2 && *pair == '"' && pair[n - 1] == '"') {
            pair++;
            n -= 2;
        }
        /* An IPv6 address without brackets is no node of RFC 7239; with a bare colon it could be anything. */
        return address_parse(pair, n, ret);
    }
    return false;
}

/* Follows a list from its right end. False: not to be read. */
static bool follow(const char *list, bool elements, const struct proxies *p, struct address *ret)
{
    const char *end = list + strlen(list);
    for (int hop = 0; hop < HOPS_MAX; hop++) {
        const char *comma = memrchr(list, ',', (size_t)(end - list)), *item = comma ? comma + 1 : list;
        size_t len = (size_t)(end - item);
        trim(&item, &len);
        struct address a;
        if (elements ? !element_address(item, len, &a) : !address_parse(item, len, &a))
            return hop > 0; /* what the proxies before us wrote holds */
        *ret = a;
        if (!trusted(p, &a) || !comma)
            return true;
        end = comma;
    }
    return true;
}

struct address forwarded_client(const struct address *peer, const char *x_forwarded_for, const char *forwarded, const struct address_range *ranges,
                                size_t count)
{
    struct proxies p = {ranges, count};
    struct address by_x = *peer, by_standard = *peer;
    if (count == 0 || !trusted(&p, peer))
        return *peer;
    bool has_x = x_forwarded_for && follow(x_forwarded_for, false, &p, &by_x);
    bool has_standard = forwarded && follow(forwarded, true, &p, &by_standard);
    if (x_forwarded_for && forwarded)
        return has_x && has_standard && address_equal(&by_x, &by_standard) ? by_x : *peer;
    return has_x ? by_x : has_standard ? by_standard : *peer;
}
