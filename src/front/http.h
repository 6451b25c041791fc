/* HTTP/1.1 on accepted sockets: reading requests, writing answers, every timeout and limit of the protocol.
 * Knows sockets, llhttp and libevent; must not know queries, pools or workers. Runs in the front.
 *
 * One `struct exchange` is one request and its answer. Per connection one exchange is being answered at a time; pipelined requests wait
 * in the connection's bounded read buffer and are answered in order. */
#pragma once
#include "core/address.h"
#include "core/errors.h"
#include "core/log.h"
#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct tls;
struct exchange;

enum http_method { HTTP_M_GET, HTTP_M_HEAD, HTTP_M_POST, HTTP_M_PUT, HTTP_M_DELETE, HTTP_M_OPTIONS, HTTP_M_OTHER };

struct http_options {
    int64_t header_timeout_ms; /* from the first byte of a request (or the accept) to the end of its head: 408, close */
    int64_t body_timeout_ms;   /* a body must bring 1 KB, or its end, within each such time: 408, close (a trickle holds nothing open) */
    int64_t idle_timeout_ms;   /* keep-alive without a request: close, no answer */
    int64_t
        delivery_timeout_ms;  /* a client that is slower than the answer must take 256 KB of it, or its rest, within each such time: else it is cut */
    size_t max_head_bytes;    /* request line + headers: 431 */
    size_t max_body_bytes;    /* one body, after de-chunking: 413 */
    size_t body_memory_bytes; /* all bodies together: 503 overloaded, Retry-After: 1 */
    unsigned max_connections; /* over it, the one that is idle for longest goes; without one the new one is closed at once with 503 */
    const char *allowed_hosts; /* comma-separated host names without port, besides localhost, 127.0.0.1, [::1] and the listen address */
    const char *cors_origins;  /* comma-separated origins, "" for none */
    /* A timeout of 0 or less is off. */
};

struct http_header {
    const char *name;
    const char *value;
};

/* What the routes above implement. All are called on the event loop's thread. */
struct http_handler {
    /* A whole request has arrived and passed Host and Origin checks. The handler must answer now or later, exactly once. */
    void (*request)(void *ctx, struct exchange *x);
    /* The client has gone (EOF, reset, write error, delivery timeout) before the answer was complete. Called once, only when exchange_set_user
     * gave a non-NULL user; the exchange is dead when it returns. (Without a user it stays valid, and is answered into the void.) */
    void (*gone)(void *ctx, struct exchange *x, void *user);
    /* Every byte of a streamed answer (exchange_stream) is in the kernel's hands; the exchange is dead when it returns. Same condition. */
    void (*sent)(void *ctx, struct exchange *x, void *user);
    /* Optional (NULL): the head has arrived and passed those checks, and a body follows that nobody has read yet. -1 with *err: the request is
     * answered with that (and what exchange_add_header added) and the connection closed, without reading the body. */
    int (*head)(void *ctx, struct exchange *x, struct error *err);
    /* Optional (NULL: nobody counts): a request was refused with this code before it became the handler's. `x` is NULL when its head has not come
     * whole. Returns the id of the query that it was to be, for the problem document, valid until the next call; NULL: none. */
    const char *(*refused)(void *ctx, struct exchange *x, enum error_code code);
};

/* Where a streamed body comes from. The server calls file and peek when the socket takes bytes and consume with what it sent. */
struct body_source {
    void *ctx;
    /* Optional (NULL: never): the bytes that come next lie in a file, from *ret_offset of *ret_fd on; how many are there. 0: none are, and then
     * peek is asked. A file that turns out to be shorter cuts the answer. */
    size_t (*file)(void *ctx, int *ret_fd, int64_t *ret_offset);
    /* Bytes ready now, contiguous; 0 when none are (exchange_resume tells of new ones). The bytes stay valid until consumed. */
    size_t (*peek)(void *ctx, const uint8_t **ret_data);
    void (*consume)(void *ctx, size_t n);
    /* Optional (NULL: false): the n bytes that file or peek just gave are all it holds. Then, after exchange_finish, the last chunk leaves
     * together with them; otherwise in a packet of its own, once peek gives 0. */
    bool (*all)(void *ctx, size_t n);
};

