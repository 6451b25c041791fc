/* Log lines. Runs in supervisor, front and the command line. */
#include "core/log.h"
#include "core/buf.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 4096 /* PIPE_BUF: a pipe takes that whole or not at all */
#define TAIL_BYTES 64   /* kept free for the end of the line */

static const char *const level_texts[] = {"error", "warn", "info", "debug"};

static void timestamp(char out[32])
{
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 32 - n, ".%03ldZ", ts.tv_nsec / 1000000);
}

/* As much of the text as fits: a cut text says so by its dots. */
static void put_text(struct buf *b, const char *text)
{
    size_t len = strlen(text);
    if (buf_json_string(b, text, len))
        return;
    char part[LINE_BYTES];
    while (len > 0) {
        len = len > LINE_BYTES / 2 ? LINE_BYTES / 2 : len * 3 / 4;
        snprintf(part, sizeof part, "%.*s...", (int)len, text);
        if (buf_json_string(b, part, strlen(part)))
            return;
    }
    buf_puts(b, "\"\"");
}

static void put_field(struct buf *b, enum log_format format, const struct log_field *f)
{
    size_t before = b->len;
    bool ok = format == LOG_JSON ? buf_printf(b, ",\"%s\":", f->key) : buf_printf(b, " %s=", f->key);
    ok = ok && buf_reserve(b, 24);
    if (!ok)
        b->len = before;
    else if (f->text)
        put_text(b, f->text);
    else
        buf_printf(b, "%" PRId64, f->number);
}

static void put_head(struct buf *b, const struct log *log, enum log_level level, const char *event)
{
    char ts[32];
    timestamp(ts);
    if (log->format == LOG_JSON)
        buf_printf(b, "{\"ts\":\"%s\",\"level\":\"%s\",\"role\":\"%s\",\"event\":\"%s\"", ts, level_texts[level], log->role, event);
    else
        buf_printf(b, "%s %-5s %s %s", ts, level_texts[level], log->role, event);
}

/* A pipe that polls as writable takes PIPE_BUF bytes without blocking. */
static bool write_line(const char *line, size_t len)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) && write(STDERR_FILENO, line, len) == (ssize_t)len;
}

void log_fields(struct log *log, enum log_level level, const char *event, const struct log_field *fields, int count)
{
    if (level > log->level)
        return;
    char space[LINE_BYTES];
    struct buf b = {.data = space, .cap = sizeof space, .max = sizeof space - TAIL_BYTES};
    put_head(&b, log, level, event);
    for (int i = 0; i < count; i++)
        put_field(&b, log->format, &fields[i]);
    b.max = sizeof space;
    if (log->dropped)
        put_field(&b, log->format, &LOG_I("dropped_lines", (int64_t)log->dropped));
    buf_puts(&b, log->format == LOG_JSON ? "}\n" : "\n");
    if (write_line(b.data, b.len))
        log->dropped = 0;
    else
        log->dropped++;
}
