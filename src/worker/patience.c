/* Waiting for a source that is attached, and no longer (see the header). Runs in the worker. */
#include "worker/patience.h"
#include "core/clock.h"
#include "core/errors.h"
#include "worker/egress.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* Below limits.queue_timeout (10 s), with the time that a worker takes to start: whoever waits is told which source it was, not that there was no worker. */
#define ATTACH_MS 8000
/* A library may try again. */
#define AGAIN_MS 100

struct patience {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool watched; /* there is a thread */
    bool waiting; /* guarded by lock, as the next */
    bool over;
};

struct patience *patience_new(void)
{
    struct patience *p = calloc(1, sizeof *p);
    pthread_condattr_t attr;
    CHECK(p);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->ended, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void patience_free(struct patience *p)
{
    pthread_cond_destroy(&p->ended);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* Under the lock. */
static void wait_for_end(struct patience *p, int64_t ms)
{
    int64_t until = clock_now_ns() + ms * NS_PER_MS;
    struct timespec t = {.tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S};
    while (p->waiting && clock_now_ns() < until)
        pthread_cond_timedwait(&p->ended, &p->lock, &t);
}

static void *watch(void *arg)
{
    struct patience *p = arg;
    pthread_mutex_lock(&p->lock);
    wait_for_end(p, ATTACH_MS);
    p->over = p->waiting;
    while (p->waiting) {
        egress_hang_up();
        wait_for_end(p, AGAIN_MS);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void patience_begins(void *ctx)
{
    struct patience *p = ctx;
    pthread_attr_t attr;
    p->waiting = true;
    p->over = false;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    p->watched = pthread_create(&p->thread, &attr, watch, p) == 0; /* else pool.start_timeout is the limit */
    pthread_attr_destroy(&attr);
}

bool patience_ends(void *ctx)
{
    struct patience *p = ctx;
    pthread_mutex_lock(&p->lock);
    p->waiting = false;
    pthread_cond_signal(&p->ended);
    pthread_mutex_unlock(&p->lock);
    if (p->watched)
        pthread_join(p->thread, NULL);
    return p->over;
}
