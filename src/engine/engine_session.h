/* What a session's statement takes: the grammar, the same verdict on the select inside as on any other, and the statement prepared. Runs in the worker. */
#pragma once
#include "engine/engine_private.h"

/* Parses, checks and prepares a text that a session wants to run; SELECT and all that session_grammar.h has. The statement is the caller's.
 * 0, or -1 with *err. */
int session_prepare(struct engine *e, const char *sql, size_t len, duckdb_prepared_statement *ret_statement, struct error *err);
