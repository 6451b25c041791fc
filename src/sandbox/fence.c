/* Landlock by its system calls: the header of the build machine may be older than the kernel that runs this, and the other way round.
 * Runs in worker, front and probes. */
#include "sandbox/fence.h"
#include "core/build.h"
#include "core/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The same numbers on every architecture (asm-generic/unistd.h). */
#define NR_CREATE_RULESET 444
#define NR_ADD_RULE 445
#define NR_RESTRICT_SELF 446
#define ABI_QUESTION 1u /* LANDLOCK_CREATE_RULESET_VERSION */
#define RULE_PATH_BENEATH 1

/* uapi/linux/landlock.h */
#define FS_EXECUTE (UINT64_C(1) << 0)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_REG (UINT64_C(1) << 8)
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_OF_ABI_1 ((UINT64_C(1) << 13) - 1)
#define FS_REFER (UINT64_C(1) << 13)
#define FS_IOCTL_DEV (UINT64_C(1) << 15)
#define NET_BIND_TCP (UINT64_C(1) << 0)
#define NET_CONNECT_TCP (UINT64_C(1) << 1)
#define SCOPE_ABSTRACT_UNIX (UINT64_C(1) << 0)
#define SCOPE_SIGNAL (UINT64_C(1) << 1)

struct ruleset {
    uint64_t files, network, scope;
};
struct path_rule {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

/* What each version added. */
static const struct step {
    int abi;
    struct ruleset adds;
    const char *strength;
} ladder[] = {
    {1, {.files = FS_OF_ABI_1}, "files"},
    {2, {.files = FS_REFER}, "files"},
    {3, {.files = FS_TRUNCATE}, "files, truncation"},
    {4, {.network = NET_BIND_TCP | NET_CONNECT_TCP}, "files, truncation, TCP"},
    {5, {.files = FS_IOCTL_DEV}, "files, truncation, TCP, devices"},
    {6, {.scope = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL}, "files, truncation, TCP, devices, signals, abstract sockets"},
};
#define STEPS (sizeof ladder / sizeof ladder[0])

int fence_abi(void)
{
    long abi = syscall(NR_CREATE_RULESET, NULL, 0, ABI_QUESTION);
    return abi > 0 ? (int)abi : 0;
}

const char *fence_strength(int abi)
{
    const char *text = "nothing";
    for (size_t i = 0; i < STEPS && ladder[i].abi <= abi; i++)
        text = ladder[i].strength;
    return text;
}

static struct ruleset handled(int abi)
{
    struct ruleset all = {0};
    for (size_t i = 0; i < STEPS && ladder[i].abi <= abi; i++) {
        all.files |= ladder[i].adds.files;
        all.network |= ladder[i].adds.network;
        all.scope |= ladder[i].adds.scope;
    }
    return all;
}

int fence_new(struct fence *f, enum fence_network network)
{
    *f = (struct fence){.fd = -1, .abi = fence_abi()};
    if (f->abi == 0)
        return -1;
    struct ruleset r = handled(f->abi);
    if (network == FENCE_CONNECT)
        r.network &= ~NET_CONNECT_TCP;
    /* The struct grew with the versions; a kernel takes a longer one as long as what it does not know is zero. */
    f->fd = (int)syscall(NR_CREATE_RULESET, &r, sizeof r, 0);
    if (f->fd < 0) {
        f->abi = 0;
        return -1;
    }
    return 0;
}

static uint64_t rights(enum fence_right right, bool directory, int abi)
{
    static const uint64_t sets[FENCE_RIGHTS] = {
        [FENCE_READ] = FS_READ_FILE | FS_READ_DIR,
        [FENCE_FILES] = FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_MAKE_REG | FS_REMOVE_FILE | FS_TRUNCATE,
    };
    uint64_t of_files = FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE;
    return sets[right] & handled(abi).files & (directory ? ~UINT64_C(0) : of_files);
}

int fence_allow(struct fence *f, const char *path, enum fence_right right)
{
    auto_close int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -1;
    return fence_allow_fd(f, fd, right);
}

int fence_allow_fd(struct fence *f, int fd, enum fence_right right)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -1;
    struct path_rule rule = {.allowed = rights(right, S_ISDIR(st.st_mode), f->abi), .parent_fd = fd};
    return (int)syscall(NR_ADD_RULE, f->fd, RULE_PATH_BENEATH, &rule, 0);
}

int fence_begin(struct fence *f, enum fence_network network, const char *const *readable, size_t count, struct layers *l, enum layer_id id)
{
    if (SANITIZED) { /* its reports are files, and read the binaries */
        layers_set(l, id, LAYER_OFF, "a sanitizer's build");
        return -1;
    }
    int r = fence_new(f, network);
    if (r < 0) {
        layers_set(l, id, LAYER_MISSING, "%s",
                   errno == ENOSYS || errno == EOPNOTSUPP ? "the kernel has none, or it is switched off" : strerror(errno));
        return -1;
    }
    for (size_t i = 0; i < count && r == 0; i++)
        r = fence_allow(f, readable[i], FENCE_READ);
    if (r == 0)
        return 0;
    layers_set(l, id, LAYER_MISSING, "%s", strerror(errno));
    fence_drop(f);
    return -1;
}

int fence_close(struct fence *f)
{
    int r = (int)syscall(NR_RESTRICT_SELF, f->fd, 0);
    fence_drop(f);
    return r;
}

void fence_drop(struct fence *f) { fd_close_p(&f->fd); }
