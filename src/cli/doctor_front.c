/* The front's own sandbox: put up in a process made for that, which then tries it. Runs in the command line. */
#include "cli/doctor.h"
#include "core/buf.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/layers.h"
#include "front/front_jail.h"
#include "link/inherit.h"
#include "supervisor/users.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT_MAX 4096

/* What follows the report of its layers: which of them it could pass all the same. */
static void try_walls(struct buf *b)
{
    int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        buf_puts(b, "!read the directory /tmp\n");
    fd = open("/tmp/bulkhead-probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        buf_puts(b, "!make a file\n");
        (void)unlink("/tmp/bulkhead-probe");
    }
    if (kill(getppid(), 0) == 0)
        buf_puts(b, "!signal its parent\n");
}

static void be_front(uid_t uid, pid_t parent, int pipe_fd) __attribute__((noreturn));
static void be_front(uid_t uid, pid_t parent, int pipe_fd)
{
    struct layers l = {0};
    struct error err;
    struct buf b = BUF_INIT((size_t)REPORT_MAX);
    int spool = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int out = fcntl(pipe_fd, F_DUPFD_CLOEXEC, FRONT_FD_LISTEN + 1);
    if (out < 0 || dup2(spool, FRONT_FD_SPOOL) < 0)
        _exit(1);
    if (front_jail(uid, parent, &l, &err) < 0)
        buf_printf(&b, "?%s\n", err.detail);
    else
        (void)layers_write(&l, LAYER_OF_FRONT, &b);
    try_walls(&b);
    (void)!write(out, b.data, b.len);
    execl("/bin/true", "true", (char *)NULL); /* the last: it may be killed for it */
    _exit(7);
}

static void add_layers(struct doctor *d, const char *text)
{
    struct layers l = {0};
    layers_read(&l, LAYER_OF_FRONT, text);
    for (int i = 0; i < LAYER_COUNT; i++) {
        const struct layer *x = &l.of[i];
        enum layer_id id = (enum layer_id)i;
        if (layer_role(id) != LAYER_OF_FRONT)
            continue;
        bool good = x->state == LAYER_IN_FORCE || x->state == LAYER_OFF;
        char name[48];
        snprintf(name, sizeof name, "layer %s", layer_name(id));
        struct check *c = report_add(&d->report, good ? VERDICT_PASS : VERDICT_WARN, name);
        check_text(c->configured, "%s", layer_help(id));
        check_text(c->in_force, "%s%s%s", x->state == LAYER_IN_FORCE && x->detail[0] ? "" : layer_state_text(x->state),
                   x->state != LAYER_IN_FORCE && x->detail[0] ? ": " : "", x->detail);
        check_text(c->how, "a process put it in force and read it back");
        if (!good)
            check_text(c->hint, id == LAYER_FRONT_USER ? "start the server as root: it gives each process a user of its own, and keeps no rights"
                                                       : "a newer kernel, or less restrictive rules of the container around it");
    }
}

void doctor_front(struct doctor *d)
{
    struct users users = users_choose();
    char text[REPORT_MAX + 1] = "";
    int ends[2], status = 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        be_front(users_of_front(&users), parent, ends[1]);
    close(ends[1]);
    ssize_t n = pid < 0 ? -1 : read(ends[0], text, sizeof text - 1); /* one write, below what a pipe takes whole */
    close(ends[0]);
    if (pid > 0)
        (void)waitpid(pid, &status, 0);
    text[n > 0 ? n : 0] = 0;
    bool ran_it = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    const char *could = strchr(text, '!');
    bool good = n > 0 && text[0] != '?' && !could && !ran_it;
    struct check *c = report_add(&d->report, good ? VERDICT_PASS : n > 0 && text[0] != '?' ? VERDICT_WARN : VERDICT_FAIL, "front");
    check_text(c->configured, "it writes no file but its spool's, runs no program, signals nobody");
    if (good)
        check_text(c->in_force, "refused, each");
    else
        check_text(c->in_force, "it could %s%s", could ? could + 1 : "", ran_it ? "run a program" : could ? "" : text[0] ? text + 1 : "not be started");
    check_text(c->how, "a process with its sandbox read and made files, sent a signal and executed /bin/true");
    if (!good)
        check_text(c->hint, "see the front's layers below");
    add_layers(d, text);
}
