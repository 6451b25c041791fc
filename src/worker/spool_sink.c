/* A result that goes on in a file of the front's: the window lies in a buffer of ours, and is written out when it is full. The file may only grow
 * as far as the front has granted: more is asked for in good time, and waited for when it does not come. Runs in the worker's main thread. */
#include "link/spool.h"
#include "worker/worker.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* It stays in the cache between the encoder and the kernel's copy. Larger than anything that is reserved at once. */
#define SPOOL_BUFFER_BYTES ((size_t)256 << 10)
/* Less than this left: ask, and go on meanwhile. */
#define ASK_BYTES ((uint64_t)2 << 20)
#define BELL_BYTES ((uint64_t)1 << 20)

_Static_assert(SPOOL_BUFFER_BYTES > SINK_RESERVE_MAX, "a reserve must fit the buffer");

static void open_window(struct ring_sink *s)
{
    s->window_at = s->worker->produced;
    s->window = s->sink.pos = s->spool.buffer;
    s->sink.end = s->spool.buffer + SPOOL_BUFFER_BYTES;
}

int spool_sink_start(struct ring_sink *s, const struct link_spool *m, int fd)
{
    struct worker *w = s->worker;
    struct link_spooled answer = {.type = LINK_SPOOLED, .job = s->job, .at = w->produced};
    s->spool = (struct spool_out){.fd = fd, .base = m->base, .limit = m->limit, .sync = m->sync};
    s->spool.buffer = mmap(NULL, SPOOL_BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s->spool.buffer == MAP_FAILED) {
        s->spool.buffer = NULL;
        return error_set(&s->error, ERR_OUT_OF_MEMORY, "no memory for the spool's buffer");
    }
    open_window(s);
    return worker_send(w, &answer);
}

/* Reads what the front has said meanwhile. */
static int look(struct ring_sink *s)
{
    struct pollfd p = {.fd = s->worker->link_fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0 ? ring_sink_wait(s) : 0;
}

static int ask(struct ring_sink *s)
{
    struct link_want m = {.type = LINK_WANT, .job = s->job};
    s->spool.asked = true;
    return worker_send(s->worker, &m);
}

/* Often enough for a client that has caught up. The ring's bells are bounded by the ring; these by their rarity, and by being left out when the link is
 * full: it holds one already. */
static int bell(struct ring_sink *s)
{
    if (s->worker->produced - s->rung_at < BELL_BYTES)
        return 0;
    return ring_sink_bell(s) < 0 && errno != EAGAIN ? -1 : 0;
}

/* How much may be written from the present position on; waits while it is nothing. -1: stop. */
static int64_t granted(struct ring_sink *s, size_t want)
{
    for (;;) {
        uint64_t left = s->spool.limit - s->worker->produced;
        if (left < want + ASK_BYTES && !s->spool.asked && ask(s) < 0)
            return -1;
        if (left > 0)
            return (int64_t)(left < want ? left : want);
        if (ring_sink_wait(s) < 0)
            return -1;
    }
}

static int failed(struct ring_sink *s)
{
    if (spool_is_full(errno))
        return error_set(&s->error, ERR_SPOOL_FULL, "the disk of the spool is full: %s", strerror(errno));
    return error_set(&s->error, ERR_INTERNAL, "the result can't be written to the spool: %s", strerror(errno));
}

int spool_sink_flush(struct ring_sink *s)
{
    struct worker *w = s->worker;
    const uint8_t *p = s->window, *end = s->sink.pos;
    if (look(s) < 0)
        return -1;
    while (p < end) {
        int64_t n = granted(s, (size_t)(end - p));
        if (n < 0)
            return -1;
        if (spool_write(s->spool.fd, p, (size_t)n, spool_offset(s->spool.base, w->produced)) < 0)
            return failed(s);
        p += n;
        if (ring_sink_advance(s, w->produced + (uint64_t)n) < 0)
            return -1;
    }
    open_window(s);
    return 0;
}

int spool_sink_more(struct ring_sink *s, size_t need)
{
    (void)need; /* fits an empty buffer, whatever it is */
    if (spool_sink_flush(s) < 0)
        return -1;
    return bell(s);
}

int spool_sink_end(struct ring_sink *s)
{
    if (spool_sink_flush(s) < 0)
        return -1;
    return s->spool.sync && fsync(s->spool.fd) < 0 ? failed(s) : 0;
}

void spool_sink_close(struct ring_sink *s)
{
    if (s->spool.fd >= 0)
        close(s->spool.fd);
    if (s->spool.buffer)
        munmap(s->spool.buffer, SPOOL_BUFFER_BYTES);
    s->spool = (struct spool_out){.fd = -1};
}
