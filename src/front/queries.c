/* The register of queries over HTTP: list, one, cancel. Whether a caller may see a record is asked in one place (queries_lookup).
 * Runs in the front. */
#include "front/queries.h"
#include "core/units.h"
#include "front/caller.h"
#include "front/query.h"
#include "front/results.h"
#include "front/waiter.h"
#include "session/sessions.h"

#include <stdio.h>
#include <string.h>

#define LIST_DEFAULT 100
#define LIST_MAX 1000
/* A page of the list ends at this size, whatever the limit asked for says. */
#define LIST_BYTES ((size_t)1 << 20)

static bool was_known(const struct front *f, const struct caller *c, const char *id)
{
    struct query_key k;
    if (!query_key_parse(id, &k))
        return false;
    uint64_t hash = gone_hash(k.high, k.low, c->key);
    return gone_was(&f->page->results, hash) || gone_was(&f->page->queries, hash);
}

struct record *queries_lookup(struct front *f, struct exchange *x, const char *id)
{
    struct caller c = caller_of(f, x);
    struct record *rec = registry_find(f->registry, id);
    struct error err;
    if (rec && caller_may_see(&c, rec)) {
        exchange_add_header(x, QUERY_ID_HEADER, rec->id);
        return rec;
    }
    bool forgotten = was_known(f, &c, id); /* asked of both kinds: an id of another key takes as long as one that never was */
    if (!rec && forgotten)
        error_set(&err, ERR_GONE, "the query %.60s was forgotten: too many came after it, or the server's front was restarted", id);
    else
        error_set(&err, ERR_NOT_FOUND, "no query %.60s is known", id);
    routes_refuse(f, x, &err);
    return NULL;
}

static void answer_record(struct front *f, struct exchange *x, struct record *rec)
{
    (void)f;
    struct buf b = BUF_INIT(RECORD_JSON_BYTES * 2);
    query_update_record(rec);
    CHECK(record_write(rec, &b) && buf_puts(&b, "\n"));
    exchange_answer(x, 200, "application/json", b.data, b.len);
    buf_free(&b);
}

struct known_params {
    const char *const *names; /* NULL-terminated */
    struct error *err;
};

static int known_param(void *ctx, const char *name, const char *value)
{
    (void)value;
    const struct known_params *k = ctx;
    for (const char *const *n = k->names; *n; n++)
        if (strcmp(*n, name) == 0)
            return 0;
    return error_set(k->err, ERR_BAD_REQUEST, "unknown parameter '%.60s' in the query string", name);
}

int queries_check_params(const struct exchange *x, const char *const *names, struct error *err)
{
    struct known_params k = {names, err};
    return exchange_each_param(x, known_param, &k);
}

void queries_get(struct front *f, struct exchange *x, const char *id)
{
    static const char *const params[] = {"wait", NULL};
    struct error err;
    int64_t wait_ms;
    struct record *rec = queries_lookup(f, x, id);
    if (!rec)
        return;
    if (queries_check_params(x, params, &err) < 0 || waiter_parse(x, &wait_ms, &err) < 0) {
        exchange_problem(x, &err, rec->id);
        return;
    }
    if (wait_ms > 0 && !record_is_over(rec) && !f->draining)
        waiter_add(f, x, rec, wait_ms, answer_record);
    else
        answer_record(f, x, rec);
}

void queries_delete(struct front *f, struct exchange *x, const char *id)
{
    struct record *rec = queries_lookup(f, x, id);
    if (!rec)
        return;
    record_pin(f->registry, rec);
    if (rec->result)
        results_drop(f->results, rec->result);
    if (rec->live)
        query_cancel(rec->live);
    query_update_record(rec);
    char body[128];
    int n = snprintf(body, sizeof body, "{\"id\":\"%s\",\"state\":\"%s\"}\n", rec->id, job_state_text(rec->state));
    exchange_answer(x, 202, "application/json", body, (size_t)n);
    record_unpin(f->registry, rec);
}

