/* Compression of the buffers inside an Arrow stream (see the header). Runs in the worker. */
#include "result/arrow_compress.h"
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define LEVEL 1

struct arrow_compress {
    ZSTD_CCtx *zstd;
    struct memory_sink plain; /* one buffer */
    struct memory_sink body;
};

struct arrow_compress *arrow_compress_new(void)
{
    struct arrow_compress *c = calloc(1, sizeof *c);
    if (c && (c->zstd = ZSTD_createCCtx()) && !ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, LEVEL)))
        return c;
    arrow_compress_free(c);
    return NULL;
}

void arrow_compress_free(struct arrow_compress *c)
{
    if (!c)
        return;
    ZSTD_freeCCtx(c->zstd);
    memory_sink_free(&c->plain);
    memory_sink_free(&c->body);
    free(c);
}

void arrow_compress_begin(struct arrow_compress *c) { memory_sink_reset(&c->body); }

struct sink *arrow_compress_buffer(struct arrow_compress *c)
{
    memory_sink_reset(&c->plain);
    return &c->plain.sink;
}

/* In front of each buffer stands its length before compression; -1: it is as it was, since compressing gained nothing. */
static size_t compress(struct arrow_compress *c, uint8_t *p, size_t plain)
{
    size_t n = ZSTD_compress2(c->zstd, p + 8, ZSTD_compressBound(plain), c->plain.data, plain);
    int64_t length = (int64_t)plain;
    CHECK(!ZSTD_isError(n));
    if (n >= plain) {
        length = -1;
        n = plain;
        memcpy(p + 8, c->plain.data, plain);
    }
    memcpy(p, &length, 8);
    return n + 8;
}

bool arrow_compress_close(struct arrow_compress *c, struct arrow_buffer *ret)
{
    size_t plain = memory_sink_length(&c->plain), used = 0;
    *ret = (struct arrow_buffer){(int64_t)memory_sink_length(&c->body), 0};
    if (plain == 0)
        return true;
    uint8_t *p = sink_reserve(&c->body.sink, ZSTD_compressBound(plain) + 8 + ARROW_ALIGN);
    if (!p)
        return false;
    used = compress(c, p, plain);
    size_t padded = (used + ARROW_ALIGN - 1) / ARROW_ALIGN * ARROW_ALIGN;
    memset(p + used, 0, padded - used);
    sink_advance(&c->body.sink, padded);
    ret->length = (int64_t)used;
    return true;
}

int64_t arrow_compress_length(const struct arrow_compress *c) { return (int64_t)memory_sink_length(&c->body); }

int arrow_compress_put(struct arrow_compress *c, struct sink *sink) { return sink_write(sink, c->body.data, memory_sink_length(&c->body)); }
