/* What workers print: logged, escaped by the log, in bounded reads and so many a second, since a worker may be hostile. Runs in the supervisor. */
#include "core/clock.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* More lines of one worker in a second are not read: its pipe gets full, and it waits. The log stays readable, and our loop free. */
#define LINES_PER_S 20

static void hold(struct worker *w)
{
    int64_t now = clock_now_ns();
    if (now - w->words_since_ns >= NS_PER_S) {
        w->words_since_ns = now;
        w->words_count = 0;
    }
    if (++w->words_count < LINES_PER_S || !w->log_event)
        return;
    event_del(w->log_event);
    w->words_held = true;
}

void words_hear_again(struct worker *w, int64_t now_ns)
{
    if (!w->words_held || now_ns - w->words_since_ns < NS_PER_S)
        return;
    w->words_held = false;
    if (w->log_event)
        CHECK(event_add(w->log_event, NULL) == 0);
}

void words_heard(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct worker *w = arg;
    char part[WORDS_BYTES];
    ssize_t n = read(fd, part, sizeof part - 1);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        event_free(w->log_event);
        w->log_event = NULL;
        return;
    }
    if (n < 0)
        return;
    part[n] = 0;
    memcpy(w->words, part, (size_t)n + 1);
    log_event(&w->sup->log, LOG_WARN, "worker_output", LOG_I("worker", w->id), LOG_I("pid", w->ends.child.pid), LOG_S("text", part));
    hold(w);
}
