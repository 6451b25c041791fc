/* What a worker that a signal ends says before it does: the kernel then takes its memory apart, which takes milliseconds, and its place can be
 * filled meanwhile. Nothing depends on it: a death without a word (SIGKILL, no stack left) is seen when it is over. Runs in the worker. */
#include "link/inherit.h"
#include "worker/worker.h"

#include <signal.h>
#include <unistd.h>

/* Its default action is in force again, and waits until we return. */
static void on_end(int sig)
{
    (void)!write(WORKER_FD_STATUS, "D", 1);
    raise(sig);
}

void dying_announce(void)
{
    static const int ends[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    struct sigaction a = {.sa_handler = on_end, .sa_flags = (int)(SA_RESETHAND | SA_ONSTACK)};
    sigfillset(&a.sa_mask);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct sigaction before;
        if (sigaction(ends[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL) /* a sanitizer has words of its own */
            (void)sigaction(ends[i], &a, NULL);
    }
}
