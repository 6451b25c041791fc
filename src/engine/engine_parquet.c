/* Parquet by the engine's own writer. The user's query runs where every query runs, in the locked engine. A second engine, which never sees a word of
 * the user's text, takes the rows through a table function and writes them to a pipe. So there is no statement to splice, nothing that the user's SQL
 * could name, and the first engine needs no right to write. Vectors are handed over by reference. Runs in the worker, in the thread that calls. */
#include "engine/engine_parquet.h"
#include "engine/columns.h"
#include "engine/engine_private.h"
#include "result/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FEED "bulkhead_rows"
/* Descriptors that the output may have; the lowest free one is taken, and a worker has few. */
#define FD_MAX 63
/* Rows are kept until a row group is full: as many of them as the engine's default, or so many bytes. */
#define ROW_GROUP_BYTES_MAX ((int64_t)64 << 20)

/* ---- the table function: the stream as a table ---- */

static void feed_bind(duckdb_bind_info info)
{
    struct parquet_writer *p = duckdb_bind_get_extra_info(info);
    uint32_t count;
    const struct column *columns = columns_get(p->stream->columns, &count);
    char **names = names_unique(columns, count);
    CHECK(names);
    for (uint32_t i = 0; i < count; i++) {
        duckdb_logical_type type = duckdb_column_logical_type(&p->stream->result, i);
        duckdb_bind_add_result_column(info, names[i], type);
        duckdb_destroy_logical_type(&type);
    }
    names_free(names, count);
}

static void feed_init(duckdb_init_info info) { duckdb_init_set_max_threads(info, 1); }

/* How many rows of the next chunk go out; 0 at the end. Past the limit another row is looked for, so that a cut result is known as such. */
static uint64_t feed_next(struct parquet_writer *p, duckdb_function_info info)
{
    int64_t n = p->at_end ? 0 : stream_next(p->stream, &p->error);
    if (n < 0) {
        p->failed = true;
        duckdb_function_set_error(info, p->error.detail);
    }
    if (n <= 0) {
        p->at_end = true;
        return 0;
    }
    uint64_t rows = (uint64_t)n, left = p->rows_max - p->rows;
    if (rows > left) {
        rows = left;
        p->truncated = p->at_end = true;
    }
    p->rows += rows;
    return rows;
}

static void feed_rows(duckdb_function_info info, duckdb_data_chunk out)
{
    struct parquet_writer *p = duckdb_function_get_extra_info(info);
    uint64_t rows = feed_next(p, info);
    for (idx_t i = 0; rows > 0 && i < duckdb_data_chunk_get_column_count(out); i++)
        duckdb_vector_reference_vector(duckdb_data_chunk_get_vector(out, i), duckdb_data_chunk_get_vector(p->stream->chunk, i));
    duckdb_data_chunk_set_size(out, rows);
}

static bool feed_register(struct parquet_writer *p, duckdb_connection con)
{
    duckdb_table_function f = duckdb_create_table_function();
    duckdb_table_function_set_name(f, FEED);
    duckdb_table_function_set_extra_info(f, p, NULL);
    duckdb_table_function_set_bind(f, feed_bind);
    duckdb_table_function_set_init(f, feed_init);
    duckdb_table_function_set_function(f, feed_rows);
    bool ok = duckdb_register_table_function(con, f) == DuckDBSuccess;
    duckdb_destroy_table_function(&f);
    return ok;
}

/* ---- open and lock ---- */

static bool run(duckdb_connection con, const char *sql)
{
    duckdb_result r;
    bool ok = duckdb_query(con, sql, &r) == DuckDBSuccess;
    duckdb_destroy_result(&r);
    return ok;
}

/* It can write to nothing but descriptors that are open already. */
static bool lock(duckdb_connection con)
{
    char sql[32 * FD_MAX];
    size_t n = (size_t)snprintf(sql, sizeof sql, "SET allowed_paths=[");
    for (int fd = 3; fd <= FD_MAX; fd++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, "%s'/dev/fd/%d'", fd > 3 ? "," : "", fd);
    snprintf(sql + n, sizeof sql - n, "]");
    return run(con, sql) && run(con, "SET enable_external_access=false") && run(con, "SET lock_configuration=true");
}

