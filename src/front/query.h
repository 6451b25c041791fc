/* A query that lives in the front: the request it came with, its job, its record. Runs in the front. */
#pragma once
#include "front/front.h"
#include "front/negotiate.h"
#include "front/registry.h"
#include "front/spool.h"
#include "front/traceparent.h"

#define QUERY_ID_HEADER "Bulkhead-Query-Id"

struct query {
    struct asker asker; /* first: it is the user of its exchange */
    struct front *f;
    struct exchange *x; /* NULL: the client has gone */
    struct job *job;
    struct pool *pool;      /* the server's, or that of a lane */
    struct lane *own_lane;  /* for this query alone, with its sources; NULL: none */
    struct record *record;  /* NULL: not a client's query (GET /v1/schema), or not accepted yet */
    bool admin;             /* POST /v1/admin/sql */
    uint32_t publishing;    /* the writer whose file is being published for it; 0: none. From then on it can't be stopped */
    bool schema;            /* GET /v1/schema: not counted as a client's query */
    struct negotiated form; /* of the answer */
    bool without_body;      /* HEAD: what the worker writes is counted and dropped */
    bool head_sent;
    bool reset_told;   /* Bulkhead-Session-Reset is on the answer */
    bool asynchronous; /* POST /v1/queries: nobody waits for it, its result is kept */
    uint32_t export;   /* its number with the supervisor; 0: none */
    enum { EXPORT_NONE, EXPORT_OPENING, EXPORT_OPEN, EXPORT_COMMITTING } export_state;
    /* What of its result went into a file (query_spool.h). */
    struct spool_file *file; /* NULL: none was made */
    bool wants_room;         /* the worker waits until the file may grow */
    int64_t file_end;        /* so much is in it, checked */
    int64_t file_at;         /* so much of it was taken by the client */
    int64_t slow_since_ns;   /* the client takes hardly anything while the worker waits; 0: it does not */
    uint64_t slow_at;        /* what it had taken then */
    struct address client;
    struct traceparent trace;
    struct query *next, *prev;
};

/* It is over; err: NULL for success. Counted and logged, once. */
void query_count(struct query *q, const struct error *err);
/* Closes its record, tells who waits for that, and frees it. Its job is over, and no worker's any more. */
void query_finish(struct query *q);
/* Its worker has done its part, and all the same the query fails with *err: counted, released, gone. */
void query_fail(struct query *q, const struct error *err);
/* The worker that it had for itself, if it had one, is needed no longer. */
void query_leave_lane(struct query *q);
/* Ends it as cancelled: at once when it does not run, by the kill ladder when it does. The query may be gone when this returns; its record
 * only if nobody has pinned it. */
void query_cancel(struct query *q);
/* The same, and it ends with *why (copied). What was asked to end before ends with what it was told then. */
void query_stop(struct query *q, const struct error *why);
/* The file that it asked for is there (taken): it goes its way. Or it can't be had. */
void query_file_opened(struct query *q, struct spool_file *file);
void query_file_refused(struct query *q, const struct error *err);
/* A failure that operators should see gets a line of its own. */
void query_log_failure(const struct query *q);
/* What it wrote was published (err NULL), or was not and never will be. */
void query_published(struct query *q, const struct error *err);
/* It is over: its line in the log. err: NULL for success. */
void query_log(struct query *q, const struct error *err);
/* Writes what is known now of a query that lives into its record. Of one that is over, nothing. */
void query_update_record(struct record *rec);
/* Looks at the memory and the CPU time of its worker, unless that was done a moment ago. */
void query_sample(struct query *q, int64_t now_ns);
/* The same for all that run; called with every tick. */
void query_sample_all(struct front *f, int64_t now_ns);
