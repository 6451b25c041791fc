/* Arguments of `bulkhead query`. Runs in the command line. */
#include "cli/query_args.h"
#include "cli/screen.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/units.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define STDIN_SQL_MAX ((size_t)64 << 20) /* limits.max_sql_bytes, which is not known yet, is the real limit */

static const struct query_format formats[] = {
    {"table", FORMAT_JSON, "", .is_table = true},
    {"json", FORMAT_JSON, ".json "},
    {"ndjson", FORMAT_NDJSON, ".ndjson .jsonl "},
    {"csv", FORMAT_CSV, ".csv "},
    {"arrow", FORMAT_ARROW, ".arrow .arrows ", .is_binary = true},
    {"parquet", FORMAT_PARQUET, ".parquet ", .is_binary = true},
};
#define FORMATS (sizeof formats / sizeof formats[0])

static const char help[] = "usage: bulkhead query DATABASE SQL [--format FORMAT] [--timeout TIME] [-o FILE]\n"
                           "\n"
                           "Runs one read-only statement behind the same boundary as the server, without one: a worker process of its own,\n"
                           "the same limits, the same way of stopping it. DATABASE may be :memory:; SQL may be - for standard input.\n"
                           "  --format FORMAT        table, json, ndjson, csv, arrow, parquet; without it: by the ending of -o's FILE, or\n"
                           "                         table on a terminal (at most 5000 rows are shown, the rest is counted), else json\n"
                           "  --timeout TIME         how long it may run, 500ms 30s 5m; 0: no limit; default: limits.timeout\n"
                           "  -o, --output FILE      write the result there: whole, or not at all\n"
                           "  --config FILE          configuration (INI); `bulkhead config` lists every key\n"
                           "  --set SECTION.KEY=VAL  one value, before environment and file\n"
                           "\n"
                           "Ctrl-C cancels the query, a second one kills its worker. Exit code: 0 done, 1 the query failed, 2 wrong usage.\n";

const struct query_format *query_formats(size_t *ret_count)
{
    *ret_count = FORMATS;
    return formats;
}

/* Arguments may hold anything: they are escaped before they are shown. Always 2. */
static int fail(const char *what, const char *arg, const char *after)
{
    char rest[256];
    snprintf(rest, sizeof rest, "%s; see `bulkhead query --help`", after);
    return screen_complain(2, "query", what, arg, rest);
}

static int set_format(struct query_args *a, const char *text)
{
    for (size_t i = 0; i < FORMATS; i++) {
        if (strcmp(text, formats[i].name) != 0)
            continue;
        a->format = &formats[i];
        return -1;
    }
    return fail("--format must be one of table, json, ndjson, csv, arrow, parquet, not ", text, "");
}

static int set_timeout(struct query_args *a, const char *text)
{
    const char *wrong = units_parse_duration(text, &a->timeout_ms);
    if (!wrong)
        return -1;
    char after[200];
    snprintf(after, sizeof after, "' %s", wrong);
    return fail("--timeout '", text, after);
}

/* `name` begins with a dash. */
static int set_option(struct query_args *a, const char *name, const char *value)
{
    if (strcmp(name, "--format") == 0)
        return set_format(a, value);
    if (strcmp(name, "--timeout") == 0)
        return set_timeout(a, value);
    if (strcmp(name, "--config") == 0)
        a->config_file = value;
    else if (strcmp(name, "--set") == 0)
        a->sets[a->set_count++] = value;
    else if (!value[0])
        return fail("a file name is missing behind ", name, "");
    else
        a->output = value;
    return -1;
}

static bool is_option(const char *name)
{
    static const char *const names[] = {"--format", "--timeout", "-o", "--output", "--config", "--set"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static int set_positional(struct query_args *a, const char *arg)
{
    if (!a->database && !arg[0])
        return fail("the database's name is empty (:memory: is an empty database)", "", "");
    if (!a->database)
        a->database = strcmp(arg, ":memory:") == 0 ? "" : arg;
    else if (!a->sql)
        a->sql = arg;
    else
        return fail("one database and one statement, and no more: ", arg, "");
    return -1;
}

/* argv[*i] is an option: takes it, and its value from behind = or from the next argument. */
static int take_option(struct query_args *a, int argc, char **argv, int *i)
{
    char *arg = argv[*i], *equals = strncmp(arg, "--", 2) == 0 ? strchr(arg, '=') : NULL;
    char name[32];
    snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - arg) : INT_MAX, arg);
    if (!is_option(name))
        return fail("unknown option ", arg, "");
    if (equals)
        return set_option(a, name, equals + 1);
    if (*i + 1 == argc)
        return fail("a value is missing behind ", arg, "");
    return set_option(a, name, argv[++*i]);
}

/* An SQL comment is no option. */
static bool looks_like_option(const char *arg) { return arg[0] == '-' && arg[1] && !(arg[1] == '-' && isspace((unsigned char)arg[2])); }

static int read_stdin(struct query_args *a)
{
    char *text;
    if (fd_read_all(STDIN_FILENO, STDIN_SQL_MAX, &text, &a->sql_len) < 0)
        return fail("cannot read the statement from standard input: ", strerror(errno), "");
    a->sql = a->read_sql = text;
    return -1;
}

void query_args_free(struct query_args *a)
{
    free(a->read_sql);
    free(a->sets);
}

int query_args_parse(int argc, char **argv, struct query_args *a)
{
    *a = (struct query_args){.timeout_ms = -1, .sets = calloc((size_t)argc + 8, sizeof *a->sets)};
    CHECK(a->sets);
    bool options = true;
    for (int i = 1; i < argc; i++) {
        int code = -1;
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)) {
            fputs(help, stdout);
            return fflush(stdout) ? 1 : 0;
        } else if (options && looks_like_option(argv[i])) {
            code = take_option(a, argc, argv, &i);
        } else {
            code = set_positional(a, argv[i]);
        }
        if (code >= 0)
            return code;
    }
    if (!a->database || !a->sql)
        return fail(a->database ? "the SQL is missing" : "the database and the SQL are missing", "", "");
    if (strcmp(a->sql, "-") == 0)
        return read_stdin(a);
    a->sql_len = strlen(a->sql);
    return -1;
}

static bool has_ending(const char *path, const char *ending, size_t n)
{
    size_t len = strlen(path);
    return len > n && strncasecmp(path + len - n, ending, n) == 0;
}

const struct query_format *query_args_format(const struct query_args *a, bool terminal)
{
    if (a->format)
        return a->format;
    for (size_t i = 0; a->output && i < FORMATS; i++)
        for (const char *e = formats[i].endings; *e; e = strchr(e, ' ') + 1)
            if (has_ending(a->output, e, (size_t)(strchr(e, ' ') - e)))
                return &formats[i];
    return terminal ? &formats[0] : &formats[1];
}
