/* Texts that end workers. One that crashed a worker, or had to be killed under the server's own timeout, twice, is refused to the tenant that
 * sent it, for a while; to all only after it crashed workers of two tenants. So nobody can keep another's text from running: a strike is
 * the sender's own, and what a client asked for itself (a shorter timeout, a cancellation, leaving) is none.
 * Knows hashes of texts and numbers of tenants; no text, no job, no worker. Runs in the front. */
#pragma once
#include "core/errors.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUARANTINE_WHAT "quarantine"          /* error.what */
#define QUARANTINE_ROWS 1024                  /* pairs of text and tenant that are remembered */
#define QUARANTINE_ROWS_OF_ONE 64             /* of one tenant */
#define QUARANTINE_MEMORY_MS (60 * 60 * 1000) /* a strike counts so long, and longer when the time of refusal is longer */

enum strike { STRIKE_CRASH, STRIKE_TIMEOUT };

/* What a strike did. */
enum strike_result { STRIKE_NOTED, STRIKE_REFUSED_TO_ONE, STRIKE_REFUSED_TO_ALL };

struct quarantine;

/* for_ms: how long a text is refused; 0: off. */
struct quarantine *quarantine_new(int64_t for_ms);
void quarantine_set(struct quarantine *q, int64_t for_ms);
/* Forgets everything. Returns how many texts were refused to somebody. */
unsigned quarantine_clear(struct quarantine *q, int64_t now_ns);
/* NULL is allowed. */
void quarantine_free(struct quarantine *q);

/* tenant: never 0. timeout_ms: what the job had. */
enum strike_result quarantine_strike(struct quarantine *q, uint32_t tenant, const char *sql, size_t len, enum strike why, int64_t timeout_ms,
                                     int64_t now_ns);
/* 0: it may run. -1 with *err (forbidden, what "quarantine", retry_after_s). A text that was only too slow may be tried with a longer timeout.
 * q NULL: it may run. Costs nothing as long as there are no strikes. */
int quarantine_check(struct quarantine *q, uint32_t tenant, const char *sql, size_t len, int64_t timeout_ms, int64_t now_ns, struct error *err);

/* The beginning of the text's hash in hexadecimal, to tell it in the log. */
#define QUARANTINE_HASH_BYTES 17
void quarantine_hash_text(const char *sql, size_t len, char ret[QUARANTINE_HASH_BYTES]);

struct quarantine_figures {
    unsigned refused;    /* texts that are refused to somebody now */
    uint64_t strikes[2]; /* by enum strike, since the start */
    uint64_t refusals;   /* queries refused */
};
struct quarantine_figures quarantine_figures(struct quarantine *q, int64_t now_ns);
