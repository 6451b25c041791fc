/* `bulkhead serve`: arguments into configuration, then the supervisor. */
#include "cli/cli.h"
#include "cli/screen.h"
#include "core/config.h"
#include "core/errors.h"
#include "supervisor/supervisor.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] = "usage: bulkhead serve [DATABASE] [--config FILE] [--listen ADDR:PORT] [--set SECTION.KEY=VALUE]...\n"
                           "\n"
                           "Serves DATABASE, read-only, over HTTP; without one, an empty in-memory database.\n"
                           "  --config FILE          configuration (INI); `bulkhead config` lists every key\n"
                           "  --listen ADDR:PORT     where to listen; port 0 takes a free one, unix:/path a socket\n"
                           "  --set SECTION.KEY=VAL  one value, before environment and file\n"
                           "\n"
                           "When ready it prints one line on stdout: bulkhead ready http=ADDR:PORT workers=N database=PATH\n"
                           "Logs go to stderr. SIGTERM drains and ends, SIGHUP reads the configuration again.\n";

struct arguments {
    const char *config_file;
    char **sets; /* NULL-terminated; all are ours */
    int set_count;
};

static void add_set(struct arguments *a, const char *key, const char *value)
{
    char *text = NULL;
    CHECK((key ? asprintf(&text, "%s=%s", key, value) : asprintf(&text, "%s", value)) >= 0);
    a->sets[a->set_count++] = text;
}

static void free_sets(struct arguments *a)
{
    for (int i = 0; i < a->set_count; i++)
        free(a->sets[i]);
    free(a->sets);
}

static int fail(const char *what, const char *arg) { return screen_complain(2, "serve", what, arg, "; see `bulkhead serve --help`"); }

/* The path as the supervisor, whose directory may be another one's, will need it. */
static void add_database(struct arguments *a, const char *path)
{
    char cwd[PATH_MAX], full[2 * PATH_MAX];
    if (strcmp(path, ":memory:") == 0) {
        add_set(a, "database.path", "");
        return;
    }
    bool absolute = path[0] == '/' || !getcwd(cwd, sizeof cwd);
    if (!absolute)
        snprintf(full, sizeof full, "%s/%s", cwd, path);
    add_set(a, "database.path", absolute ? path : full);
}

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct arguments *a)
{
    bool database = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        bool takes_value = strcmp(arg, "--config") == 0 || strcmp(arg, "--listen") == 0 || strcmp(arg, "--set") == 0;
        if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
            fputs(help, stdout);
            return 0;
        }
        if (takes_value && i + 1 == argc)
            return fail("a value is missing behind ", arg);
        if (strcmp(arg, "--config") == 0)
            a->config_file = argv[++i];
        else if (strcmp(arg, "--listen") == 0)
            add_set(a, "server.listen", argv[++i]);
        else if (strcmp(arg, "--set") == 0)
            add_set(a, NULL, argv[++i]);
        else if (arg[0] == '-' && arg[1])
            return fail("unknown option ", arg);
        else if (database)
            return fail("more than one database: ", arg);
        else if (!arg[0])
            return fail("the database's name is empty (:memory: is an empty database)", "");
        else {
            database = true;
            add_database(a, arg);
        }
    }
    return -1;
}

static int serve(const struct arguments *a)
{
    struct config *cfg;
    struct error err;
    const char *const *sets = (const char *const *)a->sets;
    if (config_load(&cfg, a->config_file, sets, environ, &err) < 0) {
        fprintf(stderr, "bulkhead serve: %s\n", err.detail);
        return 2;
    }
    struct supervisor_options opts = {.config = cfg, .config_file = a->config_file, .sets = sets};
    return supervisor_run(&opts);
}

int cmd_serve(int argc, char **argv)
{
    struct arguments a = {.sets = calloc((size_t)argc + 2, sizeof *a.sets)};
    CHECK(a.sets);
    int code = parse(argc, argv, &a);
    if (code < 0)
        code = serve(&a);
    free_sets(&a);
    return code;
}
