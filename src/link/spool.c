/* The arithmetic of spool files. Runs in front and worker. */
#include "link/spool.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

bool spool_reader_start(struct spool_reader *r, const struct ring_reader *ring, uint64_t at)
{
    /* What it said to have produced before stays produced, and no more than a ring can lie before the file's own part. */
    if (at < ring->limit || at < ring->consumed || at - ring->consumed > RING_BYTES || at > r->limit)
        return false;
    r->at = r->produced = at;
    return true;
}

int64_t spool_size(int fd)
{
    struct stat st;
    return fstat(fd, &st) < 0 ? -1 : (int64_t)st.st_size;
}

bool spool_reader_refresh(struct spool_reader *r, uint64_t produced, int fd)
{
    if (produced < r->produced || produced > r->limit)
        return false;
    if (produced > r->produced && spool_size(fd) < spool_offset(r->base, produced))
        return false;
    r->produced = produced;
    return true;
}

int spool_write(int fd, const void *data, size_t len, int64_t offset)
{
    for (const char *p = data; len > 0;) {
        ssize_t n = pwrite(fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = ENOSPC;
        if (n <= 0)
            return -1;
        p += n;
        len -= (size_t)n;
        offset += n;
    }
    return 0;
}

bool spool_is_full(int e) { return e == ENOSPC || e == EDQUOT || e == EFBIG; }
