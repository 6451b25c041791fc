/* The front's sandbox. It keeps what an event loop needs: sockets it is given, /proc for figures of the other processes, its spool. It can't make
 * or connect a socket, run a program, start a process, signal anybody, or write a file anywhere else. Runs in the front. */
#include "front/front_jail.h"
#include "core/build.h"
#include "link/inherit.h"
#include "sandbox/fence.h"
#include "sandbox/filter.h"
#include "sandbox/privileges.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* What libraries look at, and where the figures of processes are. */
static const char *const readable[] = {
    "/proc", "/sys/devices/system/cpu", "/etc/localtime", "/usr/share/zoneinfo", "/etc/ssl", "/usr/lib/ssl", "/dev/null", "/dev/urandom"};

static void raise_fence(struct layers *l)
{
    struct fence f;
    if (fence_begin(&f, FENCE_NO_NETWORK, readable, sizeof readable / sizeof *readable, l, LAYER_FRONT_LANDLOCK) < 0)
        return;
    int abi = f.abi;
    int r = fence_allow_fd(&f, FRONT_FD_SPOOL, FENCE_FILES);
    if (r == 0 && fence_close(&f) == 0)
        layers_set(l, LAYER_FRONT_LANDLOCK, LAYER_IN_FORCE, "version %d: %s", abi, fence_strength(abi));
    else
        layers_set(l, LAYER_FRONT_LANDLOCK, LAYER_MISSING, "%s", strerror(errno));
    fence_drop(&f);
}

static void install_filter(struct layers *l)
{
    char text[LAYER_DETAIL_BYTES];
    if (SANITIZED) { /* the leak check at its end traces itself from a second process */
        layers_set(l, LAYER_FRONT_SECCOMP, LAYER_OFF, "a sanitizer's build");
        return;
    }
    bool ok = filter_install(FILTER_FRONT, text, sizeof text) == 0;
    int fd = ok ? socket(AF_UNIX, SOCK_STREAM, 0) : -1;
    if (!ok)
        layers_set(l, LAYER_FRONT_SECCOMP, LAYER_MISSING, "%s", text);
    else if (fd >= 0 || errno != EPERM || prctl(PR_GET_SECCOMP) != 2)
        layers_set(l, LAYER_FRONT_SECCOMP, LAYER_MISSING, "a socket could be made");
    else
        layers_set(l, LAYER_FRONT_SECCOMP, LAYER_IN_FORCE, "%s", text);
    if (fd >= 0)
        close(fd);
}

int front_jail(uid_t uid, pid_t parent, struct layers *l, struct error *err)
{
    static const struct role_layers role = {.user = LAYER_FRONT_USER,
                                            .capabilities = LAYER_FRONT_CAPABILITIES,
                                            .not_dumpable = LAYER_FRONT_NOT_DUMPABLE,
                                            .no_new_privs = LAYER_FRONT_NO_NEW_PRIVS,
                                            .landlock = LAYER_FRONT_LANDLOCK,
                                            .seccomp = LAYER_FRONT_SECCOMP};
    int sealed = privileges_give_up(&role, uid, parent, l, err);
    if (sealed <= 0)
        return sealed;
    raise_fence(l);
    install_filter(l);
    return 0;
}
