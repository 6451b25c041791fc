/* Our own copies of the engine's introspection functions that show paths of the server: the same columns and rows, without them. The
 * policy puts their names in the place of the engine's, letter for letter, so that positions in a statement stay what they are.
 * Only for files of src/engine. Runs in the worker. */
#pragma once
#include "core/errors.h"
#include <duckdb.h>
#include <stdbool.h>
#include <stdint.h>

struct filtered;

/* Registers the functions in the database behind `con`. Their rows are read by `con` when one of them is used for the first time, after
 * which they stay: what they show does not change in an engine whose configuration is locked. `con` must outlive every statement that
 * uses them. NULL with *err. */
struct filtered *filtered_new(duckdb_connection con, struct error *err);
/* When no statement that uses the functions is left. NULL is allowed. */
void filtered_free(struct filtered *f);

/* Is this the name of a copy? */
bool filtered_is_stand_in(const char *name, size_t len);
/* Replaces the function's name, which stands in `sql` (len bytes) at or behind byte `at`, maybe qualified and quoted: 0; -1 when it does
 * not stand there. */
int filtered_rename(char *sql, size_t len, int64_t at, const char *function);
