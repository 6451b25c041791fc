/* The request as the routes see it: target, parameters, headers, body; and the checks that come before any route.
 * Knows the stored head; must not know sockets. Runs in the front. */
#include "front/http_conn.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int bad(struct conn *c, const char *text) { return error_set(&c->s->refusal, ERR_BAD_REQUEST, "%s", text); }

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes s[0..len) in place and puts a NUL behind; false for a broken %xx or a decoded NUL. */
static bool decode(char *s, size_t len, bool plus)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '%') {
            int hi = i + 2 < len ? hex_value(s[i + 1]) : -1, lo = i + 2 < len ? hex_value(s[i + 2]) : -1;
            if (hi < 0 || lo < 0 || hi + lo == 0)
                return false;
            s[out++] = (char)(hi * 16 + lo);
            i += 2;
        } else {
            s[out++] = plus && s[i] == '+' ? ' ' : s[i];
        }
    }
    s[out] = 0;
    return true;
}

/* Twice the same: which one counts, a proxy in front may see otherwise. */
static bool last_param_repeats(struct conn *c)
{
    const struct exchange *x = &c->x;
    const char *base = c->head.data;
    for (unsigned i = 0; i + 1 < x->param_count; i++)
        if (strcmp(base + x->params[i].name, base + x->params[x->param_count - 1].name) == 0)
            return true;
    return false;
}

/* Cuts "a=1&b" into NUL-terminated names and values where they stand; each '&' and '=' makes room for a NUL. */
static int split_query(struct conn *c, char *q)
{
    struct exchange *x = &c->x;
    while (*q) {
        size_t n = strcspn(q, "&");
        bool more = q[n] == '&';
        if (n > 0) {
            char *eq = memchr(q, '=', n);
            size_t name_len = eq ? (size_t)(eq - q) : n;
            char *value = eq ? eq + 1 : q + n;
            if (x->param_count == HTTP_PARAMS_MAX)
                return bad(c, "The query string has too many parameters.");
            x->params[x->param_count++] = (struct http_param){(uint32_t)(q - c->head.data), (uint32_t)(value - c->head.data)};
            if ((eq && !decode(value, n - name_len - 1, true)) || !decode(q, name_len, true))
                return bad(c, "A query parameter has a broken %xx escape.");
            if (!eq) {
                /* the name may have become shorter than its text: the empty value is the NUL at its end */
                x->params[x->param_count - 1].value = (uint32_t)(q + strlen(q) - c->head.data);
            }
            if (last_param_repeats(c))
                return bad(c, "A parameter comes twice in the query string.");
        }
        q += n + more;
    }
    return 0;
}

/* "http://host:port/path": takes scheme and host off, checks the host as if it were the Host header. */
static int absolute_target(struct conn *c, char **target)
{
    char *t = *target;
    if (strncasecmp(t, "http://", 7) == 0)
        t += 7;
    else if (strncasecmp(t, "https://", 8) == 0)
        t += 8;
    else
        return bad(c, "The request target is neither a path nor an http URL.");
    size_t n = strcspn(t, "/?");
    struct host_name h;
    if (!host_name_parse(t, n, &h))
        return bad(c, "The host in the request target is not valid.");
    if (!host_rules_allow(c->s->rules, &h, c->fd))
        return error_forbid(&c->s->refusal, "host", "This server does not answer to that host (server.allowed_hosts).");
    if (t[n] != '/')
        t[--n] = '/'; /* the host is not needed any more, and gives its last byte for the path's first */
    *target = t + n;
    return 0;
}

static int check_target(struct conn *c)
{
    char *t = c->head.data;
    size_t len = c->x.headers_at - 1;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)t[i] <= 0x20 || t[i] == 0x7f || t[i] == '#')
            return bad(c, "The request target has a character that must be escaped.");
    if (strcmp(t, "*") == 0 && c->x.method == HTTP_M_OPTIONS) {
        c->x.asterisk = true;
        *t = '/';
    }
    if (*t != '/' && absolute_target(c, &t) < 0)
        return -1;
    c->x.path_at = (uint32_t)(t - c->head.data);
    size_t n = strcspn(t, "?");
    char *query = t[n] ? t + n + 1 : NULL;
    if (!decode(t, n, false))
        return bad(c, "The path has a broken %xx escape.");
    return query ? split_query(c, query) : 0;
}

static int forbid(struct conn *c, const char *what, const char *text) { return error_forbid(&c->s->refusal, what, "%s", text); }

static int check_host_and_origin(struct conn *c)
{
    struct exchange *x = &c->x;
    struct host_name host;
    const char *text = head_text(x, x->host_at);
    if (x->host_repeated)
        return bad(c, "The request has several Host headers.");
    if (!text && !x->http10)
        return bad(c, "The request has no Host header.");
    if (text && !host_name_parse(text, strlen(text), &host))
        return bad(c, "The Host header is not valid.");
    if (text && !host_rules_allow(c->s->rules, &host, c->fd))
        return forbid(c, "host", "This server does not answer to that Host (server.allowed_hosts).");
    const char *origin = head_text(x, x->origin_at), *site = head_text(x, x->site_at);
    enum origin_kind kind = host_rules_origin(c->s->rules, origin, text ? &host : NULL, c->io.ssl != NULL);
    if (kind == ORIGIN_REFUSED || x->origin_repeated)
        return forbid(c, "origin", "Pages of that origin may not use this server (server.cors_origins).");
    /* A browser marks the requests of an allowed other origin as cross-site too: those are what cors_origins is for. */
    if (site && kind != ORIGIN_CORS && (x->site_repeated || strcasecmp(site, "cross-site") == 0))
        return forbid(c, "origin", "Requests from pages of other sites are refused (Sec-Fetch-Site).");
    if (kind == ORIGIN_CORS)
        x->cors_at = x->origin_at;
    return 0;
}

