/* Plain and TLS connections. Runs in the front. */
#include "front/transport.h"
#include "core/errors.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECORD_BYTES 16384 /* the largest TLS record */

void transport_init(struct transport *t, int fd, const struct tls *tls)
{
    *t = (struct transport){.fd = fd, .ready = !tls};
    if (!tls)
        return;
    t->ssl = SSL_new(tls_context(tls));
    CHECK(t->ssl && SSL_set_fd(t->ssl, fd));
    SSL_set_accept_state(t->ssl);
}

void transport_end(struct transport *t, bool in_order)
{
    if (!t->ssl)
        return;
    ERR_clear_error();
    if (in_order && t->ready && !t->broken && !t->held)
        (void)SSL_shutdown(t->ssl); /* at most one alert, if the socket takes it */
    SSL_free(t->ssl);
    t->ssl = NULL;
    free(t->held);
    t->held = NULL;
    ERR_clear_error();
}

void transport_shut(struct transport *t)
{
    ERR_clear_error();
    if (t->ssl && t->ready && !t->broken && !t->held)
        (void)SSL_shutdown(t->ssl);
    shutdown(t->fd, SHUT_WR);
}

/* The result of an SSL function that did not succeed: as errno. 0: the peer has ended in order. */
static int classify(struct transport *t, int result)
{
    int e = errno;
    t->wants_write = false;
    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ: return EAGAIN;
    case SSL_ERROR_WANT_WRITE: t->wants_write = true; return EAGAIN;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL: t->broken = true; return e ? e : ECONNRESET;
    default:
        t->broken = true;
        /* A peer that closes without its goodbye; HTTP's own framing says whether something is missing. */
        return ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING ? 0 : EPROTO;
    }
}

int transport_handshake(struct transport *t)
{
    ERR_clear_error();
    errno = 0;
    int r = SSL_do_handshake(t->ssl);
    if (r == 1) {
        t->ready = true;
        return 1;
    }
    unsigned long reason = ERR_peek_error();
    t->plain_http = ERR_GET_LIB(reason) == ERR_LIB_SSL && ERR_GET_REASON(reason) == SSL_R_HTTP_REQUEST;
    r = classify(t, r) == EAGAIN ? 0 : -1;
    ERR_clear_error();
    return r;
}

static ssize_t failed(int error)
{
    errno = error;
    ERR_clear_error();
    return -1;
}

ssize_t transport_read(struct transport *t, void *data, size_t n)
{
    if (!t->ssl)
        return recv(t->fd, data, n, 0);
    size_t got;
    ERR_clear_error();
    errno = 0;
    int r = SSL_read_ex(t->ssl, data, n, &got);
    if (r == 1)
        return (ssize_t)got;
    int e = classify(t, r);
    ERR_clear_error();
    return e == 0 ? 0 : failed(e);
}

bool transport_has_input(const struct transport *t) { return t->ssl && t->ready && SSL_pending(t->ssl) > 0; }

bool transport_is_unread(const struct transport *t)
{
    int waiting = 0;
    return transport_has_input(t) || (ioctl(t->fd, FIONREAD, &waiting) == 0 && waiting > 0);
}

/* One record at most. What the socket did not take whole is held, and counts as sent. -1 with errno. */
static ssize_t send_record(struct transport *t, const char *data, size_t n)
{
    size_t sent;
    if (n > RECORD_BYTES)
        n = RECORD_BYTES;
    ERR_clear_error();
    errno = 0;
    int r = SSL_write_ex(t->ssl, data, n, &sent);
    if (r == 1)
        return (ssize_t)sent;
    int e = classify(t, r);
    if (e != EAGAIN)
        return failed(e ? e : EPIPE);
    ERR_clear_error();
    t->held = malloc(n);
    CHECK(t->held);
    memcpy(t->held, data, n);
    t->held_len = n;
    t->held_off = 0;
    return (ssize_t)n;
}

int transport_flush(struct transport *t)
{
    while (t->held) {
        size_t sent;
        ERR_clear_error();
        errno = 0;
        int r = SSL_write_ex(t->ssl, t->held + t->held_off, t->held_len - t->held_off, &sent);
        if (r != 1) {
            int e = classify(t, r);
            ERR_clear_error();
            return e == EAGAIN ? 0 : -1;
        }
        t->held_off += sent; /* all, unless the peer asked for records of its own, smaller size */
        if (t->held_off == t->held_len) {
            free(t->held);
            t->held = NULL;
        }
    }
    return 1;
}

/* Where a walk over an iovec is. */
struct walk {
    const struct iovec *iov;
    int count;
    size_t off;
};

/* The next part: right from where it is when it fills a record, else with those behind it in `space`. 0: the end. */
static size_t next_part(struct walk *w, char space[RECORD_BYTES], const char **ret)
{
    size_t n = 0;
    while (w->count > 0) {
        const char *at = (const char *)w->iov->iov_base + w->off;
        size_t left = w->iov->iov_len - w->off;
        if (n == 0 && left >= RECORD_BYTES) {
            w->off += RECORD_BYTES;
            *ret = at;
            return RECORD_BYTES;
        }
        size_t part = left < RECORD_BYTES - n ? left : RECORD_BYTES - n;
        if (part)
            memcpy(space + n, at, part);
        n += part;
        w->off += part;
        if (w->off == w->iov->iov_len) {
            w->iov++;
            w->count--;
            w->off = 0;
        }
        if (n == RECORD_BYTES)
            break;
    }
    *ret = space;
    return n;
}

static ssize_t send_tls(struct transport *t, const struct iovec *iov, int count)
{
    char space[RECORD_BYTES];
    struct walk w = {iov, count, 0};
    const char *part;
    size_t n, total = 0;
    int flushed = transport_flush(t);
    if (flushed <= 0)
        return failed(flushed < 0 ? EPIPE : EAGAIN);
    while (!t->held && (n = next_part(&w, space, &part)) > 0) {
        for (size_t at = 0; at < n && !t->held;) {
            ssize_t sent = send_record(t, part + at, n - at);
            if (sent < 0)
                return total ? (ssize_t)total : -1; /* the error comes again with the next call */
            at += (size_t)sent;
            total += (size_t)sent;
        }
    }
    return (ssize_t)total;
}

ssize_t transport_send(struct transport *t, const struct iovec *iov, int count, bool more)
{
    if (t->ssl)
        return send_tls(t, iov, count);
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};
    ssize_t n;
    do
        n = sendmsg(t->fd, &m, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    while (n < 0 && errno == EINTR);
    return n;
}

ssize_t transport_send_file(struct transport *t, int file, off_t offset, size_t n)
{
    ssize_t got;
    if (!t->ssl) {
        do
            got = sendfile(t->fd, file, &offset, n);
        while (got < 0 && errno == EINTR);
        return got;
    }
    char space[RECORD_BYTES];
    int flushed = transport_flush(t);
    if (flushed <= 0)
        return failed(flushed < 0 ? EPIPE : EAGAIN);
    size_t total = 0;
    while (total < n && !t->held) {
        size_t want = n - total < sizeof space ? n - total : sizeof space;
        do
            got = pread(file, space, want, offset + (off_t)total);
        while (got < 0 && errno == EINTR);
        if (got <= 0)
            return total ? (ssize_t)total : got;
        ssize_t sent = send_record(t, space, (size_t)got);
        if (sent < 0)
            return total ? (ssize_t)total : -1;
        total += (size_t)sent;
    }
    return (ssize_t)total;
}
