/* The screen of `bulkhead top`. Runs in the command line. */
#include "cli/top_view.h"
#include "cli/screen.h"
#include "core/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEADER_LINES 4  /* two of figures, one of keys, one empty */
#define WORKERS_SHARE 2 /* workers get at most every second line of what is left */
#define LINE_BYTES 4096

struct out {
    const struct top_screen *s;
    struct buf *b;
    unsigned lines;
};

/* A text from outside: one line, nothing in it that steers, at most `columns` wide, padded to it. */
static void put_cell(struct buf *line, const char *text, size_t columns, bool pad)
{
    struct buf clean = BUF_INIT((size_t)LINE_BYTES);
    size_t width = 0, len = strlen(text);
    len = screen_whole(text, len < 512 ? len : 512);
    (void)screen_append(&clean, text, len, SCREEN_ONE_LINE);
    size_t bytes = screen_fit(clean.data ? clean.data : "", clean.len, columns, &width);
    (void)buf_append(line, clean.data ? clean.data : "", bytes);
    while (pad && width++ < columns)
        (void)buf_append(line, " ", 1);
    buf_free(&clean);
}

/* One line, cut at the screen's edge. */
static void put_line(struct out *o, const struct buf *line, const char *style)
{
    size_t width = 0, columns = o->s->columns ? o->s->columns : 200;
    size_t bytes = screen_fit(line->data ? line->data : "", line->len, columns, &width);
    bool styled = style && o->s->colours;
    if (o->s->rows && o->lines + 1 >= o->s->rows) /* the last line is the help's */
        return;
    (void)(!styled || buf_puts(o->b, style));
    (void)buf_append(o->b, line->data ? line->data : "", bytes);
    (void)(!styled || buf_puts(o->b, "\x1b[0m"));
    if (o->s->rows)
        (void)buf_puts(o->b, "\x1b[K\r\n");
    else
        (void)buf_puts(o->b, "\n");
    o->lines++;
}

