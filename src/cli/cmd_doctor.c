/* `bulkhead doctor`: tries every protection and says which hold. Runs in the command line. */
#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/query_run.h"
#include "cli/screen.h"
#include "cli/terminal.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/layers.h"
#include "core/limits_probe.h"
#include "core/sizing.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Caps that can be run into at once, without harm to the machine. */
#define PROBE_MEMORY_BYTES INT64_C(256000000)
#define PROBE_SCRATCH_BYTES INT64_C(64000000)

static const char usage[] =
    "usage: bulkhead doctor [DATABASE] [--config FILE] [--set SECTION.KEY=VALUE]... [--format text,json]\n"
    "\n"
    "Tries every protection that a server with this configuration would have, on this machine and as this user, and prints what is\n"
    "configured, what is in force, and how that was checked. It starts workers that read, write, connect, take memory and cores, and ignore\n"
    "their deadline; nothing is served, and the database is not changed.\n"
    "\n"
    "Exit code: 0 all PASS or WARN, 1 a FAIL, 2 wrong usage or configuration.\n";

struct arguments {
    const char *config_file, *database;
    const char **sets; /* NULL-terminated */
    int set_count;
    bool json;
};

static int fail(const char *what, const char *arg) { return screen_complain(2, "doctor", what, arg, "; see `bulkhead doctor --help`"); }

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct arguments *a)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        bool takes_value = !strcmp(arg, "--config") || !strcmp(arg, "--set") || !strcmp(arg, "--format");
        if (!strcmp(arg, "-h") || !strcmp(arg, "--help")) {
            fputs(usage, stdout);
            return fflush(stdout) ? 1 : 0;
        }
        if (takes_value && i + 1 == argc)
            return fail("a value is missing behind ", arg);
        if (!strcmp(arg, "--config"))
            a->config_file = argv[++i];
        else if (!strcmp(arg, "--set"))
            a->sets[a->set_count++] = argv[++i];
        else if (!strcmp(arg, "--format") && (!strcmp(argv[i + 1], "text") || !strcmp(argv[i + 1], "json")))
            a->json = !strcmp(argv[++i], "json");
        else if (!strcmp(arg, "--format"))
            return fail("--format must be text or json, not ", argv[i + 1]);
        else if (arg[0] == '-' && arg[1])
            return fail("unknown option ", arg);
        else if (a->database)
            return fail("more than one database: ", arg);
        else
            a->database = arg;
    }
    return -1;
}

static int load(const struct arguments *a, struct config **ret, struct error *err)
{
    if (config_load(ret, a->config_file, a->sets, environ, err) < 0)
        return -1;
    if (layers_check_names(&(*ret)->sandbox.require, err) == 0)
        return 0;
    config_free(*ret);
    return -1;
}

/* `auto` resolved, whether it fits or not: doctor_machine says that. */
static int resolve(struct config *cfg, struct error *err)
{
    struct machine m;
    struct sizing z;
    bool overcommit = cfg->pool.overcommit;
    cfg->pool.overcommit = true;
    if (limits_probe(&m, "", 0, err) < 0 || sizing_resolve(&z, cfg, &m, sizing_auto_sessions(&m, cfg), err) < 0)
        return -1;
    sizing_apply(&z, cfg);
    cfg->pool.overcommit = overcommit;
    return 0;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void make_small(struct config *cfg)
{
    cfg->pool.memory_cap_bytes = least(cfg->pool.memory_cap_bytes, PROBE_MEMORY_BYTES);
    cfg->pool.memory_limit_bytes = least(cfg->pool.memory_limit_bytes, cfg->pool.memory_cap_bytes / 2);
    cfg->pool.scratch_limit_bytes = least(cfg->pool.scratch_limit_bytes, PROBE_SCRATCH_BYTES);
}

static int examine(const struct arguments *a, struct doctor *d)
{
    void (*const groups[])(struct doctor *) = {doctor_machine, doctor_database, doctor_files, doctor_roles, doctor_walls};
    for (size_t i = 0; i < sizeof groups / sizeof *groups && !d->stopped; i++)
        groups[i](d);
    if (d->stopped) {
        fprintf(stderr, "bulkhead doctor: stopped by a signal\n");
        return 1;
    }
    unsigned rows, columns = 132;
    if (isatty(STDOUT_FILENO))
        terminal_size(&rows, &columns);
    return !report_print(&d->report, a->json, columns) || report_verdict(&d->report) == VERDICT_FAIL;
}

static int run(const struct arguments *a)
{
    struct doctor d = {0};
    struct error err;
    int code = 2;
    if (load(a, &d.cfg, &err) < 0) {
        fprintf(stderr, "bulkhead doctor: %s\n", err.detail);
        return 2;
    }
    if (load(a, &d.probe, &err) < 0 || resolve(d.cfg, &err) < 0 || resolve(d.probe, &err) < 0) {
        fprintf(stderr, "bulkhead doctor: %s\n", err.detail);
    } else {
        make_small(d.probe);
        signal(SIGPIPE, SIG_IGN);
        d.signal_fd = query_signals();
        code = d.signal_fd < 0 ? 1 : examine(a, &d);
        fd_close_p(&d.signal_fd);
    }
    report_free(&d.report);
    config_free(d.probe);
    config_free(d.cfg);
    return code;
}

int cmd_doctor(int argc, char **argv)
{
    struct arguments a = {.sets = calloc((size_t)argc + 2, sizeof *a.sets)};
    CHECK(a.sets);
    char *path = NULL, cwd[PATH_MAX];
    int code = parse(argc, argv, &a);
    if (code < 0 && a.database) {
        bool whole = a.database[0] == '/' || !a.database[0] || !strcmp(a.database, ":memory:") || !getcwd(cwd, sizeof cwd);
        CHECK(asprintf(&path, "database.path=%s%s%s", whole ? "" : cwd, whole ? "" : "/", strcmp(a.database, ":memory:") ? a.database : "") > 0);
        a.sets[a.set_count++] = path;
    }
    if (code < 0)
        code = run(&a);
    free(path);
    free(a.sets);
    return code;
}
