/* Bytes to request: drives llhttp over what was read and keeps the strings. Strict: no lenient flag is set anywhere.
 * Knows llhttp and the connection's buffers; must not know sockets or answers. Runs in the front.
 *
 * The method is read here, before llhttp, because llhttp knows a fixed set of methods and a request with another one should still get
 * an orderly 405 from the routes. */
#include "front/http_conn.h"

#include <string.h>
#include <strings.h>

static bool token_char(unsigned char c)
{
    if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
        return true;
    return c && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static int refuse(struct conn *c, enum error_code code, const char *text)
{
    error_set(&c->s->refusal, code, "%s", text);
    return -1;
}

static int keep(struct conn *c, const char *at, size_t len)
{
    if (buf_append(&c->head, at, len))
        return 0;
    return refuse(c, ERR_HEADERS_TOO_LARGE, "The request line and headers are too long.");
}

static int on_url(llhttp_t *p, const char *at, size_t len) { return keep(p->data, at, len); }

static int on_url_complete(llhttp_t *p)
{
    struct conn *c = p->data;
    int r = keep(c, "", 1);
    c->x.headers_at = (uint32_t)c->head.len;
    return r;
}

/* Trailers come through the same callbacks after the head: they are read over. */
static int on_field(llhttp_t *p, const char *at, size_t len)
{
    struct conn *c = p->data;
    if (c->head_done)
        return 0;
    if (!c->header_open) {
        if (++c->x.header_count > HTTP_HEADERS_MAX)
            return refuse(c, ERR_HEADERS_TOO_LARGE, "The request has too many headers.");
        c->header_open = true;
        c->name_at = (uint32_t)c->head.len;
    }
    return keep(c, at, len);
}

static int on_field_complete(llhttp_t *p)
{
    struct conn *c = p->data;
    if (c->head_done)
        return 0;
    int r = keep(c, "", 1);
    c->value_at = (uint32_t)c->head.len;
    return r;
}

static int on_value(llhttp_t *p, const char *at, size_t len)
{
    struct conn *c = p->data;
    return c->head_done ? 0 : keep(c, at, len);
}

/* Notes where the headers are that the server itself acts on. */
static void note_header(struct exchange *x, const char *name, uint32_t value_at)
{
    switch (strlen(name)) {
    case 4:
        if (strcasecmp(name, "host") == 0) {
            x->host_repeated = x->host_at != 0;
            x->host_at = value_at;
        }
        break;
    case 6:
        if (strcasecmp(name, "origin") == 0) {
            x->origin_repeated = x->origin_at != 0;
            x->origin_at = value_at;
        } else if (strcasecmp(name, "expect") == 0) {
            x->expect_at = value_at;
        }
        break;
    case 14:
        if (strcasecmp(name, "sec-fetch-site") == 0) {
            x->site_repeated = x->site_at != 0;
            x->site_at = value_at;
        }
        break;
    case 17:
        if (strcasecmp(name, "transfer-encoding") == 0) {
            x->encodings++;
            x->encoding_at = value_at;
        }
        break;
    case 29:
        if (strcasecmp(name, "access-control-request-method") == 0)
            x->preflight_at = value_at;
        break;
    }
}

static int on_value_complete(llhttp_t *p)
{
    struct conn *c = p->data;
    if (c->head_done)
        return 0;
    while (c->head.len > c->value_at && strchr(" \t", c->head.data[c->head.len - 1]))
        c->head.len--;
    if (keep(c, "", 1) < 0)
        return -1;
    c->header_open = false;
    note_header(&c->x, c->head.data + c->name_at, c->value_at);
    return 0;
}

/* llhttp takes RTSP and ICE too, which count their versions like HTTP. The name may come in pieces. */
static int on_protocol(llhttp_t *p, const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!memchr("HTP", at[i], 3))
            return refuse(p->data, ERR_BAD_REQUEST, "Only HTTP/1.1 and HTTP/1.0 are spoken.");
    return 0;
}

static int on_headers_complete(llhttp_t *p)
{
    struct conn *c = p->data;
    p->upgrade = 0; /* no other protocol is spoken here: an Upgrade header is ignored */
    c->head_done = true;
    c->phase = READ_BODY;
    c->x.headers_end = (uint32_t)c->head.len;
    return http_request_check(c);
}

bool http_parse_body_fits(struct conn *c, uint64_t more)
{
    size_t max = c->s->opt.max_body_bytes;
    if (more <= max && c->body.len <= max - more)
        return true;
    error_set(&c->s->refusal, ERR_PAYLOAD_TOO_LARGE, "The request body is longer than %zu bytes.", max);
    c->s->refusal.limit_bytes = (int64_t)max;
    return false;
}

/* A chunk says how long it is before it comes: one that does not fit is refused then, not when its bytes arrive, or never do. */
static int on_chunk_header(llhttp_t *p) { return http_parse_body_fits(p->data, p->content_length) ? 0 : -1; }

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    struct conn *c = p->data;
    if (!http_parse_body_fits(c, len))
        return -1;
    if (!conn_may_grow(c, &c->body, len + 1)) {
        refuse(c, ERR_OVERLOADED, "The request bodies that are being read take all the memory set aside for them.");
        c->s->refusal.retry_after_s = 1;
        return -1;
    }
    CHECK(buf_append(&c->body, at, len));
    CHECK(buf_reserve(&c->body, 1));
    c->body.data[c->body.len] = 0;
    conn_charge(c);
    return 0;
}

static int on_message_complete(llhttp_t *p)
{
    struct conn *c = p->data;
    c->message_done = true;
    return HPE_PAUSED; /* one request at a time: what follows stays unparsed */
}