#define LINE(name)                 \
    char name##_space[LINE_BYTES]; \
    struct buf name = {.data = name##_space, .cap = LINE_BYTES, .max = LINE_BYTES}

static const char *duration(double ms, char out[24])
{
    double s = ms / 1000;
    if (s < 100)
        snprintf(out, 24, "%.1fs", s < 0 ? 0 : s);
    else if (s < 6000)
        snprintf(out, 24, "%dm%02ds", (int)(s / 60), (int)s % 60);
    else
        snprintf(out, 24, "%dh%02dm", (int)(s / 3600 < 99999 ? s / 3600 : 99999), (int)(s / 60) % 60);
    return out;
}

static const char *size(int64_t bytes, char out[UNITS_TEXT_MAX])
{
    if (bytes <= 0)
        return "-";
    units_human_size(bytes, out);
    return out;
}

static void put_header(struct out *o)
{
    const struct top_model *m = o->s->now, *b = o->s->before;
    int64_t since = b ? b->taken_ns : 0;
    char up[24], bytes[UNITS_TEXT_MAX];
    LINE(line);
    (void)buf_puts(&line, "bulkhead ");
    put_cell(&line, m->version, 20, false);
    (void)buf_puts(&line, "  ");
    put_cell(&line, o->s->address, 60, false);
    (void)buf_printf(&line, "  up %s  database ", duration(m->uptime_s * 1000, up));
    put_cell(&line, m->database_state, 20, false);
    if (m->wal_bytes > 0)
        (void)buf_printf(&line, ", log of %s beside it", size(m->wal_bytes, bytes));
    put_line(o, &line, "\x1b[1m");
    LINE(figures);
    int64_t failed = m->queries_total - m->ok_total, failed_before = b ? b->queries_total - b->ok_total : 0;
    (void)buf_printf(&figures, "%.1f queries/s", b ? top_rate(b->queries_total, m->queries_total, since, m->taken_ns) : 0.0);
    (void)buf_printf(&figures, "  %.1f failed/s", b ? top_rate(failed_before, failed, since, m->taken_ns) : 0.0);
    (void)buf_printf(&figures, "  %.1f refused/s", b ? top_rate(b->refused_total, m->refused_total, since, m->taken_ns) : 0.0);
    (void)buf_printf(&figures, "  %s/s", b ? size((int64_t)top_rate(b->bytes_total, m->bytes_total, since, m->taken_ns), bytes) : "-");
    (void)buf_printf(&figures, "  queue %" PRId64 "/%" PRId64, m->queue_length, m->queue_max);
    if (m->queue_background)
        (void)buf_printf(&figures, " (%" PRId64 " background)", m->queue_background);
    (void)buf_printf(&figures, "  sessions %" PRId64, m->sessions);
    put_line(o, &figures, NULL);
    LINE(keys);
    (void)buf_puts(&keys, "keys:");
    for (size_t i = 0; i < m->key_count && keys.len < 1000; i++) {
        (void)buf_puts(&keys, i ? ", " : " ");
        put_cell(&keys, m->keys[i].name ? m->keys[i].name : "(none)", 40, false);
        (void)buf_printf(&keys, " %" PRId64 " running %" PRId64 " waiting", m->keys[i].running, m->keys[i].waiting);
    }
    put_line(o, &keys, NULL);
    LINE(empty);
    if (o->s->trouble)
        put_cell(&empty, o->s->trouble, 200, false);
    put_line(o, &empty, "\x1b[31m");
}

static void put_worker(struct out *o, const struct top_worker *w)
{
    char text[64], memory[UNITS_TEXT_MAX];
    LINE(line);
    if (w->slot >= 0)
        snprintf(text, sizeof text, "%" PRId64, w->slot);
    put_cell(&line, w->slot >= 0 ? text : "-", 5, true);
    put_cell(&line, w->kind, 11, true);
    put_cell(&line, w->state, 11, true);
    snprintf(text, sizeof text, "%8" PRId64 "  %9s  %9" PRId64 "  ", w->pid, size(w->memory_bytes, memory), w->queries);
    (void)buf_puts(&line, text);
    put_cell(&line, w->query_id ? w->query_id : "", 36, false);
    put_line(o, &line, NULL);
}

/* How many lines the workers get. */
static size_t worker_lines(const struct top_screen *s)
{
    size_t n = s->now->worker_count, left = s->rows > HEADER_LINES + 4 ? s->rows - HEADER_LINES - 4 : 0;
    return s->rows && n > left / WORKERS_SHARE ? left / WORKERS_SHARE : n;
}

static void put_workers(struct out *o)
{
    const struct top_model *m = o->s->now;
    size_t shown = worker_lines(o->s);
    LINE(head);
    (void)buf_puts(&head, "SLOT KIND       STATE           PID     MEMORY    QUERIES  QUERY");
    if (shown < m->worker_count)
        (void)buf_printf(&head, "   (%zu more)", m->worker_count - shown);
    put_line(o, &head, "\x1b[7m");
    for (size_t i = 0; i < shown; i++)
        put_worker(o, &m->workers[i]);
}

size_t top_view_queries(const struct top_screen *s)
{
    size_t used = HEADER_LINES + 1 + worker_lines(s) + 1 + 1; /* with both heads and the last line */
    size_t left = s->rows > used ? s->rows - used : 0;
    return s->rows && left < s->now->query_count ? left : s->now->query_count;
}

static void put_query(struct out *o, const struct top_query *q)
{
    bool selected = o->s->selected && strcmp(o->s->selected, q->id) == 0;
    char a[24], b[24], c[24], memory[UNITS_TEXT_MAX], text[128];
    LINE(line);
    (void)buf_puts(&line, selected ? "> " : "  ");
    put_cell(&line, q->id, 8, true);
    (void)buf_puts(&line, "  ");
    put_cell(&line, q->key ? q->key : "-", 14, true);
    (void)buf_puts(&line, " ");
    put_cell(&line, q->state, 10, true);
    snprintf(text, sizeof text, " %8s %8s %8s %9s ", duration(q->exec_ms, a), duration(q->queue_ms, b), q->cpu_ms < 0 ? "-" : duration(q->cpu_ms, c),
             size(q->memory_bytes, memory));
    (void)buf_puts(&line, text);
    put_cell(&line, q->sql, 300, false);
    put_line(o, &line, selected ? "\x1b[1;33m" : NULL);
}

static void put_queries(struct out *o)
{
    size_t shown = top_view_queries(o->s);
    LINE(head);
    (void)buf_puts(&head, "  ID        KEY            STATE         TIME   WAITED      CPU    MEMORY SQL");
    if (shown < o->s->now->query_count)
        (void)buf_printf(&head, "   (%zu more)", o->s->now->query_count - shown);
    put_line(o, &head, "\x1b[7m");
    for (size_t i = 0; i < shown; i++)
        put_query(o, &o->s->now->queries[i]);
}

void top_view(const struct top_screen *s, struct buf *b)
{
    struct out o = {s, b, 0};
    put_header(&o);
    put_workers(&o);
    put_queries(&o);
    if (!s->rows)
        return;
    LINE(last);
    put_cell(&last, s->message ? s->message : "q quit   up/down choose a query   c cancel it   space read again", s->columns, false);
    (void)buf_puts(b, "\x1b[J"); /* what an earlier, longer screen left */
    for (; o.lines + 1 < s->rows; o.lines++)
        (void)buf_puts(b, "\r\n");
    (void)(!s->colours || buf_puts(b, "\x1b[2m"));
    (void)buf_append(b, last.data, last.len);
    (void)(!s->colours || buf_puts(b, "\x1b[0m"));
    (void)buf_puts(b, "\x1b[K");
}
