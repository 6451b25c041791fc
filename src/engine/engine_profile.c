/* What a query cost, by the engine's own profiler. It belongs to a connection and costs a small query a third of its time, so it is on for those queries
 * only that ask. Runs in the worker. */
#include "engine/engine_private.h"
#include "result/encoder.h"

#include <stdlib.h>
#include <string.h>

int profile_set(struct engine *e, bool on, struct error *err)
{
    return engine_run(e, on ? "SET enable_profiling='no_output'" : "PRAGMA disable_profiling", "cannot set the profiler", err);
}

/* The engine gives every metric as a text. 0 for one that it does not have. */
static double metric(duckdb_profiling_info info, const char *name)
{
    duckdb_value v = duckdb_profiling_info_get_value(info, name);
    char *text = v ? duckdb_get_varchar(v) : NULL;
    double number = text ? strtod(text, NULL) : 0;
    duckdb_free(text);
    if (v)
        duckdb_destroy_value(&v);
    return number > 0 ? number : 0;
}

bool stream_profile(const struct stream *s, struct result_profile *ret)
{
    *ret = (struct result_profile){0};
    if (!s->profile || !s->at_end)
        return false;
    duckdb_profiling_info info = duckdb_get_profiling_info(s->engine->con);
    if (!info) { /* the plan has nothing to run: the engine knew the answer (count(*) of a table) */
        ret->known = true;
        return true;
    }
    *ret = (struct result_profile){.known = true,
                                   .rows_scanned = (uint64_t)metric(info, "CUMULATIVE_ROWS_SCANNED"),
                                   .spill_bytes = (uint64_t)metric(info, "SYSTEM_PEAK_TEMP_DIR_SIZE"),
                                   .peak_memory_bytes = (uint64_t)metric(info, "SYSTEM_PEAK_BUFFER_MEMORY"),
                                   .cpu_us = (int64_t)(metric(info, "CPU_TIME") * 1e6)};
    return true;
}
