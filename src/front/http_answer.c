/* Complete answers: the head, problem+json, CORS, and getting bytes into the socket.
 * Knows the exchange and its socket; must not know how requests are read. Runs in the front. */
#include "front/http_conn.h"
#include "core/errors.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define PROBLEM_MAX_BYTES (16 * 1024) /* the longest detail with every byte escaped fits */
#define TYPE_MAX_BYTES 200

static const char *reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 507: return "Insufficient Storage";
    default: return "Status";
    }
}

static char *put(char *p, const char *text, size_t len)
{
    memcpy(p, text, len);
    return p + len;
}

#define PUT_TEXT(p, text) put(p, text, sizeof text - 1)

static char *put_number(char *p, uint64_t v)
{
    char digits[20];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n)
        *p++ = digits[--n];
    return p;
}

static char *put_cors(char *p, const struct exchange *x)
{
    const char *origin = head_text(x, x->cors_at);
    p = PUT_TEXT(p, "Access-Control-Allow-Origin: ");
    p = put(p, origin, strlen(origin)); /* it equals a configured origin, and those are short */
    return PUT_TEXT(p, "\r\nVary: Origin\r\nAccess-Control-Expose-Headers: *\r\n");
}

size_t http_build_head(struct exchange *x, char *out, int status, const char *content_type, int64_t length, bool chunked)
{
    struct conn *c = x->conn;
    char *p = PUT_TEXT(out, "HTTP/1.1 ");
    CHECK(status >= 200 && status <= 999);
    p = put_number(p, (uint64_t)status);
    *p++ = ' ';
    p = put(p, reason(status), strlen(reason(status)));
    p = PUT_TEXT(p, "\r\n");
    size_t n;
    const char *date = http_date_line(c->s, &n);
    p = put(p, date, n);
    if (content_type) {
        n = strlen(content_type);
        CHECK(n <= TYPE_MAX_BYTES);
        p = PUT_TEXT(p, "Content-Type: ");
        p = put(p, content_type, n);
        p = PUT_TEXT(p, "\r\n");
    }
    if (length >= 0) {
        p = PUT_TEXT(p, "Content-Length: ");
        p = put_number(p, (uint64_t)length);
        p = PUT_TEXT(p, "\r\n");
    }
    if (chunked)
        p = PUT_TEXT(p, "Transfer-Encoding: chunked\r\n");
    p = PUT_TEXT(p, "X-Content-Type-Options: nosniff\r\n");
    if (c->s->draining)
        c->close_after = true;
    if (c->close_after)
        p = PUT_TEXT(p, "Connection: close\r\n");
    else if (x->http10)
        p = PUT_TEXT(p, "Connection: keep-alive\r\n");
    if (x->cors_at)
        p = put_cors(p, x);
    p = put(p, x->extra.data ? x->extra.data : "", x->extra.len);
    return (size_t)(PUT_TEXT(p, "\r\n") - out);
}

void exchange_add_header(struct exchange *x, const char *name, const char *value)
{
    size_t n = strlen(name), m = strlen(value);
    struct buf *b = &x->extra;
    CHECK(!strpbrk(name, "\r\n: ") && !memchr(value, '\r', m) && !memchr(value, '\n', m) && buf_reserve(b, n + m + 4));
    char *p = b->data + b->len;
    p = put(p, name, n);
    p = PUT_TEXT(p, ": ");
    p = put(p, value, m);
    p = PUT_TEXT(p, "\r\n");
    b->len = (size_t)(p - b->data);
}

void conn_block(struct conn *c, bool blocked)
{
    if (c->blocked == blocked)
        return;
    c->blocked = blocked;
    if (blocked)
        CHECK(event_add(&c->write_ev, NULL) == 0);
    else
        event_del(&c->write_ev);
}

void conn_delivered(struct conn *c, size_t n)
{
    c->delivered += n;
    if (c->delivered >= HTTP_DELIVERY_PROGRESS_BYTES)
        conn_timer(c, TIMER_DELIVER);
}

static ssize_t send_some(struct conn *c, struct iovec *iov, int n)
{
    ssize_t sent = transport_send(&c->io, iov, n, false);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    return sent;
}

int conn_send(struct conn *c, struct iovec *iov, int n)
{
    ssize_t sent = send_some(c, iov, n);
    if (sent < 0)
        return -1;
    size_t skip = (size_t)sent;
    for (int i = 0; i < n; i++) {
        size_t part = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        skip -= part;
        CHECK(buf_append(&c->out, (const char *)iov[i].iov_base + part, iov[i].iov_len - part));
    }
    if (!conn_is_out(c))
        conn_block(c, true);
    return 0;
}

int conn_flush(struct conn *c)
{
    struct iovec iov = {.iov_base = c->out.data + c->out_off, .iov_len = c->out.len - c->out_off};
    ssize_t sent = iov.iov_len ? send_some(c, &iov, 1) : 0;
    if (sent < 0 || transport_flush(&c->io) < 0)
        return -1;
    c->out_off += (size_t)sent;
    if (c->out_off < c->out.len) {
        conn_delivered(c, (size_t)sent);
        return 0;
    }
    c->out.len = c->out_off = 0;
    if (!conn_is_out(c))
        return 0;
    conn_block(c, false);
    return 1;
}

