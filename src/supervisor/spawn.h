/* Starting a worker: its link, region, pipes and scratch directory, then the exec. Runs in the supervisor and the command line. */
#pragma once
#include "supervisor/child.h"

/* What the parent keeps of a worker it started. All fds are the caller's; -1 when taken or none. */
struct worker_ends {
    struct child child;
    int link_fd; /* non-blocking */
    int region_fd;
    int status_fd; /* one record (link/inherit.h); non-blocking */
    int log_fd;    /* what it prints; non-blocking; -1 when it prints on the parent's stderr */
    size_t request_bytes;
};

struct worker_plan {
    const char *executable;
    int config_fd; /* fd_constant with the effective configuration; stays the caller's */
    size_t request_bytes;
    const char *scratch_directory; /* "" for none; must exist */
    uid_t uid;                     /* who it becomes; 0: stays who we are */
    int64_t data_bytes;            /* its RLIMIT_DATA; 0: none */
    const int *group_fds;          /* child.h */
    int group_count;
    int first_core, cores;
    bool share_stderr;    /* print on our stderr instead of a pipe */
    int broker_fd;        /* a channel to the broker; -1: none. Stays the caller's */
    bool dedicated;       /* not for the pool (enum worker_kind) */
    bool probe;           /* it tries its walls instead of serving */
    const char *verify;   /* the extension's file that it loads instead of serving; NULL: it serves */
    const char *verified; /* states of extensions' files whose signatures were checked (core/extensions.h); NULL: none */
    const void *grants;   /* link/grants.h; at most GRANTS_MAX_BYTES */
    size_t grants_bytes;
    const char *write_mode;        /* "copy", "in-place" (link/inherit.h); NULL: it serves readers */
    const char *const *read_paths; /* of a writer; NULL-terminated; NULL: none */
};

/* Does not wait for the exec: what fails before it is said on the status pipe. 0; -1 with errno, nothing left behind. */
int worker_spawn(const struct worker_plan *plan, uint32_t id, struct worker_ends *ret);
void worker_ends_close(struct worker_ends *e);

/* The worker's executable: beside our own. Returns a malloc'd path; NULL with errno when there is none. */
char *worker_executable(void);
