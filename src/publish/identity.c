/* Which version of a database file is there now (see the header). Runs in the supervisor and the command line. */
#include "publish/identity.h"
#include "core/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* FNV-1a: nobody gains anything by a collision who may write to the file. */
static uint64_t mix(uint64_t h, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++)
        /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): it does not see the bytes inside an integer */
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t mix_stat(uint64_t h, const struct stat *st)
{
    const int64_t v[] = {(int64_t)st->st_dev, (int64_t)st->st_ino, st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec};
    return mix(h, v, sizeof v);
}

void identity_read(const char *path, struct identity *ret)
{
    char wal[PATH_MAX];
    struct stat st = {0}; /* no regular file, when nobody can say what it is */
    *ret = (struct identity){.wal_bytes = -1};
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENOENT)
        return;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    if ((fd >= 0 ? fstat(fd, &st) : stat(path, &st)) == 0) {
        h = mix_stat(h, &st);
        ret->bytes = st.st_size;
        ret->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    }
    ret->state = DB_HEADER_UNREADABLE;
    if (fd >= 0 && S_ISREG(st.st_mode))
        ret->state = db_header_read(fd, &ret->header);
    h = mix(h, &ret->state, sizeof ret->state);
    h = mix(h, &ret->header.iteration, sizeof ret->header.iteration);
    h = mix(h, &ret->header.meta_block, sizeof ret->header.meta_block);
    if (snprintf(wal, sizeof wal, "%s.wal", path) < (int)sizeof wal && stat(wal, &st) == 0) {
        ret->wal_bytes = st.st_size;
        ret->wal_mtime_s = st.st_mtim.tv_sec;
        h = mix_stat(h, &st);
    }
    ret->version = h ? h : 1;
}

void identity_text(uint64_t version, char ret[IDENTITY_TEXT_BYTES])
{
    ret[0] = 0;
    if (version)
        snprintf(ret, IDENTITY_TEXT_BYTES, "%016" PRIx64, version);
}
