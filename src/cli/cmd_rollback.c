/* `bulkhead rollback`: publishes the version of a database that was kept before the present one. Runs in the command line. */
#include "cli/cli.h"
#include "cli/query_worker.h"
#include "cli/write_args.h"
#include "publish/publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "rollback"

static const char help[] =
    "usage: bulkhead rollback DATABASE [--config FILE] [--set SECTION.KEY=VALUE]...\n"
    "\n"
    "Publishes the newest of the versions that imports and admin writes have kept (import --keep, admin.keep), after a reader\n"
    "has opened it. What it replaces stays beside it as NAME.bulkhead-undone until the next rollback. Again: one version further\n"
    "back. A running server takes it up by itself.\n";

/* A reader opens it: what no worker can open must not be published. */
static int verify(struct config *cfg, const char *path, int signal_fd, struct error *err)
{
    struct query_worker w;
    write_config_path(cfg, path);
    int rc = query_worker_start(&w, cfg, signal_fd, err);
    query_worker_stop(&w);
    return rc;
}

static int rollback(const char *database, struct config *cfg, int signal_fd, struct error *err)
{
    struct publication p;
    struct publish_options o = {.path = database, .command = "bulkhead rollback", .may_be_bad = true};
    char path[PATH_MAX];
    int64_t number;
    int rc = publish_begin(&p, &o, err) < 0 || publish_rollback_find(&p, &number, path, err) < 0 || verify(cfg, path, signal_fd, err) < 0 ||
                     publish_rollback(&p, number, err) < 0
                 ? -1
                 : 0;
    if (rc == 0) {
        write_say("%s: version %lld is published again", p.place.path, (long long)number);
        if (p.old_fd >= 0)
            write_say("  what it replaced is kept as %s.bulkhead-undone until the next rollback", p.place.name);
    }
    publish_end(&p);
    return rc;
}

static int run(const char *database, const char *config_file, const char *const *sets)
{
    struct config *cfg;
    struct error err;
    int signal_fd = write_start();
    if (signal_fd < 0)
        return write_fail(WRITE_EXIT_FAILED, NAME, "cannot wait for signals: %s", strerror(errno));
    if (write_config(&cfg, config_file, sets, &err) < 0) {
        close(signal_fd);
        return write_fail(WRITE_EXIT_USAGE, NAME, "%s", err.detail);
    }
    int rc = rollback(database, cfg, signal_fd, &err);
    config_free(cfg);
    close(signal_fd);
    return rc < 0 ? write_fail_error(NAME, &err) : 0;
}

int cmd_rollback(int argc, char **argv)
{
    const char *database = NULL, *config_file = NULL, **sets = calloc((size_t)argc + 1, sizeof *sets);
    size_t set_count = 0;
    int code = -1;
    CHECK(sets);
    for (int i = 1; i < argc && code < 0; i++) {
        bool value = strcmp(argv[i], "--config") == 0 || strcmp(argv[i], "--set") == 0;
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            code = fflush(stdout) ? 1 : 0;
        } else if (value && i + 1 == argc) {
            code = write_fail(WRITE_EXIT_USAGE, NAME, "a value is missing behind %s", argv[i]);
        } else if (value && argv[i][2] == 'c') {
            config_file = argv[++i];
        } else if (value) {
            sets[set_count++] = argv[++i];
        } else if (argv[i][0] == '-') {
            code = write_fail(WRITE_EXIT_USAGE, NAME, "unknown option %s; see `bulkhead rollback --help`", argv[i]);
        } else if (database) {
            code = write_fail(WRITE_EXIT_USAGE, NAME, "one database, and no more: %s", argv[i]);
        } else {
            database = argv[i];
        }
    }
    if (code < 0 && !database)
        code = write_fail(WRITE_EXIT_USAGE, NAME, "the database is missing; see `bulkhead rollback --help`");
    if (code < 0)
        code = run(database, config_file, sets);
    free(sets);
    return code;
}
