/* Log lines. Runs in supervisor, front and the command line. */
#include "core/log.h"
#include "core/buf.h"
#include "core/errors.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 4096 /* PIPE_BUF: a pipe takes that whole or not at all */
#define TAIL_BYTES 64   /* kept free for the end of the line */
#define HELD_BYTES (64 * 1024)

static const char *const level_texts[] = {"error", "warn", "info", "debug"};

/* ---- formatting: by hand, since a server writes a line for each query ---- */

#define NUMBER_BYTES 32 /* more than the longest number takes */
#define FRAME_BYTES 4   /* around a key: ,"": */

static char *put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

static char *put_number(char *at, int64_t v, bool thousandths)
{
    char digits[NUMBER_BYTES];
    int n = 0;
    uint64_t magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    if (v < 0)
        *at++ = '-';
    do {
        if (thousandths && n == 3)
            digits[n++] = '.';
        digits[n++] = (char)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude || (thousandths && n < 5));
    while (n)
        *at++ = digits[--n];
    return at;
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
    if (!buf_reserve(b, f->key_len + FRAME_BYTES + NUMBER_BYTES))
        return;
    char *at = b->data + b->len;
    at = format == LOG_JSON ? put(at, ",\"", 2) : put(at, " ", 1);
    at = put(at, f->key, f->key_len);
    at = format == LOG_JSON ? put(at, "\":", 2) : put(at, "=", 1);
    if (!f->text)
        at = put_number(at, f->number, f->thousandths);
    b->len = (size_t)(at - b->data);
    if (f->text)
        put_text(b, f->text);
}

static void put_timestamp(struct buf *b, struct log *log)
{
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (ts.tv_sec != log->second || !log->second_text[0]) {
        gmtime_r(&ts.tv_sec, &tm);
        if (strftime(log->second_text, sizeof log->second_text, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
            strcpy(log->second_text, "?");
        log->second = ts.tv_sec;
    }
    long ms = ts.tv_nsec / 1000000;
    char fraction[5] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z'};
    (void)(buf_puts(b, log->second_text) && buf_append(b, fraction, sizeof fraction));
}

static void put_head(struct buf *b, struct log *log, enum log_level level, const char *event)
{
    if (log->format == LOG_TEXT) {
        put_timestamp(b, log);
        (void)buf_printf(b, " %-5s %s %s", level_texts[level], log->role, event);
        return;
    }
    (void)buf_puts(b, "{\"ts\":\"");
    put_timestamp(b, log);
    const char *const parts[] = {"\",\"level\":\"", level_texts[level], "\",\"role\":\"", log->role, "\",\"event\":\"", event, "\""};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        (void)buf_puts(b, parts[i]);
}

/* ---- writing ---- */

/* A pipe that polls as writable takes PIPE_BUF bytes; but with several writers, another's may come between poll and write. So a pipe is opened
 * once more through /proc: that description does not block, and the flag does not reach whoever else has stderr. (A file is not: its
 * position would be another one.) */
static void open_stderr(struct log *log)
{
    struct stat st;
    log->opened = true;
    log->fd = STDERR_FILENO;
    if (fstat(STDERR_FILENO, &st) < 0)
        return;
    int own = S_ISFIFO(st.st_mode) ? open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY) : -1;
    if (own >= 0)
        log->fd = own;
    log->kind = own >= 0 ? LOG_TO_PIPE : S_ISREG(st.st_mode) ? LOG_TO_FILE : S_ISSOCK(st.st_mode) ? LOG_TO_SOCKET : LOG_TO_OTHER;
}

/* A full disk takes a part: what comes later begins a line of its own. */
static size_t write_file(struct log *log, const char *text, size_t len)
{
    if (log->torn && write(log->fd, "\n", 1) != 1)
        return 0;
    ssize_t n = write(log->fd, text, len);
    size_t written = n > 0 ? (size_t)n : 0;
    log->torn = written > 0 && text[written - 1] != '\n';
    return written;
}

/* How many bytes went out: all or none, but for files. */
static size_t write_lines(struct log *log, const char *text, size_t len)
{
    if (!log->opened)
        open_stderr(log);
    if (log->kind == LOG_TO_FILE)
        return write_file(log, text, len);
    if (log->kind == LOG_TO_SOCKET)
        return send(log->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len ? len : 0;
    struct pollfd p = {.fd = log->fd, .events = POLLOUT};
    if (log->kind == LOG_TO_OTHER && (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)))
        return 0;
    return write(log->fd, text, len) == (ssize_t)len ? len : 0;
}

static size_t count_lines(const char *text, size_t len)
{
    size_t n = 0;
    for (const char *at = text; (at = memchr(at, '\n', (size_t)(text + len - at))); at++)
        n++;
    return n;
}

void log_hold(struct log *log)
{
    if (log->held)
        return;
    log->held = malloc(HELD_BYTES);
    CHECK(log->held);
}

/* Lines go out or are lost; among them perhaps the one that tells of earlier losses. */
static void put_out(struct log *log, bool with_told, const char *lines, size_t len)
{
    size_t written = write_lines(log, lines, len);
    if (written < len)
        log->dropped += count_lines(lines + written, len - written);
    else if (with_told)
        log->dropped -= log->told;
    if (with_told)
        log->told = 0;
}

/* In parts of whole lines that a pipe takes whole. */
void log_flush(struct log *log)
{
    for (size_t at = 0; at < log->held_bytes;) {
        size_t n = log->held_bytes - at;
        if (n > LINE_BYTES && log->kind != LOG_TO_FILE) {
            const char *end = memrchr(log->held + at, '\n', LINE_BYTES);
            n = (size_t)(end + 1 - (log->held + at)); /* there is one: no line is longer */
        }
        put_out(log, log->told && log->told_at >= at && log->told_at < at + n, log->held + at, n);
        at += n;
    }
    log->held_bytes = 0;
}

static void emit(struct log *log, enum log_level level, const char *line, size_t len)
{
    if (!log->held) {
        put_out(log, log->told > 0, line, len);
        return;
    }
    if (log->held_bytes + len > HELD_BYTES)
        log_flush(log);
    if (log->told && log->told_at == SIZE_MAX)
        log->told_at = log->held_bytes;
    memcpy(log->held + log->held_bytes, line, len);
    log->held_bytes += len;
    if (level <= LOG_WARN)
        log_flush(log);
}

static void write_fields(struct log *log, enum log_level level, const char *event, const struct log_field *fields, int count)
{
    char space[LINE_BYTES];
    struct buf b = {.data = space, .cap = sizeof space, .max = sizeof space - TAIL_BYTES};
    put_head(&b, log, level, event);
    for (int i = 0; i < count; i++)
        put_field(&b, log->format, &fields[i]);
    b.max = sizeof space;
    if (log->dropped && !log->told) {
        log->told = log->dropped;
        log->told_at = SIZE_MAX; /* emit says where */
        put_field(&b, log->format, &LOG_I("dropped_lines", (int64_t)log->dropped));
    }
    buf_puts(&b, log->format == LOG_JSON ? "}\n" : "\n");
    emit(log, level, b.data, b.len);
}

void log_fields(struct log *log, enum log_level level, const char *event, const struct log_field *fields, int count)
{
    if (level <= log->level)
        write_fields(log, level, event, fields, count);
}

void log_audit(struct log *log, const char *event, const struct log_field *fields, int count) { write_fields(log, LOG_INFO, event, fields, count); }
