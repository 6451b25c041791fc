/* What the file system says about the served database file: its identity, and the write-ahead log that a writer left beside it. Opens
 * nothing and knows no engine. Runs in the front. */
#include "front/database.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

void database_look(const char *path, struct database_facts *ret)
{
    char wal[4200];
    struct stat st;
    *ret = (struct database_facts){0};
    if (!path[0])
        return;
    /* A replaced file has another inode, a rewritten one another time or size. */
    if (stat(path, &st) == 0)
        snprintf(ret->version, sizeof ret->version, "%" PRIx64 "-%" PRIx64 ".%09ld-%" PRIx64, (uint64_t)st.st_ino,
                 (uint64_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (uint64_t)st.st_size);
    snprintf(wal, sizeof wal, "%s.wal", path);
    if (stat(wal, &st) < 0)
        return;
    ret->wal_present = true;
    ret->wal_bytes = st.st_size;
}
