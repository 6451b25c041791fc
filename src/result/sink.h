/* Where encoders write: a window of writable bytes that moves on. Knows neither rings nor files; whoever makes a sink supplies `more`.
 * Runs in the worker (and in tests). */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The most that one reserve may ask for, bytes. Longer data goes through sink_write in pieces. */
#define SINK_RESERVE_MAX 65536

struct sink {
    uint8_t *pos; /* next byte to write */
    uint8_t *end; /* end of the window */
    /* Publishes what was written up to pos and opens a window of at least `need` (<= SINK_RESERVE_MAX) bytes: may wait for the reader.
     * 0, or -1 when the result is no longer wanted (reader gone, interrupted, limit): the encoder returns -1 at once. */
    int (*more)(struct sink *sink, size_t need);
};

/* Room for n (<= SINK_RESERVE_MAX) bytes at the returned address, or NULL: stop. Write, then sink_advance by what was used. */
static inline uint8_t *sink_reserve(struct sink *s, size_t n)
{
    if ((size_t)(s->end - s->pos) < n && s->more(s, n) < 0)
        return NULL;
    return s->pos;
}

static inline void sink_advance(struct sink *s, size_t n) { s->pos += n; }

/* Copies any number of bytes, in pieces when the window is smaller. 0, or -1: stop. */
static inline int sink_write(struct sink *s, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0) {
        size_t room = (size_t)(s->end - s->pos);
        if (room == 0) {
            if (s->more(s, len < SINK_RESERVE_MAX ? len : SINK_RESERVE_MAX) < 0)
                return -1;
            continue;
        }
        size_t n = len < room ? len : room;
        memcpy(s->pos, p, n);
        s->pos += n;
        p += n;
        len -= n;
    }
    return 0;
}
