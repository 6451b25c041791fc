/* Addresses as values. Pure. Runs in every process. */
#include "core/address.h"
#include "core/units.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define V4_BITS_BEFORE 96

static const uint8_t v4_prefix[12] = {[10] = 0xFF, [11] = 0xFF};

static struct address from_v4(const struct in_addr *v4)
{
    struct address a = {.kind = ADDRESS_IP};
    memcpy(a.bytes, v4_prefix, sizeof v4_prefix);
    memcpy(a.bytes + 12, v4, 4);
    return a;
}

static struct address from_v6(const struct in6_addr *v6)
{
    struct address a = {.kind = ADDRESS_IP};
    memcpy(a.bytes, v6, 16);
    return a;
}

static bool is_v4(const struct address *a) { return memcmp(a->bytes, v4_prefix, sizeof v4_prefix) == 0; }

struct address address_of(const struct sockaddr *sa)
{
    union {
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } copy; /* the caller's space may be aligned as bytes only */
    if (!sa)
        return (struct address){0};
    switch (sa->sa_family) {
    case AF_UNIX: return (struct address){.kind = ADDRESS_UNIX};
    case AF_INET: memcpy(&copy.v4, sa, sizeof copy.v4); return from_v4(&copy.v4.sin_addr);
    case AF_INET6: memcpy(&copy.v6, sa, sizeof copy.v6); return from_v6(&copy.v6.sin6_addr);
    default: return (struct address){0};
    }
}

/* Digits, at most five, to the end. */
static bool is_port(const char *text, size_t len)
{
    if (len < 1 || len > 5)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return true;
}

static bool parse_bare(const char *text, size_t len, struct address *ret)
{
    char copy[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;
    if (len == 0 || len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    if (strlen(copy) != len)
        return false;
    if (inet_pton(AF_INET, copy, &v4) == 1)
        *ret = from_v4(&v4);
    else if (inet_pton(AF_INET6, copy, &v6) == 1)
        *ret = from_v6(&v6);
    else
        return false;
    return true;
}

bool address_parse(const char *text, size_t len, struct address *ret)
{
    const char *colon = memchr(text, ':', len);
    if (len > 0 && *text == '[') {
        const char *close = memchr(text, ']', len);
        size_t after = close ? len - (size_t)(close + 1 - text) : 0;
        bool tail = close && (after == 0 || (close[1] == ':' && is_port(close + 2, after - 1)));
        return tail && memchr(text, ':', (size_t)(close - text)) && parse_bare(text + 1, (size_t)(close - text) - 1, ret);
    }
    if (colon && colon == memrchr(text, ':', len)) { /* one colon: an IPv4 address with its port */
        size_t host = (size_t)(colon - text);
        return is_port(colon + 1, len - host - 1) && parse_bare(text, host, ret);
    }
    return parse_bare(text, len, ret);
}

/* By hand, since it is asked for with every query; inet_ntop is a printf inside. */
static void format_v4(const uint8_t bytes[4], char *out)
{
    for (int i = 0; i < 4; i++) {
        uint8_t v = bytes[i];
        if (v >= 100)
            *out++ = (char)('0' + v / 100);
        if (v >= 10)
            *out++ = (char)('0' + v / 10 % 10);
        *out++ = (char)('0' + v % 10);
        *out++ = i < 3 ? '.' : 0;
    }
}

void address_format(const struct address *a, char out[ADDRESS_TEXT_BYTES])
{
    if (a->kind == ADDRESS_IP && is_v4(a))
        format_v4(a->bytes + 12, out);
    else if (a->kind == ADDRESS_IP)
        inet_ntop(AF_INET6, a->bytes, out, ADDRESS_TEXT_BYTES);
    else
        strcpy(out, a->kind == ADDRESS_UNIX ? "unix" : "unknown");
}

bool address_equal(const struct address *a, const struct address *b)
{
    return a->kind == b->kind && (a->kind != ADDRESS_IP || memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0);
}

bool address_is_loopback(const struct address *a)
{
    static const uint8_t v6_loopback[16] = {[15] = 1};
    if (a->kind != ADDRESS_IP)
        return a->kind == ADDRESS_UNIX;
    return is_v4(a) ? a->bytes[12] == 127 : memcmp(a->bytes, v6_loopback, 16) == 0;
}

const char *address_range_parse(const char *text, struct address_range *ret)
{
    struct address_range r = {.bits = 128};
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    int64_t bits;
    if (!strcmp(text, "unix")) {
        *ret = (struct address_range){.base.kind = ADDRESS_UNIX};
        return NULL;
    }
    if (!parse_bare(text, len, &r.base))
        return "is no address: 192.0.2.1, 10.0.0.0/8, 2001:db8::/32 or unix";
    bool v4 = memchr(text, ':', len) == NULL;
    if (slash) {
        if (units_parse_int(slash + 1, &bits) || bits > (v4 ? 32 : 128))
            return v4 ? "has no prefix length from 0 to 32 behind the /" : "has no prefix length from 0 to 128 behind the /";
        r.bits = (uint8_t)(bits + (v4 ? V4_BITS_BEFORE : 0));
    }
    *ret = r;
    return NULL;
}

bool address_range_has(const struct address_range *r, const struct address *a)
{
    if (a->kind != r->base.kind || a->kind != ADDRESS_IP)
        return a->kind == r->base.kind && a->kind == ADDRESS_UNIX;
    size_t whole = r->bits / 8, rest = r->bits % 8;
    if (memcmp(r->base.bytes, a->bytes, whole) != 0)
        return false;
    return rest == 0 || (r->base.bytes[whole] ^ a->bytes[whole]) >> (8 - rest) == 0;
}
