/* Arguments of `bulkhead import`. Runs in the command line. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum import_kind { IMPORT_BY_ENDING, IMPORT_CSV, IMPORT_JSON, IMPORT_PARQUET };
enum import_how { IMPORT_CREATE, IMPORT_REPLACE, IMPORT_APPEND };

struct import_args {
    const char *database;
    const char *script; /* a file, or "-"; NULL with a table */
    const char *table;  /* NULL with a script */
    const char **files; /* of the table */
    size_t file_count;
    enum import_kind kind;
    enum import_how how;
    bool dry_run, in_place;
    int64_t keep;       /* -1: as configured */
    int64_t timeout_ms; /* 0: none */
    int64_t wait_ms;    /* in place: how long for others to give the file up */
    const char **reads; /* what a script may read */
    size_t read_count;
    const char *config_file;
    const char **sets; /* NULL-terminated */
    size_t set_count;
};

/* -1: go on; else the exit code, and the reason was printed. import_args_free in either case. */
int import_args_parse(int argc, char **argv, struct import_args *ret);
void import_args_free(struct import_args *a);
