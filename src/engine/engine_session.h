/* What a session's statement takes: the grammar, the same verdict on the select inside as on any other, and the statement prepared. Runs in the worker. */
#pragma once
#include "engine/engine_accept.h"

/* Parses, checks and prepares a text that a session wants to run; SELECT and all that session_grammar.h has. Like accept_statement, which
 * says what `sql` and *ret are. 0, or -1 with *err. */
int session_prepare(struct engine *e, char *sql, size_t len, struct accepted *ret, struct error *err);
