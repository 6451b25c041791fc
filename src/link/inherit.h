/* All that a child has from its parent: descriptors under fixed numbers and a few arguments. Nothing else is open, the environment is empty.
 * Runs in every process. */
#pragma once

/* What a worker is for: which limits it has, and whether it may keep something from one query to the next. */
enum worker_kind {
    WORKER_KIND_POOL,    /* any caller's query, one after the other */
    WORKER_KIND_SESSION, /* one session's, whose state it keeps */
    WORKER_KIND_SOURCES, /* one request with sources; also a warm one that waits for a request or a session */
    WORKER_KIND_WRITER,  /* one admin write */
    WORKER_KINDS
};
static inline const char *worker_kind_text(enum worker_kind kind)
{
    static const char *const texts[WORKER_KINDS] = {"pool", "session", "sources", "writer"};
    return (unsigned)kind < WORKER_KINDS ? texts[kind] : "unknown";
}

/* A worker: bulkhead-worker WORKER_ID PARENT_PID REQUEST_BYTES SCRATCH_DIRECTORY ("" for none) UID DATA_BYTES VERIFIED KIND
 * UID: the user to become; 0: none. DATA_BYTES: its RLIMIT_DATA; 0: none.
 * VERIFIED: states of extensions' files whose signatures were checked (core/extensions.h), with commas; "": none.
 * KIND: "pool"; "dedicated": what such a worker becomes is decided when it is assigned; "probe": it serves no
 * query but tries its walls (`bulkhead doctor`, worker/probe.h); "verify" PATH: it opens no database, has the engine
 * check and load that extension, says ready or why not, and ends; or "write" MODE READ_PATH...: it opens the
 * configuration's database for writing, runs one script and ends. MODE: copy (a private copy), in-place (the database itself), look (the
 * database itself, read-only: it ends with WORKER_EXIT_WRITES when the script would write). READ_PATH:
 * files that the script may read besides, absolute; directories end in a slash.
 * fd 0 is /dev/null, 1 and 2 are a pipe that the supervisor logs. */
#define WORKER_ARGUMENTS 9 /* argc, up to and with KIND */
enum worker_fd {
    WORKER_FD_LINK = 3, /* its end of the link; end of file here is the order to end */
    WORKER_FD_REGION,   /* the shared region (link/ring.h) */
    WORKER_FD_STATUS,   /* a pipe: one record (behind it a writer of a copy says "W" when the file is written, closed and verified, one of the pool
                           "D" when a signal is about to end it), "R<layers>" = ready, with a report of core/layers.h; "F<text>" = can't start, and why;
                           "S<source>\n<text>" = for that source's sake; "J<text>" = a layer of the sandbox that is required is not in force */
    WORKER_FD_CONFIG,   /* the effective configuration, sealed */
    WORKER_FD_GRANTS,   /* a pipe: its sources with their secrets (link/grants.h); empty for the pool's */
    WORKER_FD_BROKER,   /* a channel to the broker (link/egress.h); without sources elsewhere: nothing of use */
    WORKER_FD_END
};

/* A front: bulkhead front-process PARENT_PID LISTENERS UID (to become; 0: none) */
enum front_fd {
    FRONT_FD_CONTROL = 3,
    FRONT_FD_PAGE,
    FRONT_FD_NUDGE, /* eventfd: the supervisor looks at the page */
    FRONT_FD_CONFIG,
    FRONT_FD_KEYS,  /* the key file's text, sealed; empty when there is none */
    FRONT_FD_TLS,   /* certificate and private key (link/identity.h), sealed; empty when there is no TLS */
    FRONT_FD_SPOOL, /* the directory for spool files; no directory when there is no spool */
    FRONT_FD_LISTEN /* the first listener; the others follow */
};

#define LISTENERS_MAX 16

/* The publisher of one write: bulkhead publisher-process PARENT_PID KEEP (old versions that stay) */
enum publisher_fd {
    PUBLISHER_FD_CONTROL = 3, /* link/publisher.h; end of file is the order to end */
    PUBLISHER_FD_CONFIG       /* the effective configuration, with the sizes for writes; sealed */
};

/* The broker: bulkhead broker-process PARENT_PID UID (to become; 0: none)
 * Its channel: one report of its layers to the supervisor, then grants from there; end of file is the order to end. */
enum broker_fd { BROKER_FD_CONTROL = 3 };

/* Exit codes of workers, part of the protocol with the supervisor. */
enum worker_exit { WORKER_EXIT_DONE = 0, WORKER_EXIT_USAGE = 64, WORKER_EXIT_START = 69, WORKER_EXIT_LINK = 70, WORKER_EXIT_WRITES = 71 };

/* The signal that interrupts a job; its value is the job. */
#define INTERRUPT_SIGNAL SIGUSR1
