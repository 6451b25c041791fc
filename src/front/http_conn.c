/* One connection's life: reading, handing requests over one at a time, losing the client, closing so that the answer arrives.
 * Knows its socket and state; must not know header texts or routes. Runs in the front. */
#include "front/http_conn.h"
#include "core/errors.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void settle(struct conn *c);

struct conn *conn_new(struct http_server *s, int fd)
{
    struct conn *c = calloc(1, sizeof *c);
    CHECK(c);
    c->s = s;
    c->fd = fd;
    c->timer = TIMER_COUNT;
    c->ahead.max = HTTP_SCRATCH_BYTES + HTTP_AHEAD_BYTES;
    c->out.max = SIZE_MAX / 2; /* bounded by the one answer it holds the rest of */
    exchange_init(c);
    http_parse_begin(c);
    int on = 1, unsent = HTTP_UNSENT_BYTES; /* all fail on a unix socket, where they are not needed */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    transport_init(&c->io, fd, s->tls);
    CHECK(event_assign(&c->read_ev, s->base, fd, EV_READ | EV_PERSIST, on_readable, c) == 0);
    CHECK(event_assign(&c->write_ev, s->base, fd, EV_WRITE | EV_PERSIST, on_writable, c) == 0);
    CHECK(event_add(&c->read_ev, NULL) == 0);
    conn_timer(c, TIMER_HEAD);
    return c;
}

void conn_free(struct conn *c)
{
    exchange_reset(&c->x);
    buf_free(&c->x.extra);
    buf_free(&c->head);
    buf_free(&c->body);
    buf_free(&c->ahead);
    buf_free(&c->out);
    free(c);
}

struct address exchange_peer(const struct exchange *x)
{
    struct conn *c = x->conn;
    union {
        struct sockaddr sa;
        struct sockaddr_storage space;
    } a;
    socklen_t len = sizeof a;
    if (c->peer.kind == ADDRESS_NONE && getpeername(c->fd, &a.sa, &len) == 0)
        c->peer = address_of(&a.sa);
    return c->peer;
}

static bool is_busy(enum conn_state state) { return state == CONN_BUSY || state == CONN_STREAM || state == CONN_FLUSH; }

void conn_set_state(struct conn *c, enum conn_state state)
{
    c->s->busy += is_busy(state);
    c->s->busy -= is_busy(c->state);
    c->state = state;
}

void conn_charge(struct conn *c)
{
    size_t now = (c->body.cap > HTTP_KEEP_BYTES ? c->body.cap : 0) + (c->ahead.cap > HTTP_AHEAD_BYTES ? c->ahead.cap : 0);
    c->s->body_bytes = c->s->body_bytes - c->charged + now;
    c->charged = now;
}

bool conn_may_grow(const struct conn *c, const struct buf *b, size_t more)
{
    size_t need = b->len + more;
    if (need <= b->cap || need <= HTTP_KEEP_BYTES)
        return true;
    size_t grow = need < 2 * b->cap ? 2 * b->cap - b->cap : need - b->cap;
    return c->s->body_bytes + grow <= c->s->opt.body_memory_bytes;
}

static void free_ahead(struct conn *c)
{
    buf_free(&c->ahead);
    c->ahead_off = 0;
    conn_charge(c);
}

void conn_trim(struct conn *c)
{
    buf_free(&c->head);
    buf_free(&c->body);
    buf_free(&c->out);
    buf_free(&c->x.extra);
    c->out_off = 0;
    free_ahead(c);
}

void conn_pause_reading(struct conn *c, bool pause)
{
    if (c->paused == pause)
        return;
    c->paused = pause;
    if (pause) {
        c->s->paused++;
        event_del(&c->read_ev);
    } else {
        c->s->paused--;
        CHECK(event_add(&c->read_ev, NULL) == 0);
    }
}

