/* The thread that waits for interrupts, and says now and then how far the job is. A job that goes on in spite of one waits for a source: then its
 * connections are ended. It is the only one that takes INTERRUPT_SIGNAL, whose value names the job, so that a late signal
 * never hits the next job. Runs in the worker. */
#include "core/clock.h"
#include "link/inherit.h"
#include "worker/egress.h"
#include "worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>

/* How often it looks. The engine keeps track only where the front asked for it. */
#define PROGRESS_S 1
/* After an interrupt. The engine takes it up in a few milliseconds, unless it waits for a source; it has limits.interrupt_grace (250 ms) in all. */
#define HANG_UP_MS 100

static void note_progress(struct worker *w)
{
    pthread_mutex_lock(&w->job_lock);
    double done = w->job && w->engine ? engine_progress(w->engine) : -1;
    if (done >= 0)
        atomic_store(&w->ring.shared->progress, 1 + (uint32_t)(done * 1e6));
    pthread_mutex_unlock(&w->job_lock);
}

static void interrupt(struct worker *w, uint32_t job)
{
    pthread_mutex_lock(&w->job_lock);
    if (job != 0 && w->job == job) {
        atomic_store(&w->stop, true);
        if (w->engine)
            engine_interrupt(w->engine);
        eventfd_write(w->wake_fd, 1);
    }
    pthread_mutex_unlock(&w->job_lock);
}

/* False: no interrupted job runs any more. */
static bool hang_up(struct worker *w)
{
    pthread_mutex_lock(&w->job_lock);
    bool runs = w->job != 0 && atomic_load(&w->stop);
    if (runs)
        egress_hang_up();
    pthread_mutex_unlock(&w->job_lock);
    return runs;
}

static void *watch(void *arg)
{
    struct worker *w = arg;
    bool stopping = false;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, INTERRUPT_SIGNAL);
    for (;;) {
        siginfo_t info;
        const struct timespec patience = {.tv_nsec = HANG_UP_MS * NS_PER_MS}, second = {.tv_sec = PROGRESS_S};
        if (sigtimedwait(&set, &info, stopping ? &patience : &second) >= 0) {
            interrupt(w, (uint32_t)info.si_value.sival_int);
            stopping = true;
        } else if (errno == EAGAIN && stopping) {
            stopping = hang_up(w);
        } else if (errno == EAGAIN) {
            note_progress(w);
        }
    }
    return NULL;
}

int watcher_start(struct worker *w)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 65536);
    int e = pthread_create(&thread, &attr, watch, w);
    pthread_attr_destroy(&attr);
    return e == 0 ? 0 : -1;
}
