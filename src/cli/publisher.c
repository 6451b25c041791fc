/* The publisher of one admin write: takes the lock, makes the copy, waits until the supervisor says that the writer has closed it, and puts it into
 * the database's place. All that blocks on the disk is here. It knows no SQL and no clients; a log beside the database it folds in by a worker
 * of its own. Runs in the publisher. */
#include "cli/cli.h"
#include "cli/write_args.h"
#include "cli/write_run.h"
#include "core/clock.h"
#include "core/fd.h"
#include "core/formats.h"
#include "link/inherit.h"
#include "link/publisher.h"
#include "publish/publish.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define TELL_EVERY_NS (100 * NS_PER_MS)
#define FOLD_ANSWER_MAX ((size_t)4 << 20)

struct publisher {
    struct config *cfg;
    struct publication pub;
    int signal_fd;
    int64_t told_ns;
};

/* The supervisor never lets its end fill up: what can't be sent is for nobody. */
static void tell(const struct publisher_message *m) { (void)fd_send(PUBLISHER_FD_CONTROL, m, sizeof *m, NULL, 0); }

/* The order to end: a signal, or the end of the channel. */
static bool is_told_to_end(const struct publisher *p)
{
    struct pollfd fds[] = {{.fd = p->signal_fd, .events = POLLIN}, {.fd = PUBLISHER_FD_CONTROL}};
    return poll(fds, 2, 0) > 0;
}

static bool on_step(void *ctx, int64_t done, int64_t total)
{
    struct publisher *p = ctx;
    int64_t now = clock_now_ns();
    if (is_told_to_end(p))
        return false;
    if (done < total && now - p->told_ns < TELL_EVERY_NS)
        return true;
    p->told_ns = now;
    tell(&(struct publisher_message){.type = PUBLISHER_PROGRESS, .done_bytes = done, .total_bytes = total});
    return true;
}

/* The log of a writer that was killed becomes part of the database first, by a publication of its own. */
static int fold(struct publisher *p, const struct copy_progress *progress, struct error *err)
{
    char note[256];
    int64_t version;
    if (!publish_needs_fold(&p->pub))
        return 0;
    struct buf body = BUF_INIT(FOLD_ANSWER_MAX);
    write_config_path(p->cfg, p->pub.copy_path);
    struct write_plan plan = {.cfg = p->cfg, .mode = "copy", .sql = "", .format = FORMAT_RAW};
    int rc = publish_copy(&p->pub, progress, err) < 0 || write_run(&plan, p->signal_fd, &body, err) < 0 ||
                     publish_commit(&p->pub, -1, &version, note, err) < 0
                 ? -1
                 : 0;
    buf_free(&body);
    return rc < 0 ? -1 : publish_again(&p->pub, err);
}

/* True: COMMIT has come. */
static bool wait_for_commit(const struct publisher *p)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = p->signal_fd, .events = POLLIN}, {.fd = PUBLISHER_FD_CONTROL, .events = POLLIN}};
        struct publisher_message m;
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[0].revents)
            return false;
        ssize_t n = fd_recv(PUBLISHER_FD_CONTROL, &m, sizeof m, NULL, 0, NULL);
        if (n == (ssize_t)sizeof m && m.type == PUBLISHER_COMMIT)
            return true;
        if (n >= 0 || errno != EAGAIN)
            return false;
    }
}

static int publish(struct publisher *p, int64_t keep, struct error *err)
{
    struct copy_progress progress = {.step = on_step, .ctx = p};
    struct publish_options o = {.path = p->cfg->database.path, .mode = LOCK_COPY, .command = "bulkhead serve: /v1/admin/sql"};
    struct publisher_message done = {.type = PUBLISHER_DONE}, copied = {.type = PUBLISHER_COPIED};
    if (publish_begin(&p->pub, &o, err) < 0 || fold(p, &progress, err) < 0 || publish_copy(&p->pub, &progress, err) < 0)
        return -1;
    snprintf(copied.path, sizeof copied.path, "%s", p->pub.copy_path);
    tell(&copied);
    if (!wait_for_commit(p))
        return 0;
    if (publish_commit(&p->pub, keep, &done.kept, done.note, err) < 0)
        return -1;
    tell(&done);
    return 0;
}

static struct config *inherited_config(struct error *err)
{
    struct config *cfg = NULL;
    char *text;
    size_t len;
    if (fd_read_all(PUBLISHER_FD_CONFIG, CONFIG_TEXT_MAX, &text, &len) < 0) {
        error_set(err, ERR_INTERNAL, "cannot read the inherited configuration: %s", strerror(errno));
        return NULL;
    }
    if (config_load_text(&cfg, text, len, "inherited configuration", err) < 0)
        cfg = NULL;
    free(text);
    close(PUBLISHER_FD_CONFIG);
    return cfg;
}

int publisher_main(int argc, char **argv)
{
    struct publisher p = {.pub = PUBLICATION_NONE};
    struct publisher_message failed = {.type = PUBLISHER_FAILED};
    if (argc != 4) {
        fprintf(stderr, "bulkhead publisher-process is started by `bulkhead serve`, not by hand\n");
        return 2;
    }
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != (pid_t)atoi(argv[2]))
        return 1;
    prctl(PR_SET_NAME, "bulkhead-publ"); /* exec by /proc/self/exe leaves "exe" */
    p.signal_fd = write_start();
    p.cfg = p.signal_fd >= 0 ? inherited_config(&failed.error) : NULL;
    int rc = p.cfg ? publish(&p, strtoll(argv[3], NULL, 10), &failed.error) : -1;
    if (rc < 0)
        tell(&failed);
    publish_end(&p.pub);
    config_free(p.cfg);
    return 0;
}
