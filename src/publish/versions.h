/* Old versions of a database, kept beside it as NAME.bulkhead-version-N, N rising. Knows names and links, not contents. The lock of the
 * write path must be held. Runs in the publisher and the command line. */
#pragma once
#include "publish/place.h"
#include <stdint.h>

/* The highest N there is; 0: none. -1 with errno. */
int64_t versions_newest(const struct place *p);
void versions_suffix(int64_t number, char ret[PLACE_SUFFIX_MAX]);
/* Gives the present database a further name as the next version, without a copy. Its number; -1 with errno (EPERM, EOPNOTSUPP: the file
 * system has no hard links). */
int64_t versions_keep(const struct place *p);
/* Removes all but the newest `keep`. */
void versions_prune(const struct place *p, int64_t keep);
/* Removes what an interrupted run left: the private copy with all the engine put beside it, further names of the present database.
 * Returns how many names it removed. */
int versions_clean(const struct place *p);
