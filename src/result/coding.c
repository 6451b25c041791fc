/* Content codings (see the header). Runs in the worker. */
#include "result/coding.h"
#include "core/errors.h"
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

/* What one turn of the compressor takes. As large as the largest reserve. */
#define WINDOW_BYTES ((size_t)SINK_RESERVE_MAX)
/* Room that the compressor finds at least, for what it gives. */
#define OUT_BYTES ((size_t)4096)

#define GZIP_LEVEL 1
#define ZSTD_LEVEL 1

/* A flush is due after so many bytes, or so much time. */
#define FLUSH_BYTES ((size_t)128 << 10)
#define FLUSH_NS ((int64_t)50 * 1000 * 1000)

enum step { STEP_GO_ON, STEP_FLUSH, STEP_END };

struct coding {
    struct sink sink; /* first */
    enum result_coding kind;
    struct sink *out;
    size_t since_flush;
    int64_t flushed_ns;
    z_stream gzip;
    ZSTD_CCtx *zstd;
    uint8_t window[WINDOW_BYTES];
};

/* Into the other sink's window, as much as fits. Returns whether there is more to give. */
static bool turn_gzip(struct coding *c, const uint8_t **in, const uint8_t *in_end, enum step step)
{
    static const int flush[] = {[STEP_GO_ON] = Z_NO_FLUSH, [STEP_FLUSH] = Z_SYNC_FLUSH, [STEP_END] = Z_FINISH};
    z_stream *z = &c->gzip;
    z->next_in = (Bytef *)*in;
    z->avail_in = (uInt)(in_end - *in);
    z->next_out = c->out->pos;
    z->avail_out = (uInt)(c->out->end - c->out->pos);
    int r = deflate(z, flush[step]);
    CHECK(r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR); /* the last: nothing to do */
    *in = z->next_in;
    c->out->pos = z->next_out;
    return step == STEP_END ? r != Z_STREAM_END : z->avail_in > 0 || z->avail_out == 0;
}

static bool turn_zstd(struct coding *c, const uint8_t **in, const uint8_t *in_end, enum step step)
{
    static const ZSTD_EndDirective directive[] = {[STEP_GO_ON] = ZSTD_e_continue, [STEP_FLUSH] = ZSTD_e_flush, [STEP_END] = ZSTD_e_end};
    ZSTD_inBuffer from = {*in, (size_t)(in_end - *in), 0};
    ZSTD_outBuffer to = {c->out->pos, (size_t)(c->out->end - c->out->pos), 0};
    size_t left = ZSTD_compressStream2(c->zstd, &to, &from, directive[step]);
    CHECK(!ZSTD_isError(left));
    *in += from.pos;
    c->out->pos += to.pos;
    return step == STEP_GO_ON ? from.pos < from.size : left > 0;
}

/* All that is in the window, and what the step asks for besides. */
static int work(struct coding *c, enum step step)
{
    const uint8_t *in = c->window, *end = c->sink.pos;
    bool more = true;
    c->since_flush += (size_t)(end - in);
    while (more) {
        if (!sink_reserve(c->out, OUT_BYTES))
            return -1;
        more = c->kind == CODING_GZIP ? turn_gzip(c, &in, end, step) : turn_zstd(c, &in, end, step);
    }
    c->sink.pos = c->window;
    return 0;
}

static int more(struct sink *sink, size_t need)
{
    (void)need; /* the window holds every reserve */
    return work((struct coding *)sink, STEP_GO_ON);
}

struct coding *coding_new(enum result_coding kind)
{
    struct coding *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->kind = kind;
    bool ok;
    if (kind == CODING_GZIP)
        ok = deflateInit2(&c->gzip, GZIP_LEVEL, Z_DEFLATED, MAX_WBITS + 16 /* gzip's frame */, 8, Z_DEFAULT_STRATEGY) == Z_OK;
    else
        ok = (c->zstd = ZSTD_createCCtx()) && !ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL));
    if (ok)
        return c;
    coding_free(c);
    return NULL;
}

void coding_free(struct coding *c)
{
    if (!c)
        return;
    if (c->kind == CODING_GZIP)
        deflateEnd(&c->gzip);
    ZSTD_freeCCtx(c->zstd);
    free(c);
}

struct sink *coding_begin(struct coding *c, struct sink *out, int64_t now_ns)
{
    c->out = out;
    c->since_flush = 0;
    c->flushed_ns = now_ns;
    if (c->kind == CODING_GZIP)
        deflateReset(&c->gzip);
    else
        ZSTD_CCtx_reset(c->zstd, ZSTD_reset_session_only);
    c->sink = (struct sink){.pos = c->window, .end = c->window + WINDOW_BYTES, .more = more};
    return &c->sink;
}

int coding_flush_if_due(struct coding *c, int64_t now_ns)
{
    size_t waiting = c->since_flush + (size_t)(c->sink.pos - c->window);
    if (waiting == 0 || (waiting < FLUSH_BYTES && now_ns - c->flushed_ns < FLUSH_NS))
        return 0;
    if (work(c, STEP_FLUSH) < 0)
        return -1;
    c->since_flush = 0;
    c->flushed_ns = now_ns;
    return 0;
}

int coding_end(struct coding *c) { return work(c, STEP_END); }
