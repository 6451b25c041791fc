/* A growing buffer with a hard maximum: whatever fills it, it can't pass `max`. Runs in every process.
 * Zero-initialised with a max it is empty and valid. With data, cap and max = cap set by the caller it uses that fixed space and never
 * allocates (then it must not be given to buf_free). Running out of memory aborts; only passing the maximum fails. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data;
    size_t len, cap, max;
};
#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})

/* All: true; false when the result would pass the maximum, and then nothing is added. */
bool buf_reserve(struct buf *b, size_t extra); /* room for so many bytes behind len */
bool buf_append(struct buf *b, const void *data, size_t len);
bool buf_puts(struct buf *b, const char *text);
bool buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. */
bool buf_json_string(struct buf *b, const char *text, size_t len);

/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);
/* Frees and empties; the maximum stays. */
void buf_free(struct buf *b);
