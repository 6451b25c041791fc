/* Any bytes as a write-ahead log: the walk ends, its figures lie inside the file, and it can be put in words. What it calls clean stays
 * clean with a checkpoint's marker behind it. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/errors.h"
#include "publish/wal_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct wal_report *r, size_t size)
{
    char text[600];
    CHECK(r->bytes == (int64_t)size);
    CHECK(r->committed_bytes >= 0 && r->committed_bytes <= r->bytes);
    CHECK(r->bad_at >= 0 && r->bad_at <= r->bytes && r->bad_have <= r->bytes);
    CHECK(r->commits <= size / 16 && r->after_bad <= size / 16);
    if (r->state == WAL_CLEAN)
        CHECK(r->committed_bytes == (r->marker ? r->marker_at : r->bytes) || r->marker);
    wal_describe(r, text, sizeof text);
    CHECK(text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct wal_report r, again;
    struct db_header h = {.iteration = 1, .meta_block = 7, .has_identifier = true};
    uint8_t marker[WAL_MARKER_MAX];
    if (fd < 0)
        fd = memfd_create("wal", 0);
    CHECK(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    wal_walk(fd, &h, &r);
    check(&r, size);
    wal_walk(fd, NULL, &r);
    check(&r, size);
    if (r.state != WAL_CLEAN)
        return 0;
    size_t len = wal_marker(7, marker);
    CHECK(pwrite(fd, marker, len, (off_t)size) == (ssize_t)len);
    wal_walk(fd, NULL, &again);
    CHECK(again.state == WAL_CLEAN && again.marker && again.marker_meta_block == 7 && again.commits == r.commits);
    h.has_identifier = false;
    wal_walk(fd, &h, &again);
    CHECK(again.state == WAL_CHECKPOINTED);
    return 0;
}
