/* The groups of checks of `bulkhead doctor`; each adds its rows. All try, none believes. Runs in the command line. */
#pragma once
#include "cli/doctor_report.h"
#include "core/config.h"

struct doctor {
    struct config *cfg;   /* as configured, with `auto` resolved */
    struct config *probe; /* the same with caps small enough to run into */
    struct report report;
    int signal_fd;
    bool stopped; /* by a signal: what follows is left out */
};

/* Workers that try their walls (worker/probe.h), and the layers that they report. */
void doctor_walls(struct doctor *d);
/* What the machine or the container gives, against what is configured. */
void doctor_machine(struct doctor *d);
/* The database's file, its log, who holds it, what in it the policy refuses. */
void doctor_database(struct doctor *d);
/* API keys, TLS, directories. */
void doctor_files(struct doctor *d);
/* The sandboxes of the front and, with sources, of the broker. */
void doctor_roles(struct doctor *d);

/* What became of an attempt. */
enum attempt_result {
    ATTEMPT_NOTHING, /* there was nothing to try */
    ATTEMPT_COULD,
    ATTEMPT_COULD_NOT,
    ATTEMPT_KILLED,  /* by a signal of the kernel's, or by its cap */
    ATTEMPT_STOPPED, /* by us, as a query would have been */
    ATTEMPT_BROKEN   /* it can't be told */
};

struct attempt {
    enum attempt_result result;
    int signal;         /* KILLED, STOPPED */
    bool for_memory;    /* KILLED: by its memory cap */
    int64_t ms;         /* until then */
    double cores;       /* that it used */
    int64_t disk_bytes; /* the most that was seen in its scratch directory */
    char why[CHECK_TEXT_BYTES];
    char *text; /* what it answered besides; malloc'd; NULL: nothing */
};

struct query_worker;
/* Has a worker (a new one where *w has ended) try something; deadline_ms: ends it then by the kill ladder, 0: never. */
void doctor_try(struct doctor *d, struct query_worker *w, bool *is_there, const char *name, int64_t deadline_ms, struct attempt *ret);
