/* POST, GET, DELETE /v1/sessions, and queries that run in one or with sources of their own. Runs in the front. */
#include "front/sessions_http.h"
#include "core/clock.h"
#include "core/resident.h"
#include "core/units.h"
#include "front/caller.h"
#include "front/pool_setup.h"
#include "front/public_text.h"
#include "front/query_request.h"
#include "front/query_sources.h"
#include "session/sessions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SESSION_JSON_BYTES 4096
#define LIST_BYTES ((size_t)8 << 20)

/* ---- as JSON ---- */

static void put_time(struct buf *b, const char *name, int64_t ms)
{
    struct tm t;
    time_t s = (time_t)(ms / 1000);
    char text[40];
    gmtime_r(&s, &t);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &t);
    buf_printf(b, ",\"%s\":\"%s.%03dZ\"", name, text, (int)(ms % 1000));
}

static void put_session(struct buf *b, const struct session *s)
{
    char name[SOURCE_NAME_BYTES];
    size_t at = 0, n = 0;
    const struct pool_worker *w = pool_workers(s->lane->pool);
    buf_printf(b, "{\"id\":\"%s\",\"state\":\"%s\",\"key\":", s->id, session_state_text(session_state(s)));
    if (s->owner[0])
        buf_json_string(b, s->owner, strlen(s->owner));
    else
        buf_puts(b, "null");
    buf_puts(b, ",\"sources\":[");
    while (source_set_next(s->lane->set, &at, name))
        buf_printf(b, "%s\"%s\"", n++ ? "," : "", name); /* names are a-z, 0-9 and _ */
    buf_puts(b, "]");
    put_time(b, "created_at", s->created_ms);
    put_time(b, "expires_at", s->expires_ms);
    buf_printf(b, ",\"idle_timeout_ms\":%" PRId64 ",\"idle_ms\":%" PRId64 ",\"queries\":%" PRIu64 ",\"resets\":%" PRIu64, s->idle_timeout_ms,
               session_state(s) == SESSION_BUSY ? 0 : (clock_now_ns() - s->used_ns) / NS_PER_MS, s->queries, s->resets);
    if (w)
        buf_printf(b, ",\"memory_bytes\":%" PRId64 "}", resident_bytes(w->pid));
    else
        buf_puts(b, ",\"memory_bytes\":null}");
}

static void answer_session(struct exchange *x, int status, const struct session *s)
{
    struct buf b = BUF_INIT(SESSION_JSON_BYTES);
    put_session(&b, s);
    CHECK(buf_puts(&b, "\n"));
    exchange_answer(x, status, "application/json", b.data, b.len);
    buf_free(&b);
}

/* ---- lanes and messages ---- */

/* A session that was asked for has started, or has failed to. */
static void on_started(void *starter, struct session *s, const struct error *err)
{
    struct exchange *x = starter;
    char location[64];
    if (!s) {
        exchange_problem(x, err, NULL);
        return;
    }
    snprintf(location, sizeof location, "/v1/sessions/%s", s->id);
    exchange_add_header(x, "Location", location);
    answer_session(x, 201, s);
}

void sessions_start(struct front *f)
{
    struct lanes_options lo = {.base = f->base,
                               .page = f->page,
                               .control_fd = f->control_fd,
                               .nudge_fd = f->nudge_fd,
                               .log = &f->log,
                               .replace = front_replace_worker,
                               .ctx = f};
    f->lanes = lanes_new(&lo);
    struct sessions_options so = {.lanes = f->lanes, .log = &f->log, .started = on_started};
    f->sessions = sessions_new(&so);
}

void sessions_stop(struct front *f)
{
    sessions_free(f->sessions);
    lanes_free(f->lanes);
}

struct pool_options sessions_lane_options(const struct front *f)
{
    struct pool_options o = front_pool_options(f);
    o.one_account = true;
    o.isolation_by_key = false;
    o.recycle_after = 0; /* its state would go with it */
    if (o.queue_length < 1)
        o.queue_length = 1; /* the query that its worker is started for waits for that */
    return o;
}

bool sessions_message(struct front *f, const union control_message *m, const int fds[2])
{
    switch ((enum control_type)m->type) {
    case CONTROL_ASSIGN: return lanes_assigned(f->lanes, &m->assign, fds[0], fds[1]);
    case CONTROL_DIED: return lanes_died(f->lanes, &m->died);
    case CONTROL_WANT_FAILED: {
        struct control_want_failed shown = m->want_failed; /* the supervisor's log has it in full */
        public_text(f->cfg, m->want_failed.error.detail, shown.error.detail, sizeof shown.error.detail);
        return lanes_want_failed(f->lanes, &shown);
    }
    case CONTROL_SOURCES_CHANGED:
        sessions_source_changed(f->sessions, m->set.set, f->cfg->session.on_source_change == SOURCE_CHANGE_END);
        return true;
    case CONTROL_DRAIN: lanes_drain(f->lanes); return false;
    default: return false;
    }
}

