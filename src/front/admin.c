/* /v1/admin. Reload: the supervisor exchanges the workers; the answer waits for that. Runs in the front. */
#include "front/admin.h"
#include "front/database.h"
#include "front/front.h"
#include "front/public_text.h"
#include "core/clock.h"
#include "sched/quarantine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The exchange itself takes some 100 ms; a busy worker is waited for, but not by the caller for ever. */
#define RELOAD_WAIT_S 60

struct reload {
    struct asker asker; /* first */
    struct front *f;
    struct exchange *x;
    uint32_t request;
    struct event *timer;
    struct reload *next;
};

static void forget(struct reload *r)
{
    struct reload **at = &r->f->reloads;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    event_free(r->timer);
    free(r);
}

static void answer_error(struct reload *r, const struct error *err)
{
    exchange_set_user(r->x, NULL);
    routes_refuse(r->f, r->x, err);
    forget(r);
}

static void on_gone(struct asker *a) { forget((struct reload *)a); }

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct error err;
    error_set(&err, ERR_UNAVAILABLE, "the workers are still busy with the version before, after %d s; they go over as they get free", RELOAD_WAIT_S);
    err.retry_after_s = RELOAD_WAIT_S;
    answer_error(arg, &err);
}

/* Answers the request itself when it has one. */
static bool has_body(struct front *f, struct exchange *x)
{
    struct error err;
    size_t len;
    (void)exchange_body(x, &len);
    if (len == 0)
        return false;
    error_set(&err, ERR_BAD_REQUEST, "this request takes no body");
    routes_refuse(f, x, &err);
    return true;
}

void admin_quarantine_clear(struct front *f, struct exchange *x)
{
    char body[64];
    if (has_body(f, x))
        return;
    unsigned cleared = quarantine_clear(f->quarantine, clock_now_ns());
    pool_forgive(f->pool);
    log_event(&f->log, LOG_INFO, "quarantine_cleared", LOG_S("key", caller_of(f, x).key), LOG_I("statements", cleared));
    int n = snprintf(body, sizeof body, "{\"cleared\":%u}\n", cleared);
    exchange_answer(x, 200, "application/json", body, (size_t)n);
}

void admin_reload(struct front *f, struct exchange *x)
{
    struct error err;
    if (has_body(f, x))
        return;
    struct control_plain m = {.type = CONTROL_RELOAD, .flags = ++f->last_reload ? f->last_reload : ++f->last_reload};
    if (f->draining || control_send(f->control_fd, &m, NULL, 0) < 0) {
        error_set(&err, ERR_UNAVAILABLE, f->draining ? "the server is shutting down" : "the supervisor can't be reached: %s", strerror(errno));
        err.retry_after_s = 5;
        routes_refuse(f, x, &err);
        return;
    }
    log_event(&f->log, LOG_INFO, "admin_reload", LOG_S("key", caller_of(f, x).key));
    struct reload *r = calloc(1, sizeof *r);
    CHECK(r);
    *r = (struct reload){.asker = {.gone = on_gone, .sent = on_gone}, .f = f, .x = x, .request = m.flags, .next = f->reloads};
    f->reloads = r;
    r->timer = evtimer_new(f->base, on_time, r);
    struct timeval tv = {.tv_sec = RELOAD_WAIT_S};
    CHECK(r->timer && evtimer_add(r->timer, &tv) == 0);
    exchange_set_user(x, &r->asker);
}

static void answer(struct reload *r, const struct control_database *m)
{
    struct front *f = r->f;
    char version[DATABASE_VERSION_BYTES], why[sizeof m->text], body[200];
    struct error err;
    if (m->state != DATABASE_SERVED) {
        public_text(f->cfg, m->text[0] ? m->text : pool_trouble(f->pool), why, sizeof why);
        error_set(&err, ERR_UNAVAILABLE, "the database can't be opened%s: %s", m->version ? ", the version before is served on" : "", why);
        err.retry_after_s = 5;
        answer_error(r, &err);
        return;
    }
    database_version_text(m->version, version);
    int n = snprintf(body, sizeof body, version[0] ? "{\"reloaded\":true,\"version\":\"%s\"}\n" : "{\"reloaded\":true,\"version\":null}\n", version);
    exchange_set_user(r->x, NULL);
    exchange_answer(r->x, 200, "application/json", body, (size_t)n);
    forget(r);
}

void admin_reload_over(struct front *f, const struct control_database *m)
{
    struct reload *next;
    for (struct reload *r = m->reload ? f->reloads : NULL; r; r = next) {
        next = r->next;
        if (r->request <= m->reload)
            answer(r, m);
    }
}

void admin_drain(struct front *f)
{
    struct error err;
    while (f->reloads) {
        error_set(&err, ERR_UNAVAILABLE, "the server is shutting down");
        err.retry_after_s = 5;
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it has left the list when it is freed */
        answer_error(f->reloads, &err);
    }
}
