/* Streamed answers: body bytes go from their source into the socket without a copy of ours, chunked or counted.
 * Knows the source, the framing and the socket; must not know what the bytes mean. Runs in the front.
 *
 * conn->out holds what must go before any further body byte: the head, or the rest of a chunk's framing that the socket did not take. */
#include "front/http_conn.h"
#include "core/errors.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum step {
    STEP_AGAIN,
    STEP_BLOCKED, /* the socket is full */
    STEP_EMPTY,   /* the source has nothing now */
    STEP_DONE,
    STEP_BROKEN, /* the client has gone, or the source broke its promise: no whole answer can come any more */
};

/* One sendmsg: what comes first, a chunk's size line, body bytes, and what follows them. */
struct batch {
    struct iovec iov[4];
    size_t first, line, data, tail; /* lengths */
    char line_text[20];
    const char *tail_text;
    bool last;      /* the tail ends the body */
    bool from_file; /* the body bytes are not in memory (iov[2] is empty) but here: */
    int file;
    int64_t offset;
};

static size_t chunk_line(char *out, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    char digits[16];
    size_t k = 0, len = 0;
    do
        digits[k++] = hex[n & 15];
    while (n >>= 4);
    while (k)
        out[len++] = digits[--k];
    out[len++] = '\r';
    out[len++] = '\n';
    return len;
}

static void set_tail(struct batch *b, const char *text, bool last)
{
    b->tail_text = text;
    b->tail = strlen(text);
    b->last = last;
}

/* Chunked framing around `data` bytes; held: what peek gave, uncut. */
static void frame_chunk(struct stream *st, struct batch *b, size_t held)
{
    if (b->data && st->chunk_left == 0) {
        b->line = chunk_line(b->line_text, b->data);
        st->chunk_left = b->data;
    }
    bool all = b->data == held && st->src.all && st->src.all(st->src.ctx, held);
    if (b->data && b->data == st->chunk_left) {
        if (st->finishing && all)
            set_tail(b, "\r\n0\r\n\r\n", true);
        else
            set_tail(b, "\r\n", false);
    } else if (!b->data && st->finishing && st->chunk_left == 0) {
        set_tail(b, "0\r\n\r\n", true);
    }
}

/* Fills the batch. False: the source ended before what it promised. */
static bool prepare(struct conn *c, struct batch *b, size_t budget)
{
    struct stream *st = &c->st;
    const uint8_t *data = NULL;
    memset(b, 0, sizeof *b);
    b->first = c->out.len - c->out_off;
    if (!st->complete) {
        size_t held = st->src.file ? st->src.file(st->src.ctx, &b->file, &b->offset) : 0;
        b->from_file = held > 0;
        if (!b->from_file)
            held = st->src.peek(st->src.ctx, &data);
        b->data = held < budget ? held : budget;
        if (st->framing == FRAMING_LENGTH && (uint64_t)b->data > (uint64_t)st->left)
            b->data = (size_t)st->left;
        if (st->chunk_left && b->data > st->chunk_left)
            b->data = st->chunk_left;
        if (held == 0 && st->finishing && (st->framing == FRAMING_LENGTH || st->chunk_left))
            return false;
        if (st->framing == FRAMING_CHUNKED)
            frame_chunk(st, b, held);
        else if (st->framing == FRAMING_CLOSE && held == 0 && st->finishing)
            st->complete = true;
    }
    b->iov[0] = (struct iovec){c->out.data + c->out_off, b->first};
    b->iov[1] = (struct iovec){b->line_text, b->line};
    b->iov[2] = (struct iovec){(void *)(uintptr_t)data, b->from_file ? 0 : b->data};
    b->iov[3] = (struct iovec){(void *)(uintptr_t)b->tail_text, b->tail};
    return true;
}

static void hold(struct conn *c, const char *text, size_t len) { CHECK(buf_append(&c->out, text, len)); }

