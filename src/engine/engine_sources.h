/* The sources of one engine: attached before the lock, named when they fail. Only for files of src/engine. Runs in the worker. */
#pragma once
#include "engine/engine_private.h"

/* Loads what the sources need, makes their secrets, attaches them read-only and drops the secrets again (but those of S3, which every access
 * needs). Fills `e->sources`. 0; -1 with *err (source_error with the source's name). */
int sources_attach(struct engine *e, const struct engine_options *o, struct error *err);
/* Which directories and prefixes may be read once external access is off. 0, or -1 with *err. */
int sources_allow_paths(struct engine *e, const struct engine_options *o, struct error *err);
/* A failed statement: when it was a source that failed, *err becomes a source_error that names it. `sql` is the statement's text. */
void sources_judge_failure(const struct engine *e, const char *sql, size_t len, struct error *err);
