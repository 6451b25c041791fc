/* Admission, queue and the workers a front has: which job runs where, until when, and what became of it.
 * Knows links and rings; must not know HTTP or DuckDB. Runs in the front. */
#pragma once
#include "core/log.h"
#include "link/control.h"
#include "link/early.h"
#include "link/ring.h"
#include "sched/job.h"
#include <event2/event.h>

enum pool_worker_state { POOL_IDLE, POOL_BUSY, POOL_DRAINING, POOL_LOST };

struct pool_worker {
    uint32_t id, cell, slot;
    enum worker_kind kind;
    pid_t pid;
    enum pool_worker_state state;
    bool doomed; /* gets no further job */
    bool served; /* a job, for served_tenant at last */
    uint32_t served_tenant;
    bool stale;       /* to be replaced when free */
    bool short_lane;  /* a spare: it has no slot, and gets quick queries only (pool_short_lane.c) */
    uint64_t version; /* of the database file it has open; 0: none */
    bool spooled;     /* it was sent a descriptor: no further job */
    int link_fd;
    struct event *event;
    struct ring ring;
    struct ring_reader reader;
    struct job *job;               /* while BUSY, DRAINING, and LOST in the middle of a job */
    struct job *early[EARLY_MOST]; /* sent before their turn: the worker may take them up next, in this order (pool_early.c) */
    unsigned early_count;
    uint32_t early_put; /* orders sent early and not had back, ever */
    bool muted;         /* its link is not listened to: it runs what was ahead, and the result before is not delivered */
    uint64_t queries;
    int64_t cpu_ns;                   /* its CPU clock when it was last looked at */
    int64_t sampled_ns, memory_bytes; /* when somebody looked at its memory, and what it was */
    struct pool *pool;
    struct pool_worker *next; /* in the pool's list */
    bool counted;             /* in pool->serving */
    bool is_idle;             /* on the list of idle ones */
    struct pool_worker *prev_idle, *next_idle;
};

struct quarantine;

struct pool_options {
    int64_t queue_length;
    int64_t queue_timeout_ms;
    uint32_t inline_bytes;
    int64_t recycle_after; /* queries; 0: never */
    bool isolation_by_key; /* a worker that served one tenant is replaced before it serves another */
    bool one_account;      /* all jobs count as one tenant's: the workers of a session, which has one owner. (A tenant has room for the books
                              of one pool only: that of the shared workers.) Only pool_new looks at it. */
    void (*leaves)(
        void *ctx,
        uint32_t worker);          /* tells the supervisor that this one will be replaced when its query ends; ctx is replace's; NULL: nobody asks */
    struct quarantine *quarantine; /* texts that end workers, for all pools of the front; NULL: none */
};

struct pool_counts {
    unsigned idle, busy, draining, lost; /* a spare counts only while it works */
    unsigned working_spares;
    unsigned queued, background; /* all that wait; those of them that nobody waits for */
};

struct pool;

/* replace(ctx, worker, reason): ask the supervisor to end that worker (reason: DEATH_SPENT, DEATH_LINK or DEATH_RETIRED). */
struct pool *pool_new(struct event_base *base, struct control_page *page, int nudge_fd, const struct pool_options *opts,
                      void (*replace)(void *ctx, uint32_t worker, enum death_reason reason), void *ctx, struct log *log);
void pool_set_options(struct pool *p, const struct pool_options *opts);
void pool_free(struct pool *p);
/* Tenants' limits have changed. */
void pool_limits_changed(struct pool *p);

/* A worker from the supervisor; takes both fds. 0, or -1 when its region can't be mapped (fds closed). */
int pool_add(struct pool *p, const struct control_assign *m, int link_fd, int region_fd);
/* The worker of the short lane has a slot from now on. */
void pool_give_slot(struct pool *p, uint32_t worker, uint32_t slot);
/* A worker is gone: its job fails with what fits, or runs again when it was never taken up. */
void pool_died(struct pool *p, const struct control_died *m);
/* Workers can't be started (text says why), or can again (empty text). Without any worker, queued jobs fail at once. */
void pool_set_trouble(struct pool *p, const char *text);
const char *pool_trouble(const struct pool *p);
/* That worker goes as soon as it is free. */
void pool_retire(struct pool *p, uint32_t worker);
/* The present workers have old values: each is replaced when it is free, busy ones after their job. */
void pool_replace_all(struct pool *p);
/* No new jobs; queued and running ones go on. */
void pool_drain(struct pool *p);
/* The end of a pool: no new jobs, those that wait fail with `why`, those that run are cancelled, every worker is to be ended. */
void pool_end(struct pool *p, const struct error *why);
/* Those that wait fail with this error. */
void pool_fail_queued(struct pool *p, const struct error *why);
/* Something waits or runs, or its result is not delivered yet. */
bool pool_has_jobs(const struct pool *p);
/* The next job that starts is told (job->session_reset, link_run) that its worker knows nothing of what came before. */
void pool_announce_reset(struct pool *p);

