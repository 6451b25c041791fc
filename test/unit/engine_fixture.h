/* What the engine's tests share: a temp directory, database files made by the real library, one-line queries. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <duckdb.h>

#include "core/errors.h"
#include "engine/engine.h"
#include "result/encoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Result text of one query as CSV without its header line, or the error. */
struct answer {
    struct error err; /* code ERR_OK when it worked */
    char text[16384]; /* rows, "\n" behind each */
    int64_t rows;
    enum cache_use cache_use;
    char type[128]; /* of the first column */
};

struct fixture {
    char dir[64];
    char path[128];
    struct engine *engine;
};

struct text_sink {
    struct sink sink;
    uint8_t *bytes;
    size_t cap;
};

static inline int text_sink_more(struct sink *sink, size_t need)
{
    struct text_sink *t = (struct text_sink *)sink;
    size_t used = (size_t)(sink->pos - t->bytes);
    t->cap = t->cap * 2 + need + SINK_RESERVE_MAX;
    t->bytes = realloc(t->bytes, t->cap);
    assert_non_null(t->bytes);
    sink->pos = t->bytes + used;
    sink->end = t->bytes + t->cap;
    return 0;
}

static inline void answer_rows(struct answer *a, struct stream *s)
{
    uint32_t count;
    const struct column *columns = stream_columns(s, &count);
    struct text_sink sink = {.sink = {.more = text_sink_more}};
    struct encoder *enc = encoder_new(&(struct encoder_options){FORMAT_CSV}, columns, count);
    struct result_head head = {.query_id = "q"};
    struct result_tail tail = {0};
    int64_t n;
    assert_non_null(enc);
    snprintf(a->type, sizeof a->type, "%s", columns[0].type_name);
    assert_int_equal(encoder_begin(enc, &sink.sink, &head), 0);
    while ((n = stream_next(s, &a->err)) > 0) {
        a->rows += n;
        assert_int_equal(encoder_rows(enc, &sink.sink, columns, (uint64_t)n), 0);
    }
    assert_int_equal(encoder_end(enc, &sink.sink, &tail), 0);
    encoder_free(enc);
    size_t len = (size_t)(sink.sink.pos - sink.bytes);
    const char *body = memchr(sink.bytes, '\n', len);
    assert_non_null(body);
    size_t body_len = len - (size_t)(body + 1 - (char *)sink.bytes), out = 0;
    for (size_t i = 0; i < body_len && out + 1 < sizeof a->text; i++)
        if (body[1 + i] != '\r')
            a->text[out++] = body[1 + i];
    a->text[out] = 0;
    free(sink.bytes);
    if (n < 0)
        assert_int_not_equal(a->err.code, ERR_OK);
}

static inline struct answer ask_len(struct engine *e, const char *sql, size_t len, const char *params)
{
    struct answer a;
    memset(&a, 0, sizeof a);
    struct engine_query q = {sql, len, params, params ? strlen(params) : 0};
    struct stream *s = engine_query(e, &q, &a.err);
    if (!s) {
        assert_int_not_equal(a.err.code, ERR_OK);
        return a;
    }
    a.cache_use = stream_cache_use(s);
    answer_rows(&a, s);
    stream_free(s);
    return a;
}

static inline struct answer ask_with(struct engine *e, const char *sql, const char *params) { return ask_len(e, sql, strlen(sql), params); }

static inline struct answer ask(struct engine *e, const char *sql) { return ask_with(e, sql, NULL); }

#define assert_answer(e, sql, expected)           \
    do {                                          \
        struct answer got_ = ask(e, sql);         \
        assert_string_equal(got_.err.detail, ""); \
        assert_string_equal(got_.text, expected); \
    } while (0)

/* Runs statements on a database file in a process of its own, so that nothing of it stays in this one. `hold` >= 0: keeps the file open
 * until that pipe's other end closes, then dies without closing it (its write-ahead log stays). Returns the pid. */
static inline pid_t writer_start(const char *path, const char *sql, int ready, int hold)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    duckdb_database db;
    duckdb_connection con;
    duckdb_result r;
    char byte = 0;
    if (duckdb_open(path, &db) != DuckDBSuccess || duckdb_connect(db, &con) != DuckDBSuccess)
        _exit(2);
    if (duckdb_query(con, sql, &r) != DuckDBSuccess) {
        fprintf(stderr, "%s\n", duckdb_result_error(&r));
        _exit(3);
    }
    if (ready >= 0 && write(ready, "r", 1) != 1)
        _exit(4);
    if (hold >= 0)
        _exit(read(hold, &byte, 1) < 0);
    duckdb_destroy_result(&r);
    duckdb_disconnect(&con);
    duckdb_close(&db);
    _exit(0);
}

static inline void make_database(const char *path, const char *sql)
{
    int status;
    pid_t pid = writer_start(path, sql, -1, -1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static inline void fixture_open(struct fixture *f)
{
    snprintf(f->dir, sizeof f->dir, "/tmp/bh-engine-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/data.duckdb", f->dir);
}

static inline void fixture_close(struct fixture *f)
{
    char command[160];
    engine_close(f->engine);
    snprintf(command, sizeof command, "chmod -R u+rwx '%s'; rm -rf '%s'", f->dir, f->dir);
    assert_int_equal(system(command), 0);
}

/* `allow`: functions that the policy would refuse, NULL-terminated; so that what lies behind the policy can be seen. */
static inline struct engine *open_engine_allowing(const char *path, uint32_t cache_entries, const char *const *allow)
{
    struct engine_options o = {
        .database_path = path, .memory_limit_bytes = 256 << 20, .threads = 2, .statement_cache_entries = cache_entries, .allow_functions = allow};
    struct error err = {0};
    struct engine *e = engine_open(&o, &err);
    if (!e)
        print_message("engine_open: %s\n", err.detail);
    assert_non_null(e);
    assert_int_equal(engine_lock(e, &err), 0);
    return e;
}

static inline struct engine *open_engine(const char *path, uint32_t cache_entries) { return open_engine_allowing(path, cache_entries, NULL); }
