/* The private copy (see the header). Runs in the publisher and the command line. */
#include "publish/copy.h"
#include "core/fault.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define STEP_BYTES ((int64_t)16 << 20)
#define BUFFER_BYTES ((size_t)1 << 20) /* where the kernel can't copy by itself */

static int failed(const char *what, int code, int64_t bytes, struct error *err)
{
    if (code == ENOSPC || code == EDQUOT)
        return error_set(err, ERR_UNAVAILABLE, "no space for a copy of %s (%" PRId64 " bytes): %s", what, bytes, strerror(code));
    return error_set(err, ERR_UNAVAILABLE, "cannot copy %s: %s", what, strerror(code));
}

/* What the file system says it has. A copy needs that much, though a check before is no promise. */
static bool has_room(int to, int64_t bytes)
{
    struct statvfs v;
    return fstatvfs(to, &v) < 0 || v.f_bavail > (uint64_t)bytes / (v.f_frsize ? v.f_frsize : 1);
}

static ssize_t by_hand(int from, int to, size_t len)
{
    static const size_t max = BUFFER_BYTES;
    char *buffer = malloc(max);
    CHECK(buffer);
    ssize_t n = read(from, buffer, len < max ? len : max);
    for (ssize_t at = 0; at < n;) {
        ssize_t w = write(to, buffer + at, (size_t)(n - at));
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            n = -1;
            break;
        }
        at += w;
    }
    int e = errno;
    free(buffer);
    errno = e;
    return n;
}

/* Some bytes, at most a step: how many; 0 at the end; -1 with errno. */
static ssize_t some(int from, int to, size_t len, bool *by_kernel)
{
    if (*by_kernel) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, len, 0);
        if (n > 0 || (n < 0 && errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP && errno != EBADF))
            return n;
        *by_kernel = false; /* 0 as well: some file systems of the kernel give no bytes that way */
    }
    return by_hand(from, to, len);
}

static bool tell(const struct copy_progress *p, int64_t done, int64_t total) { return !p || !p->step || p->step(p->ctx, done, total); }

static int stopped(const char *what, struct error *err) { return error_set(err, ERR_CANCELLED, "the copy of %s was stopped", what); }

int copy_file(int from, int to, const char *what, const struct copy_progress *progress, bool *ret_shared, struct error *err)
{
    struct stat st;
    if (fstat(from, &st) < 0 || lseek(from, 0, SEEK_SET) < 0)
        return failed(what, errno, 0, err);
    int64_t total = st.st_size, done = 0;
    if (!tell(progress, 0, total))
        return stopped(what, err);
    *ret_shared = total > 0 && ioctl(to, FICLONE, from) == 0;
    if (*ret_shared)
        return tell(progress, total, total) ? 0 : stopped(what, err);
    if (!has_room(to, total))
        return failed(what, ENOSPC, total, err);
    bool by_kernel = true;
    while (done < total) {
        int64_t want = total - done < STEP_BYTES ? total - done : STEP_BYTES;
        ssize_t n = some(from, to, (size_t)want, &by_kernel);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(what, errno, total, err);
        if (n == 0)
            return error_set(err, ERR_UNAVAILABLE, "%s became shorter while it was copied", what);
        done += n;
        fault_point("import:copying");
        if (!tell(progress, done, total))
            return stopped(what, err);
    }
    return 0;
}
