/*
 * bench_stream: one large result from libduckdb in this process: streamed as chunks, streamed as Arrow arrays, or written by the
 * engine's own COPY to a pipe that another thread empties. The yardsticks of the results part of the benchmark.
 *
 * Knows: the database file and how the product opens it. Must not know: HTTP, or anything of the product's own code. Runs as a
 * process of its own, one measurement per run, and prints one line of JSON.
 */
#define _GNU_SOURCE
#include <duckdb.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIECE_BYTES ((size_t)1 << 20)

/* Arrow's C data interface, as far as it is needed to let go of an array. */
struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

struct run {
    duckdb_database db;
    duckdb_connection con;
    double first_ms, seconds;
    uint64_t rows, bytes;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_stream: %s: %s\n", what, why ? why : "no reason given");
    exit(1);
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void open_database(struct run *r, const char *path, const char *threads, const char *memory)
{
    const char *settings[][2] = {{"access_mode", "READ_ONLY"}, {"threads", threads}, {"memory_limit", memory}};
    duckdb_config config;
    char *why = NULL;

    if (duckdb_create_config(&config) != DuckDBSuccess)
        die("config", "out of memory");
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (duckdb_set_config(config, settings[i][0], settings[i][1]) != DuckDBSuccess)
            die(settings[i][0], "refused by the engine");
    if (duckdb_open_ext(path, &r->db, config, &why) != DuckDBSuccess)
        die(path, why);
    duckdb_destroy_config(&config);
    if (duckdb_connect(r->db, &r->con) != DuckDBSuccess)
        die("connect", "refused by the engine");
}

static void take_arrow(duckdb_arrow_options options, duckdb_data_chunk chunk)
{
    struct ArrowArray array;
    duckdb_error_data wrong = duckdb_data_chunk_to_arrow(options, chunk, &array);

    if (wrong != NULL && duckdb_error_data_has_error(wrong))
        die("arrow", duckdb_error_data_message(wrong));
    duckdb_destroy_error_data(&wrong);
    array.release(&array);
}

static void stream(struct run *r, const char *sql, bool arrow)
{
    double start = now_s();
    duckdb_prepared_statement stmt;
    duckdb_pending_result pending;
    duckdb_result result;
    duckdb_data_chunk chunk;
    duckdb_arrow_options options = NULL;

    if (duckdb_prepare(r->con, sql, &stmt) != DuckDBSuccess)
        die(sql, duckdb_prepare_error(stmt));
    if (duckdb_pending_prepared_streaming(stmt, &pending) != DuckDBSuccess || duckdb_execute_pending(pending, &result) != DuckDBSuccess)
        die(sql, "does not run");
    duckdb_destroy_pending(&pending);
    if (arrow)
        options = duckdb_result_get_arrow_options(&result);
    while ((chunk = duckdb_fetch_chunk(result)) != NULL) {
        if (r->rows == 0)
            r->first_ms = (now_s() - start) * 1e3;
        r->rows += duckdb_data_chunk_get_size(chunk);
        if (arrow)
            take_arrow(options, chunk);
        duckdb_destroy_data_chunk(&chunk);
    }
    r->seconds = now_s() - start;
    duckdb_destroy_arrow_options(&options);
    duckdb_destroy_result(&result);
    duckdb_destroy_prepare(&stmt);
}

struct drain {
    int fd;
    uint64_t bytes;
};

static void *drain_thread(void *arg)
{
    struct drain *d = arg;
    char *piece = malloc(PIECE_BYTES);
    ssize_t n;

    while (piece != NULL && (n = read(d->fd, piece, PIECE_BYTES)) > 0)
        d->bytes += (uint64_t)n;
    free(piece);
    return NULL;
}

static void copy(struct run *r, const char *sql, const char *format)
{
    struct drain d = {0};
    int ends[2];
    char *text;
    pthread_t thread;
    duckdb_result result;
    double start;

    if (pipe(ends) != 0 || asprintf(&text, "COPY (%s) TO '/dev/fd/%d' (FORMAT %s, USE_TMP_FILE false)", sql, ends[1], format) < 0)
        die("pipe", "none");
    (void)fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    d.fd = ends[0];
    if (pthread_create(&thread, NULL, drain_thread, &d) != 0)
        die("pthread_create", "refused");
    start = now_s();
    if (duckdb_query(r->con, text, &result) != DuckDBSuccess)
        die(text, duckdb_result_error(&result));
    close(ends[1]);
    pthread_join(thread, NULL);
    r->seconds = now_s() - start;
    r->rows = duckdb_rows_changed(&result);
    r->bytes = d.bytes;
    duckdb_destroy_result(&result);
    free(text);
}

int main(int argc, char **argv)
{
    struct run r = {0};

    if (argc != 6) {
        fputs("usage: bench_stream DATABASE chunks|arrow|csv|json|parquet SQL THREADS MEMORY_LIMIT\n", stderr);
        return 2;
    }
    open_database(&r, argv[1], argv[4], argv[5]);
    if (strcmp(argv[2], "chunks") == 0 || strcmp(argv[2], "arrow") == 0)
        stream(&r, argv[3], argv[2][0] == 'a');
    else
        copy(&r, argv[3], argv[2]);
    printf("{\"mode\":\"%s\",\"seconds\":%.6f,\"first_ms\":%.3f,\"rows\":%llu,\"bytes\":%llu}\n", argv[2], r.seconds, r.first_ms,
           (unsigned long long)r.rows, (unsigned long long)r.bytes);
    duckdb_disconnect(&r.con);
    duckdb_close(&r.db);
    return 0;
}
