/* The supervisor's state, shared by its files. Nothing in here comes from a client; what comes from the front is checked. */
#pragma once
#include "core/config.h"
#include "core/errors.h"
#include "core/extensions.h"
#include "core/layers.h"
#include "core/log.h"
#include "link/control.h"
#include "supervisor/caps.h"
#include "supervisor/child.h"
#include "supervisor/database.h"
#include "supervisor/ladder.h"
#include "supervisor/scratch.h"
#include "supervisor/spawn.h"
#include "supervisor/supervisor.h"
#include "supervisor/users.h"
#include <event2/event.h>
#include <stdbool.h>
#include <sys/stat.h>

#define WORDS_BYTES 1024

struct supervisor;

struct worker {
    struct supervisor *sup;
    struct worker *next;
    uint32_t id;
    uint32_t cell;
    struct worker_ends ends; /* link and region until it is assigned to the front */
    struct event *pid_event, *status_event, *log_event;
    enum worker_state state;
    int slot;            /* -1: none */
    unsigned generation; /* of the configuration it was started with */
    unsigned epoch;      /* of the database file (database.h) */
    uint64_t version;    /* of it (publish/identity.h) */
    bool written;        /* a writer: it says that its file is written, closed and verified */
    bool retiring;       /* the front was told to let it go when it is free */
    bool short_lane;     /* a spare that the front has, for quick queries (short_lane.c) */
    bool leaves;         /* the front will have it replaced when its query ends */
    struct ladder ladder;
    int64_t job_seen_ns; /* when ladder.job was first seen */
    bool doomed;
    enum death_reason reason;   /* why it was doomed */
    enum worker_kind kind;      /* POOL, or SOURCES until it is assigned to a session */
    char set[SOURCE_SET_BYTES]; /* its sources */
    int broker_fd;              /* the broker's end of its channel, kept for a new broker; -1: it needs no network */
    struct want *want;          /* whom it is started for; NULL: the pool, or to be kept warm */
    int64_t started_ns;
    char scratch[4096]; /* "" for none */
    struct worker_cap cap;
    int64_t ran_ns;          /* its CPU time when its scratch directory was looked at */
    char words[WORDS_BYTES]; /* the last line it printed */
    int64_t words_since_ns;  /* the second in which they are counted */
    unsigned words_count;
    bool words_held; /* it prints too much: nobody reads until the second is over */
};

/* The front asked for a worker of its own. In the order of asking; gone when it is answered. */
struct want {
    uint32_t id;
    enum worker_kind kind;
    bool writes; /* a writer: it has looked, and needs a copy to write to */
    char set[SOURCE_SET_BYTES];
    struct worker *worker; /* that starts for it */
    struct want *next;
};

struct source_print {
    char name[SOURCE_NAME_BYTES];
    uint64_t print; /* secrets_fingerprint */
};

struct backoff {
    unsigned failures; /* in a row */
    struct event *timer;
    bool waiting;
};

struct front_child {
    struct child child;
    struct event *pid_event, *control_event;
    int control_fd;
    bool up;
    int64_t started_ns;
    unsigned replaces; /* it asked for since */
    int64_t replaces_since_ns;
    struct backoff backoff;
};

/* The key file's text as the front gets it. */
struct key_source {
    int fd;           /* sealed; empty without a key file; -1 before key_source_open */
    struct stat seen; /* of the file that was looked at last */
    struct event *look;
};

struct broker_child {
    struct child child;
    struct event *pid_event;
    struct event *report_event; /* until it has reported its layers */
    int control_fd;
    int64_t started_ns;
    struct backoff backoff;
    bool refused; /* a layer of its sandbox that is required is not in force: there is no broker any more */
};

#define VERIFIED_BYTES 16384

/* verifier.c: who checks the signatures of extensions. */
struct verifier {
    struct worker_ends ends; /* .child.pidfd is -1: none runs */
    struct worker_cap cap;
    struct event *pid_event, *status_event, *timer;
    char path[EXTENSION_PATH_BYTES], state[EXTENSION_STATE_BYTES]; /* of the file that it looks at */
    bool ready;
    char why[CONTROL_TEXT_BYTES]; /* "": it has not said why not */
    unsigned tries;               /* that ended without a word, in a row */
    int64_t started_ns;
    char passed[VERIFIED_BYTES], failed[VERIFIED_BYTES]; /* states of files, with commas */
};

