/* POST /v1/admin/sql: the audit line, the lane with its workers, and the publication before the answer. What statements do, the worker sees; files
 * are the supervisor's matter. Runs in the front. */
#include "core/clock.h"
#include "core/digest.h"
#include "core/hex.h"
#include "core/utf8.h"
#include "front/admin.h"
#include "front/caller.h"
#include "front/public_text.h"
#include "front/query_request.h"
#include "front/sessions_http.h"
#include "session/lane.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a line of the log holds of a statement, as it is written there (core/log.h: a line has 4096 bytes). */
#define AUDIT_BYTES 3200

/* ---- on record ---- */

/* As many bytes from the beginning as fit a line, whatever has to be escaped; at least one character. */
static size_t audit_part(const char *text, size_t len)
{
    size_t cost = 0, n = 0;
    while (n < len && cost < AUDIT_BYTES) {
        unsigned char c = (unsigned char)text[n++];
        cost += c < 0x20 || c == 0x7f ? 6 : c >= 0x80 ? 3 : c == '"' || c == '\\' ? 2 : 1;
    }
    return n < len ? utf8_cut(text, n) : n;
}

/* The whole text, over as many lines as it takes; the hash tells that they are complete. */
static void audit(struct query *q, const struct query_request *r)
{
    uint8_t hash[DIGEST_BYTES];
    char hex[2 * DIGEST_BYTES + 1], client[ADDRESS_TEXT_BYTES];
    int64_t part = 0;
    digest_sha256(r->sql, r->sql_len, hash);
    *hex_put(hex, hash, DIGEST_BYTES) = 0;
    address_format(&q->client, client);
    for (size_t at = 0; at < r->sql_len || part == 0;) {
        size_t n = audit_part(r->sql + at, r->sql_len - at);
        char *text = strndup(r->sql + at, n);
        CHECK(text);
        at += n;
        const struct log_field fields[] = {LOG_S("query_id", q->job->query_id),
                                           LOG_S("key", caller_of(q->f, q->x).key),
                                           LOG_S("client", client),
                                           LOG_S("sql_sha256", hex),
                                           LOG_I("sql_bytes", (int64_t)r->sql_len),
                                           LOG_I("part", ++part),
                                           LOG_S("last", at >= r->sql_len ? "yes" : "no"),
                                           LOG_S("sql", text)};
        log_audit(&q->f->log, "admin_sql", fields, sizeof fields / sizeof fields[0]);
        free(text);
    }
    log_flush(&q->f->log);
}

/* ---- its lane ---- */

static void on_ready(struct lane *l) { (void)l; }

static void on_failed(struct lane *l, const struct error *err)
{
    (void)l;
    (void)err; /* its query has failed with it */
}

/* The one that looked has found that the statements write: the next one has a copy. */
static void on_died(struct lane *l, enum death_reason reason)
{
    (void)reason;
    if (pool_count(l->pool).queued == 0)
        return;
    l->writes = true;
    lane_want(l);
}

static const struct lane_events events = {.ready = on_ready, .failed = on_failed, .died = on_died};

static int check_request(struct query *q, const struct query_request *r, struct error *err)
{
    if (r->session || r->sources || r->wait || r->profile)
        return error_set(err, ERR_BAD_REQUEST, "session, sources, wait and profile are not for this request");
    if (q->form.format != FORMAT_JSON && q->form.format != FORMAT_NDJSON && q->form.format != FORMAT_CSV)
        return error_set(err, ERR_NOT_ACCEPTABLE, "this request is answered as json, ndjson or csv");
    q->form.coding = q->form.ipc_coding = CODING_NONE;
    return 0;
}

int admin_place(struct query *q, const struct query_request *r, struct error *err)
{
    struct front *f = q->f;
    audit(q, r);
    if (check_request(q, r, err) < 0)
        return -1;
    if (f->draining || lanes_waiting(f->lanes) > (unsigned)f->cfg->limits.queue_length) {
        error_set(err, f->draining ? ERR_UNAVAILABLE : ERR_OVERLOADED,
                  f->draining ? "the server is shutting down" : "too many requests wait for a worker of their own");
        err->retry_after_s = 1;
        return -1;
    }
    struct pool_options o = sessions_lane_options(f);
    o.queue_timeout_ms += f->cfg->admin.copy_timeout_ms; /* it waits for its turn and for its copy */
    q->own_lane = lane_open(f->lanes, WORKER_KIND_WRITER, "", &o, &events, NULL);
    q->pool = q->own_lane->pool;
    return 0;
}

double admin_copy_progress(const struct query *q)
{
    const struct control_page *page = q->f->page;
    uint32_t want = atomic_load(&page->copy_want);
    int64_t done = atomic_load(&page->copy_done_bytes), total = atomic_load(&page->copy_total_bytes);
    if (!q->own_lane || want == 0 || q->own_lane->want != want || total <= 0)
        return -1;
    return done >= total ? 1 : (double)done / (double)total;
}

/* ---- publishing ---- */

void admin_publish(struct query *q)
{
    struct front *f = q->f;
    struct control_plain m = {.type = CONTROL_COMMIT, .flags = q->job->worker->id};
    struct error err;
    q->publishing = m.flags;
    if (control_send(f->control_fd, &m, NULL, 0) == 0)
        return;
    error_set(&err, ERR_UNAVAILABLE, "the supervisor can't be reached (%s); nothing was published", strerror(errno));
    query_published(q, &err);
}

void admin_write_over(struct front *f, const struct control_write_over *m)
{
    struct query *q = f->queries;
    while (q && (q->publishing == 0 || q->publishing != m->worker))
        q = q->next;
    if (!q)
        return;
    if (m->error.code != ERR_OK) {
        struct error shown = m->error;
        public_text(f->cfg, m->error.detail, shown.detail, sizeof shown.detail);
        query_published(q, &shown);
        return;
    }
    q->job->version = m->version;
    query_published(q, NULL);
}
