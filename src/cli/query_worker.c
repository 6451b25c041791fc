/* Starting and ending the worker of a query. What it prints is kept, not passed on: a terminal is not for it to write to.
 * Runs in the command line. */
#include "cli/query_worker.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/fd.h"
#include "core/layers.h"
#include "supervisor/users.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKER_ID 1
/* A worker needs some 35 ms to start; on a busy machine, or with a large write-ahead log, more. */
#define START_LIMIT_MS 120000
/* A killed process that has not ended by then hangs in the kernel: init will reap it. */
#define END_LIMIT_MS 10000

static int spawn(struct query_worker *w, const struct config *cfg, const struct query_worker_write *write, bool probe, struct error *err)
{
    struct users users = users_choose();
    uid_t uid = write ? 0 : users_of_worker(&users, 0); /* a writer's file belongs to whoever calls */
    if (!scratch_make(&w->scratch, WORKER_ID, uid, w->scratch_directory, sizeof w->scratch_directory))
        return error_set(err, ERR_UNAVAILABLE, "cannot make a directory below %s: %s", w->scratch.root, strerror(errno));
    char *executable = worker_executable();
    if (!executable)
        return error_set(err, ERR_UNAVAILABLE, "bulkhead-worker, which belongs beside this program, can't be executed: %s", strerror(errno));
    struct buf text = BUF_INIT(CONFIG_TEXT_MAX);
    CHECK(config_to_text(cfg, &text));
    auto_close int config_fd = fd_constant("bulkhead-config", text.data, text.len);
    buf_free(&text);
    struct worker_plan plan = {.broker_fd = -1,
                               .executable = executable,
                               .config_fd = config_fd,
                               .request_bytes = ring_request_bytes(cfg->limits.max_sql_bytes),
                               .scratch_directory = w->scratch_directory,
                               .probe = probe,
                               .uid = uid};
    if (write) {
        plan.write_mode = write->mode;
        plan.read_paths = write->read_paths;
        plan.request_bytes = ring_request_bytes((int64_t)write->script_bytes);
    }
    struct cap_sizes sizes = {.memory_bytes = cfg->pool.memory_cap_bytes, .cpus = cfg->pool.cpu_cap, .threads = cfg->pool.threads};
    int r = config_fd < 0 ? -1 : worker_cap_make(&w->caps, WORKER_ID, &sizes, &w->cap, &plan);
    if (r == 0)
        r = worker_spawn(&plan, WORKER_ID, &w->ends);
    if (r == 0)
        (void)worker_cap_started(&w->caps, &w->cap, &w->ends.child);
    if (r == 0)
        r = ring_map(w->ends.region_fd, plan.request_bytes, false, &w->ring);
    if (r < 0)
        error_set(err, ERR_UNAVAILABLE, "cannot start a worker process: %s", strerror(errno));
    free(executable);
    return r;
}

