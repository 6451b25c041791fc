/* One value of a result vector as a value of its own, to bind it. Only for files of src/engine. Runs in the worker. */
#pragma once
#include <duckdb.h>

/* The value at `row` of a flat vector of this type; the caller destroys it. NULL when the type has no such conversion (VARIANT, GEOMETRY,
 * types this build does not know). */
duckdb_value vector_value(duckdb_logical_type type, duckdb_vector vector, idx_t row);
