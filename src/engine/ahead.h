/* Chunks of a streamed result, fetched by a thread of its own while the caller works on those before: the engine makes rows only while somebody
 * fetches, so that otherwise encoding and scanning would take turns. Knows the engine's results; knows no streams. Runs in the worker. */
#pragma once
#include "engine/helper.h"
#include <duckdb.h>
#include <stdatomic.h>
#include <stdbool.h>

struct ahead;

/* With a thread that sleeps. `helper` (NULL: none) stays the caller's, and is held back while it is not needed. NULL: there is no thread to be had. */
struct ahead *ahead_new(struct helper *helper);
/* Nothing may be under way. Accepts NULL. */
void ahead_free(struct ahead *a);

/* From here on, to the NULL of ahead_take or to ahead_stop, the result is the thread's. Once *cancelled is set it fetches no more. */
void ahead_start(struct ahead *a, duckdb_result *result, const atomic_bool *cancelled);
/* The next chunk, the caller's; waits for it. NULL: the end, an error, or cancelled; then the result is the caller's again. From any thread, one at a
 * time. */
duckdb_data_chunk ahead_take(struct ahead *a);
/* The rest is not wanted: drops what is ready, interrupts the fetch that is under way, which is `con`'s, and waits for its end. */
void ahead_stop(struct ahead *a, duckdb_connection con);
