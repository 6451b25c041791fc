/* The broker's sandbox. It reads bytes from name servers and numbers from workers, and holds every connection for a moment: so it has a user of its
 * own and no rights. It keeps sockets, and the files that looking a name up takes. Runs in the broker. */
#include "broker/broker_jail.h"
#include "core/build.h"
#include "sandbox/fence.h"
#include "sandbox/filter.h"
#include "sandbox/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SET_MDWE 65 /* PR_SET_MDWE, Linux 6.3 */
#define MDWE_REFUSE_EXEC_GAIN 1

/* All of /etc and of the resolvers' directories, not single files: those are replaced while the broker runs, and a rule would stay with the old one.
 * Libraries: modules of the name service are loaded at the first lookup that needs them. */
static const char *const readable[] = {"/etc",     "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/lib",      "/lib64",
                                       "/usr/lib", "/usr/lib64",           "/usr/local/lib",  "/usr/share/zoneinfo", "/dev/null", "/dev/urandom"};

static void raise_fence(struct layers *l)
{
    struct fence f;
    if (fence_begin(&f, FENCE_CONNECT, readable, sizeof readable / sizeof *readable, l, LAYER_BROKER_LANDLOCK) < 0)
        return;
    int abi = f.abi;
    int fd = fence_close(&f) == 0 ? open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -2;
    if (fd == -2)
        layers_set(l, LAYER_BROKER_LANDLOCK, LAYER_MISSING, "%s", strerror(errno));
    else if (fd >= 0 || errno != EACCES)
        layers_set(l, LAYER_BROKER_LANDLOCK, LAYER_MISSING, "the root directory could be read");
    else
        layers_set(l, LAYER_BROKER_LANDLOCK, LAYER_IN_FORCE, "version %d: %s, but connecting", abi, fence_strength(abi));
    if (fd >= 0)
        close(fd);
    fence_drop(&f);
}

static void install_filter(struct layers *l)
{
    char text[LAYER_DETAIL_BYTES];
    if (SANITIZED) {
        layers_set(l, LAYER_BROKER_SECCOMP, LAYER_OFF, "a sanitizer's build");
        return;
    }
    bool ok = filter_install(FILTER_BROKER, text, sizeof text) == 0;
    if (!ok)
        layers_set(l, LAYER_BROKER_SECCOMP, LAYER_MISSING, "%s", text);
    else if (chdir("/") == 0 || errno != ENOSYS || prctl(PR_GET_SECCOMP) != 2)
        layers_set(l, LAYER_BROKER_SECCOMP, LAYER_MISSING, "the directory could be changed");
    else
        layers_set(l, LAYER_BROKER_SECCOMP, LAYER_IN_FORCE, "%s", text);
}

int broker_jail(uid_t uid, pid_t parent, struct layers *l, struct error *err)
{
    /* Two steps have no rows of their own: the next row that is told there takes their place. */
    static const struct role_layers role = {.user = LAYER_BROKER_USER,
                                            .capabilities = LAYER_BROKER_CAPABILITIES,
                                            .not_dumpable = LAYER_BROKER_USER,
                                            .no_new_privs = LAYER_BROKER_SECCOMP,
                                            .landlock = LAYER_BROKER_LANDLOCK,
                                            .seccomp = LAYER_BROKER_SECCOMP};
    int sealed = privileges_give_up(&role, uid, parent, l, err);
    if (sealed <= 0)
        return sealed;
    if (!SANITIZED)
        (void)prctl(SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0);
    raise_fence(l);
    install_filter(l);
    return 0;
}