/* The admin write that is under way; one at a time. */
enum write_state {
    WRITE_NONE,
    WRITE_LOOKING,    /* a worker reads the database to see whether the statements write */
    WRITE_COPYING,    /* the publisher makes the copy */
    WRITE_RUNNING,    /* a worker has it */
    WRITE_COMMITTING, /* the publisher puts it in the database's place */
    WRITE_SETTLING,   /* it is; the pool's workers go over to it */
    WRITE_ENDING      /* the publisher tidies up; nobody waits for it */
};

struct write_path {
    enum write_state state;
    uint32_t want;   /* the front's; LOOKING, COPYING */
    uint32_t worker; /* that looks or writes; 0: none yet, or no more */
    bool written;    /* it said so before it died */
    struct child publisher;
    struct event *pid_event, *control_event, *timer;
    int control_fd;                 /* to the publisher; -1 */
    int config_fd;                  /* of the writer; -1 */
    int64_t copied_ns;              /* when the copy began */
    struct control_write_over over; /* SETTLING: what the front will be told */
};

struct supervisor {
    struct config *cfg;
    const struct supervisor_options *opts;
    struct log log;
    struct event_base *base;
    int listen_fds[16];
    int listen_count;
    char address[300]; /* as clients reach it: ADDR:PORT or unix:/path */
    char *socket_path; /* to be removed at the end, if it is still ours; NULL */
    ino_t socket_inode;
    struct control_page *page;
    int page_fd, nudge_fd, config_fd;
    struct key_source keys;
    int tls_fd; /* link/identity.h: sealed; empty without TLS */
    char *worker_path;
    struct scratch scratch, spool;
    int spool_fd; /* its directory */
    struct users users;
    struct caps caps;
    struct event *memory_look; /* the watchdog's timer; NULL: control groups do its work */
    struct event *scratch_look;
    struct layers layers; /* as the last reports had them */

    struct worker *workers;
    uint32_t last_worker;
    unsigned generation;
    int slots, spares;
    struct worker **slot; /* [slots] */
    struct backoff spawn_backoff;
    struct want *wants;
    int dedicated_max; /* workers that are not the pool's, at a time */
    struct backoff warm_backoff;
    char seen_sets[8][SOURCE_SET_BYTES]; /* sets of several sources that requests asked for lately: candidates for staying warm */
    unsigned seen_next;
    struct event *secrets_look;
    struct source_print *prints; /* of each source of cfg: tells what a reload changes */
    size_t print_count;
    char start_error[CONTROL_TEXT_BYTES]; /* why workers can't start; "" when they can */

    struct export *exports; /* exports.c: those under way */
    unsigned export_count;
    struct database database;
    struct front_child front;
    struct broker_child broker;
    struct verifier verifier;
    struct write_path write;
    struct event *wake, *nudge_event, *signals[5], *grace;
    int64_t scanned_ns, looked_ns;
    bool announced;                   /* the ready line is out */
    bool draining, stopping, killing; /* after SIGTERM, one after the other */
    int exit_code;
};

/* supervisor.c */
void supervisor_announce(struct supervisor *s); /* the ready line, once, when the time has come */
void supervisor_drain(struct supervisor *s);
/* -1 with *err: the configuration asks for a protection that this build does not have. At the start and at each reload. */
int supervisor_refuse_unprotected(const struct config *cfg, struct error *err);
void supervisor_kill_all(struct supervisor *s);
/* Leaves the loop when everything that should end has ended. */
void supervisor_maybe_end(struct supervisor *s);
/* Calls fn after a delay that doubles with each failure in a row: 100 ms to 5 s. */
void backoff_start(struct supervisor *s, struct backoff *b, event_callback_fn fn);

