/* `bulkhead`: the table of subcommands. Runs in the command line; `serve` becomes the supervisor, `front-process` the front,
 * `broker-process` the broker, `publisher-process` the publisher. */
#include "broker/broker.h"
#include "cli/cli.h"
#include "cli/screen.h"
#include "core/fd.h"
#include "front/front.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct command commands[] = {
    {"serve", cmd_serve, "serve a database over HTTP"},
    {"query", cmd_query, "run one query behind the same boundary, without a server"},
    {"config", cmd_config, "list every configuration key"},
    {"import", cmd_import, "change a database under its readers: a script, or a table's files"},
    {"rollback", cmd_rollback, "publish the version of a database before"},
    {"recover", cmd_recover, "deal with a write-ahead log that was left behind"},
    {"doctor", cmd_doctor, "try every protection live"},
    {"key", cmd_key, "make, list and revoke API keys"},
    {"top", cmd_top, "live view of workers and queries"},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *out)
{
    fprintf(out, "usage: bulkhead COMMAND [ARGUMENTS]\n\nDuckDB for many users, behind a process boundary.\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\n`bulkhead COMMAND --help` tells more; `bulkhead [COMMAND] --version` prints the version.\n");
}

/* What was printed must have arrived; a server's work is not what it prints. */
static int finish(const char *name, int code)
{
    errno = 0;
    if (strcmp(name, "serve") == 0 || (fflush(stdout) == 0 && !ferror(stdout)))
        return code;
    fprintf(stderr, "bulkhead%s%s: cannot write to standard output%s%s\n", name[0] == '-' ? "" : " ", name[0] == '-' ? "" : name, errno ? ": " : "",
            errno ? strerror(errno) : "");
    return code ? code : 1;
}

static int version(void)
{
    printf("bulkhead %s\n", BULKHEAD_VERSION);
    return finish("--version", 0);
}

/* `bulkhead COMMAND --version`, and as the last argument behind others, where it is no file's name. */
static bool asks_version(int argc, char **argv)
{
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--version") == 0 && (i == 2 || i == argc - 1))
            return true;
    return false;
}

int cli_main(int argc, char **argv)
{
    if (fd_hold_standard() < 0)
        return 1;
    const char *name = argc > 1 ? argv[1] : "";
    /* Neither a core file nor another process of the same user gets to see queries and keys. An exec takes it back: each role says so itself. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow (ulimit -f), a log among them, is an error to be told, not the end of the process */
    if (strcmp(name, "front-process") == 0)
        return front_main(argc, argv);
    if (strcmp(name, "broker-process") == 0)
        return broker_main(argc, argv);
    if (strcmp(name, "publisher-process") == 0)
        return publisher_main(argc, argv);
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
        usage(stdout);
        return finish("--help", 0);
    }
    if (strcmp(name, "--version") == 0)
        return version();
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return asks_version(argc, argv) ? version() : finish(name, commands[i].run(argc - 1, argv + 1));
    if (name[0])
        return screen_complain(2, "", "unknown command '", name, "'; `bulkhead --help` lists them");
    usage(stderr);
    return 2;
}
