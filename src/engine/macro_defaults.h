/* Default arguments of the database's macros. No catalog shows them, but the engine names them when a macro is called with too many arguments.
 * Knows nothing of the library. Only for files of src/engine. Runs in the worker (and in tests). */
#pragma once
#include <stdbool.h>

/* True when the engine's message about a call that fits no form of a macro shows a default argument, or none of the macro's forms. */
bool macro_defaults_any(const char *message, const char *name);

/* The defaults that such a message shows, as one SELECT of them all; NULL when it can't be read. Names and types of the parameters must hold no
 * quotes and no comments: they stand there as they are. The caller's, to be freed. */
char *macro_defaults_sql(const char *message, const char *name);
