/* The server's JSON as values. Runs in the command line. */
#include "cli/top_model.h"
#include "core/clock.h"
#include "core/errors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 100000 /* of anything: the other side may be anybody */

static char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    char *copy = s ? strdup(s) : NULL;
    CHECK(!s || copy);
    return copy;
}

/* Never NULL. */
static char *text_or(const json_t *o, const char *key, const char *other)
{
    char *s = text_of(o, key);
    if (!s)
        s = strdup(other);
    CHECK(s);
    return s;
}

static double number_of(const json_t *o, const char *key, double other)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : other;
}

static int64_t count_of(const json_t *o, const char *key, int64_t other)
{
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? (int64_t)json_integer_value(v) : other;
}

/* Room for the rows of an array; NULL for none. */
static void *rows_for(const json_t *array, size_t size, size_t *ret_count)
{
    size_t n = json_array_size(array);
    *ret_count = n < ROWS_MAX ? n : ROWS_MAX;
    void *rows = calloc(*ret_count + 1, size);
    CHECK(rows);
    return rows;
}

/* The pool's places first, in their order; then the others by kind and age, so that no row moves because another worker was replaced. */
static int by_place(const void *a, const void *b)
{
    const struct top_worker *x = a, *y = b;
    if (x->slot != y->slot)
        return (uint64_t)x->slot < (uint64_t)y->slot ? -1 : 1; /* none (-1) is behind all */
    int kind = strcmp(x->kind, y->kind);
    return kind ? kind : x->pid < y->pid ? -1 : x->pid > y->pid;
}

static void read_workers(struct top_model *m, const json_t *array)
{
    m->workers = rows_for(array, sizeof *m->workers, &m->worker_count);
    for (size_t i = 0; i < m->worker_count; i++) {
        const json_t *o = json_array_get(array, i);
        m->workers[i] = (struct top_worker){.slot = count_of(o, "slot", -1),
                                            .kind = text_or(o, "kind", "?"),
                                            .state = text_or(o, "state", "?"),
                                            .query_id = text_of(o, "query_id"),
                                            .pid = count_of(o, "pid", 0),
                                            .memory_bytes = count_of(o, "memory_bytes", 0),
                                            .queries = count_of(o, "queries", 0)};
    }
    qsort(m->workers, m->worker_count, sizeof *m->workers, by_place);
}

static void read_keys(struct top_model *m, const json_t *array)
{
    m->keys = rows_for(array, sizeof *m->keys, &m->key_count);
    for (size_t i = 0; i < m->key_count; i++) {
        const json_t *o = json_array_get(array, i);
        m->keys[i] = (struct top_key){text_of(o, "key"), count_of(o, "waiting", 0), count_of(o, "running", 0)};
    }
}

static int by_time(const void *a, const void *b)
{
    const struct top_query *x = a, *y = b;
    if (x->exec_ms != y->exec_ms)
        return x->exec_ms < y->exec_ms ? 1 : -1;
    return x->queue_ms < y->queue_ms ? 1 : x->queue_ms > y->queue_ms ? -1 : strcmp(x->id, y->id);
}

static void read_queries(struct top_model *m, const json_t *array)
{
    m->queries = rows_for(array, sizeof *m->queries, &m->query_count);
    for (size_t i = 0; i < m->query_count; i++) {
        const json_t *o = json_array_get(array, i);
        m->queries[i] = (struct top_query){.id = text_or(o, "id", "?"),
                                           .key = text_of(o, "key"),
                                           .state = text_or(o, "state", "?"),
                                           .sql = text_or(o, "sql", ""),
                                           .queue_ms = number_of(o, "queue_ms", 0),
                                           .exec_ms = number_of(o, "exec_ms", 0),
                                           .cpu_ms = number_of(o, "cpu_ms", -1),
                                           .rows = count_of(o, "rows", 0),
                                           .bytes = count_of(o, "bytes", 0),
                                           .memory_bytes = count_of(o, "memory_bytes", 0)};
    }
    qsort(m->queries, m->query_count, sizeof *m->queries, by_time);
}

static json_t *load(const char *text, size_t len, const char *array, struct error *err)
{
    json_error_t at;
    json_t *root = json_loadb(text, len, 0, &at);
    if (root && json_is_array(json_object_get(root, array)))
        return root;
    json_decref(root);
    error_set(err, ERR_UNAVAILABLE, "the answer is not what a bulkhead server says");
    return NULL;
}

int top_model_read(struct top_model *ret, const char *status, size_t status_len, const char *queries, size_t queries_len, int64_t now_ns,
                   struct error *err)
{
    json_t *s = load(status, status_len, "workers", err);
    json_t *q = s ? load(queries, queries_len, "queries", err) : NULL;
    if (!q) {
        json_decref(s);
        return -1;
    }
    const json_t *queue = json_object_get(s, "queue"), *database = json_object_get(s, "database"), *totals = json_object_get(s, "totals");
    struct top_model m = {.version = text_or(s, "version", "?"),
                          .database_state = text_or(database, "state", "?"),
                          .uptime_s = number_of(s, "uptime_s", 0),
                          .queue_length = count_of(queue, "length", 0),
                          .queue_max = count_of(queue, "max", 0),
                          .queue_background = count_of(queue, "background", 0),
                          .sessions = (int64_t)json_array_size(json_object_get(s, "sessions")),
                          .wal_bytes = count_of(database, "wal_bytes", 0),
                          .queries_total = count_of(totals, "queries", 0),
                          .ok_total = count_of(totals, "ok", 0),
                          .refused_total = count_of(totals, "refused", 0),
                          .bytes_total = count_of(totals, "result_bytes", 0),
                          .taken_ns = now_ns};
    read_workers(&m, json_object_get(s, "workers"));
    read_keys(&m, json_object_get(queue, "keys"));
    read_queries(&m, json_object_get(q, "queries"));
    json_decref(s);
    json_decref(q);
    *ret = m;
    return 0;
}

void top_model_clear(struct top_model *m)
{
    for (size_t i = 0; i < m->worker_count; i++) {
        free(m->workers[i].kind);
        free(m->workers[i].state);
        free(m->workers[i].query_id);
    }
    for (size_t i = 0; i < m->query_count; i++) {
        free(m->queries[i].id);
        free(m->queries[i].key);
        free(m->queries[i].state);
        free(m->queries[i].sql);
    }
    for (size_t i = 0; i < m->key_count; i++)
        free(m->keys[i].name);
    free(m->workers);
    free(m->queries);
    free(m->keys);
    free(m->version);
    free(m->database_state);
    *m = (struct top_model){0};
}

double top_rate(int64_t before, int64_t after, int64_t before_ns, int64_t after_ns)
{
    if (before_ns == 0 || after_ns <= before_ns || after < before)
        return 0;
    return (double)(after - before) * (double)NS_PER_S / (double)(after_ns - before_ns);
}
