/* DuckDB's result vectors seen as `struct column` (result/column.h), which is all the encoders know.
 * Only for files of src/engine: shows duckdb.h. Runs in the worker.
 *
 * Every type is read natively from its vector, nested ones, VARIANT and GEOMETRY included: no statement has to be wrapped
 * in casts, and there is no second prepare. What the session must guarantee: TimeZone is UTC (timestamps with zone are
 * written with +00). */
#pragma once
#include "result/column.h"
#include <duckdb.h>
#include <stdbool.h>
#include <stdint.h>

struct columns;

/* The shape of a result: names, types, and the types' names as DuckDB prints them. Pending and streaming results will do.
 * All that is ever allocated is allocated here; copies everything it needs, so `result` may be destroyed before it.
 * NULL only when out of memory. Free with columns_free (accepts NULL). */
struct columns *columns_new(duckdb_result *result);
/* The same from a prepared statement, before it runs. NULL also when a type is not known before execution (a bare parameter). */
struct columns *columns_new_prepared(duckdb_prepared_statement statement);
void columns_free(struct columns *c);

/* Points the columns at the chunk's vectors. Allocates nothing. The chunk must live as long as the columns are read, and must
 * be of the result this shape was made from. */
void columns_set_chunk(struct columns *c, duckdb_data_chunk chunk);

/* The columns, in order; the array is the struct's own and stays at its address. */
const struct column *columns_get(const struct columns *c, uint32_t *ret_count);

/* The name of a type as typeof() and DESCRIBE print it, to be freed with free(). NULL: out of memory. (type_name.c) */
char *columns_type_name(duckdb_logical_type type);
