/* What may be hidden in the text that the engine prints of a stored object. Names of types stand there as a file has them, without quotes: in a file
 * made by hand one can open a comment or a quote, and what follows is no code to whoever parses the text, but is in the tree that runs.
 * Knows nothing of the library. Only for files of src/engine. Runs in the worker (and in tests). */
#pragma once
#include "engine/policy_tree.h"

/* A name in quotes: of a call, or of a table behind FROM or JOIN; a dotted one part by part. `quoted`: it has double quotes of its own. */
typedef void hidden_name_fn(void *ctx, bool call, bool quoted, struct span name);

/* Calls fn for each name inside of the text's quotes. False when there is a comment: the engine prints none. */
bool hidden_names(const char *sql, size_t len, hidden_name_fn *fn, void *ctx);
