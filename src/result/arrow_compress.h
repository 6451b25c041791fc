/* Compression of the buffers inside an Arrow stream (zstd). Runs in the worker. */
#pragma once
#include "result/arrow.h"

/* NULL: out of memory. */
struct arrow_compress *arrow_compress_new(void);
void arrow_compress_free(struct arrow_compress *c);

/* A body is put together in memory: begin, then each buffer (its bytes written to the sink that _buffer gives, closed by _close), then written out. */
void arrow_compress_begin(struct arrow_compress *c);
struct sink *arrow_compress_buffer(struct arrow_compress *c);
/* Where the buffer lies in the body, and its length there. False: out of memory. */
bool arrow_compress_close(struct arrow_compress *c, struct arrow_buffer *ret);
/* 0, or -1: stop. */
int arrow_compress_put(struct arrow_compress *c, struct sink *sink);
int64_t arrow_compress_length(const struct arrow_compress *c);