void exchange_answer(struct exchange *x, int status, const char *content_type, const void *body, size_t len)
{
    struct conn *c = x->conn;
    CHECK(c->state == CONN_BUSY);
    if (c->peer_gone) {
        conn_close(c, false);
        return;
    }
    char head[HTTP_HEAD_OUT_BYTES];
    bool bodiless = status == 204 || status == 304;
    size_t head_len = http_build_head(x, head, status, content_type, bodiless ? -1 : (int64_t)len, false);
    struct iovec iov[2] = {{head, head_len}, {(void *)(uintptr_t)body, len}};
    bool with_body = len > 0 && !bodiless && x->method != HTTP_M_HEAD;
    x->user = NULL;
    conn_set_state(c, CONN_FLUSH);
    if (conn_send(c, iov, with_body ? 2 : 1) < 0)
        conn_close(c, true);
    else if (!conn_is_out(c))
        conn_timer(c, TIMER_DELIVER);
    else
        conn_answered(c);
}

/* Contract: stopped_by of out_of_memory names who set the limit, of timeout the rung of the ladder. */
static const char *stopped_by(const struct error *err)
{
    if (err->code == ERR_OUT_OF_MEMORY)
        return err->stopped_by == STOP_KILL ? "kernel" : "engine";
    return stop_stage_text(err->stopped_by);
}

static void put_key(struct buf *b, const char *key) { (void)(buf_puts(b, ",\"") && buf_puts(b, key) && buf_puts(b, "\":")); }

static void put_field(struct buf *b, const char *key, const char *text)
{
    if (!text || !*text)
        return;
    put_key(b, key);
    buf_json_string(b, text, strlen(text));
}

static void put_count(struct buf *b, const char *key, int64_t value)
{
    char digits[20];
    if (value <= 0)
        return;
    put_key(b, key);
    buf_append(b, digits, (size_t)(put_number(digits, (uint64_t)value) - digits));
}

static void put_signal(struct buf *b, int signal)
{
    char text[24];
    const char *abbrev = signal > 0 ? sigabbrev_np(signal) : NULL;
    if (signal <= 0)
        return;
    if (abbrev)
        snprintf(text, sizeof text, "SIG%s", abbrev);
    else
        snprintf(text, sizeof text, "signal %d", signal);
    put_field(b, "signal", text);
}

static void put_extras(struct buf *b, const struct error *err)
{
    switch (err->code) {
    case ERR_FORBIDDEN:
        put_field(b, "what", err->what);
        put_count(b, "position", err->position);
        break;
    case ERR_SOURCE: put_field(b, "source", err->source); break;
    case ERR_SQL:
        put_field(b, "error_type", err->error_type);
        put_count(b, "position", err->position);
        break;
    case ERR_WORKER_CRASHED: put_signal(b, err->signal); break;
    case ERR_TIMEOUT:
        put_count(b, "limit_ms", err->limit_ms);
        put_field(b, "stopped_by", stopped_by(err));
        break;
    case ERR_OUT_OF_MEMORY:
        put_count(b, "limit_bytes", err->limit_bytes);
        put_field(b, "stopped_by", stopped_by(err));
        break;
    case ERR_PAYLOAD_TOO_LARGE:
    case ERR_RESULT_TOO_LARGE: put_count(b, "limit_bytes", err->limit_bytes); break;
    default: break;
    }
}

void exchange_problem(struct exchange *x, const struct error *err, const char *query_id)
{
    char space[PROBLEM_MAX_BYTES];
    struct buf b = {.data = space, .cap = sizeof space, .max = sizeof space};
    put_count(&b, "status", error_http_status(err->code));
    space[0] = '{'; /* instead of its comma */
    put_field(&b, "title", error_title(err->code));
    put_field(&b, "detail", err->detail);
    put_field(&b, "code", error_text(err->code));
    put_field(&b, "query_id", query_id);
    put_extras(&b, err);
    if (err->retry_after_s > 0) {
        char seconds[21];
        *put_number(seconds, (uint64_t)err->retry_after_s) = 0;
        exchange_add_header(x, "Retry-After", seconds);
        put_count(&b, "retry_after_s", err->retry_after_s);
    }
    CHECK(buf_puts(&b, "}\n"));
    exchange_answer(x, error_http_status(err->code), "application/problem+json", b.data, b.len);
}

/* A list of header names as a browser writes it, short enough to be sent back. */
static bool safe_list(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ");
    return text[n] == 0 && n <= 512;
}

bool http_answer_options(struct exchange *x)
{
    bool preflight = x->cors_at && x->preflight_at;
    if (!preflight && !x->asterisk)
        return false;
    if (preflight) {
        const char *headers = exchange_header(x, "access-control-request-headers");
        exchange_add_header(x, "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE, OPTIONS");
        if (headers && safe_list(headers))
            exchange_add_header(x, "Access-Control-Allow-Headers", headers);
        exchange_add_header(x, "Access-Control-Max-Age", "600");
    }
    exchange_answer(x, 204, NULL, NULL, 0);
    return true;
}
