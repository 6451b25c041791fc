/* The worker process: one engine, one link, one query at a time. Each struct below is reached from the one context. */
#pragma once
#include "engine/engine.h"
#include "engine/upload.h"
#include "link/messages.h"
#include "link/ring.h"
#include "result/coding.h"
#include "result/sink.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct config;

/* Where the rest of a result goes when it was diverted from the ring. */
struct spool_out {
    int fd;          /* the front's file, for writing only; -1: the result is in the ring */
    uint64_t base;   /* the position that is its byte 0 */
    uint64_t limit;  /* the position up to which it may be written */
    uint8_t *buffer; /* SPOOL_BUFFER_BYTES: the window lies here */
    bool asked;      /* for a higher limit */
    bool sync;       /* it must be on disk at the end */
};

/* A sink that writes into the result ring, or into a file once the front says so. `sink` must stay the first member. */
struct ring_sink {
    struct sink sink;
    struct worker *worker;
    uint8_t *window;    /* where the present window starts, and */
    uint64_t window_at; /* its position in the ring */
    uint64_t rung_at;   /* the position at the last doorbell */
    uint32_t job;
    uint64_t bell_bytes; /* so many more, and the doorbell rings */
    uint64_t began_at;   /* the position before the job's first byte */
    uint64_t max_bytes;  /* of the result; 0: no limit */
    struct spool_out spool;
    struct error error; /* why it stopped; ERR_OK: the job was interrupted, or the front has gone */
};

/* A sink that writes an object of a source. `sink` must stay the first member. */
struct upload_sink {
    struct sink sink;
    struct worker *worker;
    struct upload *upload; /* NULL: none, or it is over */
    uint8_t *buffer;
    uint64_t bytes, max_bytes; /* max_bytes 0: no limit */
    struct error error;        /* why it stopped; ERR_OK: the job was interrupted */
};

/* 0, or -1 with s->error. */
int upload_sink_start(struct upload_sink *s, struct worker *w, const char *url, uint64_t max_bytes);
/* The object is whole. 0, or -1. */
int upload_sink_end(struct upload_sink *s);
/* What is not whole never appears. */
void upload_sink_close(struct upload_sink *s);

struct worker {
    uint32_t id;
    int link_fd;
    int wake_fd; /* eventfd: the job was interrupted while it waited for room */
    struct ring ring;
    uint64_t produced;                    /* the ring's position behind the last byte written */
    uint32_t early;                       /* orders sent early that were taken up */
    struct coding *codings[CODING_COUNT]; /* made when first asked for */
    struct engine *engine;                /* a writer's goes before the process does, under job_lock */

    /* The job that an interrupt may hit; guarded by job_lock. */
    pthread_mutex_t job_lock;
    uint32_t job;
    atomic_bool stop; /* the running job was interrupted */
};

/* Opens the window for a job. No byte is reserved yet. */
void ring_sink_start(struct ring_sink *s, struct worker *w, const struct link_run *run);
/* Publishes what was written, without a doorbell. In a file it is published by the window. */
void ring_sink_publish(struct ring_sink *s);
/* The result is complete: all of it is published. 0, or -1 as `more`. */
int ring_sink_end(struct ring_sink *s);
/* Closes and frees what the job needed. Accepts one that was never started. */
void ring_sink_close(struct ring_sink *s);

/* Sends what must not be lost: waits when the link is full. 0; -1 with errno: the front has gone. */
int worker_send(const struct worker *w, const void *message);

/* For ring_sink.c and spool_sink.c: waits for a message of the front's, or an interrupt, and acts on it. 0, or -1: stop. */
int ring_sink_wait(struct ring_sink *s);
int ring_sink_bell(struct ring_sink *s);
/* Notes that so much is published; -1, and nothing is, when the result is larger than it may be. */
int ring_sink_advance(struct ring_sink *s, uint64_t produced);

/* spool_sink.c: goes on in the file (takes fd). 0, or -1: stop. */
int spool_sink_start(struct ring_sink *s, const struct link_spool *m, int fd);
/* As sink.more, in the file. */
int spool_sink_more(struct ring_sink *s, size_t need);
/* Writes the window out. 0, or -1: stop. */
int spool_sink_flush(struct ring_sink *s);
/* The same with what is left, and all of it on disk where that is asked for. */
int spool_sink_end(struct ring_sink *s);
void spool_sink_close(struct ring_sink *s);

/* Starts the thread that turns INTERRUPT_SIGNAL into an interrupt of the job it names. The signal must be blocked in all threads. 0, or -1. */
int watcher_start(struct worker *w);

/* From here on the supervisor hears of it when a signal is about to end the process: WORKER_FD_STATUS stays open for that. */
void dying_announce(void);

/* From here on an interrupt for that job counts; 0: none does any more. */
void worker_set_job(struct worker *w, uint32_t job);
/* Serves the link until it ends; returns the process's exit code. */
int serve(struct worker *w);

int worker_main(int argc, char **argv);
