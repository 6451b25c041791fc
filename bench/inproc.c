/*
 * bench_inproc: libduckdb called in this process through the C API, the yardstick of the benchmark.
 *
 * Knows: the database file and how the product opens it (read-only, one memory limit, locked).
 * Must not know: HTTP, or anything of the product's own code; a shared helper would hide the cost
 * that is to be measured. Runs as a process of its own, one measurement per run, and prints one
 * line of JSON.
 */
#define _GNU_SOURCE
#include <duckdb.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_SAMPLES (1u << 20)
#define PACE_NS 100000L

struct options {
    const char *database;
    const char *mode;
    const char *sql;
    const char *threads;
    const char *memory_limit;
    double seconds;   /* length of the timed part of a loop */
    unsigned repeat;  /* runs of mode "query" */
    long deadline_ms; /* mode "runaway": when to interrupt */
    long wait_ms;     /* mode "runaway": how long to wait for the engine to obey */
};

struct bench {
    struct options opt;
    duckdb_database db;
    duckdb_connection con;
    duckdb_prepared_statement stmt;
    uint32_t *sample_ns; /* MAX_SAMPLES; later ones are counted, not kept */
    size_t n_samples;
    uint64_t n_done;
    uint64_t n_rows;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_inproc: %s: %s\n", what, why ? why : "no reason given");
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void run_setup(duckdb_connection con, const char *sql)
{
    duckdb_result result;

    if (duckdb_query(con, sql, &result) != DuckDBSuccess)
        die(sql, duckdb_result_error(&result));
    duckdb_destroy_result(&result);
}

/* The same settings and the same lock as a worker's, so that only the boundary differs. */
static void open_database(struct bench *b)
{
    const char *settings[][2] = {
        {"access_mode", "READ_ONLY"},           {"threads", b->opt.threads},
        {"memory_limit", b->opt.memory_limit},  {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"}, {"allow_community_extensions", "false"},
        {"allow_persistent_secrets", "false"},
    };
    duckdb_config config;
    char *why = NULL;

    if (duckdb_create_config(&config) != DuckDBSuccess)
        die("config", "out of memory");
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (duckdb_set_config(config, settings[i][0], settings[i][1]) != DuckDBSuccess)
            die(settings[i][0], "refused by the engine");
    if (duckdb_open_ext(b->opt.database, &b->db, config, &why) != DuckDBSuccess)
        die(b->opt.database, why);
    duckdb_destroy_config(&config);
    if (duckdb_connect(b->db, &b->con) != DuckDBSuccess)
        die("connect", "refused by the engine");
    run_setup(b->con, "SET enable_external_access=false");
    run_setup(b->con, "SET lock_configuration=true");
}

/* Reads every chunk to its end, as a server has to. */
static uint64_t drain(duckdb_result *result)
{
    duckdb_data_chunk chunk;
    uint64_t rows = 0;

    while ((chunk = duckdb_fetch_chunk(*result)) != NULL) {
        rows += duckdb_data_chunk_get_size(chunk);
        duckdb_destroy_data_chunk(&chunk);
    }
    return rows;
}

static void run_once(struct bench *b, const char *sql)
{
    duckdb_result result;
    duckdb_state state;

    state = b->stmt ? duckdb_execute_prepared(b->stmt, &result) : duckdb_query(b->con, sql, &result);
    if (state != DuckDBSuccess)
        die(sql, duckdb_result_error(&result));
    b->n_rows = drain(&result);
    duckdb_destroy_result(&result);
}

static void timed_run(struct bench *b, const char *sql)
{
    int64_t start = now_ns(), took;

    run_once(b, sql);
    took = now_ns() - start;
    if (b->n_samples < MAX_SAMPLES)
        b->sample_ns[b->n_samples++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    b->n_done++;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static double percentile_us(const struct bench *b, double p)
{
    size_t i = (size_t)(p * (double)(b->n_samples - 1) + 0.5);

    return b->sample_ns[i] / 1000.0;
}

static void print_samples(struct bench *b, double seconds)
{
    qsort(b->sample_ns, b->n_samples, sizeof *b->sample_ns, compare_u32);
    printf("{\"mode\":\"%s\",\"engine\":\"%s\",\"requests\":%llu,\"seconds\":%.4f,\"per_s\":%.1f,"
           "\"rows\":%llu,\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"max_us\":%.2f}\n",
           b->opt.mode, duckdb_library_version(), (unsigned long long)b->n_done, seconds, (double)b->n_done / seconds, (unsigned long long)b->n_rows,
           percentile_us(b, 0.50), percentile_us(b, 0.90), percentile_us(b, 0.99), percentile_us(b, 1.0));
}

static void loop_for(struct bench *b, bool paced, double seconds)
{
    const struct timespec pause = {.tv_nsec = PACE_NS};
    int64_t end = now_ns() + (int64_t)(seconds * 1e9);

    do {
        if (paced)
            nanosleep(&pause, NULL);
        timed_run(b, b->opt.sql);
    } while (now_ns() < end);
}

static void mode_loop(struct bench *b, bool prepared, bool paced)
{
    int64_t start;

    if (prepared && duckdb_prepare(b->con, b->opt.sql, &b->stmt) != DuckDBSuccess)
        die("prepare", duckdb_prepare_error(b->stmt));
    loop_for(b, paced, b->opt.seconds / 5);
    b->n_samples = 0;
    b->n_done = 0;
    start = now_ns();
    loop_for(b, paced, b->opt.seconds);
    print_samples(b, (double)(now_ns() - start) / 1e9);
    duckdb_destroy_prepare(&b->stmt);
}

static void mode_query(struct bench *b)
{
    int64_t start;

    run_once(b, b->opt.sql);
    run_once(b, b->opt.sql);
    start = now_ns();
    for (unsigned i = 0; i < b->opt.repeat; i++)
        timed_run(b, b->opt.sql);
    print_samples(b, (double)(now_ns() - start) / 1e9);
}

static void *runaway_thread(void *arg)
{
    struct bench *b = arg;
    duckdb_result result;

    /* An error is the hoped-for end here: it is the interrupt. */
    (void)duckdb_query(b->con, b->opt.sql, &result);
    duckdb_destroy_result(&result);
    return NULL;
}

static struct timespec after_ms(clockid_t clock, long ms)
{
    struct timespec t;

    clock_gettime(clock, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* All an embedding program can do: interrupt, and hope. If the engine does not obey, the process ends. */
static void mode_runaway(struct bench *b)
{
    struct timespec deadline = after_ms(CLOCK_MONOTONIC, b->opt.deadline_ms), limit;
    pthread_t thread;
    int64_t asked;
    int rc;

    if (pthread_create(&thread, NULL, runaway_thread, b) != 0)
        die("pthread_create", "refused");
    rc = pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &deadline);
    if (rc == 0)
        die("runaway", "the query ended before its deadline");
    asked = now_ns();
    duckdb_interrupt(b->con);
    limit = after_ms(CLOCK_MONOTONIC, b->opt.wait_ms);
    rc = pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &limit);
    if (rc != 0 && rc != ETIMEDOUT)
        die("pthread_clockjoin_np", strerror(rc));
    printf("{\"mode\":\"runaway\",\"stopped\":%s,\"after_ms\":%.2f}\n", rc == 0 ? "true" : "false", (double)(now_ns() - asked) / 1e6);
    fflush(stdout);
    _exit(0);
}

static void usage(void)
{
    fputs("usage: bench_inproc DATABASE hot|hot_prepared|paced|paced_prepared|query|runaway\n"
          "       [--sql SQL] [--threads N] [--memory-limit SIZE] [--seconds S] [--repeat N]\n"
          "       [--deadline-ms N] [--wait-ms N]\n",
          stderr);
    exit(2);
}

static void parse_args(struct options *o, int argc, char **argv)
{
    if (argc < 3)
        usage();
    o->database = argv[1];
    o->mode = argv[2];
    for (int i = 3; i < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];

        if (value == NULL)
            usage();
        else if (strcmp(key, "--sql") == 0)
            o->sql = value;
        else if (strcmp(key, "--threads") == 0)
            o->threads = value;
        else if (strcmp(key, "--memory-limit") == 0)
            o->memory_limit = value;
        else if (strcmp(key, "--seconds") == 0)
            o->seconds = atof(value);
        else if (strcmp(key, "--repeat") == 0)
            o->repeat = (unsigned)atoi(value);
        else if (strcmp(key, "--deadline-ms") == 0)
            o->deadline_ms = atol(value);
        else if (strcmp(key, "--wait-ms") == 0)
            o->wait_ms = atol(value);
        else
            usage();
    }
    if (o->seconds <= 0 || o->repeat == 0 || o->deadline_ms <= 0 || o->wait_ms <= 0)
        usage();
}

int main(int argc, char **argv)
{
    struct bench b = {
        .opt = {.sql = "SELECT 1", .threads = "1", .memory_limit = "512MB", .seconds = 2, .repeat = 10, .deadline_ms = 1000, .wait_ms = 3000}};

    parse_args(&b.opt, argc, argv);
    b.sample_ns = calloc(MAX_SAMPLES, sizeof *b.sample_ns);
    if (b.sample_ns == NULL)
        die("memory", strerror(errno));
    open_database(&b);
    if (strcmp(b.opt.mode, "hot") == 0)
        mode_loop(&b, false, false);
    else if (strcmp(b.opt.mode, "hot_prepared") == 0)
        mode_loop(&b, true, false);
    else if (strcmp(b.opt.mode, "paced") == 0)
        mode_loop(&b, false, true);
    else if (strcmp(b.opt.mode, "paced_prepared") == 0)
        mode_loop(&b, true, true);
    else if (strcmp(b.opt.mode, "query") == 0)
        mode_query(&b);
    else if (strcmp(b.opt.mode, "runaway") == 0)
        mode_runaway(&b);
    else
        usage();
    duckdb_disconnect(&b.con);
    duckdb_close(&b.db);
    free(b.sample_ns);
    return 0;
}
