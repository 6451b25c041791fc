/* Column names that differ from each other, as formats need them that find columns by name. Knows columns. Runs in the worker. */
#pragma once
#include "result/column.h"

/* The names in order, a repeated one with _1, _2... behind it, as the engine names the columns of a file it writes: upper and lower case
 * count as the same. Free with names_free (accepts NULL). NULL: out of memory. */
char **names_unique(const struct column *columns, uint32_t count);
void names_free(char **names, uint32_t count);
