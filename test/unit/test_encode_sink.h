/* Sinks for the encoder tests: they collect what is written, hand out windows of awkward sizes, and can stop. */
#pragma once
#include "result/sink.h"
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct test_sink {
    struct sink sink; /* first: the callback finds the rest behind it */
    uint8_t *window;
    size_t window_bytes; /* 0: exactly what is asked for, from malloc, so that ASan sees one byte too many */
    char *out;
    size_t length, room;
    long stop_after; /* calls of more until it says stop; -1: never */
    long calls;
};

static inline void test_sink_take(struct test_sink *t)
{
    size_t n = t->window ? (size_t)(t->sink.pos - t->window) : 0;
    if (t->length + n + 1 > t->room) {
        t->room = (t->length + n + 1) * 2;
        t->out = realloc(t->out, t->room);
        assert(t->out);
    }
    if (n > 0)
        memcpy(t->out + t->length, t->window, n);
    t->length += n;
    t->out[t->length] = 0;
}

static inline int test_sink_more(struct sink *sink, size_t need)
{
    struct test_sink *t = (struct test_sink *)sink;
    assert(need > 0 && need <= SINK_RESERVE_MAX);
    assert(sink->pos <= sink->end);
    test_sink_take(t);
    t->calls++;
    size_t size = need > t->window_bytes ? need : t->window_bytes;
    free(t->window);
    t->window = malloc(size);
    assert(t->window);
    sink->pos = t->window;
    sink->end = t->window + size;
    if (t->stop_after >= 0 && t->calls > t->stop_after)
        return -1;
    return 0;
}

static inline void test_sink_init(struct test_sink *t, size_t window_bytes)
{
    *t = (struct test_sink){.sink = {.more = test_sink_more}, .window_bytes = window_bytes, .stop_after = -1};
}

/* All that was written, NUL-terminated; the sink is left empty. Free with free(). */
static inline char *test_sink_finish(struct test_sink *t, size_t *ret_length)
{
    test_sink_take(t);
    free(t->window);
    char *out = t->out;
    if (ret_length)
        *ret_length = t->length;
    t->window = NULL;
    t->out = NULL;
    t->length = t->room = 0;
    t->sink.pos = t->sink.end = NULL;
    return out;
}

/* The windows that every piecewise path is tried with. */
static const size_t test_sink_windows[] = {0, 64, 65536, 1 << 20};
#define TEST_SINK_WINDOWS (sizeof(test_sink_windows) / sizeof(test_sink_windows[0]))
