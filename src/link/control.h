/* What supervisor and front share: a SOCK_SEQPACKET channel of small messages, a page of counters and deadlines, and an eventfd with which
 * the front says "look at the page now". The supervisor believes nothing the front writes: it copies a value once, checks it against its own
 * table of workers, and clips times to the configured maxima.
 *
 * The page is why a query costs no message to the supervisor: the front writes the job's deadline into its worker's cell, and rings the eventfd only
 * when that is earlier than the time at which the supervisor will look anyway (wake_ns). */
#pragma once
#include "core/errors.h"
#include "core/layers.h"
#include "core/source.h"
#include "link/inherit.h"
#include "link/gone.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CONTROL_CELLS 512 /* live workers of one server, dying ones included */
#define CONTROL_TEXT_BYTES 1024

enum control_type {
    CONTROL_NONE,
#define CONTROL_MESSAGE(name, sender) CONTROL_##name,
#include "link/control.def"
#undef CONTROL_MESSAGE
    CONTROL_TYPE_COUNT
};

/* Why a worker ended; the label `reason` of bulkhead_worker_deaths_total. */
enum death_reason {
    DEATH_CRASH,   /* a signal nobody here sent */
    DEATH_EXIT,    /* it ended itself */
    DEATH_TIMEOUT, /* the ladder, after a deadline */
    DEATH_CANCEL,  /* the ladder, after a cancellation or a vanished client */
    DEATH_SPENT,   /* replaced: its engine was in a bad state */
    DEATH_LINK,    /* replaced: it broke the protocol */
    DEATH_RETIRED, /* replaced: new configuration, front restart, shutdown */
    DEATH_START,   /* it never became ready */
    DEATH_MEMORY,  /* the kernel's cap on its memory, or the memory of machine or container */
    DEATH_SCRATCH, /* it wrote more into its scratch directory than it may */
    DEATH_REASONS
};
const char *death_reason_text(enum death_reason reason);

enum worker_state { WORKER_NONE, WORKER_STARTING, WORKER_SPARE, WORKER_POOL, WORKER_DYING, WORKER_STATES };
const char *worker_state_text(enum worker_state state);

struct control_cell {
    /* Written by the front. To arm: deadline_ns = 0, job, then deadline_ns (release). */
    _Alignas(64) _Atomic int64_t deadline_ns; /* CLOCK_MONOTONIC; 0: nothing to watch */
    _Atomic uint32_t job;
    _Atomic uint32_t cancel_job; /* stop this job now */
    _Atomic uint64_t queries;    /* how many jobs it was given */
    /* Written by the supervisor. */
    _Alignas(64) _Atomic uint32_t worker; /* id, never used again in this server's life; 0: free cell */
    _Atomic int32_t pid;
    _Atomic uint32_t state; /* enum worker_state */
    _Atomic uint32_t slot;
    _Atomic uint32_t kind;     /* enum worker_kind */
    _Atomic uint64_t stopping; /* job << 8 | enum stop_stage: how far the ladder has gone for that job */
};

/* What is read again while the server runs; the label `what` of bulkhead_reload_refused. */
enum reload_part { RELOAD_CONFIG, RELOAD_KEYS, RELOAD_TLS, RELOAD_PARTS };

struct control_page {
    _Alignas(64) _Atomic int64_t heartbeat_ns; /* front: when its loop last turned */
    _Atomic uint64_t stops_by_interrupt;       /* front: jobs that an interrupt ended */
    _Alignas(64) _Atomic int64_t wake_ns;      /* supervisor: when it will next look at the cells */
    _Atomic uint64_t stops[STOP_COUNT];        /* supervisor: workers that needed it, by last stage */
    _Atomic uint64_t deaths[DEATH_REASONS];
    _Atomic uint64_t spawns, front_starts;
    _Atomic uint32_t reload_refused[RELOAD_PARTS]; /* 1: what was read last was refused, and the one before is in force */
    _Atomic int32_t supervisor_pid;
    _Atomic int32_t supervisor_fds; /* how many it has open */
    _Atomic int64_t started_ns;
    struct control_cell cell[CONTROL_CELLS];
    /* front: queries that it took; apart from the others, so that a flood of these does not push them out: those with a result to be fetched */
    struct gone_ring queries, results;
    struct gone_ring sessions; /* front: those that were opened */
    /* supervisor: the copy that is made for a write */
    _Atomic uint32_t copy_want; /* the front's number for it; 0: none is made */
    _Atomic int64_t copy_done_bytes, copy_total_bytes;
};

