/* Bytes of one connection in and out: as they are, or through TLS. Everything is non-blocking. Knows sockets and OpenSSL; must not know HTTP.
 * Runs in the front.
 *
 * TLS makes records of what it is given, and a record that the socket does not take whole is kept by OpenSSL, which wants to be given the same
 * bytes again. So that nobody above has to know: what went into such a record counts as sent, a copy of it is held here, and it
 * leaves before anything else (transport_flush). */
#pragma once
#include "core/tls.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct ssl_st;

struct transport {
    int fd;             /* the caller's */
    struct ssl_st *ssl; /* NULL: plain */
    bool ready;         /* the handshake is done (plain: always) */
    bool wants_write;   /* what was asked for last waits for the socket to take bytes */
    bool plain_http;    /* the handshake failed because the client spoke HTTP without TLS */
    bool broken;        /* TLS is in a state in which nothing more may be sent */
    char *held;         /* plain bytes of a record that the socket did not take whole; NULL: none */
    size_t held_len, held_off;
};

/* tls: NULL for plain. */
void transport_init(struct transport *t, int fd, const struct tls *tls);
/* Frees what TLS has; in_order: tells the peer that nothing more comes, so that it knows the end from a cut. The fd stays open. */
void transport_end(struct transport *t, bool in_order);
/* Nothing more will be sent, but the peer may still send. */
void transport_shut(struct transport *t);

/* Goes on with the handshake. 1 done; 0 waits (for reading, or for writing when wants_write); -1 failed: close. */
int transport_handshake(struct transport *t);
/* As recv: 0 at the end, -1 with errno (EAGAIN: nothing there now). */
ssize_t transport_read(struct transport *t, void *data, size_t n);
/* Bytes that are decrypted already, so that no event of the socket will tell of them. */
bool transport_has_input(const struct transport *t);
/* Bytes the peer sent that nobody has read. */
bool transport_is_unread(const struct transport *t);

/* As sendmsg without SIGPIPE: how much was taken, which may be less than all; -1 with errno (EAGAIN: nothing was taken). more: further bytes follow
 * at once. */
ssize_t transport_send(struct transport *t, const struct iovec *iov, int count, bool more);
/* As sendfile: 0 when the file has no bytes there. */
ssize_t transport_send_file(struct transport *t, int file, off_t offset, size_t n);
/* Bytes that were taken are still here. */
static inline bool transport_is_holding(const struct transport *t) { return t->held != NULL; }
/* 1: nothing is held any more, 0: the socket takes nothing now, -1: broken. */
int transport_flush(struct transport *t);
