/* Workers that are not the pool's: for a session, or for one request with sources. The front wants one by number; it is answered once, with a ready
 * worker or with why not. A few may be kept warm: attached, never used, for whoever asks for just their sources. All together they never
 * pass dedicated_max; who comes too late waits here, and the front's own deadlines end the wait. Runs in the supervisor. */
#include "core/clock.h"
#include "supervisor/secrets.h"
#include "supervisor/supervisor_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A front that has more open than this is not ours any more. */
#define WANTS_MAX 4096
/* Secrets are small files; reading them is how a change is noticed. */
#define SECRETS_LOOK_S 2

static struct want *find(struct supervisor *s, uint32_t id)
{
    for (struct want *x = s->wants; x; x = x->next)
        if (x->id == id)
            return x;
    return NULL;
}

static void forget(struct supervisor *s, struct want *x)
{
    struct want **at = &s->wants;
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    if (x->worker)
        x->worker->want = NULL;
    free(x);
}

static void answer_failed(struct supervisor *s, uint32_t want, const struct error *err)
{
    struct control_want_failed m = {.type = CONTROL_WANT_FAILED, .want = want, .error = *err};
    if (err->code == ERR_UNAVAILABLE && err->retry_after_s == 0)
        m.error.retry_after_s = 1;
    (void)front_send(s, &m, NULL, 0);
}

void dedicated_fail(struct supervisor *s, struct want *x, const struct error *err)
{
    log_event(&s->log, LOG_WARN, "dedicated_failed", LOG_S("sources", x->set), LOG_S("code", error_text(err->code)), LOG_S("source", err->source),
              LOG_S("why", err->detail));
    answer_failed(s, x->id, err);
    forget(s, x);
}

static int living(const struct supervisor *s)
{
    int n = 0;
    for (const struct worker *w = s->workers; w; w = w->next)
        n += w->kind != WORKER_KIND_POOL && w->kind != WORKER_KIND_WRITER && !w->doomed;
    return n;
}

/* A warm worker waits for nobody: it starts or stands by without a want. */
static bool is_warm(const struct worker *w)
{
    return w->kind == WORKER_KIND_SOURCES && !w->want && !w->doomed && (w->state == WORKER_SPARE || w->state == WORKER_STARTING);
}

static struct worker *warm_for(const struct supervisor *s, const char *set)
{
    struct worker *best = NULL;
    for (struct worker *w = s->workers; w; w = w->next)
        if (is_warm(w) && w->generation == s->generation && strcmp(w->set, set) == 0 && (!best || w->state == WORKER_SPARE))
            best = w;
    return best;
}

static bool give(struct supervisor *s, struct want *x, struct worker *w)
{
    if (!workers_assign(s, w, x->kind, -1, x->id))
        return false;
    w->want = NULL;
    x->worker = NULL;
    forget(s, x);
    return true;
}

/* Room for one more: there is, or a warm one of another set leaves. */
static bool make_room(struct supervisor *s)
{
    if (living(s) < s->dedicated_max)
        return true;
    for (struct worker *w = s->workers; w; w = w->next)
        if (is_warm(w)) {
            workers_doom(w, DEATH_RETIRED);
            return true;
        }
    return false;
}

/* False: there is no room for this one, nor for those behind it. */
static bool serve_want(struct supervisor *s, struct want *x)
{
    struct error err;
    struct worker *w = warm_for(s, x->set);
    if (w && w->state == WORKER_SPARE)
        return give(s, x, w);
    if (w) { /* it starts already */
        w->want = x;
        x->worker = w;
        return true;
    }
    if (!make_room(s))
        return false;
    if (!workers_spawn(s, WORKER_KIND_SOURCES, x->set, x, &err))
        dedicated_fail(s, x, &err);
    return true;
}

static void retry_warm(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    s->warm_backoff.waiting = false;
    dedicated_fill(s);
}

/* How many of a set are kept warm: the least that its sources ask for. */
static int warm_wanted(const struct supervisor *s, const char *set)
{
    char name[SOURCE_NAME_BYTES];
    struct source source;
    struct error err;
    size_t at = 0;
    int least = set[0] ? INT32_MAX : 0;
    while (source_set_next(set, &at, name)) {
        const struct config_source *c = sources_find(s->cfg, name);
        if (!c || source_read(c, &source, &err) < 0)
            return 0;
        least = source.warm < least ? source.warm : least;
    }
    return least;
}

