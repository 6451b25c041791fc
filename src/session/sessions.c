/* The table of sessions (see the header). Runs in the front. */
#include "session/sessions.h"
#include "core/clock.h"
#include "core/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Ends that are remembered with their reason; older ones are only known to have been (link/gone.h). */
#define REASONS_KEPT 256
/* One that was used so lately is not evicted: its owner is between two queries. */
#define EVICTABLE_AFTER_NS (2 * NS_PER_S)

struct ended {
    char id[QUERY_ID_BYTES];
    char owner[SESSION_OWNER_BYTES];
    char reason[96];
};

struct sessions {
    struct sessions_options o;
    struct session *first;
    struct ended ended[REASONS_KEPT];
    unsigned ended_next;
    struct sessions_counts counts;
};

const char *session_state_text(enum session_state s)
{
    static const char *const texts[] = {"starting", "idle", "busy", "resetting"};
    return texts[s];
}

struct sessions *sessions_new(const struct sessions_options *o)
{
    struct sessions *all = calloc(1, sizeof *all);
    CHECK(all);
    all->o = *o;
    return all;
}

void sessions_free(struct sessions *all)
{
    while (all && all->first) {
        struct session *next = all->first->next;
        free(all->first);
        all->first = next;
    }
    free(all);
}

struct session *sessions_newest(const struct sessions *all) { return all->first; }
const struct sessions_counts *sessions_counts(const struct sessions *all) { return &all->counts; }

unsigned sessions_count(const struct sessions *all)
{
    unsigned n = 0;
    for (const struct session *s = all->first; s; s = s->next)
        n++;
    return n;
}

enum session_state session_state(const struct session *s)
{
    if (!s->started)
        return SESSION_STARTING;
    if (lane_is_busy(s->lane))
        return SESSION_BUSY;
    return s->lane->want ? SESSION_RESETTING : SESSION_IDLE;
}

static void unlink_session(struct sessions *all, struct session *s)
{
    struct session **at = &all->first;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
}

static void remember(struct sessions *all, const struct session *s, const char *reason)
{
    struct ended *e = &all->ended[all->ended_next++ % REASONS_KEPT];
    memcpy(e->id, s->id, sizeof e->id);
    memcpy(e->owner, s->owner, sizeof e->owner);
    snprintf(e->reason, sizeof e->reason, "%s", reason);
}

void session_end(struct sessions *all, struct session *s, const char *reason)
{
    struct error why;
    error_set(&why, ERR_GONE, "the session %s is over: %s", s->id, reason);
    log_event(all->o.log, LOG_INFO, "session_end", LOG_S("session", s->id), LOG_S("key", s->owner), LOG_S("why", reason),
              LOG_I("queries", (int64_t)s->queries), LOG_I("resets", (int64_t)s->resets));
    remember(all, s, reason);
    unlink_session(all, s);
    all->counts.ended++;
    struct lane *l = s->lane;
    l->owner = NULL;
    if (s->starter)
        all->o.started(s->starter, NULL, &why);
    free(s);
    lane_close(l, &why);
}

/* ---- what its lane tells ---- */

static void on_ready(struct lane *l)
{
    struct session *s = l->owner;
    struct sessions *all = s->all;
    bool first = !s->started;
    s->started = true;
    s->broken = false;
    if (!first)
        return;
    s->used_ns = clock_now_ns();
    log_event(all->o.log, LOG_INFO, "session_start", LOG_S("session", s->id), LOG_S("key", s->owner), LOG_S("sources", l->set),
              LOG_I("start_ms", (s->used_ns - s->created_ns) / NS_PER_MS));
    void *starter = s->starter;
    s->starter = NULL;
    all->o.started(starter, s, NULL);
}

static void on_failed(struct lane *l, const struct error *err)
{
    struct session *s = l->owner;
    struct sessions *all = s->all;
    s->broken = true;
    if (s->started)
        return; /* it waits for better times: the next query tries again */
    void *starter = s->starter;
    s->starter = NULL;
    unlink_session(all, s);
    struct lane *lane = s->lane;
    lane->owner = NULL;
    free(s);
    all->o.started(starter, NULL, err);
    lane_close(lane, err);
}

