/* What the kernel sandbox costs queries, and what the policy's verdict costs a statement: two processes with the product's own engine, one of them
 * behind its sandbox, that run the same queries in turns; each query is asked for and answered by a message, as a worker's is. What counts is the
 * CPU time of the process, in the kernel and outside, which other processes on the machine do not lengthen. Where its memory lies makes one process
 * faster than an equal one by some percent, so that there are several pairs.
 *
 *     bench_inside DATABASE Q1 Q6 [ROUNDS [PAIRS]]      DATABASE: TPC-H, Q1 and Q6: the statements; prints JSON */
#include "engine/engine_private.h"
#include "supervisor/users.h"
#include "worker/sandbox.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define VALUES_MAX 1000
#define VERDICT 'v' /* many verdicts on SELECT 1 */
#define LOOK_UP 'l' /* many look-ups of SELECT 1 in the statement cache */
#define VERDICTS 500
#define LOOK_UPS 100000

enum query { SELECT_1, Q1, Q6, QUERIES };
static const int repeat[QUERIES] = {2000, 1, 3};

struct child {
    pid_t pid;
    int fd;
};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench_inside: %s\n", what);
    _exit(1);
}

static void run(struct engine *e, const char *sql)
{
    struct error err;
    struct stream *s = engine_query(e, &(struct engine_query){.sql = sql, .sql_len = strlen(sql)}, &err);
    if (!s)
        die(err.detail);
    int64_t n;
    while ((n = stream_next(s, &err)) > 0)
        ;
    if (n < 0)
        die(err.detail);
    stream_free(s);
}

static double verdicts(struct engine *e)
{
    static char sql[] = "SELECT 1";
    double began = now_us();
    for (int i = 0; i < VERDICTS; i++) {
        enum policy_effect effect;
        struct error err;
        bool renamed;
        if (policy_judge(e->policy, sql, strlen(sql), &effect, &renamed, &err) != POLICY_ALLOWED)
            die("SELECT 1 is refused");
    }
    return (now_us() - began) / VERDICTS;
}

static double look_ups(struct engine *e)
{
    double began = now_us();
    for (int i = 0; i < LOOK_UPS; i++)
        if (!stmt_cache_find(e->cache, "SELECT 1", 8))
            die("SELECT 1 is not in the cache");
    return (now_us() - began) / LOOK_UPS;
}

static struct engine *open_engine(const char *database, bool boxed, uid_t uid, const char *scratch, pid_t parent)
{
    struct layers l = {0};
    struct error err;
    struct sandbox_plan plan = {.parent = parent,
                                .uid = uid,
                                .database_path = database,
                                .extension_directory = "",
                                .scratch_directory = scratch,
                                .file_bytes = 1 << 30,
                                .threads = 1};
    struct engine_options o = {.database_path = database, .memory_limit_bytes = 512000000, .threads = 1, .statement_cache_entries = 100};
    sandbox_offer(&l);
    if (boxed && sandbox_prepare(&plan, &l, &err) < 0)
        die(err.detail);
    struct engine *e = engine_open(&o, &err);
    if (!e || (boxed && sandbox_enter(&plan, &l, &err) < 0) || engine_lock(e, &err) < 0)
        die(err.detail);
    if (boxed != (prctl(PR_GET_SECCOMP) != 0)) /* under a filter the question itself may be refused */
        die("the sandbox is not as it should be");
    return e;
}

static _Noreturn void serve(int fd, struct engine *e, const char *const sql[QUERIES])
{
    char what;
    double said = 0;
    while (recv(fd, &what, 1, 0) == 1) {
        if (what == VERDICT)
            said = verdicts(e);
        else if (what == LOOK_UP)
            said = look_ups(e);
        else
            run(e, sql[(int)what]);
        if (send(fd, &said, sizeof said, 0) != sizeof said)
            break;
    }
    _exit(0);
}

