/* The worker process: one engine, one link, one query at a time. Each struct below is reached from the one context. */
#pragma once
#include "engine/engine.h"
#include "link/messages.h"
#include "link/ring.h"
#include "result/sink.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct config;

/* A sink that writes into the result ring. `sink` must stay the first member. */
struct ring_sink {
    struct sink sink;
    struct worker *worker;
    uint8_t *window;         /* where the present window starts, and */
    uint64_t window_at;      /* its position in the ring */
    uint64_t rung_at;        /* the position at the last doorbell */
    uint32_t job;
    uint32_t inline_bytes;
};

struct worker {
    uint32_t id;
    int link_fd;
    int wake_fd; /* eventfd: the job was interrupted while it waited for room */
    struct ring ring;
    uint64_t produced; /* the ring's position behind the last byte written */
    struct engine *engine; /* a writer's goes before the process does, under job_lock */

    /* The job that an interrupt may hit; guarded by job_lock. */
    pthread_mutex_t job_lock;
    uint32_t job;
    atomic_bool stop; /* the running job was interrupted */
};

/* Opens the window for a job. No byte is reserved yet. */
void ring_sink_start(struct ring_sink *s, struct worker *w, const struct link_run *run);
/* Publishes what was written, without a doorbell. */
void ring_sink_publish(struct ring_sink *s);

/* Starts the thread that turns INTERRUPT_SIGNAL into an interrupt of the job it names. The signal must be blocked in all threads. 0, or -1. */
int watcher_start(struct worker *w);

/* From here on an interrupt for that job counts; 0: none does any more. */
void worker_set_job(struct worker *w, uint32_t job);
/* Serves the link until it ends; returns the process's exit code. */
int serve(struct worker *w);

int worker_main(int argc, char **argv);
