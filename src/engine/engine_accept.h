/* The verdict on a text: exactly one statement, of a kind that only answers. Runs in the worker. */
#pragma once
#include "engine/engine_private.h"

enum accept_effect {
    ACCEPT_PURE,  /* the connection is as it was, and the statement may be prepared once and run often */
    ACCEPT_FRESH, /* afterwards the connection must be replaced */
    ACCEPT_SPENT, /* afterwards the process must be replaced */
};

/* What the text may leave behind; cheap, before anything is prepared. */
enum accept_effect accept_effect(const struct engine *e, const char *sql, size_t len);

/* *err from the engine's message about a text of `sql_len` bytes; always -1. */
int accept_engine_failed(struct engine *e, const char *message, size_t sql_len, struct error *err);

/* Parses, checks and prepares `sql` (NUL-terminated, `len` bytes without the NUL). The statement is the caller's.
 * 0, or -1 with *err (ERR_FORBIDDEN with `what`, ERR_BAD_REQUEST, ERR_SQL...). */
int accept_prepare(struct engine *e, const char *sql, size_t len, duckdb_prepared_statement *ret_statement, struct error *err);