/* Runs or queues the job. 0; or -1 with *err (overloaded, rate_limited, unavailable, payload_too_large, forbidden: quarantine): the job was not taken and stays the caller's.
 * Afterwards the job belongs to the pool until job->events->failed is called or pool_release returns. Events may come before this returns. */
int pool_submit(struct pool *p, struct job *job, struct error *err);
/* Stops a job for a reason: a queued one fails at once (failed is called), a running one by the supervisor's ladder. */
void pool_cancel(struct pool *p, struct job *job, enum stop_reason reason);
/* The result of a job that ended is delivered, or nobody wants the rest: its worker is free for the next one, the job is the caller's. */
void pool_release(struct pool *p, struct job *job);
/* Bytes of the job's result were consumed by the client. */
void pool_consumed(struct pool *p, struct job *job, size_t n);
/* The job's result goes on in a file: `fd` is ours, `worker_fd` the worker's way to the same file (both stay the caller's; fd until the job is
 * over or released), behind the `written` bytes that the caller has consumed from the ring and put there; it may become `bytes` long, which should
 * be a ring more than that (sync: and the worker has to bring it to disk at its end). False: it can't be now; nothing has changed. Afterwards nothing
 * may be consumed from the ring; events->spooled tells that the file has taken its place. It may never be called, when the result ends first:
 * then the rest is in the ring. */
bool pool_divert(struct pool *p, struct job *job, int fd, int worker_fd, int64_t written, int64_t bytes, bool sync);
/* Whether its worker may be given a file at all: a session's may not, since a worker that was given one gets no further job. Then what is in the
 * ring is for the front to copy. */
bool pool_may_divert(const struct job *job);
/* The worker says that it waits for room in the ring, and there is little: it will read an order at once. */
bool pool_waits_for_room(const struct job *job);
/* How much is in the file by now, checked; what can't be there yet is 0. A worker that lies is replaced. */
int64_t pool_spooled_bytes(struct job *job);
/* The job's worker was given a file, whether it took it or not: until events->buried it may still write there. */
bool pool_was_handed_out(const struct job *job);
/* The file may have so many bytes in all, not fewer than before. False: it can't be told now. */
bool pool_grant(struct pool *p, struct job *job, int64_t bytes);
/* Stops a job because of a limit: it fails with *err. */
void pool_stop(struct pool *p, struct job *job, const struct error *err);
/* The worker can't go on because the client is slow: that time does not count against the timeout. pool_consumed ends it. */
void pool_client_is_slow(struct pool *p, struct job *job);

/* How far the job is, 0 to 1, as its worker says; < 0: unknown. */
double pool_progress(const struct job *job);
/* Brings job->cpu_us up to date, as long as its worker lives. */
void pool_note_cpu(struct job *job);

/* Called every few milliseconds: queue timeouts, results that wait for their doorbell. first_row_ns: how long a first row may wait. */
void pool_tick(struct pool *p, int64_t now_ns, int64_t first_row_ns);

struct pool_counts pool_count(const struct pool *p);
/* How often a tenant was held to have cost a worker. */
uint64_t pool_penalties(const struct pool *p);
/* Nobody is treated worse for workers that were lost until now. */
void pool_forgive(struct pool *p);
/* What each tenant has waiting and running (sched/fair.h). */
struct fair_figures;
void pool_each_tenant(const struct pool *p, void (*fn)(void *ctx, const struct fair_figures *figures), void *ctx);
const struct pool_worker *pool_workers(const struct pool *p);
/* The job that the worker has, from the moment it took it up (before, the job may still run elsewhere); NULL: none. */
const struct job *pool_worker_job(const struct pool_worker *w);
/* The running or queued job with this query id, NULL. */
struct job *pool_find(struct pool *p, const char *query_id);
