/* The sources of one engine: attached before the lock, named when they fail. Only for files of src/engine. Runs in the worker. */
#pragma once
#include "engine/engine_private.h"

/* Loads what the sources need, makes their secrets, attaches them read-only and drops the secrets again (but those of S3, which every access
 * needs). Fills `e->sources`. Either those that are DuckDB databases, whose own views and macros are to be judged with the database's, or all
 * others, whose catalogs must not be read for that. 0; -1 with *err (source_error with the source's name). */
int sources_attach(struct engine *e, const struct engine_options *o, bool databases, struct error *err);
/* The directories and addresses below which files may be read, each with a slash at its end: at most o->source_count of them into ret, the
 * caller's to free. Their number. */
size_t sources_file_prefixes(const struct engine_options *o, char **ret);
/* Which directories and prefixes may be read once external access is off. 0, or -1 with *err. */
int sources_allow_paths(struct engine *e, const struct engine_options *o, struct error *err);
/* A failed statement: when it was a source that failed, *err becomes a source_error that names it. `sql` is the statement's text. */
void sources_judge_failure(const struct engine *e, const char *sql, size_t len, struct error *err);