/* listen.c: 0; -1 with *err (the address can't be served). */
int listen_open(struct supervisor *s, struct error *err);
/* A unix socket's file goes, and our descriptors; the front has its own, takes in who waits there, and ends the sockets. Once more does no harm. */
void listen_end(struct supervisor *s);
/* True for 127.0.0.0/8, ::1, localhost and unix sockets. */
bool listen_is_loopback(const char *listen);

/* workers.c */
/* Starts one; NULL with *err. `set` and `want` are for those that are not the pool's. */
struct worker *workers_spawn(struct supervisor *s, enum worker_kind kind, const char *set, struct want *want, struct error *err);
/* Hands a ready worker to the front, for a slot, the short lane (kind POOL, slot -1, want 0) or a want. */
bool workers_assign(struct supervisor *s, struct worker *w, enum worker_kind kind, int slot, uint32_t want);
/* A worker that the front has without a slot gets this one, which is empty. */
void workers_take_slot(struct worker *w, int slot);
/* Puts a spare into the slot of a worker that goes when it is free. */
bool workers_supersede(struct supervisor *s, struct worker *old, struct worker *spare);
void workers_fill(struct supervisor *s); /* spares into empty slots, new workers where some are missing */
void workers_doom(struct worker *w, enum death_reason reason);
void workers_look_at_status(struct worker *w);   /* reads what it has said so far */
void workers_start_timed_out(struct worker *w);  /* it never said ready: ended, and the next try waits */
void workers_forget_front(struct supervisor *s); /* the front died: its workers go */
void workers_retire_spares(struct supervisor *s);
struct worker *workers_find(struct supervisor *s, uint32_t id);
unsigned workers_ready(const struct supervisor *s);

/* They can't be started, and why: logged, and told to the front. */
void workers_start_failed(struct supervisor *s, const char *why);
void workers_try_later(struct supervisor *s); /* fills again after a while that doubles with each failure */

/* The oldest ready one that may serve; NULL: none. */
struct worker *workers_oldest_spare(const struct supervisor *s);

/* short_lane.c: the spare that the front has. */
struct worker *short_lane(const struct supervisor *s); /* NULL: none */
/* It counts as one of the spares that are wanted. */
bool short_lane_is_spare(const struct worker *w);
/* A spare is left over for it: the front is given it. */
void short_lane_open(struct supervisor *s);
/* Its worker takes an empty slot. False: there is none that may. */
bool short_lane_promote(struct supervisor *s, int slot);
/* The front's word that it will have this worker replaced. */
void short_lane_worker_leaves(struct supervisor *s, uint32_t worker);
/* Spares that are wanted besides: 1 as long as such a one works, else 0. */
int short_lane_relief(const struct supervisor *s);

/* Accepts one that there is not. */
static inline void event_drop(struct event **ev)
{
    if (*ev)
        event_free(*ev);
    *ev = NULL;
}

/* deaths.c: a worker's pidfd is readable: it is reaped, its death told and counted, and all that it had given back. */
void deaths_pid_ready(evutil_socket_t fd, short what, void *worker);

/* words.c: what a worker prints */
void words_heard(evutil_socket_t fd, short what, void *worker); /* its pipe is readable */
void words_hear_again(struct worker *w, int64_t now_ns);        /* a second of too many is over; called now and then */

/* broker_child.c: the process that connects to sources */
/* A channel to it for a worker that is about to start, with what its sources may be reached at; starts the broker where needed. *ret_fd: the worker's end,
 * the caller's; -1 when its sources need none. 0, or -1 with *err. */
int broker_channel(struct supervisor *s, struct worker *w, int *ret_fd, struct error *err);
void broker_end(struct supervisor *s);    /* kills it */
void broker_forget(struct supervisor *s); /* at the supervisor's end, when it is dead */

/* verifier.c */
void verifier_look(struct supervisor *s);   /* starts one where a file is in a state that nobody has looked at; now and then */
void verifier_end(struct supervisor *s);    /* kills it */
void verifier_forget(struct supervisor *s); /* it is dead */

