/* Fault points for tests: BULKHEAD_FAULT=phase:action[:n] makes the n-th passage (default 1) of that point crash, exit, stop or hang.
 * Only builds with -DBULKHEAD_FAULTS=ON have them; elsewhere fault_point() is nothing at all. Runs in the worker. */
#pragma once

#ifdef BULKHEAD_FAULTS
/* Actions: segv, abort, kill, exit, stop (SIGSTOP to itself), hang (sleeps for ever, whatever interrupts it), eat (memory, as fast as it
 * comes, and sleeps when there is none left), fill (the working directory's disk, likewise). */
void fault_point(const char *phase);
#else
#define fault_point(phase) ((void)0)
#endif
