/* The arguments of `bulkhead query`, and the table of result formats. Knows no file and no worker. Runs in the command line. */
#pragma once
#include "core/formats.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A format as users name it. */
struct query_format {
    const char *name;
    uint32_t wire;       /* enum result_format */
    const char *endings; /* of file names that choose it when no format is given: ".csv " each */
    bool is_table;       /* drawn here, from the wire format */
    bool is_binary;      /* not for a terminal */
};
/* The only place that maps names to the worker's numbers. */
const struct query_format *query_formats(size_t *ret_count);

struct query_args {
    const char *database; /* as given; "" for :memory: */
    const char *sql;
    size_t sql_len;
    char *read_sql;                    /* from standard input, owned; NULL */
    const struct query_format *format; /* NULL: not given */
    int64_t timeout_ms;                /* 0: none; -1: not given */
    const char *output;                /* NULL: standard output */
    const char *config_file;           /* NULL: none */
    const char **sets;                 /* NULL-terminated; database.path and the sizes of a single worker come last */
    size_t set_count;
};

/* -1: go on with *a; else the exit code, and what was wrong has been said. query_args_free in either case. */
int query_args_parse(int argc, char **argv, struct query_args *a);
void query_args_free(struct query_args *a);
/* The format that was given, or that of the output file's ending, or table for a terminal, json otherwise. */
const struct query_format *query_args_format(const struct query_args *a, bool terminal);
