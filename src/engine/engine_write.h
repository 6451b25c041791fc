/* The engine in write mode: a database opened for writing, a script run on it statement by statement, a checkpoint, the file closed, and
 * looked at once more by a reader. For a worker that writes; the readers' rules (one statement, reading only) do not hold here, those
 * of the process do: no file but the declared ones, no network, the configuration locked. Runs in the worker. */
#pragma once
#include "core/buf.h"
#include "engine/engine.h"

/* How many rows each table has. */
struct table_count {
    char *schema, *name;
    int64_t rows;
};
struct table_counts {
    struct table_count *tables;
    size_t count;
};
void table_counts_free(struct table_counts *c);
/* 0 when both have the same tables with as many rows; -1 with *err (ERR_INTERNAL), naming the first difference. */
int table_counts_compare(const struct table_counts *expected, const struct table_counts *seen, struct error *err);

/* engine_open for writing: opts->write must be set. 0, or -1 with *err. Counts the permanent tables of the database. */
int engine_count_tables(struct engine *e, struct table_counts *ret, struct error *err);

struct script {
    const char *sql; /* valid UTF-8; statements separated by semicolons; may be empty */
    size_t len;
    const char *params; /* JSON, for a single statement; NULL: none */
    size_t params_len;
    bool one_transaction; /* all of it or nothing, also in the file itself: statements that would end a transaction are refused */
    /* Gets the last statement's result, before its first row is fetched; NULL: results are dropped. 0, or -1 with *err. */
    int (*rows)(void *ctx, struct stream *last, struct error *err);
    void *ctx;
};

/* Runs it. All of it is parsed before any of it runs. 0, *ret_statements is how many there were; -1 with *err, whose detail names statement and
 * line, and whose position counts from the script's first byte. What ran before stays in the (private) database unless one_transaction. */
int engine_script(struct engine *e, const struct script *s, uint32_t *ret_statements, struct error *err);
/* Looks at the statements without running any, on a database that is open read-only. 1: all of them only read; 0: one of them may write; -1 with
 * *err: one can't be parsed. */
int engine_script_reads(struct engine *e, const char *sql, size_t len, struct error *err);
/* Whether a read-only database is why a script failed. */
bool engine_failed_for_reading_only(const struct error *err);
/* Everything into the file, nothing left in a log. 0, or -1 with *err. */
int engine_checkpoint(struct engine *e, struct error *err);
/* Opens the closed file as a reader would, and compares the counts. 0, or -1 with *err. */
int engine_verify(const struct engine_options *opts, const struct table_counts *expected, struct error *err);
