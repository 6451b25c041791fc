/* One result, from the stream into the ring (see the header). Runs in the worker's main thread. */
#include "worker/write_result.h"
#include "core/clock.h"
#include "core/fault.h"
#include "worker/parquet.h"

bool result_can(enum result_format format) { return format == FORMAT_PARQUET || encoder_can(format); }

/* The encoder gave up. It or the ring says why, or else the sink said stop: the job was interrupted, or the front has gone (then the next receive
 * says so). */
static int stopped(const struct result_writer *r, struct error *err)
{
    const struct error *e = r->encoder ? encoder_failure(r->encoder) : NULL;
    const struct error *sink = r->url ? &r->upload.error : &r->ring.error;
    if (!e && sink->code == ERR_OK)
        return error_set(err, ERR_CANCELLED, "the query was interrupted");
    *err = e ? *e : *sink;
    return -1;
}

/* Shows the reader what it may have. 0, or -1: stop. */
static int publish(void *ctx)
{
    struct result_writer *r = ctx;
    if (r->coding && coding_flush_if_due(r->coding, clock_now_ns()) < 0)
        return -1;
    ring_sink_publish(&r->ring);
    return 0;
}

static void ended(struct result_writer *r)
{
    r->tail.exec_us = (clock_now_ns() - r->started_ns) / 1000;
    (void)stream_profile(r->stream, &r->tail.profile);
}

static int encoder_make(struct result_writer *r, struct error *err)
{
    uint32_t count;
    const struct column *columns = stream_columns(r->stream, &count);
    struct encoder_options options = {.format = (enum result_format)r->run->format,
                                      .big_numbers_as_text = r->run->big_numbers_as_text,
                                      .ipc_coding = (enum result_coding)r->run->ipc_coding};
    r->encoder = encoder_new(&options, columns, count);
    CHECK(r->encoder);
    struct ArrowSchema *schema = encoder_arrow_schema(r->encoder);
    return schema ? stream_arrow_schema(r->stream, schema, err) : 0;
}

static int encode(struct result_writer *r, struct error *err)
{
    uint32_t count;
    const struct column *columns = stream_columns(r->stream, &count);
    if (encoder_make(r, err) < 0)
        return -1;
    if (encoder_begin(r->encoder, r->sink, &(struct result_head){.query_id = r->run->query_id, .session_reset = r->run->session_reset}) < 0)
        return stopped(r, err);
    uint64_t limit = r->run->max_rows ? r->run->max_rows : UINT64_MAX;
    for (;;) {
        int64_t n = stream_next(r->stream, err);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        uint64_t rows = (uint64_t)n;
        if (rows > limit - r->tail.rows) {
            rows = limit - r->tail.rows;
            r->tail.truncated = true;
        }
        if (rows && encoder_rows(r->encoder, r->sink, columns, rows) < 0)
            return stopped(r, err);
        r->tail.rows += rows;
        if (r->tail.truncated)
            break;
        if (publish(r) < 0)
            return stopped(r, err);
        fault_point("rows");
    }
    ended(r);
    return encoder_end(r->encoder, r->sink, &r->tail) < 0 ? stopped(r, err) : 0;
}

static int write_parquet(struct result_writer *r, struct error *err)
{
    struct parquet_copied copied;
    int done = parquet_run(r->worker->engine, r->stream, r->run->max_rows, r->sink, publish, r, &copied, err);
    if (done > 0)
        return stopped(r, err);
    if (done < 0)
        return -1;
    r->tail.rows = copied.rows;
    r->tail.truncated = copied.truncated;
    ended(r);
    return 0;
}

static int coding_start(struct result_writer *r, struct error *err)
{
    enum result_coding kind = (enum result_coding)r->run->coding;
    if (kind == CODING_NONE)
        return 0;
    struct coding **kept = &r->worker->codings[kind];
    if (!*kept && !(*kept = coding_new(kind)))
        return error_set(err, ERR_OUT_OF_MEMORY, "no memory to compress the result");
    r->coding = *kept;
    r->sink = coding_begin(r->coding, r->sink, clock_now_ns());
    return 0;
}

int result_write(struct result_writer *r, struct error *err)
{
    ring_sink_start(&r->ring, r->worker, r->run);
    r->sink = r->url ? &r->upload.sink : &r->ring.sink;
    if (r->url && upload_sink_start(&r->upload, r->worker, r->url, r->run->max_bytes) < 0)
        return stopped(r, err);
    if (coding_start(r, err) < 0)
        return -1;
    int done = r->run->format == FORMAT_PARQUET ? write_parquet(r, err) : encode(r, err);
    if (done == 0 && ((r->coding && coding_end(r->coding) < 0) || (r->url ? upload_sink_end(&r->upload) : ring_sink_end(&r->ring)) < 0))
        done = stopped(r, err);
    return done;
}

void result_writer_free(struct result_writer *r)
{
    ring_sink_close(&r->ring);
    upload_sink_close(&r->upload);
    encoder_free(r->encoder);
}
