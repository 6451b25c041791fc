/* How far a copy has got (see the header). Runs in the command line. */
#include "cli/import_progress.h"
#include "core/clock.h"
#include "core/units.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SHOW_EVERY_NS (100 * NS_PER_MS)
#define BAR_COLUMNS 30

static void show(struct import_progress *p, const char *text)
{
    if (p->terminal)
        fprintf(stderr, "\r\033[K%s", text);
}

static bool step(void *ctx, int64_t done, int64_t total)
{
    struct import_progress *p = ctx;
    struct pollfd poll_signal = {.fd = p->signal_fd, .events = POLLIN};
    if (poll(&poll_signal, 1, 0) > 0) {
        p->stopped = true;
        return false;
    }
    int64_t now = clock_now_ns();
    if (!p->terminal || (done < total && now - p->shown_ns < SHOW_EVERY_NS))
        return true;
    p->shown_ns = now;
    char bar[BAR_COLUMNS + 1], text[160], a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX];
    int filled = total > 0 ? (int)((double)done / (double)total * BAR_COLUMNS) : BAR_COLUMNS;
    memset(bar, '-', BAR_COLUMNS);
    memset(bar, '#', (size_t)filled);
    bar[BAR_COLUMNS] = 0;
    units_human_size(done, a);
    units_human_size(total, b);
    snprintf(text, sizeof text, "copying [%s] %s of %s", bar, a, b);
    show(p, text);
    return true;
}

void import_progress_init(struct import_progress *p, int signal_fd)
{
    *p = (struct import_progress){.signal_fd = signal_fd, .terminal = isatty(STDERR_FILENO)};
    p->copy = (struct copy_progress){.step = step, .ctx = p};
}

void import_progress_say(struct import_progress *p, const char *what) { show(p, what ? what : ""); }
