/* Own namespaces. No mount namespace: Landlock holds back files, and without mount calls a second view of the same tree gives nothing. No process
 * namespace: it would need a process between supervisor and worker, and its first process is deaf to SIGTERM; what it would hide, signals and /proc,
 * seccomp and Landlock hold back. Runs in worker and probes. */
#include "sandbox/privileges.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct space {
    enum layer_id layer;
    int flag;
    const char *file;
} spaces[] = {
    {LAYER_USER_NAMESPACE, CLONE_NEWUSER, "user"}, /* first: it is what makes the others possible without root */
    {LAYER_NETWORK_NAMESPACE, CLONE_NEWNET, "net"},
    {LAYER_IPC_NAMESPACE, CLONE_NEWIPC, "ipc"},
    {LAYER_UTS_NAMESPACE, CLONE_NEWUTS, "uts"},
};
#define SPACES (sizeof spaces / sizeof spaces[0])

/* A namespace's identity; 0: can't be told (no /proc). */
static ino_t identity(const struct space *s)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/self/ns/%s", s->file);
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

static void enter(struct layers *l, const struct space *s)
{
    ino_t before = identity(s);
    if (unshare(s->flag) < 0)
        layers_set(l, s->layer, LAYER_MISSING, "unshare: %s", strerror(errno));
    else if (before && before == identity(s))
        layers_set(l, s->layer, LAYER_MISSING, "unshare had no effect");
    else
        layers_set(l, s->layer, LAYER_IN_FORCE, "%s", before ? "a new one" : "a new one (no /proc to look it up in)");
}

void privileges_unshare(struct layers *l)
{
    bool root = geteuid() == 0;
    for (size_t i = 0; i < SPACES; i++) {
        if (root && spaces[i].flag == CLONE_NEWUSER)
            layers_set(l, spaces[i].layer, LAYER_OFF, "not needed: it has a user id of its own and no capabilities");
        else
            enter(l, &spaces[i]);
    }
}
