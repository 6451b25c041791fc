/* What the commands that write have in common: reports, configuration, signals. Runs in the command line. */
#pragma once
#include "core/config.h"
#include "core/errors.h"
#include <stdbool.h>

#define WRITE_EXIT_FAILED 1
#define WRITE_EXIT_USAGE 2

/* One line on stderr: "bulkhead import: what is wrong". Escapes whatever the texts hold. Returns `code`. */
int write_fail(int code, const char *command, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for an error. Exit code 2 for ERR_BAD_REQUEST, else 1. */
int write_fail_error(const char *command, const struct error *err);
/* A line on stdout, escaped. */
void write_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The configuration of a command that writes: one worker with the [admin] sizes; where those are auto: half of what the machine has, at
 * most 2 GB, and all its cores. `sets` is NULL-terminated. 0, and *ret without `auto`; -1 with *err. */
int write_config(struct config **ret, const char *config_file, const char *const *sets, struct error *err);
/* Puts another path in the place of database.path. */
void write_config_path(struct config *cfg, const char *path);

/* Blocks the signals that end a command; the signalfd. SIGPIPE is an error afterwards instead of a death. -1 with errno. */
int write_start(void);