/* Takes over listening sockets (non-blocking; not owned). The strings in opts are copied. */
struct http_server *http_server_new(struct event_base *base, const int *listen_fds, int n, const struct http_options *opts,
                                    const struct http_handler *handler, void *ctx, struct log *log);
/* Connections that are accepted from now on speak TLS with this identity, which is the server's from now on; those that are open keep
 * theirs. NULL: they speak plain. */
void http_server_set_tls(struct http_server *s, struct tls *tls);
/* New limits for what comes from now on. */
void http_server_set_options(struct http_server *s, const struct http_options *opts);
/* Stops accepting, closes idle connections, answers further requests on kept ones with `Connection: close` on their answer. */
void http_server_drain(struct http_server *s);
/* Connections that are open now / of these, with an exchange being answered. */
unsigned http_server_connections(const struct http_server *s);
unsigned http_server_busy(const struct http_server *s);
/* Closes every connection; those with a living exchange get their gone() first. Not from inside a callback of the server's. */
void http_server_free(struct http_server *s);

/* The request. Strings are NUL-terminated, live as long as the exchange. */
enum http_method exchange_method(const struct exchange *x);
const char *exchange_path(const struct exchange *x); /* percent-decoded, always starts with '/' */
/* Value of a query-string parameter, percent- and plus-decoded; NULL when absent. The first of several. */
const char *exchange_param(const struct exchange *x, const char *name);
/* Calls fn for each query-string parameter name; returns the first non-zero result. (To refuse unknown ones.) */
int exchange_each_param(const struct exchange *x, int (*fn)(void *ctx, const char *name, const char *value), void *ctx);
const char *exchange_header(const struct exchange *x, const char *name); /* NULL when absent; case-insensitive; several joined by ", " */
const char *exchange_body(const struct exchange *x, size_t *ret_len);
bool exchange_is_http10(const struct exchange *x);
/* For request(): head() was called for this exchange just before, since the body came with the head; no callback of any other was called since. */
bool exchange_head_is_fresh(const struct exchange *x);
/* The other end of the connection. */
struct address exchange_peer(const struct exchange *x);

/* A pointer of the handler's, handed back in gone and sent. */
void exchange_set_user(struct exchange *x, void *user);

/* A header for the answer to come (copied; at most 1 KB in all). `value` must hold no CR, LF or NUL (CHECK). */
void exchange_add_header(struct exchange *x, const char *name, const char *value);

/* A complete answer: body copied (or sent at once). Content-Length, Date, Connection, nosniff are added. For HEAD the body is not sent.
 * The exchange is dead afterwards; gone and sent are not called. */
void exchange_answer(struct exchange *x, int status, const char *content_type, const void *body, size_t len);
/* The problem+json answer of contract section 4 with status, title, detail, code, query_id (NULL: none) and what fits the code;
 * Retry-After (and retry_after_s) when err->retry_after_s > 0. out_of_memory: STOP_KILL reads "kernel", anything else "engine". */
void exchange_problem(struct exchange *x, const struct error *err, const char *query_id);

/* A streamed answer. content_length >= 0: exactly so many bytes will come from the source; < 0: chunked (HTTP/1.0: until close).
 * Sends what it can at once: head and first body bytes leave in one writev. Never calls sent or gone before it returns (the next
 * turn of the loop does). A user must be set (CHECK). With a content_length the answer is complete, and sent is called, with its last byte: no exchange_finish. */
void exchange_stream(struct exchange *x, int status, const char *content_type, int64_t content_length, const struct body_source *src);
/* Tells now what exchange_stream has left for the next turn, if it has. May call sent or gone before it returns. */
void exchange_tell(struct exchange *x);
/* The source has more bytes. May call sent or gone before it returns. */
void exchange_resume(struct exchange *x);
/* The source has, or will have after what it holds now, no more bytes (chunked: the last chunk follows). May call sent or gone.
 * Short of a promised content_length: the connection is cut and gone is called. */
void exchange_finish(struct exchange *x);
/* Cuts the answer short, also before its head: chunked without last chunk, connection closed. Neither gone nor sent is called; the exchange is dead. */
void exchange_abort(struct exchange *x);
/* True while the socket takes no bytes: the client is the slow side. */
bool exchange_is_blocked(const struct exchange *x);