/* dedicated.c: workers for sessions and for requests with sources. */
void dedicated_want(struct supervisor *s, const struct control_want *m);
void dedicated_unwant(struct supervisor *s, uint32_t want);
void dedicated_ready(struct worker *w);
/* It said that it can't start; `record` as on the status pipe. */
void dedicated_refused(struct worker *w, const char *record);
/* It is dead. Called before it is buried. */
void dedicated_dead(struct worker *w, enum death_reason reason);
void dedicated_fill(struct supervisor *s); /* starts what wants and warm sets are missing, as far as there is room */
void dedicated_forget_front(struct supervisor *s);
void dedicated_drain(struct supervisor *s); /* those whose turn has not come are told that it will not */
/* The sources of the present configuration, remembered; what differs from the last time is told to the front. */
void dedicated_sources_changed(struct supervisor *s);
/* Answers a want that can't be served, and forgets it. */
void dedicated_fail(struct supervisor *s, struct want *x, const struct error *err);
void dedicated_watch(struct supervisor *s); /* does that now and then: a secret's file may change without a word */

/* write_path.c: POST /v1/admin/sql, one at a time. */
void write_path_init(struct supervisor *s);
/* A want of kind WRITER that waits for its turn, or whose turn it is. */
void write_path_serve(struct supervisor *s, struct want *x);
/* What makes a worker that is about to start a writer, or one that looks. */
void write_path_plan(const struct supervisor *s, struct worker_plan *plan);
bool write_path_serves(const struct supervisor *s, const struct want *x); /* it is this one's turn */
void write_path_unwanted(struct supervisor *s, uint32_t want);
void write_path_worker_dead(struct worker *w);
/* The front says that this worker has done its part. */
void write_path_commit(struct supervisor *s, uint32_t worker);
/* The pool's workers may have gone over to what was published. */
void write_path_settled(struct supervisor *s);
void write_path_forget_front(struct supervisor *s);
void write_path_kill(struct supervisor *s);          /* the server ends now */
bool write_path_is_over(const struct supervisor *s); /* no publisher lives */
void write_path_forget(struct supervisor *s);        /* at the supervisor's end */

/* cap_watch.c: what the kernel limits, and what has to be looked at. */
/* Chooses the means and reports them. -1 with *err: a layer that the configuration requires is not to be had. */
int cap_watch_open(struct supervisor *s, struct error *err);
void cap_watch_start(struct supervisor *s);              /* with the loop */
void cap_watch_close(struct supervisor *s);              /* when no worker lives */
int64_t cap_watch_scratch_bytes(const struct worker *w); /* what it may spill */

/* watch.c: the deadlines in the page, the ladders, the front's heartbeat. */
void watch_now(struct supervisor *s);
void watch_nudged(evutil_socket_t fd, short what, void *arg);
void watch_timer(evutil_socket_t fd, short what, void *arg);

/* front_child.c */
void front_start(struct supervisor *s);
bool front_send(struct supervisor *s, const void *message, const int *fds, int nfds);
void front_tell_trouble(struct supervisor *s);
/* One more worker that the front gave up, by asking or by letting go of its link. False: too many for a sane one; it is being killed. */
bool front_count_replace(struct supervisor *s);

/* key_source.c: server.keys_file. open: 0; -1 with *err (bad_request: what is wrong with it). */
int key_source_open(struct supervisor *s, struct error *err);
void key_source_watch(struct supervisor *s);
void key_source_reload(struct supervisor *s);
void key_source_close(struct supervisor *s);

/* tls_source.c: server.tls_cert, server.tls_key. open: 0; -1 with *err (bad_request: what is wrong with them). */
int tls_source_open(struct supervisor *s, struct error *err);
void tls_source_reload(struct supervisor *s);
/* supervisor.c: a log line when the policy by function is wider than the built-in one. */
void supervisor_warn_of_policy(struct supervisor *s);

/* reload.c */
void reload(struct supervisor *s);
/* The effective configuration as a sealed file; -1. */
int config_to_fd(const struct config *cfg);

/* exports.c: a file without a name for an export; its name; never mind; the front is gone. */
void exports_open(struct supervisor *s, const struct control_export *m);
void exports_commit(struct supervisor *s, uint32_t id);
void exports_drop(struct supervisor *s, uint32_t id);
void exports_forget_front(struct supervisor *s);
