/* A lane: a pool of one worker that was wanted from the supervisor, with certain sources, for a session or for one request. Jobs can be submitted
 * to its pool from the first moment on; they wait there until the worker has come.
 * Knows pools and control messages; must not know HTTP. Runs in the front. */
#pragma once
#include "link/control.h"
#include "sched/pool.h"

#define LANE_ACCOUNT_BYTES 64

struct lane;
struct lanes;

struct lane_events {
    /* The worker is there (again); it was added to the pool, and jobs that waited run. */
    void (*ready)(struct lane *l);
    /* It can't be had. Jobs that waited have failed with the same error. */
    void (*failed)(struct lane *l, const struct error *err);
    /* It is gone; what it ran was answered. */
    void (*died)(struct lane *l, enum death_reason reason);
};

struct lane {
    struct lanes *all;
    struct pool *pool;
    enum worker_kind kind;
    char set[SOURCE_SET_BYTES];
    uint32_t want;   /* asked for, not answered; 0: nothing */
    uint32_t worker; /* its worker's id; 0: none */
    bool writes;     /* of kind WRITER: the next worker is to have a copy to write to */
    bool closing;
    const struct lane_events *events; /* NULL once it is closing */
    void *owner;
    char account[LANE_ACCOUNT_BYTES]; /* of one request: whose it is, by the key's name; "": nobody's in particular */
    struct lane *next;
};

struct lanes_options {
    struct event_base *base;
    struct control_page *page;
    int control_fd, nudge_fd;
    struct log *log;
    /* As for pool_new. */
    void (*replace)(void *ctx, uint32_t worker, enum death_reason reason);
    void *ctx;
};

struct lanes *lanes_new(const struct lanes_options *o);
void lanes_free(struct lanes *all);

/* A new lane, which wants its worker at once. events may be called before this returns only for failures. */
struct lane *lane_open(struct lanes *all, enum worker_kind kind, const char *set, const struct pool_options *opts, const struct lane_events *events,
                       void *owner);
/* Wants a worker again, unless there is one or one is on its way. */
void lane_want(struct lane *l);
/* No further jobs. Those that wait fail with `why`, one that runs is cancelled, the worker ends; the lane is gone when all that is over. */
void lane_close(struct lane *l, const struct error *why);
/* Something runs or waits in it. */
bool lane_is_busy(const struct lane *l);
/* The next job that is started here is told that what an earlier worker held is lost. */
void lane_announce_reset(struct lane *l);

/* The supervisor's messages. True when it was for a lane; then the fds are taken. */
bool lanes_assigned(struct lanes *all, const struct control_assign *m, int link_fd, int region_fd);
bool lanes_want_failed(struct lanes *all, const struct control_want_failed *m);
bool lanes_died(struct lanes *all, const struct control_died *m);

void lanes_tick(struct lanes *all, int64_t now_ns, int64_t first_row_ns);
void lanes_drain(struct lanes *all);
/* Lanes that wait for their worker. */
unsigned lanes_waiting(const struct lanes *all);
struct lane *lanes_first(const struct lanes *all);
