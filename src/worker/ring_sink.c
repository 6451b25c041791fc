/* The encoder's way into the result ring: windows of free bytes, doorbells, waiting for room, and the turn into a file (spool_sink.c). Runs in
 * the worker's main thread. Knows nothing of SQL or formats. */
#include "core/fd.h"
#include "link/inherit.h"
#include "worker/worker.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* Bytes are published at least this often, so that the front sends while the encoder goes on. */
#define WINDOW_BYTES ((size_t)SINK_RESERVE_MAX)
/* After the first doorbell the front is told of so many at once: it pays by the wake-up, and half of the ring keeps both sides going. What is less
 * than that and late, it finds at its tick. */
#define BELL_BYTES (RING_BYTES / 2)

int ring_sink_advance(struct ring_sink *s, uint64_t produced)
{
    if (s->max_bytes > 0 && produced - s->began_at > s->max_bytes) {
        error_set(&s->error, ERR_RESULT_TOO_LARGE, "the result has more than the %llu bytes that limits.max_result_bytes allows",
                  (unsigned long long)s->max_bytes);
        s->error.limit_bytes = (int64_t)s->max_bytes;
        return -1;
    }
    s->worker->produced = produced;
    atomic_store_explicit(&s->worker->ring.shared->produced, produced, memory_order_release);
    return 0;
}

static int publish(struct ring_sink *s)
{
    uint64_t produced = s->window_at + (uint64_t)(s->sink.pos - s->window);
    if (produced == s->worker->produced)
        return 0;
    return ring_sink_advance(s, produced);
}

void ring_sink_publish(struct ring_sink *s)
{
    if (s->spool.fd < 0)
        (void)publish(s); /* what is too large is found by the next window, or by the end */
}

int ring_sink_bell(struct ring_sink *s)
{
    struct link_data m = {.type = LINK_DATA, .job = s->job};
    s->rung_at = s->worker->produced;
    s->bell_bytes = BELL_BYTES;
    return link_send(s->worker->link_fd, &m);
}

int worker_send(const struct worker *w, const void *message)
{
    struct pollfd p = {.fd = w->link_fd, .events = POLLOUT};
    while (link_send(w->link_fd, message) < 0) {
        if (errno != EAGAIN)
            return -1;
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return -1;
    }
    return 0;
}

static size_t room(const struct worker *w)
{
    uint64_t consumed = atomic_load(&w->ring.shared->consumed);
    return RING_BYTES - (size_t)(w->produced - consumed);
}

/* What the front says while a job runs. */
static int act(struct ring_sink *s, const union link_message *m, int *fd)
{
    if (m->type == LINK_SPOOL && m->spool.job == s->job && s->spool.fd < 0)
        return spool_sink_start(s, &m->spool, take_fd(fd));
    if (m->type == LINK_GRANT && m->grant.job == s->job && m->grant.limit > s->spool.limit) {
        s->spool.limit = m->grant.limit;
        s->spool.asked = false;
    }
    return 0;
}

int ring_sink_wait(struct ring_sink *s)
{
    struct worker *w = s->worker;
    struct pollfd p[2] = {{.fd = w->link_fd, .events = POLLIN}, {.fd = w->wake_fd, .events = POLLIN}};
    if (poll(p, 2, -1) < 0)
        return errno == EINTR ? 0 : -1;
    if (atomic_load(&w->stop))
        return -1;
    if (!p[0].revents)
        return 0;
    union link_message m;
    auto_close int fd = -1;
    int n = link_receive_fd(w->link_fd, LINK_FRONT, LINK_BUSY, &m, &fd);
    if (n <= 0) /* the front is gone or out of step: this process is of no more use */
        _exit(n == 0 ? WORKER_EXIT_DONE : WORKER_EXIT_LINK);
    return act(s, &m, &fd);
}

static int wait_for_room(struct ring_sink *s, size_t need)
{
    struct worker *w = s->worker;
    while (s->spool.fd < 0 && room(w) < need) {
        if (s->rung_at != w->produced && ring_sink_bell(s) < 0)
            return -1;
        atomic_store(&w->ring.shared->waiting, 1);
        if (room(w) >= need)
            break;
        if (ring_sink_wait(s) < 0)
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
    if (atomic_load_explicit(&w->stop, memory_order_relaxed))
        return -1;
    if (s->spool.fd >= 0)
        return spool_sink_more(s, need);
    if (publish(s) < 0)
        return -1;
    if (w->produced - s->rung_at >= s->bell_bytes && ring_sink_bell(s) < 0)
        return -1;
    if (room(w) < need && wait_for_room(s, need) < 0)
        return -1;
    if (s->spool.fd >= 0) /* the window is in the file's buffer now, and empty */
        return 0;
    size_t free_bytes = room(w), want = need > WINDOW_BYTES ? need : WINDOW_BYTES;
    open_window(s, free_bytes < want ? free_bytes : want);
    return 0;
}

int ring_sink_end(struct ring_sink *s) { return s->spool.fd >= 0 ? spool_sink_end(s) : publish(s); }

void ring_sink_close(struct ring_sink *s)
{
    if (s->worker)
        spool_sink_close(s);
}

void ring_sink_start(struct ring_sink *s, struct worker *w, const struct link_run *run)
{
    *s = (struct ring_sink){.sink.more = more,
                            .worker = w,
                            .job = run->job,
                            .bell_bytes = run->inline_bytes,
                            .began_at = w->produced,
                            .max_bytes = run->max_bytes,
                            .spool.fd = -1};
    s->rung_at = w->produced;
    open_window(s, 0);
}
