/* A sink that ends in an object of a source: a buffer of ours that is written out when it is full. Runs in the worker's main thread. */
#include "worker/worker.h"

#include <stdlib.h>

#define UPLOAD_BUFFER_BYTES ((size_t)1 << 20)

_Static_assert(UPLOAD_BUFFER_BYTES > SINK_RESERVE_MAX, "a reserve must fit the buffer");

static int flush(struct upload_sink *s)
{
    size_t n = (size_t)(s->sink.pos - s->buffer);
    s->sink.pos = s->buffer;
    s->bytes += n;
    if (s->max_bytes > 0 && s->bytes > s->max_bytes) {
        error_set(&s->error, ERR_RESULT_TOO_LARGE, "the result has more than the %llu bytes that limits.max_result_bytes allows",
                  (unsigned long long)s->max_bytes);
        s->error.limit_bytes = (int64_t)s->max_bytes;
        return -1;
    }
    return upload_write(s->upload, s->buffer, n, &s->error);
}

static int more(struct sink *sink, size_t need)
{
    struct upload_sink *s = (struct upload_sink *)sink;
    (void)need; /* fits an empty buffer, whatever it is */
    if (atomic_load_explicit(&s->worker->stop, memory_order_relaxed))
        return -1;
    return flush(s);
}

int upload_sink_start(struct upload_sink *s, struct worker *w, const char *url, uint64_t max_bytes)
{
    *s = (struct upload_sink){.sink.more = more, .worker = w, .max_bytes = max_bytes};
    s->upload = upload_open(w->engine, url, &s->error);
    if (!s->upload)
        return -1;
    s->buffer = malloc(UPLOAD_BUFFER_BYTES);
    CHECK(s->buffer);
    s->sink.pos = s->buffer;
    s->sink.end = s->buffer + UPLOAD_BUFFER_BYTES;
    return 0;
}

int upload_sink_end(struct upload_sink *s)
{
    if (flush(s) < 0 || atomic_load(&s->worker->stop))
        return -1;
    struct upload *u = s->upload;
    s->upload = NULL;
    return upload_end(u, &s->error);
}

void upload_sink_close(struct upload_sink *s)
{
    upload_abandon(s->upload);
    free(s->buffer);
    s->upload = NULL;
    s->buffer = NULL;
}
