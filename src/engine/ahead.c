/* The thread that fetches (see the header). */
#include "engine/ahead.h"
#include "core/cond.h"
#include "core/errors.h"

#include <stdlib.h>

/* So many chunks of 2,048 rows wait at most: enough that neither side waits for the other's next step, and few enough for the cache. */
#define AHEAD_CHUNKS 3
#define INTERRUPT_AGAIN_NS (5 * NS_PER_MS)
/* So many chunks in a row that took the engine less than SLOW_NS each: it is quick enough without its helper. */
#define QUICK_CHUNKS 8
#define SLOW_NS (2 * NS_PER_MS)

struct ahead {
    pthread_t thread;
    struct helper *helper; /* the caller's; may be NULL */
    unsigned quick;        /* chunks in a row; the thread's own */
    pthread_mutex_t lock;
    pthread_cond_t wake_thread, wake_taker;
    /* Guarded by the lock. */
    duckdb_result *result; /* NULL: nothing to do */
    const atomic_bool *cancelled;
    duckdb_data_chunk chunks[AHEAD_CHUNKS];
    unsigned first, count;
    bool stop; /* the rest of the result is not wanted */
    bool quit;
};

static bool may_fetch(const struct ahead *a) { return !a->stop && !atomic_load_explicit(a->cancelled, memory_order_relaxed); }

/* The engine's threads make a scan's rows in turns, and this one waits for the others' busily, on the core that the encoder needs. So one of them is held
 * back as long as chunks come quickly all the same; when one does not, whoever waits for it calls the helper back (take). */
static duckdb_data_chunk fetch(struct ahead *a)
{
    int64_t began_ns = clock_now_ns();
    duckdb_data_chunk chunk = duckdb_fetch_chunk(*a->result);
    a->quick = clock_now_ns() - began_ns < SLOW_NS ? a->quick + 1 : 0;
    if (a->quick == QUICK_CHUNKS) {
        helper_pause(a->helper);
        a->quick = 0;
    }
    return chunk;
}

/* One result, with the lock held but for the fetch itself. */
static void fetch_all(struct ahead *a)
{
    duckdb_data_chunk chunk = NULL;
    do {
        while (a->count == AHEAD_CHUNKS && !a->stop)
            pthread_cond_wait(&a->wake_thread, &a->lock);
        if (!may_fetch(a))
            break;
        pthread_mutex_unlock(&a->lock);
        chunk = fetch(a);
        pthread_mutex_lock(&a->lock);
        if (chunk) {
            a->chunks[(a->first + a->count++) % AHEAD_CHUNKS] = chunk;
            pthread_cond_signal(&a->wake_taker);
        }
    } while (chunk);
}

static void *run(void *arg)
{
    struct ahead *a = arg;
    pthread_mutex_lock(&a->lock);
    while (!a->quit) {
        if (!a->result) {
            pthread_cond_wait(&a->wake_thread, &a->lock);
            continue;
        }
        a->quick = 0;
        fetch_all(a);
        helper_resume(a->helper);
        a->result = NULL;
        pthread_cond_signal(&a->wake_taker);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

struct ahead *ahead_new(struct helper *helper)
{
    struct ahead *a = calloc(1, sizeof *a);
    CHECK(a && pthread_mutex_init(&a->lock, NULL) == 0);
    CHECK(pthread_cond_init(&a->wake_thread, NULL) == 0 && pthread_cond_init(&a->wake_taker, NULL) == 0);
    a->helper = helper;
    if (pthread_create(&a->thread, NULL, run, a) == 0)
        return a;
    free(a);
    return NULL;
}

void ahead_free(struct ahead *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    CHECK(!a->result);
    a->quit = true;
    pthread_cond_signal(&a->wake_thread);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->wake_taker);
    pthread_cond_destroy(&a->wake_thread);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

void ahead_start(struct ahead *a, duckdb_result *result, const atomic_bool *cancelled)
{
    pthread_mutex_lock(&a->lock);
    CHECK(!a->result && a->count == 0);
    a->result = result;
    a->cancelled = cancelled;
    a->stop = false;
    pthread_cond_signal(&a->wake_thread);
    pthread_mutex_unlock(&a->lock);
}

/* With the lock held. NULL: none is ready, and none will be. */
static duckdb_data_chunk take(struct ahead *a)
{
    if (a->count == 0 && a->result)
        cond_wait_for(&a->wake_taker, &a->lock, SLOW_NS);
    if (a->count == 0 && a->result)
        helper_resume(a->helper);
    while (a->count == 0 && a->result)
        pthread_cond_wait(&a->wake_taker, &a->lock);
    if (a->count == 0)
        return NULL;
    duckdb_data_chunk chunk = a->chunks[a->first];
    a->first = (a->first + 1) % AHEAD_CHUNKS;
    a->count--;
    pthread_cond_signal(&a->wake_thread);
    return chunk;
}

duckdb_data_chunk ahead_take(struct ahead *a)
{
    pthread_mutex_lock(&a->lock);
    duckdb_data_chunk chunk = take(a);
    pthread_mutex_unlock(&a->lock);
    return chunk;
}

/* The engine forgets an interrupt that comes just before a step begins: it is said again until it was heard. */
static void interrupt(struct ahead *a, duckdb_connection con)
{
    while (a->result) {
        duckdb_interrupt(con);
        cond_wait_for(&a->wake_taker, &a->lock, INTERRUPT_AGAIN_NS);
    }
}

void ahead_stop(struct ahead *a, duckdb_connection con)
{
    duckdb_data_chunk chunk;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_signal(&a->wake_thread);
    interrupt(a, con);
    while ((chunk = take(a)))
        duckdb_destroy_data_chunk(&chunk);
    pthread_mutex_unlock(&a->lock);
}
