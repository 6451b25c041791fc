/* All that a child has from its parent: descriptors under fixed numbers and a few arguments. Nothing else is open, the environment is empty.
 * Runs in every process. */
#pragma once

/* A worker: bulkhead-worker WORKER_ID PARENT_PID REQUEST_BYTES SCRATCH_DIRECTORY ("" for none) UID (to become; 0: none) DATA_BYTES (RLIMIT_DATA;
 * 0: none).
 * fd 0 is /dev/null, 1 and 2 are a pipe that the supervisor logs. */
#define WORKER_ARGUMENTS 7 /* argc */
enum worker_fd {
    WORKER_FD_LINK = 3, /* its end of the link; end of file here is the order to end */
    WORKER_FD_REGION,   /* the shared region (link/ring.h) */
    WORKER_FD_STATUS,   /* a pipe: one record, "R<layers>" = ready, with a report of core/layers.h; "F<text>" = can't start, and why;
                           "S<text>" = a layer that the configuration requires is not in force */
    WORKER_FD_CONFIG,   /* the effective configuration, sealed */
    WORKER_FD_END
};

/* A front: bulkhead front-process PARENT_PID LISTENERS UID (to become; 0: none) */
enum front_fd {
    FRONT_FD_CONTROL = 3,
    FRONT_FD_PAGE,
    FRONT_FD_NUDGE, /* eventfd: the supervisor looks at the page */
    FRONT_FD_CONFIG,
    FRONT_FD_LISTEN /* the first listener; the others follow */
};

#define LISTENERS_MAX 16

/* Exit codes of workers, part of the protocol with the supervisor. */
enum worker_exit { WORKER_EXIT_DONE = 0, WORKER_EXIT_USAGE = 64, WORKER_EXIT_START = 69, WORKER_EXIT_LINK = 70 };

/* The signal that interrupts a job; its value is the job. */
#define INTERRUPT_SIGNAL SIGUSR1