/* Opens the second engine and locks it, when the worker's first Parquet is asked for: one thread, no files but the process's own open descriptors. */
static int open_locked(struct engine *e, struct error *err)
{
    struct parquet_writer *p = &e->parquet;
    duckdb_connection con = NULL;
    char memory[32];
    snprintf(memory, sizeof memory, "%" PRId64 "B", p->memory_limit_bytes);
    const char *const rows[][2] = {
        {"threads", "1"},                      /* one thread also keeps the rows in their order, without what the next line costs */
        {"preserve_insertion_order", "false"}, /* else the size of a row group can't be bounded in bytes */
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
        {"allow_community_extensions", "false"},
        {"allow_persistent_secrets", "false"},
        {"errors_as_json", "true"},
        {"temp_directory", ""},
        {"memory_limit", memory},
    };
    duckdb_config config;
    CHECK(duckdb_create_config(&config) == DuckDBSuccess);
    for (size_t i = 0; i < sizeof rows / sizeof *rows - (p->memory_limit_bytes <= 0); i++)
        CHECK(duckdb_set_config(config, rows[i][0], rows[i][1]) == DuckDBSuccess);
    char *message = NULL;
    bool ok = duckdb_open_ext(NULL, &p->db, config, &message) == DuckDBSuccess && duckdb_connect(p->db, &con) == DuckDBSuccess &&
              feed_register(p, con) && lock(con);
    duckdb_destroy_config(&config);
    pthread_mutex_lock(&e->lock);
    p->con = con;
    pthread_mutex_unlock(&e->lock);
    if (!ok) {
        error_set(err, ERR_INTERNAL, "cannot start the Parquet writer: %s", message ? message : "no reason given");
        e->spent = true; /* another worker may do better */
    }
    duckdb_free(message);
    return ok ? 0 : -1;
}

void parquet_close(struct parquet_writer *p)
{
    if (p->con)
        duckdb_disconnect(&p->con);
    if (p->db)
        duckdb_close(&p->db);
}

/* ---- writing ---- */

static void copy_failed(struct engine *e, const char *message, int type, struct error *err)
{
    struct parquet_writer *p = &e->parquet;
    struct failure_context ctx = e->failure;
    ctx.memory_limit_bytes = p->memory_limit_bytes;
    ctx.sql_len = 0; /* positions are in a statement of ours */
    if (p->failed)
        *err = p->error;
    else if (failure_from_message(err, message, type, &ctx))
        e->spent = true;
    if (!p->failed && atomic_load(&e->cancelled))
        error_set(err, ERR_CANCELLED, "the query was cancelled");
}

int stream_copy_parquet(struct stream *s, int fd, uint64_t rows_max, struct parquet_copied *ret, struct error *err)
{
    struct engine *e = s->engine;
    struct parquet_writer *p = &e->parquet;
    char sql[256];
    int64_t group_bytes = p->memory_limit_bytes > 0 ? p->memory_limit_bytes / 6 : ROW_GROUP_BYTES_MAX;
    if (fd < 3 || fd > FD_MAX)
        return error_set(err, ERR_INTERNAL, "the Parquet writer's pipe has descriptor %d, which is out of its range", fd);
    if (!p->db && open_locked(e, err) < 0)
        return -1;
    p->stream = s;
    p->rows_max = rows_max ? rows_max : UINT64_MAX;
    p->rows = 0;
    p->at_end = p->truncated = p->failed = false;
    snprintf(sql, sizeof sql, "COPY (FROM " FEED "()) TO '/dev/fd/%d' (FORMAT parquet, USE_TMP_FILE false, ROW_GROUP_SIZE_BYTES '%" PRId64 "B')", fd,
             group_bytes < ROW_GROUP_BYTES_MAX ? group_bytes : ROW_GROUP_BYTES_MAX);
    duckdb_result r;
    duckdb_state state = duckdb_query(p->con, sql, &r);
    if (state != DuckDBSuccess)
        copy_failed(e, duckdb_result_error(&r), (int)duckdb_result_error_type(&r), err);
    duckdb_destroy_result(&r);
    p->stream = NULL;
    *ret = (struct parquet_copied){p->rows, p->truncated};
    return state == DuckDBSuccess ? 0 : -1;
}
