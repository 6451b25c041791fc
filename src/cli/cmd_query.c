/* `bulkhead query`: one query behind the server's boundary, without a server. Arguments into a plan, the plan's outcome into an exit code
 * and one line on stderr. Runs in the command line. */
#include "cli/cli.h"
#include "cli/filter.h"
#include "cli/query_args.h"
#include "cli/query_output.h"
#include "cli/query_run.h"
#include "cli/screen.h"
#include "core/config.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/layers.h"
#include "core/sizing.h"
#include "core/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_QUERY_FAILED 1
#define EXIT_WRONG_USAGE 2
#define TIMEOUT_MAX_MS (INT64_C(100) * 365 * 24 * 3600 * 1000)

/* One line, whatever the text holds: "bulkhead query: what is wrong (code, more of it)". */
static void report(const struct error *err)
{
    struct buf b = BUF_INIT((size_t)65536);
    bool of_query = err->code != ERR_UNAVAILABLE && err->code != ERR_BAD_REQUEST;
    bool ok = buf_puts(&b, "bulkhead query: ") && screen_append(&b, err->detail, strlen(err->detail), SCREEN_ONE_LINE);
    if (of_query) {
        ok = ok && buf_printf(&b, " (%s", error_text(err->code));
        if (err->error_type[0])
            ok = ok && buf_puts(&b, ": ") && screen_append(&b, err->error_type, strlen(err->error_type), SCREEN_ONE_LINE);
        if (err->position > 0)
            ok = ok && buf_printf(&b, ", at byte %lld of the SQL", (long long)err->position);
        if (err->limit_bytes > 0)
            ok = ok && buf_printf(&b, ", the limit is %lld bytes", (long long)err->limit_bytes);
        if (err->stopped_by != STOP_NONE)
            ok = ok && buf_printf(&b, ", stopped by %s", stop_stage_text(err->stopped_by));
        ok = ok && buf_puts(&b, ")");
    }
    if (ok && err->code == ERR_OUT_OF_MEMORY)
        (void)buf_puts(&b, "; --set pool.memory_limit=SIZE gives it more");
    (void)buf_puts(&b, "\n");
    (void)!write(STDERR_FILENO, b.data, b.len);
    buf_free(&b);
}

static int fail(int code, const struct error *err)
{
    report(err);
    return code;
}

static void add_set(struct query_args *a, const char *text) { a->sets[a->set_count++] = text; }

/* The database, as the worker, whose directory may be another one's, needs it; and a pool of one. */
static void add_own_sets(struct query_args *a, char **ret_path)
{
    char cwd[PATH_MAX];
    bool whole = a->database[0] == '/' || !a->database[0] || !getcwd(cwd, sizeof cwd);
    CHECK(asprintf(ret_path, "database.path=%s%s%s", whole ? "" : cwd, whole ? "" : "/", a->database) > 0);
    add_set(a, *ret_path);
    add_set(a, "pool.workers=1");
    add_set(a, "pool.spares=0");
    add_set(a, "session.max=0");
}

static int load_config(struct query_args *a, struct config **ret, struct error *err)
{
    struct machine machine;
    struct sizing sizing;
    struct config *cfg;
    if (config_load(&cfg, a->config_file, a->sets, environ, err) < 0)
        return -1;
    if (layers_check_names(&cfg->sandbox.require, err) < 0 || limits_probe(&machine, "", 0, err) < 0 ||
        sizing_resolve(&sizing, cfg, &machine, 0, err) < 0) {
        config_free(cfg);
        return -1;
    }
    sizing_apply(&sizing, cfg);
    *ret = cfg;
    return 0;
}

static int check_sql(const struct query_args *a, const struct config *cfg, struct error *err)
{
    if (a->sql_len > (size_t)cfg->limits.max_sql_bytes)
        return error_set(err, ERR_BAD_REQUEST, "the SQL has %zu bytes, the limit (limits.max_sql_bytes) is %lld", a->sql_len,
                         (long long)cfg->limits.max_sql_bytes);
    if (!utf8_valid(a->sql, a->sql_len))
        return error_set(err, ERR_BAD_REQUEST, "the SQL is not valid UTF-8");
    return 0;
}

static int check_format(const struct query_format *f, const struct output *o, struct error *err)
{
    if (f->is_binary && o->is_terminal)
        return error_set(err, ERR_BAD_REQUEST, "format %s is not for a terminal; write it to a file with -o FILE", f->name);
    return 0;
}

static struct filter *make_filter(const struct query_format *f, const struct output *o)
{
    if (f->is_table)
        return filter_table_new(output_columns(o));
    return o->is_terminal ? filter_terminal_new() : NULL;
}

/* Everything is checked: from here on signals are ours, and there are things to clean up. */
static int run(const struct query_args *a, const struct query_format *f, const struct config *cfg, struct output *o)
{
    struct error err;
    auto_close int signal_fd = query_signals();
    if (signal_fd < 0) {
        error_set(&err, ERR_UNAVAILABLE, "cannot wait for signals: %s", strerror(errno));
        return fail(EXIT_QUERY_FAILED, &err);
    }
    if (output_prepare(o, &err) < 0)
        return fail(EXIT_QUERY_FAILED, &err);
    struct query_plan plan = {.cfg = cfg,
                              .sql = a->sql,
                              .sql_len = a->sql_len,
                              .format = f->wire,
                              .timeout_ms = a->timeout_ms < 0 ? cfg->limits.timeout_ms : a->timeout_ms,
                              .output = o,
                              .filter = make_filter(f, o)};
    if (plan.timeout_ms > TIMEOUT_MAX_MS)
        plan.timeout_ms = TIMEOUT_MAX_MS;
    enum query_result result = query_run(&plan, signal_fd, &err);
    filter_free(plan.filter);
    if (result == QUERY_DONE && output_commit(o, &err) < 0)
        result = QUERY_FAILED;
    if (result == QUERY_READER_GONE) { /* quietly, and as other programs do: by the signal */
        output_close(o);
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    return result == QUERY_DONE ? 0 : fail(EXIT_QUERY_FAILED, &err);
}

static int open_and_run(const struct query_args *a, const struct config *cfg)
{
    struct output o;
    struct error err;
    int code;
    if (output_open(&o, a->output, a->database, &err) < 0) {
        code = fail(err.code == ERR_BAD_REQUEST ? EXIT_WRONG_USAGE : EXIT_QUERY_FAILED, &err);
    } else {
        const struct query_format *f = query_args_format(a, o.is_terminal);
        code = check_format(f, &o, &err) < 0 ? fail(EXIT_WRONG_USAGE, &err) : run(a, f, cfg, &o);
    }
    output_close(&o);
    return code;
}

int cmd_query(int argc, char **argv)
{
    struct query_args a;
    struct error err;
    struct config *cfg = NULL;
    char *path = NULL;
    int code = query_args_parse(argc, argv, &a);
    if (code < 0) {
        signal(SIGPIPE, SIG_IGN);
        add_own_sets(&a, &path);
        bool ok = load_config(&a, &cfg, &err) == 0 && check_sql(&a, cfg, &err) == 0;
        code = ok ? open_and_run(&a, cfg) : fail(EXIT_WRONG_USAGE, &err);
    }
    config_free(cfg);
    query_args_free(&a);
    free(path);
    return code;
}
