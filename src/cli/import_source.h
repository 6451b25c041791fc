/* What an import reads: the script's text, or the SQL for a table's files, and which paths the worker must be allowed to read. Runs in the
 * command line. */
#pragma once
#include "cli/import_args.h"
#include "core/buf.h"
#include "core/errors.h"

#define IMPORT_SCRIPT_MAX ((size_t)512 << 20)

struct import_source {
    struct buf sql;
    char **paths; /* NULL-terminated; absolute; directories end in a slash */
    size_t path_count;
};

/* 0; -1 with *err: ERR_BAD_REQUEST for what the arguments got wrong, ERR_UNAVAILABLE for files that can't be read. */
int import_source_make(const struct import_args *a, struct import_source *ret, struct error *err);
/* The SQL that tells a table's columns instead of making it. Appends. */
bool import_source_describe(const struct import_args *a, const struct import_source *s, struct buf *b);
void import_source_free(struct import_source *s);