void conn_close(struct conn *c, bool reset)
{
    struct http_server *s = c->s;
    if (c->state == CONN_CLOSED)
        return;
    if (c->paused)
        s->paused--;
    c->paused = false;
    event_del(&c->read_ev);
    event_del(&c->write_ev);
    if (reset) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    transport_end(&c->io, !reset);
    close(c->fd);
    conn_unlink(c);
    if (c->counted)
        s->connections--;
    else
        s->rejects--;
    conn_set_state(c, CONN_CLOSED);
    s->body_bytes -= c->charged;
    c->charged = 0;
    if (c->on_turn) /* the turn moves it to the dead when it comes by */
        return;
    c->turn_next = s->dead;
    s->dead = c;
    http_arm_turn(s);
}

/* Our side is shut, the client's bytes are read and dropped for a while: closing with unread bytes would send a reset, which
 * can overtake the answer. */
static void linger(struct conn *c)
{
    transport_shut(&c->io);
    conn_set_state(c, CONN_LINGER);
    c->linger_left = HTTP_LINGER_BYTES;
    conn_block(c, false);
    conn_pause_reading(c, false);
    conn_timer(c, TIMER_LINGER);
}

static void end(struct conn *c)
{
    if (c->peer_gone)
        conn_close(c, false);
    else if (c->unread || c->ahead.len > c->ahead_off || transport_is_unread(&c->io))
        linger(c);
    else
        conn_close(c, false);
}

void conn_lost(struct conn *c, bool broken)
{
    /* Everything is out, and only the telling waits for its turn: a client that leaves now had its answer. */
    if (c->state == CONN_STREAM && c->st.deferred && !c->st.broken) {
        stream_continue(c);
        if (!broken || c->state == CONN_CLOSED)
            return; /* its hang-up is seen again */
    }
    bool exchange_alive = c->state == CONN_BUSY || c->state == CONN_STREAM;
    if (c->state == CONN_FLUSH && !broken) { /* a half-closed client may still read what is on its way */
        c->close_after = c->peer_gone = true;
        conn_pause_reading(c, true);
        return;
    }
    if (c->state == CONN_BUSY && !c->x.user) { /* nobody wants news: the answer will come, and go nowhere */
        c->peer_gone = true;
        conn_pause_reading(c, true);
        return;
    }
    void *user = c->x.user;
    c->x.user = NULL;
    if (exchange_alive && user) {
        conn_set_state(c, CONN_FLUSH); /* no answering from inside the callback */
        c->s->handler.gone(c->s->ctx, &c->x, user);
    }
    conn_close(c, broken);
}

void conn_answered(struct conn *c)
{
    exchange_reset(&c->x);
    if (c->body.cap > HTTP_KEEP_BYTES)
        buf_free(&c->body);
    if (c->head.cap > HTTP_KEEP_BYTES)
        buf_free(&c->head);
    if (c->out.cap > HTTP_KEEP_BYTES)
        buf_free(&c->out);
    c->out.len = c->out_off = 0;
    conn_charge(c);
    if (c->close_after || c->s->draining) {
        end(c);
        return;
    }
    conn_set_state(c, CONN_READ);
    http_parse_begin(c);
    if (!c->in_loop)
        settle(c);
}

void conn_refuse(struct conn *c, const struct error *err)
{
    if (!c->io.ready) { /* nothing can be said before the handshake is done */
        conn_close(c, false);
        return;
    }
    log_event(c->s->log, LOG_DEBUG, "request_refused", LOG_S("code", error_text(err->code)), LOG_S("detail", err->detail));
    bool whole = c->head_done && err->code != ERR_BAD_REQUEST; /* its target was understood */
    const char *query_id = c->s->handler.refused ? c->s->handler.refused(c->s->ctx, whole ? &c->x : NULL, err->code) : NULL;
    c->close_after = c->unread = true;
    conn_set_state(c, CONN_BUSY);
    conn_timer(c, TIMER_NONE);
    exchange_problem(&c->x, err, query_id);
}

