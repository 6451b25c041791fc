/* The sandboxes of front and broker: each put up in a process made for that, which then tries it. Runs in the command line. */
#include "broker/broker_jail.h"
#include "cli/doctor.h"
#include "core/errors.h"
#include "core/buf.h"
#include "core/fd.h"
#include "core/layers.h"
#include "front/front_jail.h"
#include "link/inherit.h"
#include "supervisor/users.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT_MAX 4096

struct role {
    const char *name, *configured;
    enum layer_role layers;
    int (*jail)(uid_t uid, pid_t parent, struct layers *l, struct error *err);
    uid_t (*user)(const struct users *u);
    enum layer_id user_layer;
};

static const struct role front = {
    "front", "it writes no file but its spool's, runs no program, signals nobody", LAYER_OF_FRONT, front_jail, users_of_front, LAYER_FRONT_USER};
static const struct role broker = {
    "broker", "it writes no file, runs no program, signals nobody", LAYER_OF_BROKER, broker_jail, users_of_broker, LAYER_BROKER_USER};

static void say(int out, const char *text) { (void)!write(out, text, strlen(text)); }

/* Behind the report of its layers: what it could all the same. It may be killed at any of these. */
static void try_walls(int out)
{
    if (open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0)
        say(out, "!read the directory /tmp\n");
    if (open("/tmp/bulkhead-probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0) {
        say(out, "!make a file\n");
        (void)unlink("/tmp/bulkhead-probe");
    }
    if (kill(getppid(), 0) == 0)
        say(out, "!signal its parent\n");
    execl("/bin/true", "true", (char *)NULL); /* its exit code tells */
}

static void be(const struct role *r, uid_t uid, pid_t parent, int pipe_fd) __attribute__((noreturn));
static void be(const struct role *r, uid_t uid, pid_t parent, int pipe_fd)
{
    struct layers l = {0};
    struct error err;
    struct buf b = BUF_INIT((size_t)REPORT_MAX);
    int spool = open("/dev/null", O_RDONLY | O_CLOEXEC); /* in the place of the front's */
    int out = fcntl(pipe_fd, F_DUPFD_CLOEXEC, FRONT_FD_LISTEN + 1);
    if (out < 0 || dup2(spool, FRONT_FD_SPOOL) < 0)
        _exit(1);
    if (r->jail(uid, parent, &l, &err) < 0) {
        buf_printf(&b, "?%s\n", err.detail);
        (void)!write(out, b.data, b.len);
        _exit(7);
    }
    (void)layers_write(&l, r->layers, &b);
    (void)!write(out, b.data, b.len);
    try_walls(out);
    _exit(7);
}

static void add_layers(struct doctor *d, const struct role *r, const char *text)
{
    struct layers l = {0};
    layers_read(&l, r->layers, text);
    for (int i = 0; i < LAYER_COUNT; i++) {
        const struct layer *x = &l.of[i];
        enum layer_id id = (enum layer_id)i;
        if (layer_role(id) != r->layers)
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
            check_text(c->hint, id == r->user_layer ? "start the server as root: it gives each process a user of its own, and keeps no rights"
                                                    : "a newer kernel, or less restrictive rules of the container around it");
    }
}

/* The report of a process in that sandbox, "" when there was none. Returns its exit status. */
static int ask(const struct role *r, char text[REPORT_MAX + 1])
{
    struct users users = users_choose();
    int ends[2], status = 0;
    size_t len = 0;
    ssize_t n = 0;
    text[0] = 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return 0;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        be(r, r->user(&users), parent, ends[1]);
    close(ends[1]);
    while (pid > 0 && (n = read(ends[0], text + len, REPORT_MAX - len)) > 0)
        len += (size_t)n;
    text[len] = 0;
    close(ends[0]);
    if (pid > 0)
        (void)waitpid(pid, &status, 0);
    return status;
}

/* "!read x\n!make y\n" as "read x, make y". */
static void list_deeds(const char *could, char *ret, size_t cap)
{
    size_t n = 0;
    for (const char *at = could; at && n + 1 < cap; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (*at == '!')
            n += (size_t)snprintf(ret + n, cap - n, "%s%.*s", n ? ", " : "", (int)strcspn(at + 1, "\n"), at + 1);
    ret[n < cap ? n : cap - 1] = 0;
}

static void check_role(struct doctor *d, const struct role *r)
{
    char text[REPORT_MAX + 1], deeds[CHECK_TEXT_BYTES] = "";
    int status = ask(r, text);
    bool started = text[0] && text[0] != '?', ran_it = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    const char *could = strchr(text, '!');
    list_deeds(could, deeds, sizeof deeds);
    bool good = started && !could && !ran_it;
    struct check *c = report_add(&d->report, good ? VERDICT_PASS : started ? VERDICT_WARN : VERDICT_FAIL, r->name);
    check_text(c->configured, "%s", r->configured);
    if (good)
        check_text(c->in_force, "refused, each");
    else if (started)
        check_text(c->in_force, "it could %s%s%s", deeds, could && ran_it ? ", " : "", ran_it ? "run a program" : "");
    else
        check_text(c->in_force, "it can't be put up: %s", text[0] ? text + 1 : "no process could be made");
    check_text(c->how, "a process with its sandbox read and made files, sent a signal and executed /bin/true");
    if (!good)
        check_text(c->hint, "see its layers below");
    add_layers(d, r, text);
}

void doctor_roles(struct doctor *d)
{
    check_role(d, &front);
    if (d->cfg->source_count > 0)
        check_role(d, &broker);
}