void queries_revoked(void *front, struct tenant *t)
{
    struct front *f = front;
    struct error err;
    unsigned cancelled = 0;
    error_set(&err, ERR_CANCELLED, "the query was cancelled: its API key was revoked, or has expired");
    for (struct query *q = f->queries, *next; q; q = next) {
        next = q->next; /* cancelling one query never ends another */
        if (q->job->tenant != t)
            continue;
        query_stop(q, &err);
        cancelled++;
    }
    results_drop_owner(f->results, t->name);
    registry_disown(f->registry, t->name);
    sessions_end_owner(f->sessions, t->name, "its key was revoked");
    log_event(&f->log, LOG_INFO, "key_revoked", LOG_S("key", t->name), LOG_I("cancelled", cancelled));
}

void queries_shut_down(struct front *f)
{
    struct error err;
    error_set(&err, ERR_UNAVAILABLE, "the server was shut down before the query had ended");
    err.retry_after_s = 5;
    for (struct query *q = f->queries, *next; q; q = next) {
        next = q->next; /* stopping one query never ends another */
        query_stop(q, &err);
    }
}

/* ---- the list ---- */

struct list_wish {
    int64_t limit;
    unsigned states;     /* bits */
    struct record *from; /* the newest that may be in it */
};

static int parse_states(const char *text, unsigned *ret, struct error *err)
{
    *ret = 0;
    while (text && *text) {
        size_t n = strcspn(text, ",");
        int s = JOB_QUEUED;
        while (s < JOB_STATES && !(strlen(job_state_text((enum job_state)s)) == n && strncmp(job_state_text((enum job_state)s), text, n) == 0))
            s++;
        if (s == JOB_STATES)
            return error_set(err, ERR_BAD_REQUEST,
                             "state '%.40s' is unknown; known: queued, running, delivering, done, failed, cancelled (several with commas)", text);
        *ret |= 1u << s;
        text += n + (text[n] == ',');
    }
    if (*ret == 0)
        *ret = ~0u;
    return 0;
}

static int parse_list(struct front *f, const struct exchange *x, const struct caller *c, struct list_wish *ret, struct error *err)
{
    static const char *const params[] = {"limit", "state", "after", NULL};
    if (queries_check_params(x, params, err) < 0)
        return -1;
    const char *limit = exchange_param(x, "limit"), *after = exchange_param(x, "after");
    *ret = (struct list_wish){.limit = LIST_DEFAULT, .from = registry_newest(f->registry)};
    if (limit && (units_parse_int(limit, &ret->limit) || ret->limit < 1 || ret->limit > LIST_MAX))
        return error_set(err, ERR_BAD_REQUEST, "limit must be a whole number from 1 to %d", LIST_MAX);
    if (parse_states(exchange_param(x, "state"), &ret->states, err) < 0)
        return -1;
    if (after) {
        const struct record *rec = registry_find(f->registry, after);
        if (!rec || !caller_may_see(c, rec))
            return error_set(err, ERR_BAD_REQUEST, "after: no query %.60s is known", after);
        ret->from = rec->older;
    }
    return 0;
}

void queries_list(struct front *f, struct exchange *x)
{
    struct caller c = caller_of(f, x);
    struct list_wish wish;
    struct error err;
    if (parse_list(f, x, &c, &wish, &err) < 0) {
        routes_refuse(f, x, &err);
        return;
    }
    struct buf b = BUF_INIT(LIST_BYTES + 2 * RECORD_JSON_BYTES);
    const struct record *last = NULL;
    bool more = false;
    buf_puts(&b, "{\"queries\":[");
    for (struct record *rec = wish.from; rec; rec = rec->older) {
        query_update_record(rec);
        if (!caller_may_see(&c, rec) || !(wish.states & 1u << rec->state))
            continue;
        more = wish.limit-- == 0 || b.len > LIST_BYTES;
        if (more)
            break;
        buf_puts(&b, last ? "," : "");
        CHECK(record_write(rec, &b));
        last = rec;
    }
    buf_puts(&b, "],\"next\":");
    if (more && last)
        buf_json_string(&b, last->id, strlen(last->id));
    else
        buf_puts(&b, "null");
    CHECK(buf_puts(&b, "}\n"));
    exchange_answer(x, 200, "application/json", b.data, b.len);
    buf_free(&b);
}
