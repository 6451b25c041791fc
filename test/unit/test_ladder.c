/* The kill ladder (src/supervisor/ladder.c) on real processes: each rung in its order, each with its signal and its grace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "link/inherit.h"
#include "supervisor/ladder.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const struct ladder_graces graces = {.interrupt_ms = 250, .term_ms = 1000};
#define NOW ((int64_t)5000 * NS_PER_S)

/* A shell script that prints a line when its traps stand; it is ready when this returns. */
static struct child start(const char *script)
{
    struct child c;
    int out[2];
    char byte;
    assert_int_equal(pipe(out), 0);
    const char *argv[] = {"sh", "-c", script, NULL};
    struct child_spec spec = {.path = "/bin/sh", .argv = argv, .output_fd = out[1]};
    assert_int_equal(child_spawn(&spec, &c), 0);
    close(out[1]);
    assert_int_equal(read(out[0], &byte, 1), 1);
    close(out[0]);
    return c;
}

static struct child_end wait_end(struct child *c)
{
    struct child_end end = {0};
    struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 20000), 1);
    assert_true(child_reap(c, &end));
    assert_int_equal(c->pidfd, -1);
    assert_int_equal(c->pid, 0);
    return end;
}

static bool is_running(struct child *c)
{
    struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

#define DEAF "trap '' TERM USR1; echo; while :; do sleep 10; done"

static void it_goes_rung_by_rung(void **state)
{
    (void)state;
    struct child c = start(DEAF);
    struct ladder l = {.job = 7};
    ladder_step(&l, &c, &graces, NOW);
    assert_int_equal(l.stage, STOP_INTERRUPT);
    assert_int_equal(l.next_ns, NOW + 250 * NS_PER_MS);
    ladder_step(&l, &c, &graces, NOW);
    assert_int_equal(l.stage, STOP_TERM);
    assert_int_equal(l.next_ns, NOW + NS_PER_S);
    assert_true(is_running(&c));
    ladder_step(&l, &c, &graces, NOW);
    assert_int_equal(l.stage, STOP_KILL);
    assert_int_equal(l.next_ns, 0);
    assert_int_equal(wait_end(&c).signal, SIGKILL);
    ladder_step(&l, &c, &graces, NOW); /* past its end, and with nobody there */
    assert_int_equal(l.stage, STOP_KILL);
    assert_int_equal(l.job, 7);
}

static void the_interrupt_names_the_job(void **state)
{
    (void)state;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, INTERRUPT_SIGNAL);
    assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
    struct child me = {.pid = getpid(), .pidfd = -1};
    struct ladder l = {.job = 4242};
    ladder_step(&l, &me, &graces, NOW); /* without a pidfd nobody is signalled: a pid alone may be another's */
    struct timespec none = {0};
    siginfo_t info;
    assert_int_equal(sigtimedwait(&set, &info, &none), -1);
    struct child c = start("trap 'exit 3' USR1; echo; while :; do sleep 0.01; done");
    l = (struct ladder){.job = 4242};
    ladder_step(&l, &c, &graces, NOW);
    assert_int_equal(wait_end(&c).exit_code, 3);
}

static void what_must_go_gets_no_interrupt(void **state)
{
    (void)state;
    struct child c = start("trap 'exit 9' USR1; trap 'exit 15' TERM; echo; while :; do sleep 0.01; done");
    struct ladder l = {0};
    ladder_terminate(&l, &c, &graces, NOW);
    assert_int_equal(l.stage, STOP_TERM);
    assert_int_equal(l.next_ns, NOW + NS_PER_S);
    assert_int_equal(wait_end(&c).exit_code, 15);
    ladder_terminate(&l, &c, &graces, NOW + 1); /* asked for again: the first one's grace still counts */
    assert_int_equal(l.next_ns, NOW + NS_PER_S);
    c = start(DEAF);
    l = (struct ladder){.stage = STOP_KILL};
    ladder_terminate(&l, &c, &graces, NOW);
    assert_int_equal(l.stage, STOP_KILL);
    (void)child_signal(&c, SIGKILL, 0);
    assert_int_equal(wait_end(&c).signal, SIGKILL);
}

static void a_stopped_process_ends_by_the_last_rung(void **state)
{
    (void)state;
    struct child c = start("echo; while :; do sleep 10; done");
    assert_int_equal(child_signal(&c, SIGSTOP, 0), 0);
    struct ladder l = {.job = 1};
    ladder_step(&l, &c, &graces, NOW);
    ladder_step(&l, &c, &graces, NOW);
    assert_true(is_running(&c));
    ladder_step(&l, &c, &graces, NOW);
    assert_int_equal(wait_end(&c).signal, SIGKILL);
}

static void a_program_that_is_not_there_is_an_error_of_the_start(void **state)
{
    (void)state;
    struct child c = CHILD_NONE;
    const char *argv[] = {"nothing", NULL};
    struct child_spec spec = {.path = "/nonexistent/nothing", .argv = argv, .output_fd = -1};
    assert_int_equal(child_spawn(&spec, &c), -1);
    assert_int_equal(c.pidfd, -1);
    struct child_end end;
    assert_false(child_reap(&c, &end));
    assert_int_equal(child_signal(&c, SIGTERM, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_rung_by_rung),
        cmocka_unit_test(the_interrupt_names_the_job),
        cmocka_unit_test(what_must_go_gets_no_interrupt),
        cmocka_unit_test(a_stopped_process_ends_by_the_last_rung),
        cmocka_unit_test(a_program_that_is_not_there_is_an_error_of_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
