/* What the tests of the HTTP server share: a real server on a loopback socket, its event loop driven from the test, real clients.
 * Nothing here sleeps: `wait_for` turns the loop until the condition holds, and fails the test when it never does. */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/clock.h"
#include "front/http.h"
#include "front/http_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
#define WAIT_MAX_NS (20 * NS_PER_S) /* only a hang takes so long */

struct fixture {
    struct event_base *base;
    struct http_server *server;
    struct log log;
    int listen_fd;
    int port;
    struct http_options opt;
    void (*on_request)(struct fixture *f, struct exchange *x); /* NULL: echo */
    struct exchange *held;                                     /* the last exchange of a holding handler */
    void *user_seen;
    int requests, gone, sent, heads;
};

struct client {
    int fd;
    struct buf in;
    bool eof, reset;
};

struct reply {
    int status;
    char head[8192];
    char *body;
    size_t body_len;
    bool complete; /* false: the connection ended before the body did */
};

static void echo(struct fixture *f, struct exchange *x)
{
    (void)f;
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "OTHER"};
    struct buf b = BUF_INIT(16 << 20);
    size_t len;
    const char *body = exchange_body(x, &len);
    buf_printf(&b, "%s %s|", names[exchange_method(x)], exchange_path(x));
    buf_append(&b, body, len);
    exchange_answer(x, 200, "text/plain", b.data, b.len);
    buf_free(&b);
}

static void on_request(void *ctx, struct exchange *x)
{
    struct fixture *f = ctx;
    f->requests++;
    (f->on_request ? f->on_request : echo)(f, x);
}

static int on_head(void *ctx, struct exchange *x, struct error *err)
{
    struct fixture *f = ctx;
    (void)x;
    (void)err;
    f->heads++;
    return 0;
}

static void on_gone(void *ctx, struct exchange *x, void *user)
{
    struct fixture *f = ctx;
    f->gone++;
    f->user_seen = user;
    if (f->held == x)
        f->held = NULL;
}

static void on_sent(void *ctx, struct exchange *x, void *user)
{
    struct fixture *f = ctx;
    f->sent++;
    f->user_seen = user;
    if (f->held == x)
        f->held = NULL;
}

/* Keeps the exchange for the test to answer. */
static UNUSED void hold_exchange(struct fixture *f, struct exchange *x)
{
    exchange_set_user(x, f);
    f->held = x;
}

static UNUSED int fixture_open(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->log = (struct log){.level = LOG_ERROR, .role = "front"};
    f->base = event_base_new();
    f->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(f->listen_fd, 128), 0);
    assert_int_equal(getsockname(f->listen_fd, (struct sockaddr *)&a, &len), 0);
    f->port = ntohs(a.sin_port);
    f->opt = (struct http_options){.header_timeout_ms = 10000,
                                   .body_timeout_ms = 10000,
                                   .idle_timeout_ms = 10000,
                                   .delivery_timeout_ms = 10000,
                                   .max_head_bytes = 4096,
                                   .max_body_bytes = 100000,
                                   .body_memory_bytes = 1 << 20,
                                   .max_connections = 50,
                                   .allowed_hosts = "db.example, Other.Example:8480",
                                   .cors_origins = "https://app.example"};
    static const struct http_handler handler = {on_request, on_gone, on_sent, on_head};
    f->server = http_server_new(f->base, &f->listen_fd, 1, &f->opt, &handler, f, &f->log);
    *state = f;
    return 0;
}

static UNUSED int fixture_close(void **state)
{
    struct fixture *f = *state;
    http_server_free(f->server);
    event_base_free(f->base);
    close(f->listen_fd);
    free(f);
    return 0;
}

static UNUSED void set_options(struct fixture *f) { http_server_set_options(f->server, &f->opt); }

