/* The memory that front and worker share: one sealed memfd per worker, made by the supervisor.
 * Layout: a page of counters, the request area and the slots for orders sent early (front writes, worker reads), the result ring (worker writes,
 * front reads), the ring mapped twice back to back so that neither side ever sees its end.
 * Positions are counts of bytes since the worker's start; they never go back. The reader copies `produced` once and checks it before use:
 * the writer is hostile. Runs in front, worker and the command line. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Measured on the prototype (ARCHITECTURE.md section 2): more than 1 MB gains nothing. A power of two and a multiple of the page. */
#define RING_BYTES ((size_t)1 << 20)

#define RING_EARLY_SLOTS 4
#define RING_EARLY_BYTES ((size_t)32768)

struct ring_shared {
    /* Written by the worker. */
    _Alignas(64) _Atomic uint64_t produced;
    _Atomic uint32_t waiting;  /* 1: the worker sleeps until it is told of space */
    _Atomic uint32_t taken;    /* the job the worker took up last: a job that was never taken may be run again elsewhere */
    _Atomic uint32_t progress; /* of that job: 1 + millionths; 0: unknown */
    /* Written by the front. */
    _Alignas(64) _Atomic uint64_t consumed;
    /* Written by both. */
    _Alignas(64) _Atomic uint32_t early[RING_EARLY_SLOTS]; /* the jobs of orders that the worker may take up next (link/early.h); 0: none */
};

struct ring {
    struct ring_shared *shared;
    char *request;
    size_t request_bytes;
    char *early;    /* RING_EARLY_SLOTS of RING_EARLY_BYTES; the front writes, the worker reads */
    uint8_t *bytes; /* RING_BYTES, readable for twice that */
    size_t mapped_bytes;
};

/* Room for the request area that holds SQL of max_sql_bytes with its parameters. */
size_t ring_request_bytes(int64_t max_sql_bytes);
/* A new region, sealed; -1 with errno. */
int ring_create(size_t request_bytes);
/* Maps it; the worker's side has the request area read-only. Returns 0, or -1 with errno (EPROTO: its size is not what it must be). */
int ring_map(int fd, size_t request_bytes, bool worker_side, struct ring *ret);
void ring_unmap(struct ring *r);

/* The reader's own view, in its private memory. */
struct ring_reader {
    struct ring *ring;
    uint64_t consumed; /* trusted: only the reader moves it */
    uint64_t limit;    /* trusted: the last checked `produced` */
};

/* Takes over the writer's counter. False: the writer cheated (the worker must be killed). */
bool ring_reader_refresh(struct ring_reader *r);
/* The same with a position from a message instead. */
bool ring_reader_set_limit(struct ring_reader *r, uint64_t produced);
static inline size_t ring_reader_ready(const struct ring_reader *r) { return (size_t)(r->limit - r->consumed); }
static inline const uint8_t *ring_reader_data(const struct ring_reader *r) { return r->ring->bytes + (r->consumed & (RING_BYTES - 1)); }
/* Gives n bytes back. Returns true when the writer sleeps and there is room enough to wake it (send LINK_SPACE). */
bool ring_reader_consume(struct ring_reader *r, size_t n);
