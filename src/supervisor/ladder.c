/* The kill ladder. Runs in the supervisor and the command line. */
#include "supervisor/ladder.h"
#include "core/clock.h"
#include "link/inherit.h"

#include <signal.h>

void ladder_step(struct ladder *l, const struct child *c, const struct ladder_graces *g, int64_t now_ns)
{
    switch (l->stage) {
    case STOP_NONE:
        (void)child_signal(c, INTERRUPT_SIGNAL, (int)l->job);
        l->stage = STOP_INTERRUPT;
        l->next_ns = now_ns + g->interrupt_ms * NS_PER_MS;
        break;
    case STOP_INTERRUPT:
        (void)child_signal(c, SIGTERM, 0);
        l->stage = STOP_TERM;
        l->next_ns = now_ns + g->term_ms * NS_PER_MS;
        break;
    case STOP_TERM:
        (void)child_signal(c, SIGKILL, 0);
        l->stage = STOP_KILL;
        l->next_ns = 0;
        break;
    default: break;
    }
}

void ladder_terminate(struct ladder *l, const struct child *c, const struct ladder_graces *g, int64_t now_ns)
{
    if (l->stage >= STOP_TERM)
        return;
    l->stage = STOP_INTERRUPT;
    ladder_step(l, c, g, now_ns);
}
