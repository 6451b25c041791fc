/* What `bulkhead top` shows, as values: read from the server's own JSON, and compared with what was read before. Knows the shape of /v1/status and
 * /v1/queries; no terminal and no connection. Runs in the command line. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct top_worker {
    int64_t slot;                  /* -1: none */
    char *kind, *state, *query_id; /* query_id NULL: none */
    int64_t pid, memory_bytes, queries;
};

struct top_query {
    char *id, *key, *state, *sql;     /* key NULL: none */
    double queue_ms, exec_ms, cpu_ms; /* cpu_ms < 0: unknown */
    int64_t rows, bytes, memory_bytes;
};

struct top_key {
    char *name; /* NULL: without keys */
    int64_t waiting, running;
};

struct top_model {
    char *version, *database_state;
    double uptime_s;
    int64_t queue_length, queue_max, queue_background, sessions, wal_bytes;
    int64_t queries_total, ok_total, refused_total, bytes_total;
    struct top_worker *workers;
    size_t worker_count;
    struct top_query *queries; /* those that wait, run or are fetched; the one that runs longest first */
    size_t query_count;
    struct top_key *keys;
    size_t key_count;
    int64_t taken_ns; /* when it was read */
};

/* status, queries: the two bodies. 0, and *ret is to be cleared; -1 with *err: this is not what such a server says. */
int top_model_read(struct top_model *ret, const char *status, size_t status_len, const char *queries, size_t queries_len, int64_t now_ns,
                   struct error *err);
void top_model_clear(struct top_model *m);

/* Per second between two readings; 0 without an earlier one, or when the server was started anew meanwhile. */
double top_rate(int64_t before, int64_t after, int64_t before_ns, int64_t after_ns);
