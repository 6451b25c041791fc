/* One of the engine's threads as ours, so that it can be held back while the encoder needs its core. Knows the engine's scheduler; knows no queries.
 * Runs in the worker. */
#pragma once
#include <duckdb.h>

struct helper;

/* With a thread that runs the engine's tasks from now on; it must count as one of `external_threads`. NULL: there is no thread to be had. */
struct helper *helper_new(duckdb_database db);
/* Before the database is closed. Accepts NULL. */
void helper_free(struct helper *h);

/* It takes no further task, or soon none; from any thread. Accepts NULL. */
void helper_pause(struct helper *h);
void helper_resume(struct helper *h);
