/* The pool's own state, shared by pool.c, pool_queue.c (jobs on their way to a worker), pool_worker.c (workers) and pool_stop.c (ends). Runs in the front. */
#pragma once
#include "sched/fair.h"
#include "sched/pool.h"

struct job_list {
    struct job *head, *tail;
    unsigned count;
};

struct pool {
    struct event_base *base;
    struct control_page *page;
    int nudge_fd;
    struct pool_options opts;
    void (*replace)(void *ctx, uint32_t worker, enum death_reason reason);
    void *ctx;
    struct log *log;
    struct pool_worker *workers;
    struct pool_worker *idle;       /* the one that worked last first; never the short lane's */
    struct pool_worker *short_lane; /* idle or not; NULL: none that may get jobs */
    unsigned serving;               /* workers that get jobs, idle or not */
    unsigned replacing;             /* asked for, so that a tenant gets a worker of its own */
    struct fair *fair;
    struct job_list queue[JOB_CLASSES]; /* by arrival */
    struct job_list running;
    uint32_t last_job;
    bool draining;
    bool announce_reset;
    int64_t mean_exec_us; /* moving average, for Retry-After */
    char trouble[CONTROL_TEXT_BYTES];
};

/* On whose account it runs, as a number; 0: nobody's. */
static inline uint32_t job_tenant_id(const struct job *job) { return job->tenant ? job->tenant->id : 0; }

void job_list_push(struct job_list *l, struct job *job);
void job_list_remove(struct job_list *l, struct job *job);

/* Gives queued jobs to idle workers. */
void pool_dispatch(struct pool *p);
/* Hands a job that the caller has found to fit to an idle worker. False: the worker turned out to be gone. */
bool pool_start(struct pool *p, struct pool_worker *w, struct job *job);
/* Whether the worker has room for it; false with *err. */
bool pool_fits(const struct pool_worker *w, const struct job *job, struct error *err);

/* The order for a job that starts at that time. */
struct link_run pool_order(const struct pool *p, const struct job *job, int64_t now_ns);
/* The job runs on that worker from now on. */
void pool_begin(struct pool *p, struct pool_worker *w, struct job *job, int64_t now_ns);

/* pool_early.c */
/* Sends quick jobs early to workers that are busy with quick ones. */
void pool_early_dispatch(struct pool *p);
/* Nothing is early at this worker any more, those jobs wait again; false: the worker has taken one up, which stays. */
bool pool_early_recall(struct pool *p, struct pool_worker *w);
/* The same for one job, and those behind it. */
bool pool_early_recall_job(struct pool *p, struct job *job);
/* Gets one back from whichever worker; false: there is none to be had. */
bool pool_early_recall_any(struct pool *p);
/* The worker's job is over, though its END was not read yet: what the ring holds may be the next one's. True until that has its turn. */
bool pool_early_was_taken(const struct pool_worker *w);
/* The job waits again, whatever that costs its worker. */
void pool_early_give_up(struct pool *p, struct job *job);
/* The worker has ended its job: what it has taken up meanwhile runs. */
void pool_early_begin(struct pool *p, struct pool_worker *w);
/* Its result is delivered as well: what runs has its turn on the link. False: nothing does. */
bool pool_early_take_turn(struct pool_worker *w);
/* The worker is dead: the jobs that wait there wait again; that which runs is returned, without a worker and a place; NULL: none. */
struct job *pool_early_of_dead(struct pool *p, struct pool_worker *w);
/* Gets back what has waited behind a slow job. */
void pool_early_look(struct pool *p, int64_t now_ns);

/* pool_short_lane.c */
/* The worker of the short lane, if this job, which has just come, may run there now; NULL. */
struct pool_worker *pool_short_lane_for(struct pool *p, const struct job *job);
/* Gives quick jobs that wait to the short lane. */
void pool_short_lane_dispatch(struct pool *p);
/* A worker that is, or was, on the short lane has changed. */
void pool_short_lane_noted(struct pool *p);
/* A job has left its worker: was it right there? */
void pool_short_lane_over(struct pool *p, const struct job *job);

/* The job waits from now on; first: before its tenant's others. */
void pool_enqueue(struct pool *p, struct job *job, bool first);
void pool_expire_queue(struct pool *p, int64_t now_ns);
/* pool_memory.c: the job has just been given its worker; all that run. */
void pool_memory_begin(struct job *job);
void pool_memory_look(struct pool *p);
/* NULL: there is none of that number. */
struct pool_worker *pool_find_worker(struct pool *p, uint32_t id);
/* State or doom of the worker have changed: brings the list of idle ones and the counts up to date. */
void pool_worker_noted(struct pool_worker *w);
/* The worker's link has messages. */
void pool_worker_readable(evutil_socket_t fd, short what, void *arg);
/* Reads and acts on everything the worker still has to say. */
void pool_worker_read(struct pool_worker *w);
/* Takes the worker out of use and asks for another in its place. */
void pool_worker_doom(struct pool_worker *w, enum death_reason reason);
void pool_worker_free(struct pool_worker *w);
/* The worker has no job any more: time to replace it, if it is to be replaced. */
void pool_worker_is_free(struct pool_worker *w);

/* 0: the job's text may run; -1 with *err (sched/quarantine.h). */
int pool_check_text(const struct pool *p, const struct job *job, struct error *err);
/* The job's worker is dead, for this reason and with this error for the client. */
void pool_note_strike(const struct pool *p, const struct job *job, enum death_reason reason, enum error_code code);

/* The job is over with this error: leaves the lists and its worker, tells its owner. */
void pool_fail(struct pool *p, struct job *job, const struct error *err);
/* What a job that was stopped is told: timeout or cancelled, with how it was stopped. */
void pool_stopped_error(const struct job *job, enum stop_stage stage, struct error *ret);
/* How far the supervisor's ladder has gone for this job. */
enum stop_stage pool_ladder_stage(const struct pool *p, const struct job *job);
/* Time counts against the job's timeout again. */
void pool_clock_goes_on(struct pool *p, struct job *job);

/* pool_spool.c */
/* Takes over what the worker says to have produced, in the ring or in the file. False: it lies. */
bool pool_refresh(struct pool_worker *w);
/* The same with the final position of its END or FAIL. */
bool pool_take_end(struct pool_worker *w, uint64_t produced);
void pool_on_spooled(struct pool_worker *w, const struct link_spooled *m);
void pool_on_want(struct pool_worker *w, const struct link_want *m);

/* n bytes of the ring are free again, which the worker may wait for. */
void pool_give_room(struct pool_worker *w, uint32_t job, size_t n);

/* The worker's cell: a job with its deadline; the job without one; no job. */
void pool_arm(struct pool *p, const struct pool_worker *w, uint32_t job, int64_t deadline_ns);
void pool_pause(struct pool *p, const struct pool_worker *w);
void pool_disarm(struct pool *p, const struct pool_worker *w);
