/* All that a child has from its parent: descriptors under fixed numbers and a few arguments. Nothing else is open, the environment is empty.
 * Runs in every process. */
#pragma once

/* A worker: bulkhead-worker WORKER_ID PARENT_PID REQUEST_BYTES SCRATCH_DIRECTORY ("" for none) [write MODE READ_PATH...]
 * With `write` it opens the configuration's database for writing, runs one script and ends. MODE: copy (a private copy), in-place (the
 * database itself). READ_PATH: files that the script may read besides, absolute; directories end in a slash.
 * fd 0 is /dev/null, 1 and 2 are a pipe that the supervisor logs. */
enum worker_fd {
    WORKER_FD_LINK = 3, /* its end of the link; end of file here is the order to end */
    WORKER_FD_REGION,   /* the shared region (link/ring.h) */
    WORKER_FD_STATUS,   /* a pipe: one record, "R" = ready or "F<text>" = can't start, and why */
    WORKER_FD_CONFIG,   /* the effective configuration, sealed */
    WORKER_FD_END
};

/* A front: bulkhead front-process PARENT_PID LISTENERS */
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
