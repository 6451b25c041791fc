/* Inside of the HTTP server: what its files share about one connection and the server. Only front/http_*.c (and the tests that feed it
 * sockets of their own) include this; everyone else uses front/http.h. Runs in the front.
 *
 * Lifetimes: the exchange is a part of its connection. A connection that is closed leaves every list and event at once, but its memory
 * stays until the end of the loop's turn, so that whoever is further up the stack can still look at its state. */
#pragma once
#include "core/buf.h"
#include "front/http.h"
#include "front/http_host.h"
#include "front/transport.h"

#include <event2/event_struct.h>
#include <llhttp.h>
#include <sys/uio.h>

#define HTTP_SCRATCH_BYTES (64 * 1024)   /* the server's one read buffer */
#define HTTP_HEAD_READ_BYTES (16 * 1024) /* one read while a head is awaited; so the most that pipelining leaves over */
#define HTTP_AHEAD_BYTES 4096            /* read ahead while an exchange is being answered; then reading stops */
#define HTTP_KEEP_BYTES 2048             /* buffers up to this size stay with a connection from request to request */
#define HTTP_EXTRA_BYTES 1024            /* exchange_add_header, in all */
#define HTTP_HEADERS_MAX 128
#define HTTP_PARAMS_MAX 32
#define HTTP_METHOD_MAX 24
#define HTTP_REQUESTS_PER_TURN 64        /* pipelined requests of one connection in one turn of the loop */
#define HTTP_STREAM_TURN_BYTES (1 << 20) /* body bytes of one connection in one turn of the loop */
#define HTTP_BODY_PROGRESS_BYTES 1024    /* what a body must bring, or end, within each body_timeout */
/* What a client must take of an answer, or its rest, within each delivery_timeout: one that drips would hold the ring, and a worker. */
#define HTTP_DELIVERY_PROGRESS_BYTES (256 * 1024)
/* What the kernel holds for a client beyond what is on the wire: else it takes megabytes for each that is slow. */
#define HTTP_UNSENT_BYTES (512 * 1024)
#define HTTP_LINGER_MS 3000
#define HTTP_LINGER_BYTES (16 << 20)
#define HTTP_WARM_MS 1000 /* an idle connection keeps its small buffers for so long */

enum conn_state {
    CONN_READ,   /* between requests, or reading one */
    CONN_BUSY,   /* the handler has the exchange */
    CONN_STREAM, /* a streamed answer is under way */
    CONN_FLUSH,  /* the exchange is answered and dead; the socket has not taken all of it */
    CONN_LINGER, /* our side is shut; what still comes is thrown away */
    CONN_CLOSED, /* fd closed; freed at the end of the turn */
};

enum read_phase { READ_IDLE, READ_METHOD, READ_HEAD, READ_BODY };

/* Each connection is on exactly one list; each list is in the order of `since_ms`, so that a sweep looks at expired ones only. */
enum timer_kind {
    TIMER_HEAD,
    TIMER_BODY,
    TIMER_WARM, /* idle, buffers kept */
    TIMER_IDLE, /* idle, buffers freed */
    TIMER_DELIVER,
    TIMER_LINGER,
    TIMER_NONE, /* busy: no deadline here; the handler has its own */
    TIMER_COUNT
};

enum parse_result { PARSE_MORE, PARSE_DONE, PARSE_REFUSED /* the reason is in server->refusal */ };

struct http_param {
    uint32_t name, value; /* offsets into the head */
};

/* A header that came several times, joined on the first request for it. */
struct http_joined {
    struct http_joined *next;
    const char *name; /* in the head */
    char value[];
};

