/* Which Host and Origin headers this server answers to (contract section 3).
 * Knows header texts and socket addresses; must not know connections or requests. Runs in the front.
 *
 * The Host check is what stops DNS rebinding: a page of another site can make its own name point to this machine, but it cannot make
 * the browser send a Host that is not that name. */
#include "front/http_host.h"
#include "core/buf.h"
#include "core/errors.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define LIST_MAX_BYTES (1 << 20)
#define ORIGIN_TEXT_MAX 300

/* Lists are NUL-separated texts in one buffer. */
struct host_rules {
    struct buf hosts;
    struct buf origins;
    bool any_address; /* some listener is bound to every address */
};

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static bool name_char(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'; }

/* ":1234" or nothing. */
static bool parse_port(const char *s, size_t len, int *ret_port)
{
    *ret_port = -1;
    if (len == 0)
        return true;
    if (s[0] != ':' || len > 6)
        return false;
    if (len == 1) /* RFC 3986 allows an empty port: the default one */
        return true;
    int port = 0;
    for (size_t i = 1; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        port = port * 10 + (s[i] - '0');
    }
    if (port > 65535)
        return false;
    *ret_port = port;
    return true;
}

static bool parse_v6(const char *text, size_t len, struct host_name *h)
{
    const char *end = memchr(text, ']', len);
    char inner[INET6_ADDRSTRLEN];
    if (!end || (size_t)(end - text - 1) >= sizeof inner)
        return false;
    memcpy(inner, text + 1, (size_t)(end - text - 1));
    inner[end - text - 1] = 0;
    struct in6_addr a;
    if (inet_pton(AF_INET6, inner, &a) != 1 || !inet_ntop(AF_INET6, &a, inner, sizeof inner))
        return false;
    snprintf(h->text, sizeof h->text, "[%s]", inner);
    return parse_port(end + 1, len - (size_t)(end + 1 - text), &h->port);
}

bool host_name_parse(const char *text, size_t len, struct host_name *ret_host)
{
    struct host_name h;
    if (len > 0 && text[0] == '[') {
        if (!parse_v6(text, len, &h))
            return false;
        *ret_host = h;
        return true;
    }
    const char *colon = memchr(text, ':', len);
    size_t n = colon ? (size_t)(colon - text) : len;
    if (n == 0 || n >= sizeof h.text)
        return false;
    for (size_t i = 0; i < n; i++) {
        h.text[i] = lower(text[i]);
        if (!name_char(h.text[i]))
            return false;
    }
    if (h.text[n - 1] == '.' && n > 1) /* the root's dot: the same name */
        n--;
    h.text[n] = 0;
    if (!parse_port(text + (colon ? (size_t)(colon - text) : len), colon ? len - (size_t)(colon - text) : 0, &h.port))
        return false;
    memcpy(ret_host, &h, offsetof(struct host_name, text) + n + 1);
    ret_host->port = h.port;
    return true;
}

static bool list_has(const struct buf *list, const char *text)
{
    for (size_t at = 0; at < list->len; at += strlen(list->data + at) + 1)
        if (strcasecmp(list->data + at, text) == 0)
            return true;
    return false;
}

static void list_add(struct buf *list, const char *text)
{
    if (!list_has(list, text))
        CHECK(buf_append(list, text, strlen(text) + 1));
}

/* The IP address of a bound or accepted socket as a host text; false for other kinds of socket. */
static bool address_text(int fd, char ret_text[HOST_TEXT_MAX], bool *ret_any)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage space;
    } a = {.space = {0}};
    socklen_t len = sizeof a;
    char ip[INET6_ADDRSTRLEN];
    if (getsockname(fd, &a.sa, &len) < 0)
        return false;
    if (a.sa.sa_family == AF_INET && inet_ntop(AF_INET, &a.v4.sin_addr, ip, sizeof ip)) {
        *ret_any = a.v4.sin_addr.s_addr == htonl(INADDR_ANY);
        snprintf(ret_text, HOST_TEXT_MAX, "%s", ip);
        return true;
    }
    if (a.sa.sa_family != AF_INET6)
        return false;
    *ret_any = IN6_IS_ADDR_UNSPECIFIED(&a.v6.sin6_addr);
    if (IN6_IS_ADDR_V4MAPPED(&a.v6.sin6_addr)) {
        if (!inet_ntop(AF_INET, &a.v6.sin6_addr.s6_addr[12], ip, sizeof ip))
            return false;
        snprintf(ret_text, HOST_TEXT_MAX, "%s", ip);
        return true;
    }
    if (!inet_ntop(AF_INET6, &a.v6.sin6_addr, ip, sizeof ip))
        return false;
    snprintf(ret_text, HOST_TEXT_MAX, "[%s]", ip);
    return true;
}

