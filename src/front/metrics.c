/* The text of GET /metrics (Prometheus text format 0.0.4). Runs in the front. */
#include "front/metrics.h"
#include "core/buf.h"
#include "core/clock.h"
#include "front/database.h"
#include "front/front.h"
#include "front/results.h"
#include "sched/quarantine.h"
#include "session/sessions.h"

#include <inttypes.h>
#include <unistd.h>

/* Upper bounds in microseconds: from a cached SELECT 1 to the longest default timeout. */
static const int64_t bounds_us[HISTOGRAM_BOUNDS] = {100,    250,    500,    1000,    2500,    5000,     10000,    25000,
                                                    100000, 250000, 500000, 1000000, 5000000, 10000000, 30000000, 300000000};

void histogram_add(struct histogram *h, int64_t us)
{
    int i = 0;
    while (i < HISTOGRAM_BOUNDS && us > bounds_us[i])
        i++;
    h->bucket[i]++;
    h->sum_us += us;
    h->count++;
}

static void put_head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_one(struct buf *b, const char *name, const char *type, const char *help, uint64_t value)
{
    put_head(b, name, type, help);
    buf_printf(b, "%s %" PRIu64 "\n", name, value);
}

static void put_histogram(struct buf *b, const char *name, const char *help, const struct histogram *h)
{
    put_head(b, name, "histogram", help);
    uint64_t sum = 0;
    for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
        sum += h->bucket[i];
        buf_printf(b, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, (double)bounds_us[i] / 1e6, sum);
    }
    buf_printf(b, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.6f\n%s_count %" PRIu64 "\n", name, h->count, name, (double)h->sum_us / 1e6, name,
               h->count);
}

static void put_codes(struct buf *b, const char *name, const char *help, const uint64_t counts[ERR_COUNT])
{
    put_head(b, name, "counter", help);
    for (int i = 0; i < ERR_COUNT; i++) /* zeros as well: who watches for the first one needs to have seen none before */
        buf_printf(b, "%s{code=\"%s\"} %" PRIu64 "\n", name, error_text((enum error_code)i), counts[i]);
}

static void put_supervisor(struct buf *b, const struct front *f)
{
    static const char *const parts[RELOAD_PARTS] = {[RELOAD_CONFIG] = "config", [RELOAD_KEYS] = "keys", [RELOAD_TLS] = "tls"};
    struct control_page *p = f->page;
    put_head(b, "bulkhead_worker_deaths_total", "counter", "Worker processes that ended, by reason.");
    for (int i = 0; i < DEATH_REASONS; i++)
        buf_printf(b, "bulkhead_worker_deaths_total{reason=\"%s\"} %" PRIu64 "\n", death_reason_text((enum death_reason)i),
                   atomic_load(&p->deaths[i]));
    put_head(b, "bulkhead_stops_total", "counter", "Queries that were stopped, by the step of the ladder that did it.");
    for (int i = STOP_INTERRUPT; i < STOP_COUNT; i++)
        buf_printf(b, "bulkhead_stops_total{by=\"%s\"} %" PRIu64 "\n", stop_stage_text((enum stop_stage)i),
                   i == STOP_INTERRUPT ? atomic_load(&p->stops_by_interrupt) : atomic_load(&p->stops[i]));
    put_one(b, "bulkhead_worker_spawns_total", "counter", "Worker processes started.", atomic_load(&p->spawns));
    put_one(b, "bulkhead_front_starts_total", "counter", "Front processes started.", atomic_load(&p->front_starts));
    put_head(b, "bulkhead_reload_refused", "gauge", "1: what was read last was refused, and the one before stays in force.");
    for (int i = 0; i < RELOAD_PARTS; i++)
        buf_printf(b, "bulkhead_reload_refused{what=\"%s\"} %" PRIu32 "\n", parts[i], atomic_load(&p->reload_refused[i]));
}