struct exchange {
    struct conn *conn;
    void *user;
    enum http_method method;
    bool http10;
    bool keep_alive; /* what the request allows */
    bool asterisk;   /* OPTIONS * */
    bool host_repeated, origin_repeated, site_repeated;
    unsigned encodings; /* Transfer-Encoding headers */
    uint32_t path_at;   /* all offsets are into conn->head; 0: absent (the target is there) */
    uint32_t headers_at, headers_end;
    uint32_t host_at, origin_at, site_at, expect_at, encoding_at, preflight_at;
    uint32_t cors_at; /* the Origin, when it is another site that may read answers */
    unsigned header_count;
    unsigned param_count;
    struct http_param params[HTTP_PARAMS_MAX];
    struct http_joined *joined;
    struct buf extra; /* header lines of exchange_add_header */
};

enum framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

struct stream {
    struct body_source src;
    enum framing framing;
    int64_t left;      /* FRAMING_LENGTH: bytes still to come */
    size_t chunk_left; /* FRAMING_CHUNKED: bytes of the announced chunk not sent yet */
    bool finishing;    /* exchange_finish was called */
    bool complete;     /* all of it is sent or in conn->out */
    bool deferred;     /* told about at the next turn only: exchange_stream itself never calls back */
    bool broken;       /* with deferred: the client has gone */
};

struct conn {
    struct http_server *s;
    int fd;
    struct transport io; /* what goes over it */
    enum conn_state state;
    enum timer_kind timer;
    int64_t since_ms;
    struct conn *prev, *next; /* timer list */
    struct conn *turn_next;   /* server->turn, or server->dead */
    bool on_turn;
    bool in_loop;        /* conn_consume is on the stack: it goes on by itself when the answer is out */
    bool paused;         /* EV_READ is off: the read-ahead is full, or the peer has gone */
    bool blocked;        /* EV_WRITE is on: the socket was full */
    bool peer_gone;      /* seen while the handler has the exchange and wants no news of it */
    bool close_after;    /* no further request after this answer */
    bool unread;         /* the client may still be sending what nobody reads */
    bool counted;        /* in server->connections */
    bool unpaced;        /* had a long answer before: its congestion control was seen to */
    struct address peer; /* ADDRESS_NONE: nobody has asked yet */
    struct event read_ev, write_ev;

    enum read_phase phase;
    bool head_done, message_done;
    bool head_fresh; /* handler.head had this request's head in this call of http_parse */
    bool header_open;
    bool expect_continue;
    uint8_t method_len;
    char method[HTTP_METHOD_MAX + 1];
    size_t head_seen; /* raw bytes of the head, for max_head_bytes */
    size_t body_raw;  /* raw bytes of the body with its framing */
    size_t body_mark; /* body_raw when TIMER_BODY began */
    uint32_t name_at, value_at;
    llhttp_t parser;

    struct buf head; /* strings of the request */
    struct buf body;
    struct buf ahead; /* bytes read and not parsed yet, from ahead_off on */
    size_t ahead_off;
    struct buf out; /* bytes of the answer to go first, from out_off on */
    size_t out_off;
    size_t charged; /* of server->body_bytes */
    size_t linger_left;
    size_t delivered; /* bytes the client took since TIMER_DELIVER began */
    struct exchange x;
    struct stream st;
};

struct conn_list {
    struct conn *first, *last;
};

struct http_server {
    struct event_base *base;
    struct http_handler handler;
    void *ctx;
    struct log *log;
    struct http_options opt; /* its strings are in rules, not here */
    struct host_rules *rules;
    struct tls *tls;         /* NULL: plain */
    struct event *listeners; /* one for each listening socket */
    int listener_count;
    int *listen_fds;
    bool accepting;
    bool draining;
    struct event resume_ev; /* accept again after running out of fds */
    struct event sweep_ev;
    struct event turn_ev;
    bool turn_armed;
    struct conn *turn; /* connections with work left for the next turn */
    struct conn *dead;
    struct conn_list lists[TIMER_COUNT];
    unsigned connections, busy, paused, rejects;
    size_t body_bytes; /* bodies and read-ahead of all connections */
    int64_t fd_log_ms;
    int64_t date_s;
    char date[48]; /* "Date: ...\r\n" of date_s */
    struct error refusal;
    char scratch[HTTP_SCRATCH_BYTES];
};

