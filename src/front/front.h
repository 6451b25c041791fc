/* The front's context, shared by its files. Runs in the front. */
#pragma once
#ifdef DUCKDB_API
#error "the front must not see the engine"
#endif
#include "core/config.h"
#include "core/layers.h"
#include "core/log.h"
#include "front/http.h"
#include "front/metrics.h"
#include "link/control.h"
#include "sched/pool.h"

struct query;

struct front {
    struct event_base *base;
    struct log log;
    struct config *cfg;
    struct control_page *page;
    int control_fd, nudge_fd;
    struct event *control_event, *tick;
    struct http_server *http;
    struct pool *pool;
    struct metrics metrics;
    struct layers layers; /* of the sandbox, as the supervisor last told */
    struct query *queries; /* those that live, newest first */
    unsigned query_count;
    bool draining;
    bool listening_unix;
    uint8_t random[4096]; /* fresh random bytes for query ids, used from the end */
    size_t random_left;
};

/* front_main.c */
int front_main(int argc, char **argv);

/* routes.c: every request arrives here. */
void routes_request(void *ctx, struct exchange *x);

/* query.c: POST /v1/query and GET /v1/schema, from the request to the last byte. */
void query_post(struct front *f, struct exchange *x);
void query_schema(struct front *f, struct exchange *x);
void query_client_gone(void *ctx, struct exchange *x, void *user);
void query_sent(void *ctx, struct exchange *x, void *user);

/* info.c */
void info_healthz(struct front *f, struct exchange *x);
void info_readyz(struct front *f, struct exchange *x);
void info_status(struct front *f, struct exchange *x);
void info_metrics(struct front *f, struct exchange *x);

/* accept.c: true when a media type that we can give is acceptable (RFC 9110 section 12.5.1); NULL header: anything is. */
bool accept_allows(const char *accept_header, const char *media_type);

/* query_id.c */
void query_id_make(struct front *f, char ret[QUERY_ID_BYTES]);
bool query_id_valid(const char *text);

/* proc.c: figures of a process from /proc; zeros when it is gone. */
struct proc_figures {
    int64_t resident_bytes;
    double cpu_seconds;
    int threads;
};
void proc_read(int32_t pid, struct proc_figures *ret);
/* Descriptors of the front itself: those of others are not for it to see. */
int proc_own_fds(void);