static void keep_warm(struct supervisor *s, const char *set)
{
    int missing = warm_wanted(s, set);
    struct error err;
    for (const struct worker *w = s->workers; w; w = w->next)
        missing -= is_warm(w) && w->generation == s->generation && strcmp(w->set, set) == 0;
    while (missing-- > 0 && !s->wants && living(s) < s->dedicated_max)
        if (!workers_spawn(s, WORKER_KIND_SOURCES, set, NULL, &err)) {
            log_event(&s->log, LOG_WARN, "warm_failed", LOG_S("sources", set), LOG_S("why", err.detail));
            backoff_start(s, &s->warm_backoff, retry_warm);
            return;
        }
}

void dedicated_fill(struct supervisor *s)
{
    if (s->killing || s->draining)
        return;
    struct want *next;
    bool room = true;
    for (struct want *x = s->wants; x; x = next) {
        next = x->next;
        if (x->kind == WORKER_KIND_WRITER)
            write_path_serve(s, x);
        else if (!x->worker && room)
            room = serve_want(s, x);
    }
    if (s->warm_backoff.waiting || !s->announced)
        return; /* the pool comes first */
    for (size_t i = 0; i < s->cfg->source_count; i++)
        keep_warm(s, s->cfg->sources[i].name);
    for (size_t i = 0; i < sizeof s->seen_sets / sizeof s->seen_sets[0]; i++)
        keep_warm(s, s->seen_sets[i]);
}

/* Sets of several sources are learnt from requests: the configuration names none. */
static void remember_set(struct supervisor *s, const char *set)
{
    size_t sets = sizeof s->seen_sets / sizeof s->seen_sets[0];
    if (!strchr(set, ',') || warm_wanted(s, set) == 0)
        return;
    for (size_t i = 0; i < sets; i++)
        if (strcmp(s->seen_sets[i], set) == 0)
            return;
    snprintf(s->seen_sets[s->seen_next++ % sets], SOURCE_SET_BYTES, "%s", set);
}

void dedicated_drain(struct supervisor *s)
{
    struct error err;
    struct want *next;
    error_set(&err, ERR_UNAVAILABLE, "the server is shutting down");
    err.retry_after_s = 5;
    for (struct want *x = s->wants; x; x = next) {
        next = x->next;
        if (!x->worker && !write_path_serves(s, x))
            dedicated_fail(s, x, &err);
    }
}

void dedicated_want(struct supervisor *s, const struct control_want *m)
{
    struct error err;
    unsigned open = 0;
    char name[SOURCE_NAME_BYTES];
    size_t at = 0;
    int ok = 0;
    if (find(s, m->want))
        return;
    for (const struct want *x = s->wants; x; x = x->next)
        open++;
    while (ok == 0 && source_set_next(m->set, &at, name))
        if (!sources_find(s->cfg, name))
            ok = error_set(&err, ERR_NOT_FOUND, "there is no source '%s'", name);
    if (ok == 0 && s->dedicated_max == 0 && m->kind != WORKER_KIND_WRITER)
        ok = error_forbid(&err, "session", "sessions and sources are off ([session] max is 0)");
    if (ok == 0 && (open >= WANTS_MAX || s->draining))
        ok = error_set(&err, s->draining ? ERR_UNAVAILABLE : ERR_OVERLOADED,
                       s->draining ? "the server is shutting down" : "too many requests wait for a worker of their own");
    if (ok < 0) {
        err.retry_after_s = err.code == ERR_OVERLOADED;
        answer_failed(s, m->want, &err);
        return;
    }
    struct want *x = calloc(1, sizeof *x);
    CHECK(x);
    x->id = m->want;
    x->kind = (enum worker_kind)m->kind;
    x->writes = m->writes;
    memcpy(x->set, m->set, sizeof x->set);
    struct want **end = &s->wants;
    while (*end)
        end = &(*end)->next;
    *end = x;
    remember_set(s, x->set);
    dedicated_fill(s);
}

void dedicated_unwant(struct supervisor *s, uint32_t want)
{
    struct want *x = find(s, want);
    if (!x)
        return;
    struct worker *w = x->worker;
    write_path_unwanted(s, want);
    forget(s, x);
    if (w && warm_wanted(s, w->set) == 0)
        workers_doom(w, DEATH_RETIRED);
    dedicated_fill(s);
}

void dedicated_ready(struct worker *w)
{
    struct supervisor *s = w->sup;
    log_event(&s->log, LOG_DEBUG, "worker_ready", LOG_I("worker", w->id), LOG_I("pid", w->ends.child.pid), LOG_S("sources", w->set),
              LOG_I("start_ms", (clock_now_ns() - w->started_ns) / NS_PER_MS));
    s->warm_backoff.failures = 0;
    if (w->want && !w->doomed)
        (void)give(s, w->want, w);
    workers_fill(s);
}

