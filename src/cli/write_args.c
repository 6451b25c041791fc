/* What the commands that write have in common (see the header). Runs in the command line. */
#include "cli/write_args.h"
#include "cli/query_run.h"
#include "cli/screen.h"
#include "core/buf.h"
#include "core/sizing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES ((size_t)1 << 20)
#define MEMORY_AUTO_MAX INT64_C(2000000000)

static void put_line(int fd, const char *before, const char *format, va_list args)
{
    char *text = NULL;
    struct buf b = BUF_INIT(LINE_MAX_BYTES);
    if (vasprintf(&text, format, args) < 0)
        return;
    (void)(buf_puts(&b, before) && screen_append(&b, text, strlen(text), SCREEN_ONE_LINE) && buf_puts(&b, "\n"));
    (void)!write(fd, b.data, b.len);
    buf_free(&b);
    free(text);
}

int write_fail(int code, const char *command, const char *format, ...)
{
    char before[64];
    va_list args;
    snprintf(before, sizeof before, "bulkhead %s: ", command);
    va_start(args, format);
    put_line(STDERR_FILENO, before, format, args);
    va_end(args);
    return code;
}

int write_fail_error(const char *command, const struct error *err)
{
    if (err->code == ERR_BAD_REQUEST)
        return write_fail(WRITE_EXIT_USAGE, command, "%s", err->detail);
    if (err->code == ERR_SQL && err->position > 0)
        return write_fail(WRITE_EXIT_FAILED, command, "%s (at byte %lld of the script)", err->detail, (long long)err->position);
    return write_fail(WRITE_EXIT_FAILED, command, "%s", err->detail);
}

void write_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_line(STDOUT_FILENO, "", format, args);
    va_end(args);
}

/* One worker, and nobody beside it: what it gets is not the pool's share. */
static int size(struct config *cfg, struct error *err)
{
    struct machine m;
    struct sizing z;
    if (limits_probe(&m, "", 0, err) < 0)
        return -1;
    int64_t memory = (m.memory_bytes - SIZING_RESERVE_BYTES) / 2;
    if (memory > MEMORY_AUTO_MAX)
        memory = MEMORY_AUTO_MAX;
    if (memory < SIZING_LIMIT_MIN_BYTES)
        memory = SIZING_LIMIT_MIN_BYTES;
    cfg->pool.workers = 1;
    cfg->pool.spares = 0;
    cfg->session.max = 0;
    cfg->pool.memory_limit_bytes = cfg->admin.memory_limit_bytes == CONFIG_AUTO ? memory : cfg->admin.memory_limit_bytes;
    cfg->pool.memory_cap_bytes = CONFIG_AUTO;
    cfg->pool.threads = cfg->admin.threads == CONFIG_AUTO ? m.cpus : cfg->admin.threads;
    cfg->pool.cpu_cap = CONFIG_AUTO;
    if (sizing_resolve(&z, cfg, &m, 0, err) < 0)
        return -1;
    sizing_apply(&z, cfg);
    return 0;
}

int write_config(struct config **ret, const char *config_file, const char *const *sets, struct error *err)
{
    struct config *cfg;
    if (config_load(&cfg, config_file, sets, environ, err) < 0)
        return -1;
    if (size(cfg, err) < 0) {
        config_free(cfg);
        return -1;
    }
    *ret = cfg;
    return 0;
}

void write_config_path(struct config *cfg, const char *path)
{
    free(cfg->database.path);
    cfg->database.path = strdup(path);
    CHECK(cfg->database.path);
}

int write_start(void)
{
    signal(SIGPIPE, SIG_IGN);
    return query_signals();
}