void sessions_new_config(struct front *f)
{
    struct pool_options o = sessions_lane_options(f);
    sessions_set_pool_options(f->sessions, &o);
    sessions_check_rights(f);
}

void sessions_check_rights(struct front *f)
{
    struct session *next;
    for (struct session *s = sessions_newest(f->sessions); s; s = next) {
        next = s->next;
        const struct key *key = keys_named(f->auth.keys, s->owner);
        enum key_role role = key ? key->role : auth_keyless_role(&f->auth);
        char name[SOURCE_NAME_BYTES], reason[96];
        if (!key && !f->auth.keyless)
            continue; /* queries_revoked() has seen to it */
        if (role < ROLE_ANALYST)
            snprintf(reason, sizeof reason, "its key has the role %s now", key_role_text(role));
        else if (sources_lost(f, key, role, s->lane->set, name))
            snprintf(reason, sizeof reason, "its key may not use the source '%s' any more", name);
        else
            continue;
        session_end(f->sessions, s, reason);
    }
}

/* ---- POST ---- */

static int set_duration(json_t *v, const char *key, int64_t max_ms, int64_t *ret_ms, struct error *err)
{
    const char *text = json_string_value(v);
    const char *wrong = text && strlen(text) == json_string_length(v) ? units_parse_duration(text, ret_ms) : "must be a duration, such as \"10m\"";
    if (wrong)
        return error_set(err, ERR_BAD_REQUEST, "%s %s", key, wrong);
    if (*ret_ms < 1)
        return error_set(err, ERR_BAD_REQUEST, "%s must be greater than 0", key);
    if (*ret_ms <= max_ms)
        return 0;
    char most[UNITS_TEXT_MAX];
    units_format_duration(max_ms, most);
    return error_set(err, ERR_BAD_REQUEST, "%s is longer than the server's %s of %s", key, key, most);
}

static int take(const struct config *c, const char *key, json_t *v, struct session_wish *w, char **set, struct error *err)
{
    if (strcmp(key, "sources") == 0)
        return query_request_sources(v, set, err);
    if (strcmp(key, "ttl") == 0)
        return set_duration(v, key, c->session.ttl_ms, &w->ttl_ms, err);
    if (strcmp(key, "idle_timeout") == 0)
        return set_duration(v, key, c->session.idle_timeout_ms, &w->idle_timeout_ms, err);
    return error_set(err, ERR_BAD_REQUEST, "unknown field '%.60s'; known: sources, ttl, idle_timeout", key);
}

/* An empty body is a session without sources. */
static int read_wish(const struct front *f, const struct exchange *x, struct session_wish *w, struct error *err)
{
    size_t len;
    const char *body = exchange_body(x, &len), *key, *type = exchange_header(x, "Content-Type");
    json_error_t at;
    json_t *v;
    char *set = NULL;
    w->ttl_ms = f->cfg->session.ttl_ms;
    w->idle_timeout_ms = f->cfg->session.idle_timeout_ms;
    if (len == 0)
        return 0;
    if (!type || strncasecmp(type, "application/json", 16) != 0)
        return error_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "the body must be application/json");
    json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &at);
    if (!root)
        return error_set(err, ERR_BAD_REQUEST, "the body is not valid JSON: line %d, column %d: %s", at.line, at.column, at.text);
    int ok = json_is_object(root) ? 0 : error_set(err, ERR_BAD_REQUEST, "the body must be a JSON object");
    if (ok == 0)
        json_object_foreach(root, key, v) if ((ok = take(f->cfg, key, v, w, &set, err)) < 0) break;
    json_decref(root);
    if (ok == 0 && set)
        memcpy(w->set, set, strlen(set) + 1);
    free(set);
    if (ok == 0 && w->idle_timeout_ms > w->ttl_ms)
        w->idle_timeout_ms = w->ttl_ms;
    return ok;
}

void sessions_post(struct front *f, struct exchange *x)
{
    struct session_wish w = {.owner = caller_of(f, x).key, .starter = x};
    struct error err;
    struct query_key key;
    struct pool_options o = sessions_lane_options(f);
    int ok = 0;
    if (f->draining) {
        ok = error_set(&err, ERR_UNAVAILABLE, "the server is shutting down");
        err.retry_after_s = 5;
    }
    if (ok < 0 || read_wish(f, x, &w, &err) < 0 || sources_allowed(f, x, w.set, &err) < 0) {
        routes_refuse(f, x, &err);
        return;
    }
    query_id_make(f, w.id);
    CHECK(query_key_parse(w.id, &key));
    if (!sessions_open(f->sessions, f->cfg, &w, &o, &err)) {
        routes_refuse(f, x, &err);
        return;
    }
    gone_note(&f->page->sessions, gone_hash(key.high, key.low, w.owner));
}