static struct child start(bool boxed, const char *database, uid_t uid, const char *scratch, const char *const sql[QUERIES])
{
    int ends[2];
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        die("no socket pair");
    struct child c = {.pid = fork(), .fd = ends[0]};
    if (c.pid == 0) {
        close(ends[0]);
        serve(ends[1], open_engine(database, boxed, uid, scratch, parent), sql);
    }
    close(ends[1]);
    return c;
}

static double ask(const struct child *c, char what)
{
    double said;
    if (send(c->fd, &what, 1, MSG_NOSIGNAL) != 1 || recv(c->fd, &said, sizeof said, 0) != sizeof said)
        die("a child has gone");
    return said;
}

static double cpu_us(const struct child *c)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(c->pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
        die("no CPU clock");
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Microseconds for each. */
static double batch(const struct child *c, enum query q)
{
    double began = cpu_us(c);
    for (int i = 0; i < repeat[q]; i++)
        (void)ask(c, (char)q);
    return (cpu_us(c) - began) / repeat[q];
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print_row(const char *name, double *values, int n, const char *behind)
{
    qsort(values, (size_t)n, sizeof *values, by_size);
    printf("\"%s\": {\"median\": %.4f, \"min\": %.4f, \"max\": %.4f}%s", name, values[n / 2], values[0], values[n - 1], behind);
}

struct values {
    double ratio[QUERIES][VALUES_MAX], verdict[VALUES_MAX], look_up[VALUES_MAX];
    int n;
};

static void measure(const struct child child[2], int rounds, struct values *v)
{
    for (int i = -1; i < rounds; i++) { /* the first one warms up */
        for (enum query q = 0; q < QUERIES; q++) {
            double took[2];
            int first = i & 1;
            took[first] = batch(&child[first], q);
            took[!first] = batch(&child[!first], q);
            if (i >= 0)
                v->ratio[q][v->n] = took[1] / took[0];
        }
        if (i >= 0) {
            v->verdict[v->n] = ask(&child[1], VERDICT);
            v->look_up[v->n++] = ask(&child[1], LOOK_UP);
        }
    }
}

static void print(struct values *v)
{
    printf("{\"rounds\": %d, ", v->n);
    print_row("select_1", v->ratio[SELECT_1], v->n, ", ");
    print_row("q1", v->ratio[Q1], v->n, ", ");
    print_row("q6", v->ratio[Q6], v->n, ", ");
    print_row("verdict_us", v->verdict, v->n, ", ");
    print_row("look_up_us", v->look_up, v->n, "}\n");
}

int main(int argc, char **argv)
{
    static struct values values;
    int rounds = argc > 4 ? atoi(argv[4]) : 5, pairs = argc > 5 ? atoi(argv[5]) : 5;
    char scratch[] = "/var/tmp/bulkhead-bench-XXXXXX";
    if (argc < 4 || rounds < 1 || pairs < 1 || rounds > VALUES_MAX / pairs || !mkdtemp(scratch))
        return 2;
    cpu_set_t one; /* all on one core: two cores of a shared machine are not equally fast */
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        return 1;
    struct users users = users_choose();
    uid_t uid = users_of_worker(&users, 0);
    if (uid != 0 && chown(scratch, uid, uid) < 0)
        return 1;
    const char *const sql[QUERIES] = {[SELECT_1] = "SELECT 1", [Q1] = argv[2], [Q6] = argv[3]};
    for (int pair = 0; pair < pairs; pair++) {
        struct child child[2];
        for (int i = 0; i < 2; i++) { /* whoever starts first is not always the same */
            int boxed = i ^ (pair & 1);
            child[boxed] = start(boxed, argv[1], uid, scratch, sql);
        }
        measure(child, rounds, &values);
        for (int i = 0; i < 2; i++) /* the second one has the first one's end, too */
            close(child[i].fd);
        for (int i = 0; i < 2; i++)
            (void)waitpid(child[i].pid, NULL, 0);
    }
    print(&values);
    (void)rmdir(scratch);
    return 0;
}