void query_worker_listen(struct query_worker *w)
{
    char part[1024];
    ssize_t n;
    while ((n = read(w->ends.log_fd, part, sizeof part)) > 0) {
        size_t room = sizeof w->words - 1 - w->words_len, len = (size_t)n < room ? (size_t)n : room;
        memcpy(w->words + w->words_len, part, len);
        w->words_len += len;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        fd_close_p(&w->ends.log_fd);
}

int query_worker_watch_ms(const struct query_worker *w) { return w->cap.statm_fd >= 0 ? CAP_LOOK_MS : -1; }

void query_worker_watch(struct query_worker *w)
{
    if (w->passed_cap || !worker_cap_passed(&w->cap))
        return;
    w->passed_cap = true;
    (void)child_signal(&w->ends.child, SIGKILL, 0);
}

bool query_worker_reap(struct query_worker *w)
{
    if (!w->has_ended)
        w->has_ended = child_reap(&w->ends.child, &w->end);
    return w->has_ended;
}

/* The first line with a word in it: what sanitizers and failed checks say first is what happened. */
static void first_words(const struct query_worker *w, char *ret, size_t cap)
{
    ret[0] = 0;
    for (const char *line = w->words; *line && !ret[0]; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t n = strcspn(line, "\n");
        for (size_t i = 0; i < n; i++)
            if (isalpha((unsigned char)line[i])) {
                snprintf(ret, cap, "%.*s", (int)n, line);
                break;
            }
    }
}

int query_worker_crashed(struct query_worker *w, const char *what, enum error_code code, struct error *err)
{
    char words[512], how[64];
    if (w->ends.log_fd >= 0)
        query_worker_listen(w);
    first_words(w, words, sizeof words);
    enum cap_death cap = w->passed_cap ? CAP_THE_CAUSE : worker_cap_death(&w->caps, &w->cap, &w->end, w->words);
    if (cap == CAP_THE_CAUSE) {
        error_set(err, ERR_OUT_OF_MEMORY, "%s needed more than its memory cap of %lld bytes, and was killed", what, (long long)w->cap.memory_bytes);
        err->limit_bytes = w->cap.memory_bytes;
        err->stopped_by = STOP_KILL;
        return -1;
    }
    if (w->end.signal)
        snprintf(how, sizeof how, "was ended by signal %d (%s)", w->end.signal, signal_text(w->end.signal));
    else
        snprintf(how, sizeof how, "exited with code %d", w->end.exit_code);
    const char *hint = w->end.signal == SIGKILL ? "; if nobody did that, the system ran out of memory: lower pool.memory_limit" : "";
    error_set(err, code, "%s %s%s%s%s", what, how, hint, words[0] ? "; it said: " : "", words);
    err->signal = w->end.signal;
    return -1;
}

/* Reads the one record. 1 ready, 0 nothing yet, -1 with *err. */
static int read_status(struct query_worker *w, struct error *err)
{
    char record[1 + LAYERS_TEXT_MAX];
    ssize_t n = read(w->ends.status_fd, record, sizeof record - 1);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    fd_close_p(&w->ends.status_fd);
    if (n <= 0)
        return 0; /* it died before a word: its pidfd tells */
    record[n] = 0;
    if (record[0] == 'R') {
        layers_read(&w->layers, LAYER_OF_WORKER, record + 1);
        return 1;
    }
    return error_set(err, ERR_UNAVAILABLE, "%s", record + 1);
}

static int wait_ready(struct query_worker *w, int signal_fd, struct error *err)
{
    int64_t limit_ns = clock_now_ns() + START_LIMIT_MS * NS_PER_MS;
    for (;;) {
        struct pollfd p[] = {{.fd = w->ends.status_fd, .events = POLLIN},
                             {.fd = w->ends.child.pidfd, .events = POLLIN},
                             {.fd = w->ends.log_fd, .events = POLLIN},
                             {.fd = signal_fd, .events = POLLIN}};
        int64_t left_ms = (limit_ns - clock_now_ns()) / NS_PER_MS, watch_ms = query_worker_watch_ms(w);
        if (left_ms <= 0)
            return error_set(err, ERR_UNAVAILABLE, "the worker was not ready after %d s", START_LIMIT_MS / 1000);
        int n = poll(p, 4, (int)(watch_ms > 0 ? watch_ms : left_ms));
        query_worker_watch(w);
        if (n <= 0)
            continue;
        if (p[3].revents)
            return error_set(err, ERR_CANCELLED, "the query was cancelled before it began");
        if (p[2].revents)
            query_worker_listen(w);
        int r = p[0].revents ? read_status(w, err) : 0;
        if (r)
            return r < 0 ? -1 : 0;
        if (p[1].revents && query_worker_reap(w))
            return query_worker_crashed(w, "the worker process, while it started,", ERR_UNAVAILABLE, err);
    }
}

static int start(struct query_worker *w, const struct config *cfg, const struct query_worker_write *write, bool probe, int signal_fd,
                 struct error *err)
{
    *w = (struct query_worker){.ends = {CHILD_NONE, -1, -1, -1, -1, 0}, .scratch = SCRATCH_NONE, .cap = WORKER_CAP_NONE};
    struct log quiet = {.level = LOG_ERROR, .format = LOG_TEXT, .role = "query"};
    caps_open(&w->caps, cfg, &quiet);
    caps_report(&w->caps, cfg->pool.cpu_cap, &w->layers);
    layers_set(&w->layers, LAYER_SCRATCH_QUOTA, LAYER_OFF, "the commands do not watch it");
    if (!probe && layers_require(&w->layers, LAYER_OF_SUPERVISOR, &cfg->sandbox.require, err) < 0)
        return -1;
    if (scratch_open(&w->scratch, cfg->pool.scratch_directory, cfg->pool.scratch_limit_bytes, &quiet, err) < 0 ||
        spawn(w, cfg, write, probe, err) < 0)
        return -1;
    return wait_ready(w, signal_fd, err);
}

int query_worker_start(struct query_worker *w, const struct config *cfg, int signal_fd, struct error *err)
{
    return start(w, cfg, NULL, false, signal_fd, err);
}

int query_worker_start_probe(struct query_worker *w, const struct config *cfg, int signal_fd, struct error *err)
{
    return start(w, cfg, NULL, true, signal_fd, err);
}

int query_worker_start_writer(struct query_worker *w, const struct config *cfg, const struct query_worker_write *write, int signal_fd,
                              struct error *err)
{
    return start(w, cfg, write, false, signal_fd, err);
}

void query_worker_stop(struct query_worker *w)
{
    int64_t limit_ns = clock_now_ns() + END_LIMIT_MS * NS_PER_MS;
    if (w->ends.child.pidfd >= 0)
        (void)child_signal(&w->ends.child, SIGKILL, 0);
    while (w->ends.child.pidfd >= 0 && !query_worker_reap(w) && clock_now_ns() < limit_ns) {
        struct pollfd p = {.fd = w->ends.child.pidfd, .events = POLLIN};
        (void)poll(&p, 1, 100);
    }
    fd_close_p(&w->ends.child.pidfd);
    worker_ends_close(&w->ends);
    ring_unmap(&w->ring);
    worker_cap_end(&w->caps, &w->cap);
    caps_close(&w->caps);
    scratch_close(&w->scratch);
}
