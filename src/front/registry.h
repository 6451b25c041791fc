/* The register of queries: those that live, and the last `limits.history` that ended, by id and by age. It holds what GET /v1/queries tells;
 * whoever runs a query writes it here. Knows neither pool nor HTTP. Runs in the front. */
#pragma once
#include "core/buf.h"
#include "core/source.h"
#include "sched/job.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a record keeps of a long statement and of an error's text: with them a record has a largest size, and so has the register. */
#define RECORD_SQL_BYTES 2048
#define RECORD_DETAIL_BYTES 512
#define RECORD_KEY_BYTES 64

struct query;
struct result;

/* A query id as a number: ids that differ in the case of their letters are the same. */
struct query_key {
    uint64_t high, low;
};

struct record {
    char id[QUERY_ID_BYTES]; /* as the client wrote it */
    struct query_key key;
    struct record *hash_next;     /* the register's own, beside the key: they are looked at together */
    char owner[RECORD_KEY_BYTES]; /* the name of the API key; "": none */
    bool disowned;                /* that key is gone: a new one of its name is somebody else */
    bool asynchronous;
    enum job_state state;
    enum error_code code; /* once it is over */
    enum stop_stage stopped_by;
    int signal;       /* worker_crashed */
    int64_t position; /* sql_error; 0: unknown */
    char error_type[40];
    char source[SOURCE_NAME_BYTES]; /* source_error */
    int64_t limit_ms, limit_bytes;
    char *detail;              /* owned; of the error; NULL: none */
    char *what;                /* owned; of a refusal: what is forbidden; NULL: none */
    char *destination;         /* owned; of an export: its source, a NUL, its path; NULL: none */
    int64_t submitted_ms;      /* wall clock */
    int64_t queue_us, exec_us; /* so far, or in all */
    uint64_t rows, bytes;
    int worker;           /* the slot; -1: none yet */
    int64_t memory_bytes; /* most that was seen of its worker; 0: unknown */
    int64_t cpu_us;       /* -1: unknown */
    bool profiled;        /* it asked for it, and the engine has told: */
    uint64_t rows_scanned, spill_bytes, peak_memory_bytes;
    double progress; /* 0 to 1; < 0: unknown */

    struct query *live;    /* while it is not over */
    struct result *result; /* an asynchronous one, while it is kept */
    unsigned waiters;      /* so many want to hear of its end */

    /* The register's own. */
    uint64_t number;                      /* in order of arrival */
    unsigned pins;                        /* somebody holds on to it: it is not forgotten, however old */
    struct record *newer, *older;         /* all of them, by arrival */
    struct record *next_over, *prev_over; /* those that are over and not pinned, by their end */
    uint32_t sql_len;
    bool sql_cut;
    char sql[];
};

struct registry;
struct registry *registry_new(int64_t history);
void registry_free(struct registry *r);
/* How many that are over are remembered from now on. */
void registry_set_history(struct registry *r, int64_t history);

/* False when the text is no UUID. */
bool query_key_parse(const char *text, struct query_key *ret);

/* NULL: nobody with that id is known. */
struct record *registry_find(struct registry *r, const char *id);
/* May this owner give the id to a new query? Not while it is in use, or its result is kept, or when it is another's. */
bool registry_id_is_free(struct registry *r, const char *id, const char *owner);
/* A new record, queued, of a free and valid id; one of the same id that is over is forgotten. It stays the register's. */
struct record *registry_add(struct registry *r, const char *id, const char *owner, const char *sql, size_t sql_len);
/* The key of that name is gone. What it ran stays, for those who may see everything. */
void registry_disown(struct registry *r, const char *owner);
/* It is over: state, code and figures are written. The oldest beyond the history go, perhaps this one: it must not be used afterwards unless
 * it is pinned. */
void registry_over(struct registry *r, struct record *rec);
/* Forgets it, whatever it is (a query that never was one). */
void registry_drop(struct registry *r, struct record *rec);
void record_pin(struct registry *r, struct record *rec);
void record_unpin(struct registry *r, struct record *rec); /* may forget it */

/* The error that ended the query; ERR_OK: none. */
void record_set_error(struct record *rec, const struct error *err);

/* Its result goes to this path of this source. */
void record_set_destination(struct record *rec, const char *source, const char *path);

/* Newest first. */
struct record *registry_newest(struct registry *r);
static inline bool record_is_over(const struct record *rec) { return rec->state >= JOB_DONE; }
size_t registry_count(const struct registry *r);

/* The record as a JSON object. False: the buffer has not the RECORD_JSON_BYTES that it may take. */
#define RECORD_JSON_BYTES (6 * (RECORD_SQL_BYTES + RECORD_DETAIL_BYTES + RECORD_KEY_BYTES + EXPORT_PATH_BYTES) + 2048)
bool record_write(const struct record *rec, struct buf *out);