static void turn(struct fixture *f)
{
    struct timeval soon = {.tv_usec = 2000};
    event_base_loopexit(f->base, &soon); /* the turn ends when nothing happens, too */
    event_base_loop(f->base, EVLOOP_ONCE);
}

#define wait_for(f, cond)                                \
    do {                                                 \
        int64_t give_up_ = clock_now_ns() + WAIT_MAX_NS; \
        while (!(cond)) {                                \
            if (clock_now_ns() > give_up_)               \
                fail_msg("never came true: %s", #cond);  \
            turn(f);                                     \
        }                                                \
    } while (0)

static UNUSED struct client client_open_buffered(struct fixture *f, int receive_buffer)
{
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .in.max = 64 << 20};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (receive_buffer)
        setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(fcntl(c.fd, F_SETFL, O_NONBLOCK), 0);
    return c;
}

static UNUSED struct client client_open(struct fixture *f) { return client_open_buffered(f, 0); }

static UNUSED void client_close(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buf_free(&c->in);
}

static UNUSED void client_cut(struct client *c) /* with RST */
{
    struct linger now = {.l_onoff = 1};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    client_close(c);
}

/* Takes what has arrived, at most max bytes. */
static UNUSED bool client_take(struct client *c, size_t max)
{
    char space[65536];
    while (max && !c->eof && !c->reset) {
        ssize_t n = recv(c->fd, space, max < sizeof space ? max : sizeof space, 0);
        if (n == 0)
            c->eof = true;
        else if (n < 0 && errno == EAGAIN)
            break;
        else if (n < 0)
            c->reset = true;
        else {
            assert_true(buf_append(&c->in, space, (size_t)n));
            max -= (size_t)n;
        }
    }
    return true;
}

/* Sends all of it, turning the loop while the socket is full. False: the server does not want it. */
static UNUSED bool client_send_n(struct fixture *f, struct client *c, const char *data, size_t len)
{
    int64_t give_up = clock_now_ns() + WAIT_MAX_NS;
    while (len) {
        ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
        if (len) {
            assert_true(clock_now_ns() < give_up);
            client_take(c, SIZE_MAX);
            turn(f);
        }
    }
    return true;
}

static UNUSED bool client_send(struct fixture *f, struct client *c, const char *text) { return client_send_n(f, c, text, strlen(text)); }

/* Value of a header in a reply's head, in a static buffer; NULL when absent. */
static UNUSED const char *reply_header(const struct reply *r, const char *name)
{
    static char value[1024];
    size_t n = strlen(name);
    for (const char *p = strstr(r->head, "\r\n"); p && p[2]; p = strstr(p + 2, "\r\n")) {
        if (strncasecmp(p + 2, name, n) == 0 && p[2 + n] == ':') {
            const char *v = p + 2 + n + 1 + strspn(p + 2 + n + 1, " ");
            snprintf(value, sizeof value, "%.*s", (int)strcspn(v, "\r"), v);
            return value;
        }
    }
    return NULL;
}

/* De-chunks from *at; true when the last chunk has been seen. */
static bool dechunk(const struct buf *in, size_t *at, struct buf *out)
{
    for (;;) {
        char *line = in->data + *at, *end = memmem(line, in->len - *at, "\r\n", 2);
        if (!end)
            return false;
        size_t n = strtoul(line, NULL, 16), start = (size_t)(end - in->data) + 2;
        if (in->len < start + n + 2)
            return false;
        assert_memory_equal(in->data + start + n, "\r\n", 2);
        buf_append(out, in->data + start, n);
        *at = start + n + 2;
        if (n == 0)
            return true;
    }
}

