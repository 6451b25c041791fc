/* A result that goes on in a file: what the ring's positions become there, and the front's checked view of a file that the worker writes.
 *
 * The front stops consuming, and hands the file over. `base` is the position that would be byte 0 of the file: where the front stopped, less what
 * it has written into the file before. The worker goes on into the file from the position `at` where it found the order; what lies between is in
 * the ring still, and the front copies it. So byte x of the ring's count is byte x - base of the file, whoever writes it. `limit` is how far the
 * worker may write: the front accounts for that much before it says so. Runs in front and worker. */
#pragma once
#include "link/ring.h"
#include <stdbool.h>
#include <stdint.h>

/* Trusted values, in the front's private memory. */
struct spool_reader {
    uint64_t base, at, limit;
    uint64_t produced; /* the last checked one, never below `at` */
};

static inline int64_t spool_offset(uint64_t base, uint64_t position) { return (int64_t)(position - base); }

/* The worker says that it goes on in the file from `at`. False: that is impossible (`ring`: the reader that stands where the front stopped). */
bool spool_reader_start(struct spool_reader *r, const struct ring_reader *ring, uint64_t at);
/* The worker says that it has written up to `produced`; the file is asked. False: it lies. */
bool spool_reader_refresh(struct spool_reader *r, uint64_t produced, int fd);
/* The present size of the file; -1: it can't be asked. */
int64_t spool_size(int fd);

/* Writes all of it at that offset. 0; -1 with errno (ENOSPC, EDQUOT, EFBIG, EIO, ...). */
int spool_write(int fd, const void *data, size_t len, int64_t offset);
/* Does errno say that there is no room? */
bool spool_is_full(int error_number);
