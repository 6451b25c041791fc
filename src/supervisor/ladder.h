/* The kill ladder: interrupt, interrupt_grace, SIGTERM, term_grace, SIGKILL. It needs no co-operation of the process it ends.
 * Runs in the supervisor and the command line. */
#pragma once
#include "core/errors.h"
#include "supervisor/child.h"

struct ladder {
    uint32_t job;          /* the job to be stopped; 0 for a process that must go whatever it does */
    enum stop_stage stage; /* the last rung taken */
    int64_t next_ns;       /* when the next one is due; 0 after SIGKILL */
};

struct ladder_graces {
    int64_t interrupt_ms, term_ms;
};

/* Takes the next rung (from STOP_NONE: the interrupt). */
void ladder_step(struct ladder *l, const struct child *c, const struct ladder_graces *g, int64_t now_ns);
/* Skips the interrupt: SIGTERM now, unless that rung was taken already. */
void ladder_terminate(struct ladder *l, const struct child *c, const struct ladder_graces *g, int64_t now_ns);
