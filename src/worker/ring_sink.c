/* The encoder's way into the result ring: windows of free bytes, doorbells, waiting for room. Runs in the worker's main thread.
 * Knows nothing of SQL or formats. */
#include "worker/worker.h"
#include "link/inherit.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* Bytes are published at least this often, so that the front sends while the encoder goes on. */
#define WINDOW_BYTES ((size_t)SINK_RESERVE_MAX)

bool ring_sink_publish(struct ring_sink *s)
{
    struct worker *w = s->worker;
    uint64_t at = s->window_at + (uint64_t)(s->sink.pos - s->window);
    if (at - s->started_at > s->max_bytes) {
        s->is_too_large = true;
        return false;
    }
    w->produced = at;
    atomic_store_explicit(&w->ring.shared->produced, at, memory_order_release);
    return true;
}

static int ring_bell(struct ring_sink *s)
{
    struct link_data m = {.type = LINK_DATA, .job = s->job};
    s->rung_at = s->worker->produced;
    return link_send(s->worker->link_fd, &m);
}

static size_t room(const struct worker *w)
{
    uint64_t consumed = atomic_load(&w->ring.shared->consumed);
    return RING_BYTES - (size_t)(w->produced - consumed);
}

/* Sleeps until the front says LINK_SPACE or the job is interrupted. */
static int sleep_for_room(struct worker *w)
{
    struct pollfd p[2] = {{.fd = w->link_fd, .events = POLLIN}, {.fd = w->wake_fd, .events = POLLIN}};
    if (poll(p, 2, -1) < 0)
        return errno == EINTR ? 0 : -1;
    if (atomic_load(&w->stop))
        return -1;
    if (!p[0].revents)
        return 0;
    union link_message m;
    int n = link_receive(w->link_fd, LINK_FRONT, LINK_BUSY, &m);
    if (n <= 0) /* the front is gone or out of step: this process is of no more use */
        _exit(n == 0 ? WORKER_EXIT_DONE : WORKER_EXIT_LINK);
    return 0;
}

static int wait_for_room(struct ring_sink *s, size_t need)
{
    struct worker *w = s->worker;
    while (room(w) < need) {
        if (s->rung_at != w->produced && ring_bell(s) < 0)
            return -1;
        atomic_store(&w->ring.shared->waiting, 1);
        if (room(w) >= need)
            break;
        if (sleep_for_room(w) < 0)
            return -1;
    }
    atomic_store(&w->ring.shared->waiting, 0);
    return 0;
}

static void open_window(struct ring_sink *s, size_t bytes)
{
    struct worker *w = s->worker;
    s->window_at = w->produced;
    s->window = w->ring.bytes + (w->produced & (RING_BYTES - 1));
    s->sink.pos = s->window;
    s->sink.end = s->window + bytes;
}

static int more(struct sink *sink, size_t need)
{
    struct ring_sink *s = (struct ring_sink *)sink;
    struct worker *w = s->worker;
    if (!ring_sink_publish(s) || atomic_load_explicit(&w->stop, memory_order_relaxed))
        return -1;
    if (w->produced - s->rung_at >= s->inline_bytes && ring_bell(s) < 0)
        return -1;
    if (room(w) < need && wait_for_room(s, need) < 0)
        return -1;
    size_t free_bytes = room(w), want = need > WINDOW_BYTES ? need : WINDOW_BYTES;
    open_window(s, free_bytes < want ? free_bytes : want);
    return 0;
}

void ring_sink_start(struct ring_sink *s, struct worker *w, const struct link_run *run)
{
    *s = (struct ring_sink){.sink.more = more,
                            .worker = w,
                            .job = run->job,
                            .inline_bytes = run->inline_bytes,
                            .started_at = w->produced,
                            .max_bytes = run->max_bytes ? run->max_bytes : UINT64_MAX};
    s->rung_at = w->produced;
    open_window(s, 0);
}
