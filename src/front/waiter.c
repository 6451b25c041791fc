/* Requests that wait for a query's end. Each has a timer of its own and holds its record, so that what it waits for is not forgotten.
 * Runs in the front. */
#include "front/waiter.h"
#include "core/units.h"

#include <stdlib.h>

struct waiter {
    struct asker asker; /* first */
    struct front *f;
    struct exchange *x;
    struct record *rec;
    struct event *timer;
    void (*answer)(struct front *f, struct exchange *x, struct record *rec);
    struct waiter *next, *prev;
};

int waiter_parse(const struct exchange *x, int64_t *ret_ms, struct error *err)
{
    const char *text = exchange_param(x, "wait"), *wrong;
    int64_t ms = 0;
    if (text && (wrong = units_parse_duration(text, &ms)))
        return error_set(err, ERR_BAD_REQUEST, "wait '%.40s' %s", text, wrong);
    if (ms < 0)
        return error_set(err, ERR_BAD_REQUEST, "wait must not be negative");
    *ret_ms = ms < WAIT_MAX_MS ? ms : WAIT_MAX_MS;
    return 0;
}

static void remove_waiter(struct waiter *w)
{
    struct front *f = w->f;
    *(w->prev ? &w->prev->next : &f->waiters) = w->next;
    if (w->next)
        w->next->prev = w->prev;
    event_free(w->timer);
    w->rec->waiters--;
    record_unpin(f->registry, w->rec);
    free(w);
}

static void answer_now(struct waiter *w)
{
    exchange_set_user(w->x, NULL);
    w->answer(w->f, w->x, w->rec);
    remove_waiter(w);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    answer_now(arg);
}

static void on_gone(struct asker *a) { remove_waiter((struct waiter *)a); }

void waiter_add(struct front *f, struct exchange *x, struct record *rec, int64_t wait_ms,
                void (*answer)(struct front *f, struct exchange *x, struct record *rec))
{
    struct waiter *w = calloc(1, sizeof *w);
    CHECK(w);
    *w = (struct waiter){.asker = {.gone = on_gone, .sent = on_gone}, .f = f, .x = x, .rec = rec, .answer = answer, .next = f->waiters};
    if (f->waiters)
        f->waiters->prev = w;
    f->waiters = w;
    record_pin(f->registry, rec);
    rec->waiters++;
    w->timer = evtimer_new(f->base, on_time, w);
    struct timeval tv = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
    CHECK(w->timer && evtimer_add(w->timer, &tv) == 0);
    exchange_set_user(x, &w->asker);
}

void waiters_tell(struct front *f, struct record *rec)
{
    struct waiter *next;
    for (struct waiter *w = rec->waiters ? f->waiters : NULL; w; w = next) {
        next = w->next;
        if (w->rec == rec)
            answer_now(w);
    }
}

void waiters_tell_all(struct front *f)
{
    while (f->waiters)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it has left the list when it is freed */
        answer_now(f->waiters);
}
