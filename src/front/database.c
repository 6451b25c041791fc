/* What the file system says about the served database file: its identity, and the write-ahead log that a writer left beside it, as the supervisor
 * put it into the page. Opens nothing and knows no engine. Runs in the front. */
#include "front/database.h"

#include <inttypes.h>
#include <stdio.h>

/* The supervisor writes for some nanoseconds, four times a second. */
#define TRIES 100

void database_look(const struct control_page *page, struct database_facts *ret)
{
    const struct control_database *d = &page->database;
    uint64_t inode = 0;
    int64_t changed_s = 0, changed_ns = 0, bytes = 0, wal_bytes = -1;
    for (int i = 0; i < TRIES; i++) {
        uint32_t turn = atomic_load(&d->turn);
        inode = atomic_load(&d->inode);
        changed_s = atomic_load(&d->changed_s);
        changed_ns = atomic_load(&d->changed_ns);
        bytes = atomic_load(&d->bytes);
        wal_bytes = atomic_load(&d->wal_bytes);
        if (turn % 2 == 0 && atomic_load(&d->turn) == turn)
            break;
    }
    *ret = (struct database_facts){.wal_present = wal_bytes >= 0, .wal_bytes = wal_bytes > 0 ? wal_bytes : 0};
    /* A replaced file has another inode, a rewritten one another time or size. */
    if (inode)
        snprintf(ret->version, sizeof ret->version, "%" PRIx64 "-%" PRIx64 ".%09ld-%" PRIx64, inode, (uint64_t)changed_s, (long)changed_ns,
                 (uint64_t)bytes);
}
