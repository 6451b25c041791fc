/* The front's context, shared by its files. Runs in the front. */
#pragma once
#ifdef DUCKDB_API
#error "the front must not see the engine"
#endif
#include "core/config.h"
#include "core/layers.h"
#include "core/log.h"
#include "front/auth.h"
#include "front/http.h"
#include "front/metrics.h"
#include "link/control.h"
#include "sched/pool.h"

struct lanes;
struct quarantine;
struct query;
struct registry;
struct reload;
struct results;
struct sessions;
struct spool;
struct sql_hashes;
struct tickets;
struct waiter;

/* What every user of an exchange (exchange_set_user) begins with: whom the HTTP server tells how the answer fared. */
struct asker {
    void (*gone)(struct asker *a); /* http_handler.gone */
    void (*sent)(struct asker *a); /* http_handler.sent */
};

struct front {
    struct event_base *base;
    struct log log;
    struct sql_hashes *sql_hashes; /* for the log */
    struct config *cfg;
    struct control_page *page;
    int control_fd, nudge_fd;
    struct event *control_event, *tick;
    bool idle; /* the tick comes seldom */
    struct http_server *http;
    int64_t certificate_until_s; /* Unix time; 0: no TLS */
    struct pool *pool;
    struct quarantine *quarantine; /* texts that end workers */
    struct lanes *lanes;           /* workers that are not the pool's */
    struct sessions *sessions;
    struct spool *spool;
    struct results *results; /* of asynchronous queries */
    struct tickets *tickets;
    struct metrics metrics;
    struct layers layers; /* of the sandbox, as the supervisor last told */
    struct auth auth;
    struct caller caller; /* who sent the request whose route is at work: caller_of */
    const struct exchange *caller_exchange;
    struct query *queries; /* those that live, newest first */
    unsigned query_count;
    struct registry *registry;
    struct control_database database; /* what the supervisor told of it */
    struct reload *reloads;           /* those who wait for theirs (admin.c) */
    uint32_t last_reload;
    uint32_t last_export;
    struct waiter *waiters; /* those who want to hear of a query's end */
    bool draining;
    bool listening_unix;
    char refused_id[QUERY_ID_BYTES]; /* of the request that was refused last, for its answer */
    uint8_t random[4096];            /* fresh random bytes for query ids, used from the end */
    size_t random_left;
};

/* front_main.c */
int front_main(int argc, char **argv);
/* There is something to look after: the tick comes often from now on. */
void front_wake(struct front *f);

/* routes.c: every request arrives here, one with a body when its head is there as well; and what became of the answers of those that set a user
 * (a struct asker). */
int routes_head(void *ctx, struct exchange *x, struct error *err);
void routes_request(void *ctx, struct exchange *x);
/* Requests refused before that, by the HTTP server itself: counted, and those that were to be queries get an id. */
const char *routes_refused(void *ctx, struct exchange *x, enum error_code code);
void routes_gone(void *ctx, struct exchange *x, void *user);
void routes_sent(void *ctx, struct exchange *x, void *user);

/* The refusal of a request, which is counted. One that was to be a query has an id all the same. */
void routes_refuse(struct front *f, struct exchange *x, const struct error *err);

/* query.c: POST /v1/query, POST /v1/queries and GET /v1/schema. */
void query_post(struct front *f, struct exchange *x);
void query_post_asynchronous(struct front *f, struct exchange *x);
void query_admin(struct front *f, struct exchange *x); /* POST /v1/admin/sql */
void query_schema(struct front *f, struct exchange *x);

/* queries.c: the register over HTTP. */
void queries_list(struct front *f, struct exchange *x);
void queries_get(struct front *f, struct exchange *x, const char *id);
void queries_delete(struct front *f, struct exchange *x, const char *id);
/* The tenant's key is gone: its queries are cancelled, and what it ran is nobody's any more. */
void queries_revoked(void *front, struct tenant *t);
/* The server ends: every query is stopped, and answered with 503. */
void queries_shut_down(struct front *f);

/* info.c */
void info_healthz(struct front *f, struct exchange *x);
void info_readyz(struct front *f, struct exchange *x);
void info_status(struct front *f, struct exchange *x);
void info_metrics(struct front *f, struct exchange *x);

/* query_id.c */
void query_id_make(struct front *f, char ret[QUERY_ID_BYTES]);

/* proc.c: figures of a process from /proc; zeros when it is gone. */
struct proc_figures {
    int64_t resident_bytes;
    double cpu_seconds;
    int threads;
};
void proc_read(int32_t pid, struct proc_figures *ret);
/* Descriptors of the front itself: those of others are not for it to see. */
int proc_own_fds(void);
/* Resident memory alone, which is quick to read; 0 when the process is gone. */
