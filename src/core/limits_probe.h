/* What the machine, or the container around us, lets this process use: memory and cores, each with the place the number comes from. Reads
 * /proc and the cgroup trees and nothing else; knows neither configuration nor how the memory is divided (sizing.h). Runs in the supervisor. */
#pragma once
#include "core/errors.h"

#include <stdint.h>

#define MACHINE_FROM_BYTES 128

struct machine {
    int64_t cpus; /* at least 1 */
    int64_t memory_bytes;
    int64_t swap_bytes;                 /* besides; what takes no part in the sizing */
    char cpus_from[MACHINE_FROM_BYTES]; /* "affinity", "cgroup v2 /a/b cpu.max" */
    char swap_from[MACHINE_FROM_BYTES];
    char memory_from[MACHINE_FROM_BYTES]; /* "machine", "cgroup v1 /a memory.limit_in_bytes" */
};

/* The smallest of the machine's memory and all memory limits of our control groups and of those around them, and the same for cores; part
 * of a core counts as one. `root` stands before every path, "" for the real machine. `affinity_cpus` is the number of cores we may run on,
 * 0 to ask the kernel. Limits that can't be read or understood are none. 0; -1 with *err when not even the machine's memory can be told,
 * and then *ret is unchanged. */
int limits_probe(struct machine *ret, const char *root, int64_t affinity_cpus, struct error *err);