static void put_workers(struct buf *b, const struct front *f)
{
    struct pool_counts c = pool_count(f->pool);
    unsigned by_state[WORKER_STATES] = {0};
    for (int i = 0; i < CONTROL_CELLS; i++) {
        uint32_t state = atomic_load(&f->page->cell[i].state);
        if (atomic_load(&f->page->cell[i].worker) && state < WORKER_STATES)
            by_state[state]++;
    }
    put_head(b, "bulkhead_workers", "gauge", "Worker processes by state; idle, busy and draining are the pool's.");
    buf_printf(b, "bulkhead_workers{state=\"idle\"} %u\nbulkhead_workers{state=\"busy\"} %u\nbulkhead_workers{state=\"draining\"} %u\n", c.idle,
               c.busy, c.draining);
    buf_printf(b, "bulkhead_workers{state=\"starting\"} %u\nbulkhead_workers{state=\"spare\"} %u\nbulkhead_workers{state=\"dying\"} %u\n",
               by_state[WORKER_STARTING],
               by_state[WORKER_SPARE] - (c.working_spares < by_state[WORKER_SPARE] ? c.working_spares : by_state[WORKER_SPARE]),
               by_state[WORKER_DYING]);
    put_one(b, "bulkhead_queue_length", "gauge", "Queries waiting for a worker.", c.queued);
    put_one(b, "bulkhead_queue_limit", "gauge", "The most that may wait (limits.queue_length).", (uint64_t)f->cfg->limits.queue_length);
}

struct role_sum {
    const char *role;
    struct proc_figures f;
};

static void add_process(struct role_sum *r, int32_t pid)
{
    struct proc_figures p;
    proc_read(pid, &p);
    r->f.resident_bytes += p.resident_bytes;
    r->f.cpu_seconds += p.cpu_seconds;
    r->f.threads += p.threads;
}

static void put_processes(struct buf *b, const struct front *f)
{
    struct role_sum roles[] = {{.role = "supervisor"}, {.role = "front"}, {.role = "worker"}};
    add_process(&roles[0], atomic_load(&f->page->supervisor_pid));
    add_process(&roles[1], (int32_t)getpid());
    for (int i = 0; i < CONTROL_CELLS; i++)
        if (atomic_load(&f->page->cell[i].worker))
            add_process(&roles[2], atomic_load(&f->page->cell[i].pid));
    put_head(b, "process_resident_memory_bytes", "gauge", "Resident memory of the living processes, by role.");
    for (size_t i = 0; i < 3; i++)
        buf_printf(b, "process_resident_memory_bytes{role=\"%s\"} %" PRId64 "\n", roles[i].role, roles[i].f.resident_bytes);
    put_head(b, "process_cpu_seconds_total", "counter", "CPU time of the living processes, by role; a worker's leaves with it.");
    for (size_t i = 0; i < 3; i++)
        buf_printf(b, "process_cpu_seconds_total{role=\"%s\"} %.2f\n", roles[i].role, roles[i].f.cpu_seconds);
    put_head(b, "process_open_fds", "gauge", "Open file descriptors, by role; a worker's are nobody's to see.");
    buf_printf(b, "process_open_fds{role=\"supervisor\"} %" PRId32 "\nprocess_open_fds{role=\"front\"} %d\n", atomic_load(&f->page->supervisor_fds),
               proc_own_fds());
    put_head(b, "process_threads", "gauge", "Threads of the living processes, by role.");
    for (size_t i = 0; i < 3; i++)
        buf_printf(b, "process_threads{role=\"%s\"} %d\n", roles[i].role, roles[i].f.threads);
}

