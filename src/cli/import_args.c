/* Arguments of `bulkhead import` (see the header). Runs in the command line. */
#include "cli/import_args.h"
#include "cli/write_args.h"
#include "core/errors.h"
#include "core/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_MAX 1000
#define WAIT_DEFAULT_MS 60000

static const char help[] =
    "usage: bulkhead import DATABASE SCRIPT.sql [--read PATH]...\n"
    "       bulkhead import DATABASE --table NAME FILE... [--replace | --append] [--format csv|json|parquet]\n"
    "       both: [--keep N] [--dry-run] [--in-place] [--timeout TIME] [--config FILE] [--set SECTION.KEY=VALUE]...\n"
    "\n"
    "Changes DATABASE under its readers: on a private copy beside it, in a worker process of its own, published whole by a\n"
    "rename when all has worked. Whatever fails, DATABASE stays as it was. A running server takes the new file up by itself.\n"
    "A DATABASE that does not exist yet is made. SCRIPT may be - for standard input.\n"
    "  --table NAME           NAME or SCHEMA.NAME; made of the files' columns: it must not exist yet\n"
    "  --replace              the table is made anew\n"
    "  --append               the rows are added to the table, columns by name\n"
    "  --format FORMAT        of the files; without it by their ending (.csv .tsv .json .ndjson .jsonl .parquet, also with .gz)\n"
    "  --read PATH            a file, or a directory with all below it, that the script may read (and, if this user may,\n"
    "                         write); its own directory is one anyway. For files of --table this is not needed\n"
    "  --keep N               old versions that stay, for `bulkhead rollback` (default: admin.keep)\n"
    "  --dry-run              --table: shows the columns; a script: runs it all on the copy, and throws that away\n"
    "  --in-place             no copy: for databases too large for one. Servers give the file up while it runs; the script is\n"
    "                         one transaction. There is no version to roll back to\n"
    "  --wait TIME            --in-place: how long for others to give the file up (default 60s)\n"
    "  --timeout TIME         for the script; default: none\n"
    "  --config FILE, --set   configuration; [admin] memory_limit and threads are for this\n"
    "\n"
    "Exit code: 0 published, 1 failed, 2 wrong usage.\n";

static int wrong(const char *what, const char *arg)
{
    return write_fail(WRITE_EXIT_USAGE, "import", "%s%s; see `bulkhead import --help`", what, arg);
}

static int set_number(const char *name, const char *value, int64_t max, int64_t *ret)
{
    int64_t v;
    const char *why = units_parse_int(value, &v);
    if (why)
        return write_fail(WRITE_EXIT_USAGE, "import", "%s '%s' %s", name, value, why);
    if (v > max)
        return write_fail(WRITE_EXIT_USAGE, "import", "%s must be at most %lld", name, (long long)max);
    *ret = v;
    return -1;
}

static int set_time(const char *name, const char *value, int64_t *ret)
{
    const char *why = units_parse_duration(value, ret);
    return why ? write_fail(WRITE_EXIT_USAGE, "import", "%s '%s' %s", name, value, why) : -1;
}

static int set_kind(struct import_args *a, const char *value)
{
    static const char *const names[] = {[IMPORT_CSV] = "csv", [IMPORT_JSON] = "json", [IMPORT_PARQUET] = "parquet"};
    for (int i = IMPORT_CSV; i <= IMPORT_PARQUET; i++)
        if (strcmp(value, names[i]) == 0) {
            a->kind = (enum import_kind)i;
            return -1;
        }
    return wrong("--format must be csv, json or parquet, not ", value);
}

