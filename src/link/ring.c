/* Mapping the shared region, and the reader's side of the ring. Runs in front, worker and the command line. */
#include "link/ring.h"
#include "core/errors.h"
#include "core/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Each part of the region is mapped by itself, so it begins at a page, and arm64 has pages of up to 64 KB. Untouched memory costs nothing. */
#define PAGE_MOST ((size_t)65536)
#define HEADER_BYTES PAGE_MOST
#define EARLY_BYTES (RING_EARLY_SLOTS * RING_EARLY_BYTES)
/* A sleeping writer is woken when a quarter of the ring is free: fewer, longer turns for both. */
#define WAKE_BYTES (RING_BYTES / 4)

_Static_assert(EARLY_BYTES % PAGE_MOST == 0 && RING_BYTES % PAGE_MOST == 0, "parts of whole pages");

static size_t whole_pages(size_t n) { return (n + PAGE_MOST - 1) & ~(PAGE_MOST - 1); }

size_t ring_request_bytes(int64_t max_sql_bytes) { return whole_pages((size_t)max_sql_bytes * 2 + 65536); }

int ring_create(size_t request_bytes) { return fd_memory("bulkhead-ring", HEADER_BYTES + request_bytes + EARLY_BYTES + RING_BYTES); }

int ring_map(int fd, size_t request_bytes, bool worker_side, struct ring *ret)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -1;
    size_t orders_bytes = request_bytes + EARLY_BYTES;
    if ((size_t)st.st_size != HEADER_BYTES + orders_bytes + RING_BYTES) {
        errno = EPROTO;
        return -1;
    }
    size_t total = HEADER_BYTES + orders_bytes + 2 * RING_BYTES;
    uint8_t *base = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return -1;
    int rw = PROT_READ | PROT_WRITE;
    uint8_t *request = base + HEADER_BYTES, *ring = request + orders_bytes;
    off_t ring_at = (off_t)(HEADER_BYTES + orders_bytes);
    int flags = MAP_SHARED | MAP_FIXED;
    if (mmap(base, HEADER_BYTES, rw, flags, fd, 0) == MAP_FAILED ||
        mmap(request, orders_bytes, worker_side ? PROT_READ : rw, flags, fd, (off_t)HEADER_BYTES) == MAP_FAILED ||
        mmap(ring, RING_BYTES, worker_side ? rw : PROT_READ, flags, fd, ring_at) == MAP_FAILED ||
        mmap(ring + RING_BYTES, RING_BYTES, worker_side ? rw : PROT_READ, flags, fd, ring_at) == MAP_FAILED) {
        int e = errno;
        munmap(base, total);
        errno = e;
        return -1;
    }
    *ret = (struct ring){.shared = (struct ring_shared *)base,
                         .request = (char *)request,
                         .request_bytes = request_bytes,
                         .early = (char *)request + request_bytes,
                         .bytes = ring,
                         .mapped_bytes = total};
    return 0;
}

void ring_unmap(struct ring *r)
{
    if (r->shared)
        munmap(r->shared, r->mapped_bytes);
    *r = (struct ring){0};
}

bool ring_reader_set_limit(struct ring_reader *r, uint64_t produced)
{
    if (produced < r->limit || produced - r->consumed > RING_BYTES)
        return false;
    r->limit = produced;
    return true;
}

bool ring_reader_refresh(struct ring_reader *r)
{
    return ring_reader_set_limit(r, atomic_load_explicit(&r->ring->shared->produced, memory_order_acquire));
}

bool ring_reader_consume(struct ring_reader *r, size_t n)
{
    CHECK(n <= ring_reader_ready(r));
    r->consumed += n;
    /* Sequentially consistent on both sides: the writer sets `waiting` and then looks at `consumed`, we the other way round, so that one of the
     * two always sees the other. */
    atomic_store(&r->ring->shared->consumed, r->consumed);
    if (RING_BYTES - ring_reader_ready(r) < WAKE_BYTES || !atomic_load(&r->ring->shared->waiting))
        return false;
    atomic_store(&r->ring->shared->waiting, 0);
    return true;
}
