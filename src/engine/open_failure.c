/* Why a database file can't be opened, in words for the operator. Looks at the file itself first, because the engine's message names a
 * symptom (a checksum, a short read) where the file tells the cause. Runs in the worker, before the sandbox is closed. */
#include "core/fd.h"
#include "engine/engine_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The first 20 bytes of a DuckDB file: checksum, "DUCK", version of the storage format. */
#define HEADER_BYTES 20
#define STORAGE_VERSION_MAX 68 /* the newest that libduckdb 1.5.5 reads; test_engine_open checks it against the library */

static int fail(struct error *err, const char *path, const char *why)
{
    return error_set(err, ERR_UNAVAILABLE, "cannot open the database \"%s\": %s", path, why);
}

static int fail_errno(struct error *err, const char *path, int code)
{
    if (code == ENOENT)
        return fail(err, path, "the file does not exist");
    if (code == EACCES || code == EPERM)
        return fail(err, path, "permission denied (the worker's user must be able to read the file and search its directories)");
    return fail(err, path, strerror(code));
}

/* 0 when the header looks like one that this engine reads, -1 with *err. */
static int check_header(struct error *err, const char *path, int fd, off_t size)
{
    unsigned char head[HEADER_BYTES];
    uint64_t version;
    if (size == 0)
        return fail(err, path, "the file is empty");
    if (pread(fd, head, sizeof head, 0) != (ssize_t)sizeof head || memcmp(head + 8, "DUCK", 4) != 0)
        return fail(err, path, "it is not a DuckDB database file");
    memcpy(&version, head + 12, sizeof version);
    if (version <= STORAGE_VERSION_MAX)
        return 0;
    char why[160];
    snprintf(why, sizeof why, "it was written by a newer version of DuckDB (storage version %" PRIu64 "; this build reads up to %d)", version,
             STORAGE_VERSION_MAX);
    return fail(err, path, why);
}

static int check_kind(struct error *err, const char *path, mode_t mode)
{
    if (S_ISDIR(mode))
        return fail(err, path, "it is a directory");
    return S_ISREG(mode) ? 0 : fail(err, path, "it is not a regular file");
}

int open_check_kind(struct error *err, const char *path)
{
    struct stat st;
    return stat(path, &st) < 0 ? 0 : check_kind(err, path, st.st_mode);
}

static int check_file(struct error *err, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return fail_errno(err, path, errno);
    if (check_kind(err, path, st.st_mode) < 0)
        return -1;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_errno(err, path, errno);
    return check_header(err, path, fd, st.st_size);
}

/* The kernel tells who holds it; the engine would look the process up in /proc, which is closed to it. */
static int fail_locked(struct error *err, const char *path)
{
    char why[160] = "another process has it open for writing and holds the lock";
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
        snprintf(why, sizeof why, "another process has it open for writing and holds the lock (PID %ld)", (long)lock.l_pid);
    return fail(err, path, why);
}

void open_failure(struct error *err, const char *path, const char *message)
{
    struct error engine_says;
    const struct failure_context plain = {0};
    if (check_file(err, path) < 0)
        return;
    failure_from_message(&engine_says, message, 0, &plain);
    const char *said = engine_says.detail;
    char why[sizeof engine_says.detail + 200];
    if (strstr(said, "Could not set lock")) {
        fail_locked(err, path);
        return;
    }
    const char *cause = "";
    if (strstr(said, "WAL") || strstr(said, ".wal"))
        cause = "its write-ahead log cannot be replayed (see `bulkhead recover`): ";
    else if (strstr(said, "Could not read enough bytes"))
        cause = "the file is truncated: ";
    else if (strstr(said, "checksum") || strstr(said, "orrupt"))
        cause = "the file is damaged: ";
    snprintf(why, sizeof why, "%s%s", cause, said);
    fail(err, path, why);
}