struct control_assign {
    uint32_t type;
    uint32_t worker;
    uint32_t cell;
    uint32_t slot;
    int32_t pid;
    uint32_t kind; /* enum worker_kind */
    uint64_t request_bytes;
    uint32_t want;       /* the request it answers; 0: it is for the pool */
    uint32_t supersedes; /* a worker of the pool that goes as soon as it is free; 0: none */
    uint64_t version;    /* of the database file that it has open (publish/identity.h); 0: none */
    uint32_t short_lane; /* 1: it has no slot, and is a spare that may run a quick query now and then */
    uint32_t pad;
};
struct control_slot {
    uint32_t type;
    uint32_t worker;
    uint32_t slot;
    uint32_t pad;
};
struct control_want {
    uint32_t type;
    uint32_t want;              /* the front's number for it, never 0, never used again by that front */
    uint32_t kind;              /* WORKER_KIND_SESSION, WORKER_KIND_SOURCES or WORKER_KIND_WRITER */
    uint32_t writes;            /* of a writer: 0 looks at the statements first, 1 has a private copy to write to */
    char set[SOURCE_SET_BYTES]; /* core/source.h */
};
struct control_unwant {
    uint32_t type;
    uint32_t want;
};
struct control_want_failed {
    uint32_t type;
    uint32_t want;
    struct error error; /* source_error, unavailable, overloaded, not_found */
};
struct control_set {
    uint32_t type;
    uint32_t pad;
    char set[SOURCE_SET_BYTES];
};
struct control_died {
    uint32_t type;
    uint32_t worker;
    uint32_t reason; /* enum death_reason */
    uint32_t stage;  /* enum stop_stage */
    int32_t signal;
    int32_t exit_code;
    int64_t limit_bytes; /* DEATH_MEMORY, DEATH_SCRATCH: the limit that it passed; 0: the machine's or the container's */
};
struct control_start_failed {
    uint32_t type;
    uint32_t pad;
    char text[CONTROL_TEXT_BYTES];
};
/* Of a worker of kind WRITER that the front had. */
struct control_write_over {
    uint32_t type;
    uint32_t worker;
    uint64_t version; /* that was published; 0: none was, and error says why */
    int64_t kept;     /* the old version's number; 0: it was not kept */
    struct error error;
    char note[256]; /* what did not work as wished; "" */
};
struct control_replace {
    uint32_t type;
    uint32_t worker;
    uint32_t reason; /* DEATH_SPENT or DEATH_LINK; RETIRE, LEAVES: DEATH_RETIRED */
    uint32_t pad;
};
struct control_layers { /* LAYERS: all that are known; FENCED: the front's own */
    uint32_t type;
    char text[LAYERS_TEXT_MAX]; /* a report (core/layers.h) */
};
/* What the supervisor knows of the database file. */
enum database_state {
    DATABASE_STARTING, /* no worker has opened it yet */
    DATABASE_SERVED,
    DATABASE_SWAPPING, /* a newer version is there, and workers come to it */
    DATABASE_REFUSED,  /* what is there can't be opened (text); the last good version is served */
    DATABASE_PAUSED,   /* given up to somebody who changes it in place (holder) */
    DATABASE_STATES
};
struct control_database {
    uint32_t type;
    uint32_t state;      /* enum database_state */
    uint64_t version;    /* that workers serve; 0: none */
    int64_t wal_bytes;   /* of the log beside it; -1: none */
    int64_t wal_mtime_s; /* seconds since 1970 */
    int32_t holder_pid;  /* who writes to it, or has the lock of the write path; 0: nobody, or it can't be named */
    uint32_t in_place;   /* the holder needs the file for itself */
    uint32_t reload;     /* this request to reload, and all before it, are over: done, or REFUSED; 0: none */
    uint32_t pad;
    char holder[160]; /* its command */
    char text[512];
};
#define CONTROL_REPLACE_WORKERS 1u /* CONFIG: the present workers have the old values; replace each when it is free */
/* An export to a source of type files (supervisor/exports.h). */
struct control_export {
    uint32_t type;
    uint32_t export; /* the front's number for it, never 0, never used again by that front */
    char source[SOURCE_NAME_BYTES];
    char path[EXPORT_PATH_BYTES]; /* source_check_export */
};
struct control_export_over {
    uint32_t type;
    uint32_t export;
    struct error error; /* ERR_OK: it is there */
};
struct control_plain { /* CONFIG, KEYS, TLS, DRAIN, DRAIN_OVER, UP, DRAINED, RELOAD, COMMIT, EXPORT_OPENED, EXPORT_COMMIT, EXPORT_DROP */
    uint32_t type;
    uint32_t flags; /* RELOAD: the front's number of the request, never 0, rising. COMMIT: the writer. EXPORT_...: its number */
};
union control_message {
    uint32_t type;
    struct control_assign assign;
    struct control_slot slot;
    struct control_died died;
    struct control_start_failed start_failed;
    struct control_replace replace;
    struct control_want want;
    struct control_unwant unwant;
    struct control_want_failed want_failed;
    struct control_set set;
    struct control_write_over write_over;
    struct control_export export;
    struct control_export_over export_over;
    struct control_database database;
    struct control_plain plain;
    struct control_layers layers;
};

/* As link_send and link_receive, with fds (at most 2). A received message with another number of fds than its type has is refused. */
int control_send(int sock, const void *message, const int *fds, int nfds);
int control_receive(int sock, bool from_front, union control_message *ret, int ret_fds[2], int *ret_nfds);

/* Maps the page that the supervisor made (fd_memory of sizeof(struct control_page)); NULL with errno. */
struct control_page *control_map(int fd);