/* Calls add for each trimmed, non-empty item of a comma-separated list. */
static void each_item(const char *list, void (*add)(struct host_rules *, const char *, size_t), struct host_rules *r)
{
    while (list && *list) {
        size_t n = strcspn(list, ",");
        const char *item = list;
        size_t len = n;
        while (len && (*item == ' ' || *item == '\t')) {
            item++;
            len--;
        }
        while (len && (item[len - 1] == ' ' || item[len - 1] == '\t'))
            len--;
        if (len)
            add(r, item, len);
        list += n + (list[n] == ',');
    }
}

static void add_host(struct host_rules *r, const char *item, size_t len)
{
    struct host_name h;
    char bracketed[INET6_ADDRSTRLEN + 2];
    if (memchr(item, ':', len) != memrchr(item, ':', len) && item[0] != '[' && len < INET6_ADDRSTRLEN) {
        len = (size_t)snprintf(bracketed, sizeof bracketed, "[%.*s]", (int)len, item);
        item = bracketed;
    }
    if (host_name_parse(item, len, &h))
        list_add(&r->hosts, h.text);
}

static void add_origin(struct host_rules *r, const char *item, size_t len)
{
    char text[ORIGIN_TEXT_MAX];
    if (item[len - 1] == '/')
        len--;
    if (len == 0 || len >= sizeof text)
        return;
    memcpy(text, item, len);
    text[len] = 0;
    list_add(&r->origins, text);
}

struct host_rules *host_rules_new(const char *allowed_hosts, const char *cors_origins, const int *listen_fds, int n)
{
    struct host_rules *r = calloc(1, sizeof *r);
    CHECK(r);
    r->hosts.max = r->origins.max = LIST_MAX_BYTES;
    list_add(&r->hosts, "localhost");
    list_add(&r->hosts, "127.0.0.1");
    list_add(&r->hosts, "[::1]");
    for (int i = 0; i < n; i++) {
        char text[HOST_TEXT_MAX];
        bool any = false;
        if (!address_text(listen_fds[i], text, &any))
            continue;
        if (any)
            r->any_address = true;
        else
            list_add(&r->hosts, text);
    }
    each_item(allowed_hosts, add_host, r);
    each_item(cors_origins, add_origin, r);
    return r;
}

void host_rules_free(struct host_rules *r)
{
    if (!r)
        return;
    buf_free(&r->hosts);
    buf_free(&r->origins);
    free(r);
}

bool host_rules_allow(const struct host_rules *r, const struct host_name *host, int fd)
{
    if (list_has(&r->hosts, host->text))
        return true;
    char text[HOST_TEXT_MAX];
    bool any;
    return r->any_address && fd >= 0 && address_text(fd, text, &any) && strcmp(text, host->text) == 0;
}

enum origin_kind host_rules_origin(const struct host_rules *r, const char *origin, const struct host_name *host, bool tls)
{
    const char *scheme = tls ? "https://" : "http://";
    size_t len = strlen(scheme);
    int usual_port = tls ? 443 : 80;
    if (!origin)
        return ORIGIN_NONE;
    struct host_name o;
    if (host && strncasecmp(origin, scheme, len) == 0 && host_name_parse(origin + len, strlen(origin + len), &o) && strcmp(o.text, host->text) == 0 &&
        (o.port < 0 ? usual_port : o.port) == (host->port < 0 ? usual_port : host->port))
        return ORIGIN_SAME;
    return list_has(&r->origins, origin) ? ORIGIN_CORS : ORIGIN_REFUSED;
}
