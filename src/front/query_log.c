/* One line of the log for each query that is over: what it was, what it cost, how it ended. Runs in the front. */
#include "core/clock.h"
#include "front/query.h"
#include "front/sql_hash.h"

#define FIELDS_MAX 32

struct line {
    struct log_field fields[FIELDS_MAX];
    int count;
};

static void add(struct line *l, struct log_field field)
{
    CHECK(l->count < FIELDS_MAX);
    l->fields[l->count++] = field;
}

static void add_times(struct line *l, const struct job *j)
{
    int64_t end = j->finished_ns ? j->finished_ns : clock_now_ns();
    if (!j->submitted_ns)
        return;
    add(l, LOG_US("queue_ms", ((j->started_ns ? j->started_ns : end) - j->submitted_ns) / 1000));
    if (!j->started_ns)
        return;
    add(l, LOG_US("exec_ms", j->exec_us ? j->exec_us : (end - j->started_ns) / 1000));
    add(l, LOG_US("delivery_ms", j->finished_ns ? (clock_now_ns() - j->finished_ns) / 1000 : 0));
    add(l, LOG_US("cpu_ms", j->cpu_us));
}

static void add_result(struct line *l, const struct query *q)
{
    static const char *const cache[] = {"bypass", "miss", "hit"};
    const struct job *j = q->job;
    add(l, LOG_S("format", format_name((enum result_format)j->format)));
    if (!j->started_ns)
        return;
    add(l, LOG_I("rows", (int64_t)j->rows));
    add(l, LOG_I("bytes", (int64_t)j->bytes));
    if (j->memory_bytes > 0)
        add(l, LOG_I("memory_bytes", j->memory_bytes));
    if (j->profiled) {
        add(l, LOG_I("rows_scanned", (int64_t)j->rows_scanned));
        add(l, LOG_I("spill_bytes", (int64_t)j->spill_bytes));
        add(l, LOG_I("peak_memory_bytes", (int64_t)j->peak_memory_bytes));
    }
    if (j->slot >= 0)
        add(l, LOG_I("worker", j->slot));
    if (j->state == JOB_DONE || j->state == JOB_DELIVERING)
        add(l, LOG_S("cache", cache[j->cache < 3 ? j->cache : 0]));
}

static void add_error(struct line *l, const struct error *err)
{
    const char *stopped_by = err ? error_stopped_by(err) : NULL;
    add(l, LOG_S("code", error_text(err ? err->code : ERR_OK)));
    if (stopped_by)
        add(l, LOG_S("stopped_by", stopped_by));
    if (err && err->signal)
        add(l, LOG_I("signal", err->signal));
}

void query_log(struct query *q, const struct error *err)
{
    struct front *f = q->f;
    const struct job *j = q->job;
    struct line l;
    char client[ADDRESS_TEXT_BYTES], hash[SQL_HASH_BYTES];
    if (f->log.level < LOG_INFO)
        return;
    l.count = 0;
    address_format(&q->client, client);
    add(&l, LOG_S("query_id", j->query_id));
    if (j->tenant && j->tenant->name[0])
        add(&l, LOG_S("key", j->tenant->name));
    add(&l, LOG_S("client", client));
    add_error(&l, err);
    add_times(&l, j);
    add_result(&l, q);
    if (q->trace.trace_id[0]) {
        add(&l, LOG_S("trace_id", q->trace.trace_id));
        add(&l, LOG_S("parent_id", q->trace.parent_id));
    }
    if (j->sql && f->cfg->log.sql == LOG_SQL_HASH) {
        sql_hash(f->sql_hashes, j->sql, j->sql_len, hash);
        add(&l, LOG_S("sql_hash", hash));
    } else if (j->sql && f->cfg->log.sql == LOG_SQL_FULL) {
        add(&l, LOG_S("sql", j->sql)); /* the last: it is cut where the line ends */
    }
    log_fields(&f->log, LOG_INFO, "query", l.fields, l.count);
}