static void dispatch(struct conn *c)
{
    conn_set_state(c, CONN_BUSY);
    conn_timer(c, TIMER_NONE);
    if (!c->x.keep_alive)
        c->close_after = true;
    if (c->x.method == HTTP_M_OPTIONS && http_answer_options(&c->x))
        return;
    c->s->handler.request(c->s->ctx, &c->x);
}

/* The client waits for leave to send the body; with body bytes here already, it does not. */
static void send_continue(struct conn *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    c->expect_continue = false;
    struct iovec iov = {(void *)(uintptr_t)text, sizeof text - 1};
    if (c->body.len == 0 && transport_send(&c->io, &iov, 1, false) != sizeof text - 1)
        conn_close(c, true);
}

/* Parses, and answers what is answered at once. Stops at the first request whose answer is not out. Returns the bytes used. */
static size_t consume(struct conn *c, const char *data, size_t n)
{
    size_t used = 0;
    c->in_loop = true;
    for (int i = 0; i < HTTP_REQUESTS_PER_TURN && c->state == CONN_READ && used < n; i++) {
        enum parse_result result;
        used += http_parse(c, data + used, n - used, &result);
        if (result == PARSE_DONE) {
            dispatch(c);
        } else if (result == PARSE_REFUSED) {
            struct error err = c->s->refusal;
            conn_refuse(c, &err);
        }
    }
    c->in_loop = false;
    if (c->state == CONN_READ && c->phase == READ_BODY && c->expect_continue)
        send_continue(c);
    return used;
}

/* After reading or answering: what to wait for now, and until when. */
static void settle(struct conn *c)
{
    if (c->state != CONN_READ)
        return;
    bool more = c->ahead.len > c->ahead_off;
    if (more || transport_has_input(&c->io))
        conn_schedule(c);
    else
        conn_pause_reading(c, false);
    if (c->phase == READ_BODY) {
        if (c->timer != TIMER_BODY || c->body_raw - c->body_mark >= HTTP_BODY_PROGRESS_BYTES) {
            c->body_mark = c->body_raw;
            conn_timer(c, TIMER_BODY);
        }
    } else if (c->phase != READ_IDLE || more) {
        if (c->timer != TIMER_HEAD)
            conn_timer(c, TIMER_HEAD);
    } else if (c->timer != TIMER_WARM && c->timer != TIMER_IDLE && c->timer != TIMER_HEAD) {
        conn_timer(c, TIMER_WARM); /* TIMER_HEAD with no byte yet: counting from the accept */
    }
}

/* Keeps bytes that belong to later requests. With no memory left for them they are dropped: the client sees that the connection
 * closes after the answer, and sends those requests again. */
static void keep_ahead(struct conn *c, const char *data, size_t n)
{
    if (n == 0 || c->state == CONN_CLOSED || c->state == CONN_LINGER)
        return;
    if (conn_may_grow(c, &c->ahead, n) && buf_append(&c->ahead, data, n)) {
        conn_charge(c);
        return;
    }
    c->close_after = c->unread = true;
    if (c->state == CONN_READ)
        linger(c);
}

static size_t read_size(const struct conn *c)
{
    if (c->phase != READ_BODY)
        return HTTP_HEAD_READ_BYTES;
    if (!(c->parser.flags & F_CONTENT_LENGTH) || c->parser.content_length >= HTTP_SCRATCH_BYTES)
        return HTTP_SCRATCH_BYTES;
    return (size_t)c->parser.content_length + HTTP_AHEAD_BYTES < HTTP_SCRATCH_BYTES ? (size_t)c->parser.content_length + HTTP_AHEAD_BYTES
                                                                                    : HTTP_SCRATCH_BYTES;
}