/* One whole reply from the bytes that are here, which it takes; false when more must come. */
static bool parse_reply(struct client *c, bool bodiless, struct reply *r)
{
    char *end = c->in.len ? memmem(c->in.data, c->in.len, "\r\n\r\n", 4) : NULL;
    if (!end)
        return false;
    size_t at = (size_t)(end - c->in.data) + 4;
    assert_true(at < sizeof r->head);
    memset(r, 0, sizeof *r);
    memcpy(r->head, c->in.data, at - 2);
    assert_int_equal(sscanf(r->head, "HTTP/1.1 %d", &r->status), 1);
    struct buf body = BUF_INIT(64 << 20);
    const char *length = reply_header(r, "Content-Length"), *coding;
    size_t want = length ? strtoul(length, NULL, 10) : 0;
    if (bodiless || r->status == 100 || r->status == 204 || r->status == 304) {
        r->complete = true;
    } else if (length) {
        r->complete = c->in.len - at >= want;
        if (!r->complete && !c->eof && !c->reset)
            return false;
        want = r->complete ? want : c->in.len - at;
        buf_append(&body, c->in.data + at, want);
        at += want;
    } else if ((coding = reply_header(r, "Transfer-Encoding"))) {
        assert_string_equal(coding, "chunked");
        r->complete = dechunk(&c->in, &at, &body);
        if (!r->complete && !c->eof && !c->reset) {
            buf_free(&body);
            return false;
        }
    } else {
        if (!c->eof && !c->reset)
            return false;
        r->complete = c->eof;
        buf_append(&body, c->in.data + at, c->in.len - at);
        at = c->in.len;
    }
    buf_append(&body, "", 1);
    r->body = body.data;
    r->body_len = body.len - 1;
    buf_consume(&c->in, at);
    return true;
}

static UNUSED struct reply read_reply_to(struct fixture *f, struct client *c, bool bodiless)
{
    struct reply r;
    bool got = false;
    wait_for(f, (client_take(c, SIZE_MAX), got = parse_reply(c, bodiless, &r)) || c->eof || c->reset);
    if (!got)
        fail_msg("the connection ended without an answer");
    return r;
}

static UNUSED struct reply read_reply(struct fixture *f, struct client *c) { return read_reply_to(f, c, false); }

static UNUSED void reply_free(struct reply *r)
{
    free(r->body);
    r->body = NULL;
}

static UNUSED void wait_closed(struct fixture *f, struct client *c)
{
    wait_for(f, client_take(c, SIZE_MAX) && (c->eof || c->reset));
    assert_int_equal(c->in.len, 0);
    assert_false(c->reset); /* every answer must have a chance to be read */
}

/* Sends one request on a connection of its own, which must answer with the status; closed: and be closed by the server. */
static UNUSED struct reply ask(struct fixture *f, const char *request, size_t len, int status, bool closed)
{
    struct client c = client_open(f);
    client_send_n(f, &c, request, len);
    struct reply r = read_reply_to(f, &c, strncmp(request, "HEAD ", 5) == 0);
    if (r.status != status)
        fail_msg("expected %d for %.60s, got %s%s", status, request, r.head, r.body);
    assert_string_equal(reply_header(&r, "X-Content-Type-Options"), "nosniff");
    if (closed) {
        assert_string_equal(reply_header(&r, "Connection"), "close");
        wait_closed(f, &c);
    }
    client_close(&c);
    return r;
}

static UNUSED void expect_status(struct fixture *f, const char *request, int status, bool closed)
{
    struct reply r = ask(f, request, strlen(request), status, closed);
    reply_free(&r);
}

/* The request must be refused with this problem document. */
static UNUSED void expect_problem(struct fixture *f, const char *request, int status, const char *code)
{
    int before = f->requests;
    char field[80];
    struct reply r = ask(f, request, strlen(request), status, true);
    snprintf(field, sizeof field, "\"code\":\"%s\"", code);
    assert_string_equal(reply_header(&r, "Content-Type"), "application/problem+json");
    if (!strstr(r.body, field))
        fail_msg("no %s in %s", field, r.body);
    assert_int_equal(f->requests, before); /* the handler never saw it */
    reply_free(&r);
}

#define HOST "Host: localhost\r\n"
