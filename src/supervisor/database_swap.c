/* Bringing the workers to the file that is there now: one new worker first, to see whether it can be opened; then slot by slot, an idle worker by
 * one that stands ready, a busy one when its query has ended. The old ones go on until then, and for good when the new file is bad.
 * Runs in the supervisor. */
#include "core/clock.h"
#include "publish/identity.h"
#include "supervisor/supervisor_internal.h"

#include <stdio.h>
#include <string.h>

bool database_is_current(const struct worker *w) { return w->epoch == w->sup->database.epoch; }

/* An old one may, as long as nobody has seen the new file open. */
bool database_may_serve(const struct worker *w)
{
    const struct database *d = &w->sup->database;
    return w->epoch >= d->proven;
}

/* Without spares one is needed all the same, as long as somebody is to be exchanged by it. */
int database_spares(const struct supervisor *s)
{
    for (int i = 0; s->database.swapping && s->spares == 0 && i < s->slots; i++)
        if (s->slot[i] && !database_is_current(s->slot[i]))
            return 1;
    return s->spares;
}

static void text_of(const struct supervisor *s, char ret[IDENTITY_TEXT_BYTES]) { identity_text(s->database.version, ret); }

void database_new_epoch(struct supervisor *s)
{
    struct database *d = &s->database;
    char version[IDENTITY_TEXT_BYTES];
    d->epoch++;
    d->refused[0] = 0;
    if (d->proven == 0)
        return; /* nobody serves yet: the start is no exchange */
    if (!d->swapping)
        d->swap_began_ns = clock_now_ns();
    d->swapping = true;
    /* What failed before was another file. */
    s->spawn_backoff.failures = 0;
    if (s->spawn_backoff.waiting)
        evtimer_del(s->spawn_backoff.timer);
    s->spawn_backoff.waiting = false;
    text_of(s, version);
    log_event(&s->log, LOG_INFO, "database_changed", LOG_S("version", version));
    /* Those that start just now may have opened either. */
    for (struct worker *w = s->workers; w; w = w->next)
        if (w->state == WORKER_STARTING && !w->want && !w->doomed && w->kind != WORKER_KIND_WRITER)
            workers_doom(w, DEATH_RETIRED);
}

void database_reload(struct supervisor *s, uint32_t request)
{
    struct database *d = &s->database;
    database_look(s);
    d->reload = request;
    if (!d->swapping)
        database_new_epoch(s);
    workers_fill(s);
    database_tell(s, false);
}

static void retire_old_spares(struct supervisor *s)
{
    for (struct worker *w = s->workers; w; w = w->next)
        if (w->state == WORKER_SPARE && !w->want && !w->doomed && w->epoch < s->database.proven && w->kind != WORKER_KIND_WRITER)
            workers_doom(w, DEATH_RETIRED);
}

bool database_proved(struct worker *w)
{
    struct supervisor *s = w->sup;
    struct database *d = &s->database;
    database_look(s);
    if (w->epoch != d->epoch) { /* the file was replaced while it opened it: nobody knows which one it has */
        workers_doom(w, DEATH_RETIRED);
        workers_fill(s);
        return false;
    }
    if (d->proven == d->epoch)
        return true;
    d->proven = d->epoch;
    d->proven_version = d->version;
    d->refused[0] = 0;
    retire_old_spares(s);
    database_tell(s, false);
    write_path_settled(s);
    return true;
}

void database_refused(struct worker *w, const char *why)
{
    struct supervisor *s = w->sup;
    struct database *d = &s->database;
    char version[IDENTITY_TEXT_BYTES];
    if (w->epoch != d->epoch || d->proven == d->epoch || d->proven == 0)
        return;
    if (!d->refused[0]) {
        identity_text(d->proven_version, version);
        log_event(&s->log, LOG_ERROR, "database_refused", LOG_S("why", why), LOG_S("served", version));
    }
    snprintf(d->refused, sizeof d->refused, "%s", why);
    database_tell(s, false);
    write_path_settled(s);
}

static bool is_old(const struct supervisor *s, const struct worker *w) { return w->epoch < s->database.proven; }

static struct worker *ready_spare(const struct supervisor *s)
{
    for (struct worker *w = s->workers; w; w = w->next)
        if (w->kind == WORKER_KIND_POOL && w->state == WORKER_SPARE && !w->doomed && w->generation == s->generation && database_is_current(w))
            return w;
    return NULL;
}

static unsigned ready_spares(const struct supervisor *s)
{
    unsigned n = 0;
    for (const struct worker *w = s->workers; w; w = w->next)
        n += w->kind == WORKER_KIND_POOL && w->state == WORKER_SPARE && !w->doomed && w->generation == s->generation && database_is_current(w);
    return n;
}

/* By what the front says of it: it may know better a moment later, and then the worker goes when its query has ended. */
static bool is_idle(const struct worker *w) { return atomic_load(&w->sup->page->cell[w->cell].job) == 0; }

static bool retire_when_free(struct supervisor *s, struct worker *w)
{
    struct control_replace m = {.type = CONTROL_RETIRE, .worker = w->id, .reason = DEATH_RETIRED};
    w->retiring = front_send(s, &m, NULL, 0);
    return w->retiring;
}

static void finished(struct supervisor *s)
{
    struct database *d = &s->database;
    char version[IDENTITY_TEXT_BYTES];
    d->swapping = false;
    text_of(s, version);
    log_event(&s->log, LOG_INFO, "database_swapped", LOG_S("version", version), LOG_I("ms", (clock_now_ns() - d->swap_began_ns) / NS_PER_MS),
              LOG_I("workers", s->slots));
    database_tell(s, false);
    write_path_settled(s);
}

void database_swap_step(struct supervisor *s)
{
    struct database *d = &s->database;
    unsigned busy = 0;
    bool old = false, empty = false;
    if (!d->swapping || d->proven != d->epoch || s->front.control_fd < 0)
        return;
    struct worker *lane = short_lane(s);
    if (lane && is_old(s, lane)) { /* there is another one when all is done */
        old = true;
        if (!lane->retiring)
            (void)retire_when_free(s, lane);
    }
    for (int i = 0; i < s->slots; i++) {
        struct worker *w = s->slot[i];
        empty |= !w;
        if (!w || !is_old(s, w))
            continue;
        struct worker *spare = is_idle(w) ? ready_spare(s) : NULL;
        /* The new one first, then the old one goes: the slot is never empty. */
        if (spare && workers_supersede(s, w, spare))
            continue;
        old = true;
        if (w->retiring || busy < ready_spares(s))
            busy += w->retiring || retire_when_free(s, w);
    }
    if (!old && !empty)
        finished(s);
}

void database_pause(struct supervisor *s)
{
    struct database *d = &s->database;
    if (d->paused)
        return;
    d->paused = true;
    log_event(&s->log, LOG_WARN, "database_given_up", LOG_I("pid", d->told.holder_pid), LOG_S("to", d->told.holder));
    for (struct worker *w = s->workers; w; w = w->next) {
        if (w->doomed)
            continue;
        if (w->kind == WORKER_KIND_POOL && w->state == WORKER_POOL)
            (void)retire_when_free(s, w); /* its query ends first */
        else
            workers_doom(w, DEATH_RETIRED);
    }
    database_tell(s, false);
}

void database_resume(struct supervisor *s)
{
    struct database *d = &s->database;
    if (!d->paused)
        return;
    d->paused = false;
    log_event(&s->log, LOG_INFO, "database_taken_up");
    database_look(s);
    database_tell(s, false);
    workers_fill(s);
}
