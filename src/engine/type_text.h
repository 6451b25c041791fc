/* The grammar of type names that a parameter may ask for: words, numbers, quoted names, brackets, nothing that could end a CAST.
 * Knows nothing of DuckDB's library. Runs in the worker (and in tests). */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define TYPE_TEXT_MAX 1024 /* bytes */
#define TYPE_DEPTH_MAX 16

/* True when the text has the form of a type name, such as DECIMAL(18,2), TIMESTAMP WITH TIME ZONE, INTEGER[], STRUCT("a b" INT, c DATE[3]),
 * ENUM('x','y'), main.mood: it can then stand behind CAST(? AS without being anything else. The engine says whether it exists. */
bool type_text_valid(const char *s, size_t len);