/* ---- http_server.c */
int64_t http_now_ms(void);
const char *http_date_line(struct http_server *s, size_t *ret_len);
/* Takes a connected non-blocking socket over, as if accepted. NULL when there are too many (the fd is then answered and closed). */
struct conn *http_server_adopt(struct http_server *s, int fd);
/* Starts the clock of a kind anew; moves the connection to that list. */
void conn_timer(struct conn *c, enum timer_kind kind);
void conn_unlink(struct conn *c);
/* Looks at the connection again in the next turn of the loop. */
void conn_schedule(struct conn *c);
void http_arm_turn(struct http_server *s);

/* ---- http_conn.c */
struct conn *conn_new(struct http_server *s, int fd);
void conn_free(struct conn *c);
void conn_set_state(struct conn *c, enum conn_state state);
/* Closes now; reset: with RST, so that a cut answer can't be taken for a whole one and the kernel drops what it holds. */
void conn_close(struct conn *c, bool reset);
/* EOF, an error, or a client that takes nothing: tells the handler when it wants to know. broken: nothing can be sent any more. */
void conn_lost(struct conn *c, bool broken);
/* The answer is in the kernel's hands: on to the next request, or to the end. */
void conn_answered(struct conn *c);
/* Answers with err and closes. For requests that never reach the handler. */
void conn_refuse(struct conn *c, const struct error *err);
void conn_turn(struct conn *c);
/* Frees what an idle connection needs not. */
void conn_trim(struct conn *c);
void conn_pause_reading(struct conn *c, bool pause);
/* Brings server->body_bytes up to date with this connection's buffers. */
void conn_charge(struct conn *c);
/* True when `more` bytes may be added to b under the limit for all bodies. */
bool conn_may_grow(const struct conn *c, const struct buf *b, size_t more);

/* ---- http_parse.c */
void http_parse_begin(struct conn *c);
/* Takes bytes up to the end of one request. Returns how many it took. */
size_t http_parse(struct conn *c, const char *data, size_t n, enum parse_result *ret_result);
/* Whether `more` bytes may follow those of the body that are here; if not, the refusal is set. */
bool http_parse_body_fits(struct conn *c, uint64_t more);

/* ---- http_request.c */
/* The head is complete: target, version, Host, Origin, length. -1: refused, the reason is in server->refusal. */
int http_request_check(struct conn *c);
void exchange_reset(struct exchange *x);
void exchange_init(struct conn *c);
static inline const char *head_text(const struct exchange *x, uint32_t at) { return at ? x->conn->head.data + at : NULL; }

/* ---- http_answer.c */
#define HTTP_HEAD_OUT_BYTES 3072
/* Writes status line and headers to out (HTTP_HEAD_OUT_BYTES). length < 0: no Content-Length. Returns the length. */
size_t http_build_head(struct exchange *x, char *out, int status, const char *content_type, int64_t length, bool chunked);
/* Sends; what the socket does not take goes to conn->out, with EV_WRITE on. -1: the connection is broken. */
int conn_send(struct conn *c, struct iovec *iov, int n);
/* All that was to be sent is in the kernel's hands. */
static inline bool conn_is_out(const struct conn *c) { return c->out.len == 0 && !transport_is_holding(&c->io); }
/* Sends conn->out. 1: all of it, 0: blocked, -1: broken. */
int conn_flush(struct conn *c);
void conn_block(struct conn *c, bool blocked);
/* A client that was slow took n bytes: enough of them start its time again. */
void conn_delivered(struct conn *c, size_t n);
/* Answers a CORS preflight or OPTIONS * by itself; false when the request is for the handler. */
bool http_answer_options(struct exchange *x);

/* ---- http_stream.c */
/* The socket takes bytes again, or the turn's budget is new. */
void stream_continue(struct conn *c);
