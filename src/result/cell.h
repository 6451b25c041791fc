/* Values of bounded length as text: one function per type, in two forms. Knows columns; knows no sinks. Runs in the worker. */
#pragma once
#include "result/column.h"
#include <stdint.h>

/* The most bytes a bounded value takes, its JSON quotes included. */
#define CELL_MAX 96

/* Writes the value of a row that is not NULL at p and returns the end. */
typedef uint8_t *(*cell_put_fn)(uint8_t *p, const struct column *c, uint64_t row);

/* By enum column_type; NULL for types whose text has no bound (strings, nested types). */
extern const cell_put_fn cell_json[COL_TYPE_COUNT];     /* a complete JSON value, as to_json gives it */
extern const cell_put_fn cell_json_big[COL_TYPE_COUNT]; /* the same with big numbers as strings (encoder.h) */
extern const cell_put_fn cell_varchar[COL_TYPE_COUNT];  /* as a cast to VARCHAR gives it */
