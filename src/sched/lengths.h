/* How long texts take: learnt from how long they took, so that a short query need not wait behind a row of long ones. A guess and no promise.
 * Knows hashes of texts; no job, no worker. Runs in the front. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LENGTHS_SLOTS 4096 /* texts of each length that are remembered; a newer one takes the place of an older one with the same slot */

#define LENGTHS_QUICK_US 2000
#define LENGTHS_LONG_US 20000
#define LENGTHS_FIRST_US 3000 /* what a fresh process adds to its first query: code and memory that are in no cache yet */

enum length {
    LENGTH_UNKNOWN, /* never seen, or forgotten */
    LENGTH_QUICK,   /* it took LENGTHS_QUICK_US at most, and not twice in a row more than LENGTHS_LONG_US since */
    LENGTH_MIDDLING,
    LENGTH_LONG, /* more than LENGTHS_LONG_US the last time */
    LENGTHS
};

struct lengths {
    uint64_t text[LENGTHS][LENGTHS_SLOTS]; /* keys */
    uint64_t doubted[LENGTHS_SLOTS];       /* of those that are quick: keys of texts that took long the last time */
    uint32_t here[LENGTHS_SLOTS];          /* how many jobs with such a text wait or run; several texts may share one */
};

/* What a text of a tenant is known by. Never 0. Long texts are told apart by their length, their beginning and their end. */
uint64_t lengths_key(uint32_t tenant, const char *sql, size_t len);
/* How long a query took: `said_us` of execution by its worker's word, which alone makes it no quick one; `elapsed_us` since the worker was given it;
 * `cpu_us` of CPU time, 0: unknown. With little CPU time it may be quick though the machine was busy, but not when it waited for long. The first one of a
 * process is not blamed for what the process costs it. */
enum length lengths_judge(int64_t said_us, int64_t elapsed_us, int64_t cpu_us, bool first);
/* It took so long this time. One that was quick until now has the benefit of the doubt, once: the machine may have been busy. Key 0: nothing is learnt. */
void lengths_note(struct lengths *l, uint64_t key, enum length took);
/* l NULL, key 0: nothing is known. */
enum length lengths_of(const struct lengths *l, uint64_t key);