static void on_died(struct lane *l, enum death_reason reason)
{
    struct session *s = l->owner;
    struct sessions *all = s->all;
    s->resets++;
    all->counts.resets++;
    log_event(all->o.log, LOG_WARN, "session_reset", LOG_S("session", s->id), LOG_S("key", s->owner), LOG_S("reason", death_reason_text(reason)));
    lane_announce_reset(l);
    /* A worker that does not live until its first query is not started for ever: then a query has to ask for it. */
    if (s->restarted && !lane_is_busy(l)) {
        s->broken = true;
        return;
    }
    s->restarted = true;
    lane_want(l);
}

static const struct lane_events events = {.ready = on_ready, .failed = on_failed, .died = on_died};

/* ---- opening ---- */

static struct session *evictable(const struct sessions *all, int64_t now)
{
    struct session *best = NULL;
    for (struct session *s = all->first; s; s = s->next)
        if (session_state(s) == SESSION_IDLE && now - s->used_ns > EVICTABLE_AFTER_NS && (!best || s->used_ns < best->used_ns))
            best = s;
    return best;
}

static void evict(struct sessions *all, struct session *victim)
{
    all->counts.evicted++;
    session_end(all, victim, "evicted: it was idle the longest when another one needed its place");
}

static bool takes_a_place(const struct lane *l) { return l->kind == WORKER_KIND_SOURCES && !l->closing; }

/* Of this owner (NULL: of all): sessions, and requests with sources. */
static int64_t places(const struct sessions *all, const char *owner)
{
    int64_t n = 0;
    for (const struct session *s = all->first; s; s = s->next)
        n += !owner || strcmp(s->owner, owner) == 0;
    for (const struct lane *l = lanes_first(all->o.lanes); l; l = l->next)
        n += takes_a_place(l) && (!owner || strcmp(l->account, owner) == 0);
    return n;
}

/* A request with sources waits for a place that an idle session has. A key that holds as much as it may hold in sessions does not push others out;
 * callers without keys can't be told from each other. */
static void make_places(struct sessions *all, const struct config *cfg, int64_t now_ns)
{
    struct session *victim;
    int64_t most = cfg->session.max_per_key;
    for (const struct lane *l = lanes_first(all->o.lanes); l; l = l->next)
        if (l->want && takes_a_place(l) && places(all, NULL) > cfg->session.max && (!l->account[0] || places(all, l->account) <= most) &&
            (victim = evictable(all, now_ns)) != NULL)
            evict(all, victim);
}

static int make_room(struct sessions *all, const struct config *cfg, const char *owner, struct error *err)
{
    int64_t own = 0;
    for (const struct session *s = all->first; s; s = s->next)
        own += strcmp(s->owner, owner) == 0;
    if (cfg->session.max == 0)
        return error_forbid(err, "session", "sessions are off ([session] max is 0)");
    if (own >= cfg->session.max_per_key) {
        error_set(err, ERR_RATE_LIMITED, "%lld sessions are open, the most for one key (max_per_key); end one first", (long long)own);
        err->retry_after_s = 1;
        return -1;
    }
    if ((int64_t)sessions_count(all) < cfg->session.max)
        return 0;
    struct session *victim = evictable(all, clock_now_ns());
    if (victim) {
        evict(all, victim);
        return 0;
    }
    error_set(err, ERR_OVERLOADED, "%lld sessions are open, and none of them has been idle for long enough", (long long)cfg->session.max);
    err->retry_after_s = 2;
    return -1;
}