static bool would_block(void) { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

static void read_request(struct conn *c)
{
    if (c->ahead.len > c->ahead_off) { /* these bytes come first; the turn is on its way */
        conn_schedule(c);
        return;
    }
    char *scratch = c->s->scratch;
    ssize_t n = transport_read(&c->io, scratch, read_size(c));
    if (n <= 0) {
        if (n == 0 || !would_block())
            conn_close(c, false);
        return;
    }
    size_t used = consume(c, scratch, (size_t)n);
    keep_ahead(c, scratch + used, (size_t)n - used);
    settle(c);
}

/* While an exchange is being answered: notices the client's going, and reads a little ahead. */
static void read_ahead(struct conn *c)
{
    size_t held = c->ahead.len - c->ahead_off;
    if (held >= HTTP_AHEAD_BYTES || c->close_after) {
        /* A client that sends where nothing more is read can't be watched by reading: the sweep looks for its hang-up. */
        char one;
        ssize_t n = recv(c->fd, &one, 1, MSG_PEEK);
        if (n == 0 || (n < 0 && !would_block()))
            conn_lost(c, n < 0);
        else if (n > 0)
            conn_pause_reading(c, true);
        return;
    }
    ssize_t n = transport_read(&c->io, c->s->scratch, HTTP_AHEAD_BYTES - held);
    if (n > 0)
        keep_ahead(c, c->s->scratch, (size_t)n);
    else if (n == 0 || !would_block())
        conn_lost(c, n < 0);
}

static void drop_input(struct conn *c)
{
    for (int i = 0; i < 4; i++) {
        ssize_t n = recv(c->fd, c->s->scratch, HTTP_SCRATCH_BYTES, 0);
        if (n < 0 && would_block())
            return;
        if (n <= 0 || (size_t)n >= c->linger_left) {
            conn_close(c, false);
            return;
        }
        c->linger_left -= (size_t)n;
    }
}

static void refuse_plain(struct conn *c)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 52\r\nConnection: close\r\n\r\n"
                               "This port speaks HTTPS, and the request came without\n";
    (void)!send(c->fd, text, sizeof text - 1, MSG_NOSIGNAL);
    conn_close(c, false);
}

/* True when bytes may be read and written. */
static bool shake_hands(struct conn *c)
{
    if (c->io.ready)
        return true;
    int r = transport_handshake(&c->io);
    if (r < 0 && c->io.plain_http) {
        refuse_plain(c);
    } else if (r < 0) {
        conn_close(c, true);
    } else {
        conn_block(c, r == 0 && c->io.wants_write);
        if (r > 0)
            conn_timer(c, TIMER_HEAD); /* for the request, which comes now */
    }
    return r > 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)fd;
    (void)what;
    if (c->state == CONN_CLOSED || !shake_hands(c))
        return;
    switch (c->state) {
    case CONN_READ: read_request(c); break;
    case CONN_BUSY:
    case CONN_STREAM:
    case CONN_FLUSH: read_ahead(c); break;
    case CONN_LINGER: drop_input(c); break;
    case CONN_CLOSED: break;
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)fd;
    (void)what;
    if (!c->io.ready) {
        (void)shake_hands(c);
    } else if (c->state == CONN_STREAM) {
        stream_continue(c);
    } else if (c->state == CONN_FLUSH) {
        int r = conn_flush(c);
        if (r < 0)
            conn_lost(c, true);
        else if (r > 0)
            conn_answered(c);
    } else {
        conn_block(c, false);
    }
}

void conn_turn(struct conn *c)
{
    if (c->state == CONN_STREAM) {
        stream_continue(c);
        return;
    }
    if (c->state == CONN_READ && c->ahead.len == c->ahead_off && transport_has_input(&c->io))
        read_request(c); /* no event of the socket tells of bytes that are decrypted already */
    if (c->state != CONN_READ || c->ahead.len == c->ahead_off)
        return;
    c->ahead_off += consume(c, c->ahead.data + c->ahead_off, c->ahead.len - c->ahead_off);
    if (c->ahead_off == c->ahead.len && c->state != CONN_CLOSED) {
        free_ahead(c);
    } else if (c->ahead_off > c->ahead.len / 2) {
        buf_consume(&c->ahead, c->ahead_off);
        c->ahead_off = 0;
    }
    settle(c);
}