/* "F<text>", or "S<source>\n<text>" for a source's sake. */
static void read_refusal(const char *record, struct error *err)
{
    const char *line = record[0] == 'S' ? strchr(record, '\n') : NULL;
    size_t len = line ? (size_t)(line - record - 1) : 0;
    if (!line || len >= sizeof err->source) {
        error_set(err, ERR_UNAVAILABLE, "the worker could not start: %s", record[0] ? record + 1 : record);
        return;
    }
    error_set(err, ERR_SOURCE, "%s", line + 1);
    memcpy(err->source, record + 1, len);
    err->source[len] = 0;
}

void dedicated_refused(struct worker *w, const char *record)
{
    struct supervisor *s = w->sup;
    struct error err;
    read_refusal(record, &err);
    if (w->want) {
        dedicated_fail(s, w->want, &err);
        return;
    }
    log_event(&s->log, LOG_WARN, "warm_failed", LOG_S("sources", w->set), LOG_S("source", err.source), LOG_S("why", err.detail));
    backoff_start(s, &s->warm_backoff, retry_warm);
}

/* Why a worker died that had not said why: with sources, that is most likely what one of them sent. With one alone it is known which. */
static void tell_death(const struct worker *w, enum death_reason reason, struct error *ret)
{
    bool one = w->set[0] && !strchr(w->set, ',');
    const char *what = reason == DEATH_MEMORY ? ": it took more memory than it may have" : "";
    error_set(ret, one ? ERR_SOURCE : ERR_UNAVAILABLE, "the worker died while it %s%s%s%s", w->set[0] ? "attached " : "started", w->set,
              w->words[0] ? ": " : what, w->words);
    if (one)
        snprintf(ret->source, sizeof ret->source, "%.*s", SOURCE_NAME_BYTES - 1, w->set);
    else
        ret->retry_after_s = 1;
}

void dedicated_dead(struct worker *w, enum death_reason reason)
{
    struct supervisor *s = w->sup;
    struct want *x = w->want;
    if (w->kind == WORKER_KIND_WRITER)
        write_path_worker_dead(w);
    if (!x) {
        if (w->kind == WORKER_KIND_WRITER)
            return;
        if (w->state == WORKER_STARTING && !w->doomed)
            backoff_start(s, &s->warm_backoff, retry_warm);
        return;
    }
    w->want = NULL;
    x->worker = NULL;
    if (w->doomed)
        return; /* a new configuration: the want is served again, with a new worker */
    struct error err;
    tell_death(w, reason, &err);
    dedicated_fail(s, x, &err);
}

void dedicated_forget_front(struct supervisor *s)
{
    write_path_forget_front(s);
    while (s->wants)
        forget(s, s->wants);
}

static uint64_t print_of(const struct source_print *prints, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(prints[i].name, name) == 0)
            return prints[i].print;
    return 0;
}

static void source_changed(struct supervisor *s, const char *name)
{
    struct control_set m = {.type = CONTROL_SOURCES_CHANGED};
    snprintf(m.set, sizeof m.set, "%s", name);
    log_event(&s->log, LOG_INFO, "source_changed", LOG_S("source", name));
    for (struct worker *w = s->workers; w; w = w->next)
        if (w->kind == WORKER_KIND_SOURCES && !w->doomed && w->state != WORKER_POOL && source_set_has(w->set, name))
            workers_doom(w, DEATH_RETIRED);
    (void)front_send(s, &m, NULL, 0);
}

static void look_at_secrets(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    dedicated_sources_changed(arg);
    verifier_look(arg);
}

void dedicated_watch(struct supervisor *s)
{
    struct timeval every = {.tv_sec = SECRETS_LOOK_S};
    s->secrets_look = event_new(s->base, -1, EV_PERSIST, look_at_secrets, s);
    CHECK(s->secrets_look && event_add(s->secrets_look, &every) == 0);
}

void dedicated_sources_changed(struct supervisor *s)
{
    size_t count = s->cfg->source_count, old_count = s->print_count;
    struct source_print *old = s->prints, *now = count ? calloc(count, sizeof *now) : NULL;
    CHECK(now || !count);
    for (size_t i = 0; i < count; i++) {
        snprintf(now[i].name, sizeof now[i].name, "%s", s->cfg->sources[i].name);
        now[i].print = print_of(old, old_count, now[i].name);
        (void)secrets_fingerprint(&s->cfg->sources[i], &now[i].print); /* a file that is being replaced is looked at again later */
    }
    s->prints = now;
    s->print_count = count;
    for (size_t i = 0; i < old_count; i++)
        if (print_of(now, count, old[i].name) != old[i].print)
            source_changed(s, old[i].name);
    free(old);
}
