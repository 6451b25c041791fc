/* A job: one query from its admission to its last byte. Knows nothing of HTTP; whoever submits gives callbacks.
 * Runs in the front. */
#pragma once
#include "core/errors.h"
#include "link/messages.h"
#include "link/spool.h"
#include "sched/tenant.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool_worker;
struct job;

/* JOB_STATE(name, states it may be entered from: bits of JOB_IN_*) ; job_set_state is the only writer. */
enum job_state { JOB_NEW, JOB_QUEUED, JOB_RUNNING, JOB_DELIVERING, JOB_DONE, JOB_FAILED, JOB_CANCELLED, JOB_STATES };
const char *job_state_text(enum job_state s); /* "queued", "running", ... */

/* Why a job was told to stop before its end. LIMIT: job->error says which. */
enum stop_reason { STOP_FOR_NOTHING, STOP_FOR_TIMEOUT, STOP_FOR_CANCEL, STOP_FOR_LIMIT };

/* Where a result's bytes are: in the ring; in the ring, and the worker was told to go on in a file; in the file. */
enum spool_phase { SPOOL_NONE, SPOOL_ASKED, SPOOL_ON };

struct job_spool {
    enum spool_phase phase;
    int fd; /* the submitter's */
    struct spool_reader reader;
};

/* Who waits for it: somebody at the other end of a connection, or nobody just now. */
enum job_class { JOB_INTERACTIVE, JOB_BACKGROUND, JOB_CLASSES };

struct job_events {
    /* The ring has, or may have, more of the result (job->reader after a refresh). */
    void (*data)(struct job *job);
    /* The result is complete: everything up to the reader's limit. The worker is done with the job; its slot is given back by
     * pool_release when the ring is drained. */
    void (*end)(struct job *job);
    /* The job is over with job->error; job->worker is NULL already. */
    void (*failed)(struct job *job);
    /* The next three only for a job that was diverted (pool_divert), and NULL for those who never do. */
    /* The worker goes on in the file; what was in the ring has been put in front of that. */
    void (*spooled)(struct job *job);
    /* The worker would like to write more than it may (pool_grant). */
    void (*want)(struct job *job);
    /* The worker that had the file is dead, after the job's end: nobody can change the file any more. */
    void (*buried)(struct job *job);
};

struct job {
    /* Set by the submitter. */
    char query_id[QUERY_ID_BYTES];
    char *sql; /* owned, malloc'd; freed once the worker has it and can't hand the job back */
    size_t sql_len;
    char *params; /* owned, JSON text or NULL */
    size_t params_len;
    char *url; /* owned: the object of a source that the result becomes; NULL: none */
    int64_t timeout_ms;
    bool short_timeout;          /* shorter than what it would have had: the client's own choice */
    uint64_t max_rows;           /* 0: no limit */
    uint32_t format;             /* enum result_format */
    uint32_t coding, ipc_coding; /* enum result_coding: of the body; of the buffers inside an Arrow stream */
    uint64_t max_bytes;          /* of the result, as it leaves; 0: no limit */
    bool big_numbers_as_text;
    bool profile;       /* the engine is to count what it costs */
    bool session_reset; /* set when it starts: what the session had before is lost */
    enum job_class class;
    struct tenant *tenant; /* on whose account it runs; a reference; NULL: the server's own */
    const struct job_events *events;
    void *owner; /* the submitter's; NULL once it lost interest */

    /* Kept by sched. */
    uint32_t id; /* never 0; unique among jobs that can still be heard of */
    enum job_state state;
    enum stop_reason stop_reason;
    struct pool_worker *worker;   /* while RUNNING, and DELIVERING until the ring is drained */
    struct pool_worker *early_at; /* it was sent early to that one: while it waits there, and runs without that its turn on the link has come */
    int64_t submitted_ns, started_ns, finished_ns;
    int64_t queue_deadline_ns;
    int64_t deadline_left_ns; /* > 0: the deadline is paused while the client is the slow side */
    struct job_spool spool;
    bool head_of_result_seen;
    int64_t first_row_ns; /* when bytes were first seen in the ring; 0: not yet */
    uint8_t tries;
    uint64_t version; /* of the database file that its worker has open; 0: none */
    /* From LINK_END. */
    uint64_t rows, bytes;
    int64_t exec_us;
    bool profiled; /* these three are known */
    uint64_t rows_scanned, spill_bytes, peak_memory_bytes;
    /* What it cost its worker. */
    int slot;                    /* which it ran in */
    int64_t cpu_from_ns, cpu_us; /* the worker's CPU clock at the start; what it has moved since */
    int64_t memory_bytes;        /* the most that was seen; 0: nobody looked */
    int64_t memory_from_bytes;   /* its worker's at the start; 0: its tenant has no such limit */
    bool truncated;
    uint8_t cache;
    struct error error;
    struct job *next, *prev;           /* the queue's or the running list's */
    struct job *fair_next, *fair_prev; /* fair.c's */
    uint8_t fair_line;
    uint64_t text_key;  /* what lengths.h knows its text by; 0: nothing is known or learnt of it */
    bool has_place;     /* counted as running there */
    bool is_here;       /* counted there as waiting or running, by its text */
    bool on_short_lane; /* it was started there, */
    uint8_t taken_for;  /* enum length, with a text of that length */
};

struct job *job_new(void);
/* Aborts on a transition that the table does not allow. */
void job_set_state(struct job *job, enum job_state state);
bool job_may_go(enum job_state from, enum job_state to);
static inline bool job_is_over(const struct job *j) { return j->state >= JOB_DONE; }
void job_free(struct job *job);
