/* What the worker was granted: its sources and their secrets, from the pipe. Runs in the worker. */
#pragma once
#include "engine/engine.h"
#include "link/grants.h"

struct config;

struct worker_sources {
    struct grant *grants;                         /* [SOURCES_PER_SET], until the wipe */
    struct engine_source engine[SOURCES_PER_SET]; /* points into grants and the configuration */
    size_t count;
};

/* Reads the pipe to its end and closes it. 0; -1 with *err and nothing to wipe. */
int worker_sources_read(const struct config *cfg, struct worker_sources *ret, struct error *err);
void worker_sources_wipe(struct worker_sources *s);