static int set_value(struct import_args *a, const char *name, const char *value)
{
    if (strcmp(name, "--keep") == 0)
        return set_number(name, value, KEEP_MAX, &a->keep);
    if (strcmp(name, "--timeout") == 0)
        return set_time(name, value, &a->timeout_ms);
    if (strcmp(name, "--wait") == 0)
        return set_time(name, value, &a->wait_ms);
    if (strcmp(name, "--format") == 0)
        return set_kind(a, value);
    if (!value[0])
        return wrong("a value is missing behind ", name);
    if (strcmp(name, "--table") == 0)
        a->table = value;
    else if (strcmp(name, "--read") == 0)
        a->reads[a->read_count++] = value;
    else if (strcmp(name, "--config") == 0)
        a->config_file = value;
    else
        a->sets[a->set_count++] = value;
    return -1;
}

static int set_how(struct import_args *a, enum import_how how)
{
    if (a->how != IMPORT_CREATE && a->how != how)
        return wrong("--replace and --append contradict each other", "");
    a->how = how;
    return -1;
}

/* -2: it is no flag. */
static int set_flag(struct import_args *a, const char *name)
{
    if (strcmp(name, "--replace") == 0)
        return set_how(a, IMPORT_REPLACE);
    if (strcmp(name, "--append") == 0)
        return set_how(a, IMPORT_APPEND);
    if (strcmp(name, "--dry-run") == 0)
        a->dry_run = true;
    else if (strcmp(name, "--in-place") == 0)
        a->in_place = true;
    else
        return -2;
    return -1;
}

static bool takes_value(const char *name)
{
    static const char *const names[] = {"--table", "--keep", "--timeout", "--wait", "--format", "--read", "--config", "--set"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static int take_option(struct import_args *a, int argc, char **argv, int *i)
{
    char name[32];
    char *arg = argv[*i], *equals = strchr(arg, '=');
    int code = set_flag(a, arg);
    if (code != -2)
        return code;
    snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - arg) : (int)strlen(arg), arg);
    if (!takes_value(name))
        return wrong("unknown option ", arg);
    if (equals)
        return set_value(a, name, equals + 1);
    if (*i + 1 == argc)
        return wrong("a value is missing behind ", arg);
    return set_value(a, name, argv[++*i]);
}

static int check(struct import_args *a)
{
    if (!a->database)
        return wrong("the database is missing", "");
    if (!a->table && a->file_count == 0)
        return wrong("the script is missing (or --table NAME and its files)", "");
    if (!a->table && a->file_count > 1)
        return wrong("one script, and no more: ", a->files[1]);
    if (a->table && a->file_count == 0)
        return wrong("the files of the table are missing", "");
    if (!a->table && (a->how != IMPORT_CREATE || a->kind != IMPORT_BY_ENDING))
        return wrong("--replace, --append and --format go with --table", "");
    if (a->table && a->read_count > 0)
        return wrong("--read goes with a script", "");
    if (a->in_place && (a->dry_run || a->keep > 0))
        return wrong("--in-place makes no copy: --dry-run and --keep do not go with it", "");
    if (!a->table)
        a->script = a->files[0];
    return -1;
}

int import_args_parse(int argc, char **argv, struct import_args *a)
{
    size_t n = (size_t)argc + 2;
    *a = (struct import_args){.keep = -1,
                              .wait_ms = WAIT_DEFAULT_MS,
                              .files = calloc(n, sizeof *a->files),
                              .reads = calloc(n, sizeof *a->reads),
                              .sets = calloc(n, sizeof *a->sets)};
    CHECK(a->files && a->reads && a->sets);
    bool options = true;
    for (int i = 1; i < argc; i++) {
        int code = -1;
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)) {
            fputs(help, stdout);
            return fflush(stdout) ? 1 : 0;
        } else if (options && argv[i][0] == '-' && argv[i][1]) {
            code = take_option(a, argc, argv, &i);
        } else if (!a->database) {
            a->database = argv[i];
        } else {
            a->files[a->file_count++] = argv[i];
        }
        if (code >= 0)
            return code;
    }
    return check(a);
}

void import_args_free(struct import_args *a)
{
    free(a->files);
    free(a->reads);
    free(a->sets);
}