static void put_database(struct buf *b, const struct front *f)
{
    database_put_metrics(f, b);
    struct spool_figures spool = spool_figures(f->spool);
    put_one(b, "bulkhead_spool_bytes", "gauge", "Bytes set aside for results in the spool.", (uint64_t)spool.bytes);
    put_one(b, "bulkhead_spool_files", "gauge", "Files of the spool: kept results, and what slow clients have not taken yet.", spool.files);
    put_one(b, "bulkhead_results", "gauge", "Kept results of asynchronous queries.", results_count(f->results));
    const struct sessions_counts *c = sessions_counts(f->sessions);
    put_one(b, "bulkhead_sessions", "gauge", "Open sessions.", sessions_count(f->sessions));
    put_one(b, "bulkhead_sessions_opened_total", "counter", "Sessions that were opened.", c->opened);
    put_one(b, "bulkhead_sessions_evicted_total", "counter", "Idle sessions that had to go for others.", c->evicted);
    put_one(b, "bulkhead_sessions_expired_total", "counter", "Sessions that reached their idle_timeout or ttl.", c->expired);
    put_one(b, "bulkhead_session_resets_total", "counter", "Workers of sessions that died and were replaced.", c->resets);
}

bool metrics_write(const struct front *f, struct buf *b)
{
    const struct metrics *m = &f->metrics;
    static const char *const cache[] = {"bypass", "miss", "hit"};
    put_codes(b, "bulkhead_queries_total", "Queries answered, by code of the contract.", m->queries);
    put_codes(b, "bulkhead_rejected_total", "Requests refused before a worker had them, by code.", m->rejected);
    put_histogram(b, "bulkhead_query_seconds", "From the worker's start on a query to its last row.", &m->query);
    put_histogram(b, "bulkhead_queue_seconds", "From a query's arrival to its worker.", &m->queue);
    put_workers(b, f);
    put_supervisor(b, f);
    put_head(b, "bulkhead_auth_failures_total", "counter", "Requests refused for their API key, by reason.");
    for (int i = 0; i < AUTH_FAILURES; i++)
        buf_printf(b, "bulkhead_auth_failures_total{reason=\"%s\"} %" PRIu64 "\n", auth_failure_text((enum auth_failure)i), f->auth.failures[i]);
    if (f->certificate_until_s)
        put_one(b, "bulkhead_tls_certificate_expiry_seconds", "gauge", "Unix time at which the TLS certificate ends.",
                (uint64_t)f->certificate_until_s);
    put_one(b, "bulkhead_keys", "gauge", "API keys in force.", keys_count(f->auth.keys));
    put_one(b, "bulkhead_penalties_total", "counter", "Workers that a key was held to have cost: it waits longer for a while.",
            pool_penalties(f->pool));
    struct quarantine_figures q = quarantine_figures(f->quarantine, clock_now_ns());
    put_head(b, "bulkhead_quarantine_strikes_total", "counter", "Workers that a statement ended, as far as they count against it, by how.");
    buf_printf(b, "bulkhead_quarantine_strikes_total{by=\"crash\"} %" PRIu64 "\n", q.strikes[STRIKE_CRASH]);
    buf_printf(b, "bulkhead_quarantine_strikes_total{by=\"timeout\"} %" PRIu64 "\n", q.strikes[STRIKE_TIMEOUT]);
    put_one(b, "bulkhead_quarantined", "gauge", "Statements refused because they ended workers, to one key or to all.", q.refused);
    put_one(b, "bulkhead_quarantine_refusals_total", "counter", "Queries refused for that.", q.refusals);
    put_head(b, "bulkhead_statement_cache_total", "counter", "Successful queries by use of the statement cache.");
    for (int i = 0; i < 3; i++)
        buf_printf(b, "bulkhead_statement_cache_total{result=\"%s\"} %" PRIu64 "\n", cache[i], m->cache[i]);
    put_head(b, "bulkhead_result_bytes_total", "counter", "Bytes of results taken by clients, by format.");
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (format_is_public((enum result_format)i))
            buf_printf(b, "bulkhead_result_bytes_total{format=\"%s\"} %" PRIu64 "\n", format_name((enum result_format)i), m->result_bytes[i]);
    put_one(b, "bulkhead_http_requests_total", "counter", "HTTP requests that reached the routes.", m->requests);
    put_one(b, "bulkhead_connections", "gauge", "Open client connections.", http_server_connections(f->http));
    put_database(b, f);
    put_processes(b, f);
    return b->len < b->max;
}