int http_request_check(struct conn *c)
{
    struct exchange *x = &c->x;
    const llhttp_t *p = &c->parser;
    if (p->http_major != 1 || p->http_minor > 1)
        return bad(c, p->http_major == 2 ? "HTTP/2 is not spoken on this port." : "Only HTTP/1.1 and HTTP/1.0 are spoken.");
    x->http10 = p->http_minor == 0;
    x->keep_alive = llhttp_should_keep_alive(p);
    if (check_host_and_origin(c) < 0 || check_target(c) < 0)
        return -1;
    if (x->encodings) {
        if (x->http10 || x->encodings > 1 || strcasecmp(head_text(x, x->encoding_at), "chunked") != 0)
            return bad(c, "The only Transfer-Encoding understood is one \"chunked\", in HTTP/1.1.");
        if (p->flags & F_CONTENT_LENGTH)
            return bad(c, "The request has both Content-Length and Transfer-Encoding.");
    }
    if ((p->flags & F_CONTENT_LENGTH) && !http_parse_body_fits(c, p->content_length))
        return -1;
    const char *expect = head_text(x, x->expect_at);
    c->expect_continue = expect && !x->http10 && strcasecmp(expect, "100-continue") == 0;
    bool body_follows = x->encodings || ((p->flags & F_CONTENT_LENGTH) && p->content_length > 0);
    if (!body_follows || !c->s->handler.head)
        return 0;
    c->head_fresh = c->s->handler.head(c->s->ctx, x, &c->s->refusal) == 0;
    return c->head_fresh ? 0 : -1;
}

void exchange_init(struct conn *c)
{
    c->x.conn = c;
    c->x.extra.max = HTTP_EXTRA_BYTES;
}

void exchange_reset(struct exchange *x)
{
    while (x->joined) {
        struct http_joined *j = x->joined;
        x->joined = j->next;
        free(j);
    }
    struct buf extra = x->extra;
    extra.len = 0;
    size_t keep = offsetof(struct exchange, params); /* the parameters are valid up to param_count only */
    struct conn *c = x->conn;
    memset(x, 0, keep);
    x->conn = c;
    x->extra = extra;
}

enum http_method exchange_method(const struct exchange *x) { return x->method; }
bool exchange_head_is_fresh(const struct exchange *x) { return x->conn->head_fresh; }
const char *exchange_path(const struct exchange *x) { return x->conn->head.data + x->path_at; }
bool exchange_is_http10(const struct exchange *x) { return x->http10; }
void exchange_set_user(struct exchange *x, void *user) { x->user = user; }

const char *exchange_param(const struct exchange *x, const char *name)
{
    for (unsigned i = 0; i < x->param_count; i++)
        if (strcmp(x->conn->head.data + x->params[i].name, name) == 0)
            return x->conn->head.data + x->params[i].value;
    return NULL;
}

int exchange_each_param(const struct exchange *x, int (*fn)(void *ctx, const char *name, const char *value), void *ctx)
{
    const char *head = x->conn->head.data;
    for (unsigned i = 0; i < x->param_count; i++) {
        int r = fn(ctx, head + x->params[i].name, head + x->params[i].value);
        if (r)
            return r;
    }
    return 0;
}

/* The first header of that name at or after `at`; *ret_next is where the one behind it begins. */
static const char *find_header(const struct exchange *x, uint32_t at, const char *name, const char **ret_name, uint32_t *ret_next)
{
    const char *head = x->conn->head.data;
    while (at < x->headers_end) {
        const char *n = head + at, *value = n + strlen(n) + 1;
        at = (uint32_t)(value + strlen(value) + 1 - head);
        if (strcasecmp(n, name) == 0) {
            *ret_name = n;
            *ret_next = at;
            return value;
        }
    }
    return NULL;
}

/* Several headers of one name are one list (RFC 9110, 5.3). Rare, so it may allocate; bounded by the head's size. */
static const char *join_headers(struct exchange *x, const char *name, const char *stored)
{
    struct http_joined *j = malloc(sizeof *j + x->headers_end + 2 * HTTP_HEADERS_MAX);
    CHECK(j);
    size_t len = 0;
    uint32_t at = x->headers_at;
    const char *n, *value;
    while ((value = find_header(x, at, name, &n, &at))) {
        if (len) {
            memcpy(j->value + len, ", ", 2);
            len += 2;
        }
        memcpy(j->value + len, value, strlen(value));
        len += strlen(value);
    }
    j->value[len] = 0;
    j->name = stored;
    j->next = x->joined;
    x->joined = j;
    return j->value;
}

const char *exchange_header(const struct exchange *x, const char *name)
{
    const char *stored, *other;
    uint32_t next;
    const char *value = find_header(x, x->headers_at, name, &stored, &next);
    if (!value || !find_header(x, next, name, &other, &next))
        return value;
    for (const struct http_joined *j = x->joined; j; j = j->next)
        if (strcasecmp(j->name, name) == 0)
            return j->value;
    return join_headers(&x->conn->x, name, stored);
}

const char *exchange_body(const struct exchange *x, size_t *ret_len)
{
    *ret_len = x->conn->body.len;
    return x->conn->body.len ? x->conn->body.data : "";
}
