/* The configuration's sizes against the machine: `auto` becomes numbers, and numbers that don't fit are refused with the arithmetic shown.
 * Pure: what the machine has, limits_probe.h tells it. Knows no process and no engine. Runs in the supervisor. */
#pragma once
#include "core/config.h"
#include "core/errors.h"
#include "core/limits_probe.h"

#include <stdbool.h>
#include <stdint.h>

#define SIZING_RESERVE_BYTES INT64_C(128000000)    /* for supervisor and front (contract, section 3) */
#define SIZING_LIMIT_MIN_BYTES INT64_C(32000000)   /* with less the engine can't work; the least [pool] memory_limit */
#define SIZING_LIMIT_AUTO_BYTES INT64_C(512000000) /* the most that `auto` gives one worker (contract, section 3) */
#define SIZING_POOL_AUTO 256                       /* workers and spares that `auto` starts at most: a server serves no more (CONTROL_CELLS / 2) */
#define SIZING_TEXT_BYTES 1024

#define SIZING_SESSIONS_AUTO 16 /* at most */
#define SIZING_SESSIONS_LEAST 2 /* even where that makes all of them smaller */

struct sizing {
    int64_t workers, spares, sessions; /* sessions: the most at a time */
    int64_t threads, cpu_cap;          /* per worker; cpu_cap 0: none */
    int64_t memory_limit_bytes, memory_cap_bytes, scratch_limit_bytes;
    int64_t session_memory_limit_bytes, session_memory_cap_bytes, session_scratch_limit_bytes;
    int64_t admin_memory_limit_bytes, admin_threads;
    bool overcommitted;           /* together more than there is, which the configuration allows */
    char text[SIZING_TEXT_BYTES]; /* the arithmetic, for the log */
};

/* What [session] max = auto stands for on this machine: as many as leave every process the most that `auto` gives it. */
int64_t sizing_auto_sessions(const struct machine *m, const struct config *cfg);

/* `auto_sessions` is what [session] max = auto stands for. Memory caps that are given are taken off first, those that are auto share the
 * rest: cap = share, limit = half of it. Workers that are auto become fewer rather than too small. 0; -1 with *err when it does not fit and
 * [pool] overcommit is off, and then *ret is unchanged. */
int sizing_resolve(struct sizing *ret, const struct config *cfg, const struct machine *m, int64_t auto_sessions, struct error *err);

/* Puts the resolved sizes in the place of every `auto`; what was given stays as it is. */
void sizing_apply(const struct sizing *s, struct config *cfg);
