/* The front's counters and histograms, and their text for GET /metrics. Plain memory, one thread. Runs in the front. */
#pragma once
#include "core/errors.h"
#include "core/formats.h"
#include <stdbool.h>
#include <stdint.h>

#define HISTOGRAM_BOUNDS 16

struct histogram {
    uint64_t bucket[HISTOGRAM_BOUNDS + 1]; /* the last: above every bound */
    int64_t sum_us;
    uint64_t count;
};

struct metrics {
    uint64_t queries[ERR_COUNT];  /* answers by code; ERR_OK: success */
    uint64_t rejected[ERR_COUNT]; /* refused before a worker had it */
    uint64_t requests;
    uint64_t result_bytes[FORMAT_COUNT];
    uint64_t cache[3]; /* by enum cache_use: bypass, miss, hit */
    struct histogram query, queue;
};

void histogram_add(struct histogram *h, int64_t us);

struct front;
/* Writes the answer to GET /metrics. False only if the text would pass the buffer's maximum. */
struct buf;
bool metrics_write(const struct front *f, struct buf *out);
