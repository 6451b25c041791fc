/* Any value as the engine's cast to VARCHAR prints it, nested ones included. Knows columns and sinks. Runs in the worker. */
#pragma once
#include "result/column.h"
#include "result/escape.h"

/* The value of a row. 0, or -1: stop. */
int varchar_put(struct text *t, const struct column *c, uint64_t row);
/* Whether the cast gives NULL; beyond the validity bit, a VARIANT may hold its own null. */
bool varchar_is_null(const struct column *c, uint64_t row);

/* An element of a list, field of a struct, key or value of a map: NULL, or in quotes where the engine puts them.
 * 0, or -1: stop. */
int varchar_put_element(struct text *t, const struct column *c, uint64_t row);

/* A value inside '', with backslashes, however it looks: names of struct fields. */
int varchar_put_quoted(struct text *t, const uint8_t *s, size_t n);

/* variant.c */
bool variant_is_null(const struct column *c, uint64_t row);
int variant_put(struct text *t, const struct column *c, uint64_t row);