/* Books `sent` bytes of the batch; the framing that did not fit goes to conn->out. */
static void account(struct conn *c, const struct batch *b, size_t sent)
{
    struct stream *st = &c->st;
    size_t part = sent < b->first ? sent : b->first;
    sent -= part;
    c->out_off += part;
    if (c->out_off == c->out.len)
        c->out.len = c->out_off = 0;
    if (b->line && sent == 0) {
        st->chunk_left = 0; /* not a byte of its size line has left: the chunk is not announced yet */
        return;
    }
    part = sent < b->line ? sent : b->line;
    sent -= part;
    if (part < b->line)
        hold(c, b->line_text + part, b->line - part);
    part = sent < b->data ? sent : b->data;
    sent -= part;
    if (part)
        st->src.consume(st->src.ctx, part);
    if (st->framing == FRAMING_CHUNKED)
        st->chunk_left -= part;
    if (st->framing == FRAMING_LENGTH) {
        st->left -= (int64_t)part;
        st->complete = st->complete || st->left == 0;
    }
    if (b->tail && part == b->data) {
        hold(c, b->tail_text + sent, b->tail - sent);
        st->complete = st->complete || b->last;
    }
}

/* The framing from memory, the body from its file; what follows the body leaves with the next batch. As transport_send. */
static ssize_t send_from_file(struct conn *c, struct batch *b)
{
    size_t framing = b->first + b->line;
    ssize_t sent = framing ? transport_send(&c->io, b->iov, 2, true) : 0;
    if (sent < 0 || (size_t)sent < framing || (framing && transport_is_holding(&c->io)))
        return sent; /* without framing, what is held is for transport_send_file to flush */
    ssize_t body = transport_send_file(&c->io, b->file, (off_t)b->offset, b->data);
    if (body > 0)
        return sent + body;
    if (body == 0)
        errno = EIO; /* shorter than promised */
    else if (errno == EAGAIN && sent > 0)
        return sent;
    return -1;
}

static enum step step(struct conn *c, size_t *budget)
{
    struct batch b;
    if (!prepare(c, &b, *budget))
        return STEP_BROKEN;
    size_t total = b.first + b.line + b.data + b.tail;
    if (total == 0) {
        int flushed = transport_flush(&c->io);
        if (flushed <= 0)
            return flushed < 0 ? STEP_BROKEN : STEP_BLOCKED;
        return c->st.complete ? STEP_DONE : STEP_EMPTY;
    }
    /* An empty iovec in front costs nothing in the kernel, so the four are always given. */
    ssize_t sent = b.from_file ? send_from_file(c, &b) : transport_send(&c->io, b.iov, 4, false);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return STEP_BROKEN;
    account(c, &b, sent > 0 ? (size_t)sent : 0);
    if (sent <= 0)
        return STEP_BLOCKED;
    *budget -= (size_t)sent < *budget ? (size_t)sent : *budget;
    if (c->blocked)
        conn_delivered(c, (size_t)sent);
    if ((size_t)sent < total - (b.from_file ? b.tail : 0) || transport_is_holding(&c->io))
        return STEP_BLOCKED;
    return c->st.complete && conn_is_out(c) ? STEP_DONE : STEP_AGAIN;
}

static void done(struct conn *c)
{
    void *user = c->x.user;
    c->x.user = NULL;
    if (c->st.framing == FRAMING_CLOSE)
        c->close_after = true;
    conn_set_state(c, CONN_FLUSH);
    conn_block(c, false);
    if (user)
        c->s->handler.sent(c->s->ctx, &c->x, user);
    conn_answered(c);
}

