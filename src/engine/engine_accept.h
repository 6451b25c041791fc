/* The verdict on a text: exactly one statement, of a kind that only answers, with nothing in it that the policy refuses. Runs in the
 * worker. */
#pragma once
#include "engine/engine_private.h"

struct accepted {
    duckdb_prepared_statement prepared;
    enum policy_effect effect;
    bool renamed; /* what was prepared differs from the text: filtered functions, what stood between the words of an EXPLAIN */
};

/* *err from the engine's message about a text of `sql_len` bytes; always -1. */
int accept_engine_failed(struct engine *e, const char *message, size_t sql_len, struct error *err);

/* Judges and prepares `sql` (NUL-terminated, `len` bytes without the NUL; names in it may be replaced). The statement is the caller's.
 * 0, or -1 with *err (ERR_FORBIDDEN with `what`, ERR_BAD_REQUEST, ERR_SQL...). */
int accept_statement(struct engine *e, char *sql, size_t len, struct accepted *ret, struct error *err);

/* Only prepares: a text that was accepted before. 0, or -1 with *err. */
int accept_again(struct engine *e, const char *sql, size_t len, duckdb_prepared_statement *ret_statement, struct error *err);
