/* A result as a Parquet file (see the header). Runs in the worker. */
#include "worker/parquet.h"
#include "core/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

struct copy {
    struct stream *stream;
    uint64_t rows_max;
    int fd; /* to write to; closed at the end, which the reader sees */
    int result;
    struct parquet_copied copied;
    struct error error;
};

static void *copy_thread(void *arg)
{
    struct copy *c = arg;
    c->result = stream_copy_parquet(c->stream, c->fd, c->rows_max, &c->copied, &c->error);
    close(c->fd);
    return NULL;
}

/* From the pipe right into the sink's window, until the other end is closed. -1: the sink said stop. */
static int pump(int fd, struct sink *sink, int (*published)(void *ctx), void *ctx)
{
    for (;;) {
        uint8_t *p = sink_reserve(sink, 1);
        if (!p)
            return -1;
        ssize_t n = read(fd, p, (size_t)(sink->end - p));
        if (n == 0)
            return 0;
        CHECK(n > 0 || errno == EINTR);
        if (n > 0)
            sink->pos = p + n;
        if (published(ctx) < 0)
            return -1;
    }
}

int parquet_run(struct engine *e, struct stream *s, uint64_t rows_max, struct sink *sink, int (*published)(void *ctx), void *ctx,
                struct parquet_copied *ret, struct error *err)
{
    int ends[2];
    pthread_t thread;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set(err, ERR_INTERNAL, "no pipe for the Parquet writer: %s", strerror(errno));
    struct copy c = {.stream = s, .rows_max = rows_max, .fd = ends[1]};
    int wrong = pthread_create(&thread, NULL, copy_thread, &c);
    if (wrong) {
        close(ends[0]);
        close(ends[1]);
        return error_set(err, ERR_INTERNAL, "no thread for the Parquet writer: %s", strerror(wrong));
    }
    bool stopped = pump(ends[0], sink, published, ctx) < 0;
    if (stopped)
        engine_interrupt(e);
    close(ends[0]); /* who still writes gets EPIPE */
    CHECK(pthread_join(thread, NULL) == 0);
    *ret = c.copied;
    if (stopped)
        return 1;
    if (c.result < 0)
        *err = c.error;
    return c.result;
}