/* Sends until the socket is full, the source empty or the turn's budget used. quiet: results are told at the next turn only. */
static void pump(struct conn *c, bool quiet)
{
    struct stream *st = &c->st;
    size_t budget = HTTP_STREAM_TURN_BYTES;
    enum step r = STEP_AGAIN;
    while (r == STEP_AGAIN && budget > 0)
        r = step(c, &budget);
    if (quiet && (r == STEP_DONE || r == STEP_BROKEN)) {
        st->deferred = true;
        st->broken = r == STEP_BROKEN;
        conn_schedule(c);
        return;
    }
    switch (r) {
    case STEP_DONE: done(c); break;
    case STEP_BROKEN: conn_lost(c, true); break;
    case STEP_BLOCKED:
        if (!c->blocked)
            conn_timer(c, TIMER_DELIVER);
        conn_block(c, true);
        break;
    case STEP_EMPTY:
        conn_block(c, false);
        if (c->timer != TIMER_NONE)
            conn_timer(c, TIMER_NONE);
        break;
    case STEP_AGAIN: /* it would take more, but others have their turn first */
        conn_block(c, false);
        conn_schedule(c);
        break;
    }
}

void stream_continue(struct conn *c)
{
    if (c->st.deferred) {
        c->st.deferred = false;
        if (c->st.broken)
            conn_lost(c, true);
        else
            done(c);
        return;
    }
    pump(c, false);
}

/* A long answer to a client on this machine (a proxy, most of the time): there is no network between to be gentle with, and under a congestion
 * control that paces (bbr) the kernel would set a timer for every 64 KB, at a third of the whole cost. Where it can't be set, things stay as
 * they are. */
static void skip_pacing(struct conn *c, int64_t length)
{
    static const char plain[] = "reno"; /* in every kernel, and for everybody */
    if (c->unpaced || (length >= 0 && length < HTTP_UNSENT_BYTES))
        return;
    struct address peer = exchange_peer(&c->x);
    c->unpaced = true;
    if (address_is_loopback(&peer))
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_CONGESTION, plain, sizeof plain - 1);
}

void exchange_stream(struct exchange *x, int status, const char *content_type, int64_t content_length, const struct body_source *src)
{
    struct conn *c = x->conn;
    CHECK(c->state == CONN_BUSY && src->peek && src->consume);
    CHECK(x->user); /* else nobody would learn when the source is needed no more */
    struct stream *st = &c->st;
    *st = (struct stream){.src = *src, .left = content_length};
    st->framing = content_length >= 0 ? FRAMING_LENGTH : x->http10 ? FRAMING_CLOSE : FRAMING_CHUNKED;
    if (st->framing == FRAMING_CLOSE)
        c->close_after = true;
    st->complete = x->method == HTTP_M_HEAD || content_length == 0;
    char head[HTTP_HEAD_OUT_BYTES];
    size_t len = http_build_head(x, head, status, content_type, content_length, st->framing == FRAMING_CHUNKED);
    hold(c, head, len);
    conn_set_state(c, CONN_STREAM);
    skip_pacing(c, content_length);
    if (c->peer_gone) {
        st->deferred = st->broken = true;
        conn_schedule(c);
        return;
    }
    pump(c, true);
}

void exchange_tell(struct exchange *x)
{
    struct conn *c = x->conn;
    CHECK(c->state == CONN_STREAM);
    if (c->st.deferred)
        stream_continue(c);
}

void exchange_resume(struct exchange *x)
{
    struct conn *c = x->conn;
    CHECK(c->state == CONN_STREAM);
    if (!c->blocked && !c->on_turn)
        pump(c, false);
}

void exchange_finish(struct exchange *x)
{
    struct conn *c = x->conn;
    CHECK(c->state == CONN_STREAM);
    c->st.finishing = true;
    if (!c->blocked && !c->on_turn)
        pump(c, false);
}

void exchange_abort(struct exchange *x)
{
    struct conn *c = x->conn;
    CHECK(c->state == CONN_STREAM || c->state == CONN_BUSY);
    x->user = NULL;
    /* A body that ends with the connection looks whole when the connection ends in order: that one is reset. */
    conn_close(c, c->state == CONN_STREAM && c->st.framing == FRAMING_CLOSE);
}

bool exchange_is_blocked(const struct exchange *x) { return x->conn->blocked; }