struct session *sessions_open(struct sessions *all, const struct config *cfg, const struct session_wish *wish, const struct pool_options *opts,
                              struct error *err)
{
    if (make_room(all, cfg, wish->owner, err) < 0)
        return NULL;
    struct session *s = calloc(1, sizeof *s);
    CHECK(s);
    s->all = all;
    memcpy(s->id, wish->id, sizeof s->id);
    snprintf(s->owner, sizeof s->owner, "%s", wish->owner);
    s->created_ns = s->used_ns = clock_now_ns();
    s->created_ms = clock_wall_ms();
    s->expires_ns = s->created_ns + wish->ttl_ms * NS_PER_MS;
    s->expires_ms = s->created_ms + wish->ttl_ms;
    s->idle_timeout_ms = wish->idle_timeout_ms;
    s->starter = wish->starter;
    s->next = all->first;
    all->first = s;
    all->counts.opened++;
    s->lane = lane_open(all->o.lanes, WORKER_KIND_SESSION, wish->set, opts, &events, s);
    return s;
}

/* ---- finding and using ---- */

struct session *sessions_find(struct sessions *all, const char *id, const char *owner, bool sees_all, struct error *err)
{
    for (struct session *s = all->first; s; s = s->next)
        if (strcasecmp(s->id, id) == 0 && (sees_all || strcmp(s->owner, owner) == 0))
            return s;
    for (size_t i = 0; i < REASONS_KEPT; i++) {
        const struct ended *e = &all->ended[i];
        if (!e->id[0] || strcasecmp(e->id, id) != 0 || !(sees_all || strcmp(e->owner, owner) == 0))
            continue;
        error_set(err, ERR_GONE, "the session %s is over: %s", e->id, e->reason);
        return NULL;
    }
    error_set(err, ERR_NOT_FOUND, "no session %.60s is known", id);
    return NULL;
}

int session_enter(struct session *s, bool wait, struct error *err)
{
    if (lane_is_busy(s->lane) && !wait) {
        error_set(err, ERR_CONFLICT, "a query runs in this session; send \"wait\": true to have this one wait for its turn");
        err->retry_after_s = 1;
        return -1;
    }
    s->queries++;
    s->restarted = false;
    s->used_ns = clock_now_ns();
    lane_want(s->lane); /* when it has none */
    return 0;
}

void sessions_end_owner(struct sessions *all, const char *owner, const char *reason)
{
    struct session *next;
    for (struct session *s = all->first; s; s = next) {
        next = s->next;
        if (strcmp(s->owner, owner) == 0)
            session_end(all, s, reason);
    }
}

static bool uses_any(const struct session *s, const char *set)
{
    char name[SOURCE_NAME_BYTES];
    size_t at = 0;
    while (source_set_next(set, &at, name))
        if (source_set_has(s->lane->set, name))
            return true;
    return false;
}

void sessions_source_changed(struct sessions *all, const char *set, bool end)
{
    struct session *next;
    for (struct session *s = all->first; s; s = next) {
        next = s->next;
        if (!uses_any(s, set))
            continue;
        if (end)
            session_end(all, s, "a source that it used was changed");
        else
            pool_replace_all(s->lane->pool);
    }
}

void sessions_set_pool_options(struct sessions *all, const struct pool_options *opts)
{
    for (struct session *s = all->first; s; s = s->next)
        pool_set_options(s->lane->pool, opts);
}

void sessions_tick(struct sessions *all, const struct config *cfg, int64_t now_ns)
{
    struct session *next;
    make_places(all, cfg, now_ns);
    for (struct session *s = all->first; s; s = next) {
        next = s->next;
        enum session_state state = session_state(s);
        if (state == SESSION_BUSY)
            s->used_ns = now_ns;
        char text[UNITS_TEXT_MAX], reason[96];
        if (now_ns >= s->expires_ns) {
            all->counts.expired++;
            session_end(all, s, "its time to live has passed");
        } else if (state != SESSION_BUSY && state != SESSION_STARTING && now_ns - s->used_ns >= s->idle_timeout_ms * NS_PER_MS) {
            units_format_duration(s->idle_timeout_ms, text);
            snprintf(reason, sizeof reason, "it was idle for longer than its idle_timeout of %s", text);
            all->counts.expired++;
            session_end(all, s, reason);
        }
    }
}
