/* A thread that runs the engine's tasks (see the header). */
#include "engine/helper.h"
#include "core/cond.h"
#include "core/errors.h"

#include <stdbool.h>
#include <stdlib.h>

#define SAY_AGAIN_NS (5 * NS_PER_MS)

struct helper {
    duckdb_database db;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Guarded by the lock. */
    duckdb_task_state running; /* NULL: it runs no tasks */
    bool paused, quit, gone;
};

static void *run(void *arg)
{
    struct helper *h = arg;
    pthread_mutex_lock(&h->lock);
    while (!h->quit) {
        if (h->paused) {
            pthread_cond_wait(&h->changed, &h->lock);
            continue;
        }
        h->running = duckdb_create_task_state(h->db);
        pthread_mutex_unlock(&h->lock);
        duckdb_execute_tasks_state(h->running);
        pthread_mutex_lock(&h->lock);
        duckdb_destroy_task_state(h->running);
        h->running = NULL;
    }
    h->gone = true;
    pthread_cond_signal(&h->changed);
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

struct helper *helper_new(duckdb_database db)
{
    struct helper *h = calloc(1, sizeof *h);
    CHECK(h && pthread_mutex_init(&h->lock, NULL) == 0 && pthread_cond_init(&h->changed, NULL) == 0);
    h->db = db;
    if (pthread_create(&h->thread, NULL, run, h) == 0)
        return h;
    free(h);
    return NULL;
}

/* With the lock held. The engine wakes one of those that wait for tasks, which may be another thread: then this one hears of it with its next task. */
static void finish(struct helper *h)
{
    if (h->running)
        duckdb_finish_execution(h->running);
}

void helper_free(struct helper *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->quit = true;
    pthread_cond_signal(&h->changed);
    while (!h->gone) {
        finish(h);
        cond_wait_for(&h->changed, &h->lock, SAY_AGAIN_NS);
    }
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

void helper_pause(struct helper *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    if (!h->paused)
        finish(h);
    h->paused = true;
    pthread_mutex_unlock(&h->lock);
}

void helper_resume(struct helper *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->paused = false;
    pthread_cond_signal(&h->changed);
    pthread_mutex_unlock(&h->lock);
}
