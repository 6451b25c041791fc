/* User, capabilities, no_new_privs, dumpable, parent's death. Runs in worker, front and probes. */
#include "sandbox/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAP_LAST_TRIED 63 /* the kernel says EINVAL for those it does not know */

static int set_capabilities(uint64_t permitted)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{(uint32_t)permitted, (uint32_t)permitted, 0},
                                             {(uint32_t)(permitted >> 32), (uint32_t)(permitted >> 32), 0}};
    return (int)syscall(SYS_capset, &head, data);
}

static int get_capabilities(uint64_t *ret)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    if (syscall(SYS_capget, &head, data) < 0)
        return -1;
    /* All three sets at once: whatever is in any of them is held, or can be taken up. */
    *ret = data[0].effective | data[0].permitted | data[0].inheritable |
           (uint64_t)(data[1].effective | data[1].permitted | data[1].inheritable) << 32;
    return 0;
}

/* The bounding set, so that no exec of anything brings a capability back. Needs CAP_SETPCAP; without it there is nothing to lose either, since
 * no_new_privs comes before anything hostile. */
static void empty_bounding_set(void)
{
    for (unsigned long c = 0; c <= CAP_LAST_TRIED; c++)
        if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0 && errno != EPERM)
            break;
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

int privileges_become(uid_t uid, bool reads)
{
    uint64_t held, keep = 0;
    if (uid == 0)
        return 0;
    if (get_capabilities(&held) < 0)
        return -1;
    if (reads) { /* containers often have the second and not the first */
        keep = held & (UINT64_C(1) << CAP_DAC_READ_SEARCH);
        if (!keep)
            keep = held & (UINT64_C(1) << CAP_DAC_OVERRIDE);
    }
    empty_bounding_set();
    /* NO_SETUID_FIXUP: otherwise access() leaves the capability out that open() would use. What may stay is set below. */
    (void)prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED, 0, 0, 0);
    if (prctl(PR_SET_KEEPCAPS, keep != 0, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
        return -1;
    return set_capabilities(keep);
}

int privileges_keep_files(void)
{
    uint64_t held, files = UINT64_C(1) << CAP_DAC_OVERRIDE | UINT64_C(1) << CAP_DAC_READ_SEARCH;
    if (get_capabilities(&held) < 0)
        return -1;
    empty_bounding_set();
    return set_capabilities(held & files);
}

int privileges_drop_all(void)
{
    empty_bounding_set();
    return set_capabilities(0);
}

void privileges_report(struct layers *l, enum layer_id user, enum layer_id capabilities, uid_t wanted)
{
    uid_t r, e, s;
    uint64_t held;
    bool known = getresuid(&r, &e, &s) == 0;
    if (wanted == 0 && getuid() != 0)
        layers_set(l, user, LAYER_MISSING, "not started as root: all processes share one user");
    else if (wanted == 0)
        layers_set(l, user, SANITIZED ? LAYER_OFF : LAYER_MISSING, "%s", SANITIZED ? "a sanitizer's build" : "root can't change its user here");
    else if (known && r == wanted && e == wanted && s == wanted)
        layers_set(l, user, LAYER_IN_FORCE, "a uid and gid of its own, no other groups");
    else
        layers_set(l, user, LAYER_MISSING, "the change of user did not hold");
    if (get_capabilities(&held) < 0)
        layers_set(l, capabilities, LAYER_MISSING, "can't be read: %s", strerror(errno));
    else if (held)
        layers_set(l, capabilities, LAYER_MISSING, "still held: %llx", (unsigned long long)held);
    else
        layers_set(l, capabilities, LAYER_IN_FORCE, "none");
}

int privileges_no_new(struct layers *l, enum layer_id id)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) {
        layers_set(l, id, LAYER_IN_FORCE, "set");
        return 0;
    }
    layers_set(l, id, LAYER_MISSING, "%s", strerror(errno));
    return -1;
}

int privileges_not_dumpable(struct layers *l, enum layer_id id)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0) {
        layers_set(l, id, LAYER_IN_FORCE, "set");
        return 0;
    }
    layers_set(l, id, LAYER_MISSING, "%s", strerror(errno));
    return -1;
}

int privileges_tie(pid_t parent)
{
    int sig = 0;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_GET_PDEATHSIG, &sig) < 0 || sig != SIGKILL)
        return -1;
    return getppid() == parent ? 0 : -1; /* which closes the gap between fork and prctl */
}

int privileges_give_up(const struct role_layers *role, uid_t uid, pid_t parent, struct layers *l, struct error *err)
{
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    if (privileges_become(uid, false) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot become the user %u: %s", (unsigned)uid, strerror(errno));
    if (privileges_drop_all() < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot drop capabilities: %s", strerror(errno));
    if (privileges_tie(parent) < 0)
        return error_set(err, ERR_UNAVAILABLE, "the supervisor has gone");
    (void)privileges_not_dumpable(l, role->not_dumpable);
    privileges_report(l, role->user, role->capabilities, uid);
    if (privileges_no_new(l, role->no_new_privs) == 0)
        return 1;
    layers_set(l, role->landlock, LAYER_MISSING, "needs no_new_privs");
    layers_set(l, role->seccomp, LAYER_MISSING, "needs no_new_privs");
    return 0;
}
