/* The engine's SQL keywords. Runs in the worker. */
#pragma once
#include <stdbool.h>

/* Whether the name is a keyword of any category, in any case. */
bool keyword_is(const char *name);
