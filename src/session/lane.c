/* Lanes (see the header). Runs in the front. */
#include "session/lane.h"
#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct lanes {
    struct lanes_options o;
    struct lane *first;
    uint32_t last_want;
};

struct lanes *lanes_new(const struct lanes_options *o)
{
    struct lanes *all = calloc(1, sizeof *all);
    CHECK(all);
    all->o = *o;
    return all;
}

static void lane_free(struct lane *l)
{
    struct lane **at = &l->all->first;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    pool_free(l->pool);
    free(l);
}

void lanes_free(struct lanes *all)
{
    while (all && all->first)
        lane_free(all->first);
    free(all);
}

void lane_want(struct lane *l)
{
    struct lanes *all = l->all;
    if (l->want || l->worker || l->closing)
        return;
    if (++all->last_want == 0)
        all->last_want = 1;
    l->want = all->last_want;
    struct control_want m = {.type = CONTROL_WANT, .want = l->want, .kind = l->kind, .writes = l->writes};
    memcpy(m.set, l->set, sizeof m.set);
    if (control_send(all->o.control_fd, &m, NULL, 0) < 0)
        log_event(all->o.log, LOG_ERROR, "supervisor_unreachable", LOG_S("why", strerror(errno)));
}

struct lane *lane_open(struct lanes *all, enum worker_kind kind, const char *set, const struct pool_options *opts, const struct lane_events *events,
                       void *owner)
{
    struct lane *l = calloc(1, sizeof *l);
    CHECK(l);
    l->all = all;
    l->kind = kind;
    strncpy(l->set, set, sizeof l->set - 1);
    l->events = events;
    l->owner = owner;
    l->pool = pool_new(all->o.base, all->o.page, all->o.nudge_fd, opts, all->o.replace, all->o.ctx, all->o.log);
    l->next = all->first;
    all->first = l;
    lane_want(l);
    return l;
}

bool lane_is_busy(const struct lane *l) { return pool_has_jobs(l->pool); }
void lane_announce_reset(struct lane *l) { pool_announce_reset(l->pool); }

static void unwant(struct lane *l)
{
    struct control_unwant m = {.type = CONTROL_UNWANT, .want = l->want};
    if (l->want && control_send(l->all->o.control_fd, &m, NULL, 0) < 0)
        log_event(l->all->o.log, LOG_ERROR, "supervisor_unreachable", LOG_S("why", strerror(errno)));
    l->want = 0;
}

void lane_close(struct lane *l, const struct error *why)
{
    l->closing = true;
    l->events = NULL;
    l->owner = NULL;
    unwant(l);
    pool_end(l->pool, why); /* its last worker's death, or the next tick, frees the lane */
}

static struct lane *by_want(struct lanes *all, uint32_t want)
{
    for (struct lane *l = all->first; l; l = l->next)
        if (l->want == want)
            return l;
    return NULL;
}

bool lanes_assigned(struct lanes *all, const struct control_assign *m, int link_fd, int region_fd)
{
    if (m->want == 0)
        return false;
    struct lane *l = by_want(all, m->want);
    if (!l) { /* it crossed our UNWANT: nobody has use for it */
        close(link_fd);
        close(region_fd);
        all->o.replace(all->o.ctx, m->worker, DEATH_RETIRED);
        return true;
    }
    l->want = 0;
    l->worker = m->worker;
    if (pool_add(l->pool, m, link_fd, region_fd) < 0) {
        log_event(all->o.log, LOG_ERROR, "worker_unusable", LOG_I("worker", m->worker), LOG_S("why", strerror(errno)));
        all->o.replace(all->o.ctx, m->worker, DEATH_LINK);
    } else if (l->events) {
        l->events->ready(l);
    }
    return true;
}

bool lanes_want_failed(struct lanes *all, const struct control_want_failed *m)
{
    struct lane *l = m->want ? by_want(all, m->want) : NULL;
    if (!l)
        return false;
    l->want = 0;
    pool_fail_queued(l->pool, &m->error);
    if (l->events)
        l->events->failed(l, &m->error);
    return true;
}

bool lanes_died(struct lanes *all, const struct control_died *m)
{
    struct lane *l = all->first;
    while (l && l->worker != m->worker)
        l = l->next;
    if (!l)
        return false;
    l->worker = 0;
    pool_died(l->pool, m);
    if (l->events)
        l->events->died(l, (enum death_reason)m->reason);
    return true;
}

void lanes_tick(struct lanes *all, int64_t now_ns, int64_t first_row_ns)
{
    struct lane *next;
    for (struct lane *l = all->first; l; l = next) {
        next = l->next;
        pool_tick(l->pool, now_ns, first_row_ns);
        if (l->closing && l->worker == 0 && !pool_workers(l->pool) && !pool_has_jobs(l->pool))
            lane_free(l);
    }
}

void lanes_drain(struct lanes *all)
{
    for (struct lane *l = all->first; l; l = l->next)
        pool_drain(l->pool);
}

unsigned lanes_waiting(const struct lanes *all)
{
    unsigned n = 0;
    for (const struct lane *l = all->first; l; l = l->next)
        n += l->want != 0;
    return n;
}

struct lane *lanes_first(const struct lanes *all) { return all->first; }