static const llhttp_settings_t settings = {
    .on_protocol = on_protocol,
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http_parse_begin(struct conn *c)
{
    llhttp_init(&c->parser, HTTP_REQUEST, &settings);
    c->parser.data = c;
    c->phase = READ_IDLE;
    c->head_done = c->message_done = c->header_open = c->expect_continue = false;
    c->method_len = 0;
    c->head_seen = c->body_raw = c->body_mark = 0;
    c->head.len = c->body.len = 0;
    c->head.max = c->s->opt.max_head_bytes + 64;
    c->body.max = c->s->opt.max_body_bytes + 1;
}

/* The method is known to the routes, or stands for all others. llhttp gets a method it knows, without rules of its own. */
static int feed_method(struct conn *c)
{
    static const struct {
        const char *text;
        enum http_method method;
    } known[] = {{"GET", HTTP_M_GET}, {"POST", HTTP_M_POST},     {"HEAD", HTTP_M_HEAD},
                 {"PUT", HTTP_M_PUT}, {"DELETE", HTTP_M_DELETE}, {"OPTIONS", HTTP_M_OPTIONS}};
    c->method[c->method_len] = 0;
    const char *text = "PATCH";
    c->x.method = HTTP_M_OTHER;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(c->method, known[i].text) == 0) {
            text = known[i].text;
            c->x.method = known[i].method;
            break;
        }
    }
    c->phase = READ_HEAD;
    if (llhttp_execute(&c->parser, text, strlen(text)) != HPE_OK || llhttp_execute(&c->parser, " ", 1) != HPE_OK)
        return refuse(c, ERR_BAD_REQUEST, "The request is not valid HTTP/1.1.");
    return 0;
}

/* Empty lines before a request are skipped (RFC 9112, 2.2), then the method up to its space. Returns the bytes taken. */
static size_t parse_method(struct conn *c, const char *data, size_t n, enum parse_result *ret_result)
{
    size_t i = 0;
    while (c->phase == READ_IDLE && i < n && (data[i] == '\r' || data[i] == '\n'))
        i++;
    for (; i < n; i++) {
        unsigned char ch = (unsigned char)data[i];
        c->phase = READ_METHOD;
        if (ch == ' ' && c->method_len > 0) {
            if (feed_method(c) < 0)
                *ret_result = PARSE_REFUSED;
            return i + 1;
        }
        if (!token_char(ch) || c->method_len == HTTP_METHOD_MAX) {
            refuse(c, ERR_BAD_REQUEST,
                   ch == 0x16 && c->method_len == 0 ? "This port speaks plain HTTP, and the client began a TLS connection."
                                                    : "The request does not begin with an HTTP method.");
            *ret_result = PARSE_REFUSED;
            return i;
        }
        c->method[c->method_len++] = (char)ch;
    }
    return i;
}

static void refuse_syntax(struct conn *c, llhttp_errno_t err)
{
    if (c->s->refusal.code != ERR_OK)
        return;
    const char *why = llhttp_get_error_reason(&c->parser);
    if (err == HPE_PAUSED_H2_UPGRADE)
        why = "HTTP/2 is not spoken on this port";
    error_set(&c->s->refusal, ERR_BAD_REQUEST, "The request is not valid HTTP/1.1: %s.", why && *why ? why : "syntax");
}

static enum parse_result check_limits(struct conn *c)
{
    if (!c->head_done && c->head_seen >= c->s->opt.max_head_bytes) {
        error_set(&c->s->refusal, ERR_HEADERS_TOO_LARGE, "The request line and headers are longer than %zu bytes.", c->s->opt.max_head_bytes);
        return PARSE_REFUSED;
    }
    /* One-byte chunks cost five bytes of framing each; more than that is extensions or trailers without end. */
    if (c->head_done && c->body_raw > c->s->opt.max_head_bytes + c->body.len * 8) {
        refuse(c, ERR_BAD_REQUEST, "The body's chunk extensions or trailers are too long.");
        return PARSE_REFUSED;
    }
    return PARSE_MORE;
}

size_t http_parse(struct conn *c, const char *data, size_t n, enum parse_result *ret_result)
{
    *ret_result = PARSE_MORE;
    c->head_fresh = false;
    c->s->refusal.code = ERR_OK;
    size_t used = 0;
    if (!c->head_done) { /* never look at more than the head may have */
        size_t left = c->s->opt.max_head_bytes > c->head_seen ? c->s->opt.max_head_bytes - c->head_seen : 0;
        if (n > left)
            n = left;
    }
    if (c->phase == READ_IDLE || c->phase == READ_METHOD)
        used = parse_method(c, data, n, ret_result);
    bool was_head = !c->head_done;
    if (c->phase == READ_HEAD && c->head.len == 0 && used < n && data[used] == ' ') { /* llhttp would skip any number of them */
        refuse(c, ERR_BAD_REQUEST, "The request line has several spaces before its target.");
        *ret_result = PARSE_REFUSED;
    }
    if (*ret_result == PARSE_MORE && used < n) {
        llhttp_errno_t err = llhttp_execute(&c->parser, data + used, n - used);
        if (err == HPE_OK) {
            used = n;
        } else {
            const char *pos = llhttp_get_error_pos(&c->parser);
            used = pos >= data && pos <= data + n ? (size_t)(pos - data) : n;
            if (err == HPE_PAUSED && c->message_done) {
                *ret_result = PARSE_DONE;
                return used;
            }
            refuse_syntax(c, err);
            *ret_result = PARSE_REFUSED;
        }
    }
    if (was_head)
        c->head_seen += used;
    else
        c->body_raw += used;
    if (*ret_result == PARSE_MORE)
        *ret_result = check_limits(c);
    return used;
}