/* ---- GET, DELETE ---- */

static struct session *lookup(struct front *f, const struct exchange *x, const char *id, struct error *err)
{
    struct caller c = caller_of(f, x);
    struct session *s = sessions_find(f->sessions, id, c.key, c.sees_all, err);
    struct query_key key;
    if (!s && err->code == ERR_NOT_FOUND && query_key_parse(id, &key) && gone_was(&f->page->sessions, gone_hash(key.high, key.low, c.key)))
        error_set(err, ERR_GONE, "the session %.60s is over: it ended long ago, or was lost when the server's front was restarted", id);
    return s;
}

void sessions_get(struct front *f, struct exchange *x, const char *id)
{
    struct error err;
    const struct session *s = lookup(f, x, id, &err);
    if (s)
        answer_session(x, 200, s);
    else
        routes_refuse(f, x, &err);
}

void sessions_write(const struct front *f, struct buf *b, const struct caller *c)
{
    size_t n = 0;
    for (const struct session *s = sessions_newest(f->sessions); s; s = s->next) {
        if (c && !c->sees_all && strcmp(c->key, s->owner) != 0)
            continue;
        buf_puts(b, n++ ? "," : "");
        put_session(b, s);
    }
}

void sessions_list(struct front *f, struct exchange *x)
{
    struct caller c = caller_of(f, x);
    struct buf b = BUF_INIT(LIST_BYTES);
    buf_puts(&b, "{\"sessions\":[");
    sessions_write(f, &b, &c);
    CHECK(buf_puts(&b, "]}\n"));
    exchange_answer(x, 200, "application/json", b.data, b.len);
    buf_free(&b);
}

void sessions_delete(struct front *f, struct exchange *x, const char *id)
{
    struct error err;
    struct session *s = lookup(f, x, id, &err);
    if (!s) {
        routes_refuse(f, x, &err);
        return;
    }
    session_end(f->sessions, s, "it was deleted");
    exchange_answer(x, 204, "application/json", NULL, 0);
}

/* ---- queries ---- */

static void lane_ignored(struct lane *l) { (void)l; }
static void lane_failed(struct lane *l, const struct error *err)
{
    (void)l;
    (void)err; /* its query has failed with it */
}
static void lane_died(struct lane *l, enum death_reason reason)
{
    (void)reason;
    if (pool_has_jobs(l->pool))
        lane_want(l); /* it died before it took the query up */
}
static const struct lane_events one_request = {.ready = lane_ignored, .failed = lane_failed, .died = lane_died};

void sources_close_lane(struct lane *l)
{
    struct error over;
    error_set(&over, ERR_CANCELLED, "the request that this worker was for is over");
    lane_close(l, &over);
}

int query_place(struct query *q, const struct query_request *r, struct error *err)
{
    struct front *f = q->f;
    if ((r->session || r->sources) && caller_of(f, q->x).role < ROLE_ANALYST)
        return error_forbid(err, r->session ? "session" : "sources", "sessions and sources are for keys of the role analyst or admin");
    if (r->session) {
        struct session *s = lookup(f, q->x, r->session, err);
        /* Its owner's rights were seen to when they changed; this is for an admin in another's session. */
        if (!s || sources_allowed(f, q->x, s->lane->set, err) < 0 || session_enter(s, r->wait, err) < 0)
            return -1;
        q->pool = s->lane->pool;
    } else if (r->sources) {
        if (sources_allowed(f, q->x, r->sources, err) < 0)
            return -1;
        if (f->draining || lanes_waiting(f->lanes) > (unsigned)f->cfg->limits.queue_length) {
            error_set(err, f->draining ? ERR_UNAVAILABLE : ERR_OVERLOADED,
                      f->draining ? "the server is shutting down" : "too many requests wait for a worker with their sources");
            err->retry_after_s = 1;
            return -1;
        }
        struct pool_options o = sessions_lane_options(f);
        q->own_lane = lane_open(f->lanes, WORKER_KIND_SOURCES, r->sources, &o, &one_request, NULL);
        snprintf(q->own_lane->account, sizeof q->own_lane->account, "%s", caller_of(f, q->x).key);
        q->pool = q->own_lane->pool;
    }
    return 0;
}
