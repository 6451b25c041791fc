/* The supervisor: parent of front and workers. Opens listeners, spawns, reaps, stops, restarts; parses no byte of a client, links no engine,
 * never blocks. */
#pragma once

struct config;

struct supervisor_options {
    struct config *config;   /* the supervisor's from now on */
    const char *config_file; /* for SIGHUP; NULL: none */
    const char *const *sets; /* for SIGHUP; NULL-terminated, outlive the supervisor */
};

/* Serves until it is told to end. Returns the process's exit code: 0 ended as told, 1 failed, 2 the configuration can't be served. */
int supervisor_run(const struct supervisor_options *opts);
