/* What the front tells about the server: health, readiness, status, metrics. It asks no worker. Runs in the front. */
#include "core/buf.h"
#include "core/clock.h"
#include "front/database.h"
#include "front/front.h"
#include "front/spool.h"
#include "front/sessions_http.h"
#include "sched/fair.h"
#include "session/lane.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_KEYS_MAX 200 /* in /v1/status */
#define TEXT_MAX_BYTES ((size_t)4 << 20)

void info_healthz(struct front *f, struct exchange *x)
{
    (void)f;
    exchange_answer(x, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

void info_metrics(struct front *f, struct exchange *x)
{
    struct buf b = BUF_INIT(TEXT_MAX_BYTES);
    CHECK(metrics_write(f, &b));
    exchange_answer(x, 200, "text/plain; version=0.0.4; charset=utf-8", b.data, b.len);
    buf_free(&b);
}

static void put_string(struct buf *b, const char *s) { buf_json_string(b, s, strlen(s)); }

static void put_check(struct buf *b, const char *name, bool ok, const char *detail)
{
    buf_printf(b, "%s\"%s\":{\"ok\":%s,\"detail\":", b->data[b->len - 1] == '{' ? "" : ",", name, ok ? "true" : "false");
    put_string(b, detail);
    buf_puts(b, "}");
}

/* Which layers hold. Without those that must be there it would not run ([sandbox] require): what is missing is told, and is no failure. */
static void put_sandbox_check(struct buf *b, const struct front *f)
{
    char text[2048];
    layers_summary(&f->layers, text, sizeof text);
    put_check(b, "sandbox", true, text);
}

/* The caps that the supervisor put in force and read back, and the queue's length. */
static void put_limits_check(struct buf *b, const struct front *f, unsigned queued)
{
    static const enum layer_id caps[] = {LAYER_MEMORY_CAP, LAYER_CPU_CAP, LAYER_SCRATCH_QUOTA};
    struct buf text = BUF_INIT((size_t)2048);
    bool ok = true;
    (void)buf_printf(&text, "%u of %" PRId64 " places in the queue taken", queued, f->cfg->limits.queue_length);
    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
        const struct layer *x = &f->layers.of[caps[i]];
        ok &= x->state != LAYER_MISSING;
        (void)buf_printf(&text, "; %s %s%s%s", layer_name(caps[i]), layer_state_text(x->state), x->detail[0] ? ": " : "", x->detail);
    }
    (void)buf_append(&text, "", 1);
    put_check(b, "limits", ok, text.data);
    buf_free(&text);
}

static void put_sandbox(struct buf *b, const struct front *f)
{
    buf_puts(b, "{");
    for (int i = 0; i < LAYER_COUNT; i++) {
        const struct layer *x = &f->layers.of[i];
        buf_printf(b, "%s\"%s\":{\"state\":\"%s\",\"detail\":", i ? "," : "", layer_name((enum layer_id)i), layer_state_text(x->state));
        put_string(b, x->detail);
        buf_puts(b, "}");
    }
    buf_puts(b, "}");
}

void info_readyz(struct front *f, struct exchange *x)
{
    struct buf b = BUF_INIT(TEXT_MAX_BYTES);
    struct pool_counts c = pool_count(f->pool);
    bool workers = c.idle + c.busy + c.draining > 0;
    char text[160];
    struct database_checks db;
    database_check(f, workers, &db);
    bool ready = workers && db.database_ok && !f->draining;
    spool_try(f->spool);
    struct spool_figures spool = spool_figures(f->spool);
    bool degraded = db.degraded || spool.trouble;
    buf_printf(&b, "{\"ready\":%s,\"degraded\":%s,\"checks\":{", ready ? "true" : "false", degraded ? "true" : "false");
    snprintf(text, sizeof text, "%u idle, %u busy, %u delivering", c.idle, c.busy, c.draining);
    put_check(&b, "workers", workers, text);
    put_check(&b, "database", db.database_ok && !(workers && f->database.state == DATABASE_REFUSED), db.database);
    put_check(&b, "wal", db.wal_ok, db.wal);
    char held[160];
    snprintf(held, sizeof held, "%" PRId64 " of %" PRId64 " bytes in %u files", spool.bytes, f->cfg->spool.max_bytes, spool.files);
    put_check(&b, "spool", !spool.trouble, spool.trouble ? spool.trouble : held);
    put_limits_check(&b, f, c.queued);
    put_sandbox_check(&b, f);
    if (f->draining)
        put_check(&b, "shutdown", false, "the server is shutting down");
    buf_puts(&b, "}}\n");
    exchange_answer(x, ready ? 200 : 503, "application/json", b.data, b.len);
    buf_free(&b);
}

/* The front's view of a worker, whether the pool's or a lane's. */
static const struct pool_worker *find_worker(const struct front *f, uint32_t id)
{
    for (const struct pool_worker *w = pool_workers(f->pool); w; w = w->next)
        if (w->id == id)
            return w;
    for (const struct lane *l = lanes_first(f->lanes); l; l = l->next)
        for (const struct pool_worker *w = pool_workers(l->pool); w; w = w->next)
            if (w->id == id)
                return w;
    return NULL;
}

static void put_worker(struct buf *b, const struct front *f, const struct control_cell *c, bool first)
{
    uint32_t id = atomic_load(&c->worker), state = atomic_load(&c->state);
    int32_t pid = atomic_load(&c->pid);
    uint32_t kind = atomic_load(&c->kind);
    const struct pool_worker *pw = find_worker(f, id);
    static const char *const pool_text[] = {[POOL_IDLE] = "idle", [POOL_BUSY] = "busy", [POOL_DRAINING] = "delivering", [POOL_LOST] = "dying"};
    /* One that gets no further job is as good as gone, though the supervisor may not have sent it off yet. A spare that we have is one while it
     * does nothing. */
    bool ours = pw && (state == WORKER_POOL || (pw->short_lane && state == WORKER_SPARE && (pw->doomed || pw->state != POOL_IDLE)));
    const char *text = ours ? pool_text[pw->doomed && !pw->job ? POOL_LOST : pw->state]
                            : worker_state_text(state < WORKER_STATES ? state : WORKER_NONE);
    bool pool = kind == WORKER_KIND_POOL, spare = pool && (state == WORKER_SPARE || state == WORKER_STARTING);
    struct proc_figures p;
    proc_read(pid, &p);
    buf_printf(b, "%s{\"slot\":", first ? "" : ",");
    if (spare || !pool)
        buf_puts(b, "null");
    else
        buf_printf(b, "%u", atomic_load(&c->slot));
    buf_printf(b, ",\"kind\":\"%s\",\"state\":\"%s\",\"pid\":%d,\"query_id\":",
               spare ? "spare" : worker_kind_text(kind < WORKER_KINDS ? (enum worker_kind)kind : WORKER_KIND_POOL), text, pid);
    const struct job *job = pw ? pool_worker_job(pw) : NULL;
    if (job)
        put_string(b, job->query_id);
    else
        buf_puts(b, "null");
    buf_printf(b, ",\"memory_bytes\":%" PRId64 ",\"queries\":%" PRIu64 "}", p.resident_bytes, atomic_load(&c->queries));
}

static void put_limits(struct buf *b, const struct front *f)
{
    const struct config *c = f->cfg;
    const struct {
        const char *name;
        int64_t value;
    } limits[] = {{"timeout_ms", c->limits.timeout_ms},
                  {"timeout_max_ms", c->limits.timeout_max_ms},
                  {"interrupt_grace_ms", c->limits.interrupt_grace_ms},
                  {"term_grace_ms", c->limits.term_grace_ms},
                  {"queue_length", c->limits.queue_length},
                  {"queue_timeout_ms", c->limits.queue_timeout_ms},
                  {"max_sql_bytes", c->limits.max_sql_bytes},
                  {"memory_limit_bytes", c->pool.memory_limit_bytes},
                  {"memory_cap_bytes", c->pool.memory_cap_bytes},
                  {"cpu_cap", c->pool.cpu_cap},
                  {"scratch_limit_bytes", c->pool.scratch_limit_bytes},
                  {"threads", c->pool.threads}};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        buf_printf(b, "%s{\"name\":\"%s\",\"value\":%" PRId64 "}", i ? "," : "", limits[i].name, limits[i].value);
}

struct queue_text {
    struct buf *b;
    unsigned count;
};

static void put_tenant(void *ctx, const struct fair_figures *t)
{
    struct queue_text *q = ctx;
    if (++q->count > QUEUE_KEYS_MAX)
        return;
    buf_puts(q->b, q->count > 1 ? ",{\"key\":" : "{\"key\":");
    if (t->name[0])
        put_string(q->b, t->name);
    else
        buf_puts(q->b, "null");
    buf_printf(q->b, ",\"waiting\":%u,\"running\":%u,\"penalty\":%u}", t->waiting, t->running, t->penalty);
}

static void put_queue(struct buf *b, const struct front *f, const struct pool_counts *c)
{
    struct queue_text q = {.b = b};
    buf_printf(b, "],\"queue\":{\"length\":%u,\"max\":%" PRId64 ",\"background\":%u,\"keys\":[", c->queued, f->cfg->limits.queue_length,
               c->background);
    pool_each_tenant(f->pool, put_tenant, &q);
    buf_puts(b, "]}");
}

/* Since this front's start: for whoever reads twice and wants to know how much a second. */
static void put_totals(struct buf *b, const struct metrics *m)
{
    uint64_t queries = 0, refused = 0, bytes = 0;
    for (int i = 0; i < ERR_COUNT; i++) {
        queries += m->queries[i];
        refused += m->rejected[i];
    }
    for (int i = 0; i < FORMAT_COUNT; i++)
        bytes += m->result_bytes[i];
    buf_printf(b, ",\"totals\":{\"queries\":%" PRIu64 ",\"ok\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"result_bytes\":%" PRIu64 "}", queries,
               m->queries[ERR_OK], refused, bytes);
}

void info_status(struct front *f, struct exchange *x)
{
    struct buf b = BUF_INIT(TEXT_MAX_BYTES);
    struct pool_counts c = pool_count(f->pool);
    buf_printf(&b, "{\"version\":\"%s\",\"uptime_s\":%.3f,\"front\":{\"pid\":%d},\"supervisor\":{\"pid\":%d},\"workers\":[", BULKHEAD_VERSION,
               (double)(clock_now_ns() - atomic_load(&f->page->started_ns)) / 1e9, (int)getpid(), atomic_load(&f->page->supervisor_pid));
    bool first = true;
    for (int i = 0; i < CONTROL_CELLS; i++) {
        if (!atomic_load(&f->page->cell[i].worker))
            continue;
        put_worker(&b, f, &f->page->cell[i], first);
        first = false;
    }
    put_queue(&b, f, &c);
    buf_puts(&b, ",\"sessions\":[");
    sessions_write(f, &b, NULL);
    buf_puts(&b, "],\"database\":");
    database_put_status(f, &b);
    put_totals(&b, &f->metrics);
    buf_puts(&b, ",\"limits\":[");
    put_limits(&b, f);
    buf_puts(&b, "],\"sandbox\":");
    put_sandbox(&b, f);
    buf_puts(&b, "}\n");
    exchange_answer(x, 200, "application/json", b.data, b.len);
    buf_free(&b);
}
