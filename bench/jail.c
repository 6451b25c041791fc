/* What the sandbox costs a worker's start: limits, namespaces, user, fence, filter and capabilities, in a fresh process each time; and a control
 * group made, limited, entered and removed. Links the product's own code: nothing else would measure it.
 *
 *     bench_jail DATABASE [ROUNDS]      prints medians and maxima in ms, as JSON */
#include "supervisor/groups.h"
#include "supervisor/users.h"
#include "worker/sandbox.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 1000

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print_row(const char *name, double *values, int n, const char *behind)
{
    qsort(values, (size_t)n, sizeof *values, by_size);
    printf("\"%s\": {\"median\": %.3f, \"max\": %.3f}%s", name, values[n / 2], values[n - 1], behind);
}

/* In a child: everything that the real start does, but for the engine in between. */
static void jail(const char *database, uid_t uid, const char *scratch, pid_t parent, int out)
{
    struct layers l = {0};
    struct error err;
    double t[3] = {now_ms()};
    struct sandbox_plan plan = {.parent = parent,
                                .uid = uid,
                                .database_path = database,
                                .extension_directory = "",
                                .scratch_directory = scratch,
                                .file_bytes = 1 << 30,
                                .threads = 2};
    sandbox_offer(&l);
    int r = sandbox_prepare(&plan, &l, &err);
    t[1] = now_ms();
    if (r == 0)
        r = sandbox_enter(&plan, &l, &err);
    t[2] = now_ms();
    double took[2] = {t[1] - t[0], t[2] - t[1]};
    if (r < 0 || write(out, took, sizeof took) != sizeof took)
        fprintf(stderr, "bench_jail: %s\n", r < 0 ? err.detail : "no pipe");
    _exit(r < 0);
}

static int one_jail(const char *database, uid_t uid, const char *scratch, double *ret_before, double *ret_after)
{
    double took[2];
    int ends[2], status;
    if (pipe(ends) < 0)
        return -1;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        jail(database, uid, scratch, parent, ends[1]);
    close(ends[1]);
    ssize_t n = read(ends[0], took, sizeof took);
    close(ends[0]);
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || n != sizeof took || status != 0)
        return -1;
    *ret_before = took[0];
    *ret_after = took[1];
    return 0;
}

static int one_group(struct groups *g, uint32_t id, double *ret_ms)
{
    static const struct group_limits limits = {.memory_bytes = 512000000, .tasks = 100};
    struct group group;
    int status;
    double began = now_ms();
    if (group_make(g, id, &limits, &group) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < CGROUP_TREES; i++)
            if (group.procs_fd[i] >= 0 && write(group.procs_fd[i], "0", 1) != 1)
                _exit(1);
        _exit(0);
    }
    group_entered(&group);
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
        return -1;
    group_remove(g, &group);
    *ret_ms = now_ms() - began;
    return 0;
}

int main(int argc, char **argv)
{
    static double before[ROUNDS_MAX], after[ROUNDS_MAX], both[ROUNDS_MAX], group[ROUNDS_MAX];
    int rounds = argc > 2 ? atoi(argv[2]) : 50;
    struct users users = users_choose();
    struct log log = {.level = LOG_ERROR, .format = LOG_TEXT, .role = "bench"};
    struct groups g;
    char scratch[] = "/var/tmp/bulkhead-bench-XXXXXX";
    if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX || !mkdtemp(scratch))
        return 2;
    uid_t uid = users_of_worker(&users, 0);
    if (uid != 0 && chown(scratch, uid, uid) < 0)
        return 1;
    groups_open(&g, false, &log);
    int r = 0;
    for (int i = 0; i < rounds && r == 0; i++) {
        r = one_jail(argv[1], uid, scratch, &before[i], &after[i]);
        both[i] = before[i] + after[i];
        if (r == 0 && g.memory != CGROUP_TREES)
            r = one_group(&g, (uint32_t)i + 1, &group[i]);
    }
    groups_close(&g);
    (void)rmdir(scratch);
    if (r < 0)
        return 1;
    printf("{\"rounds\": %d, ", rounds);
    print_row("before_open_ms", before, rounds, ", ");
    print_row("after_open_ms", after, rounds, ", ");
    print_row("sandbox_ms", both, rounds, ", ");
    print_row("group_ms", group, rounds, "}\n");
    return 0;
}
