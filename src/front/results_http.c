/* Kept results over HTTP: the whole, a range, or what is in its place. A reader has its own hold on the file, so that it gets to its end when the
 * result's time is over meanwhile. Runs in the front. */
#include "front/results_http.h"
#include "front/database.h"
#include "front/queries.h"
#include "front/range.h"
#include "front/results.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One answer on its way. */
struct reader {
    struct asker asker; /* first */
    struct front *f;
    struct spool_file *file;
    enum result_format format;
    int64_t at, end;
};

static size_t reader_file(void *ctx, int *ret_fd, int64_t *ret_offset)
{
    const struct reader *r = ctx;
    *ret_fd = spool_fd(r->file);
    *ret_offset = r->at;
    return (size_t)(r->end - r->at);
}

static size_t reader_peek(void *ctx, const uint8_t **ret_data)
{
    (void)ctx;
    (void)ret_data;
    return 0;
}

static void reader_consume(void *ctx, size_t n)
{
    struct reader *r = ctx;
    r->at += (int64_t)n;
    r->f->metrics.result_bytes[r->format] += n;
}

static void reader_end(struct asker *a)
{
    struct reader *r = (struct reader *)a;
    spool_unref(r->file);
    free(r);
}

static void stream(struct front *f, struct exchange *x, int status, const struct result *res, const struct range *range)
{
    struct reader *r = calloc(1, sizeof *r);
    CHECK(r);
    *r = (struct reader){.asker = {.gone = reader_end, .sent = reader_end},
                         .f = f,
                         .file = spool_ref(res->file),
                         .format = res->form.format,
                         .at = range->first,
                         .end = range->end};
    struct body_source src = {.ctx = r, .file = reader_file, .peek = reader_peek, .consume = reader_consume};
    exchange_set_user(x, &r->asker);
    exchange_stream(x, status, negotiated_content_type(&res->form), range->end - range->first, &src);
}

static void add_content_range(struct exchange *x, const struct range *range, int64_t bytes)
{
    char text[80];
    if (range->kind == RANGE_PART)
        snprintf(text, sizeof text, "bytes %" PRId64 "-%" PRId64 "/%" PRId64, range->first, range->end - 1, bytes);
    else
        snprintf(text, sizeof text, "bytes */%" PRId64, bytes);
    exchange_add_header(x, "Content-Range", text);
}

static void add_headers(struct exchange *x, const struct result *r)
{
    database_version_header(x, r->version);
    exchange_add_header(x, "Accept-Ranges", "bytes");
    exchange_add_header(x, "Content-Security-Policy", "sandbox");
    if (r->form.coding != CODING_NONE)
        exchange_add_header(x, "Content-Encoding", coding_name(r->form.coding));
    if (r->truncated && r->form.format != FORMAT_JSON)
        exchange_add_header(x, "Bulkhead-Truncated", "true");
}

void results_serve(struct front *f, struct exchange *x, const struct result *r, const char *cache_control)
{
    enum range_condition condition = range_condition(exchange_header(x, "If-Match"), exchange_header(x, "If-None-Match"), r->etag);
    struct range range = range_choose(exchange_header(x, "Range"), exchange_header(x, "If-Range"), r->etag, r->bytes);
    struct error err;
    exchange_add_header(x, "ETag", r->etag);
    exchange_add_header(x, "Cache-Control", cache_control);
    if (condition != CONDITION_NONE) {
        exchange_answer(x, condition == CONDITION_FAILED ? 412 : 304, NULL, NULL, 0);
        return;
    }
    if (exchange_method(x) == HTTP_M_HEAD) /* a range is for GET only */
        range = (struct range){RANGE_WHOLE, 0, r->bytes};
    if (range.kind != RANGE_WHOLE)
        add_content_range(x, &range, r->bytes);
    if (range.kind == RANGE_OUTSIDE) {
        error_set(&err, ERR_RANGE_NOT_SATISFIABLE, "the range lies outside of the result, which has %" PRId64 " bytes", r->bytes);
        f->metrics.rejected[err.code]++;
        exchange_problem(x, &err, r->rec->id);
        return;
    }
    add_headers(x, r);
    stream(f, x, range.kind == RANGE_PART ? 206 : 200, r, &range);
}

void results_explain(const struct record *rec, struct error *ret)
{
    if (!rec->asynchronous) {
        error_set(ret, ERR_NOT_FOUND, "the query was not asynchronous: its result went to the client that sent it");
    } else if (!record_is_over(rec)) {
        error_set(ret, ERR_CONFLICT, "the query is not over, it is %s; ask again, or wait with GET /v1/queries/%s?wait=", job_state_text(rec->state),
                  rec->id);
        ret->retry_after_s = 1;
    } else if (rec->state == JOB_DONE && rec->destination) {
        error_set(ret, ERR_NOT_FOUND, "the result is where the query was told to write it: in the source '%s'", rec->destination);
    } else if (rec->state == JOB_DONE) {
        error_set(ret, ERR_GONE, "the result was deleted: its time was over, or its query was deleted");
    } else {
        error_set(ret, rec->code, "%s", rec->detail ? rec->detail : "the query failed");
        ret->stopped_by = rec->stopped_by;
        ret->signal = rec->signal;
        ret->position = rec->position;
        ret->limit_ms = rec->limit_ms;
        ret->limit_bytes = rec->limit_bytes;
        snprintf(ret->source, sizeof ret->source, "%s", rec->source);
        snprintf(ret->what, sizeof ret->what, "%s", rec->what ? rec->what : "");
        memcpy(ret->error_type, rec->error_type, sizeof ret->error_type);
    }
}

void results_get(struct front *f, struct exchange *x, const char *id)
{
    struct error err;
    struct record *rec = queries_lookup(f, x, id);
    if (!rec)
        return;
    if (rec->result) {
        results_serve(f, x, rec->result, "private, no-cache");
        return;
    }
    query_update_record(rec);
    results_explain(rec, &err);
    f->metrics.rejected[err.code]++;
    exchange_problem(x, &err, rec->id);
}
