/* Which version of a database file is there now: one number that changes whenever somebody publishes, replaces or changes the file or the log
 * beside it, and stays the same over restarts of the server. Knows file attributes and header bytes. Runs in the supervisor and the
 * command line. */
#pragma once
#include "publish/db_header.h"
#include <stdint.h>

#define IDENTITY_TEXT_BYTES 17

struct identity {
    uint64_t version; /* 0: there is no file */
    enum db_header_state state;
    struct db_header header;
    int64_t bytes;
    int64_t mtime_ns;  /* since 1970 */
    int64_t wal_bytes; /* -1: no log beside it */
    int64_t wal_mtime_s;
};

/* Looks at the file as it is now; never blocks for longer than it takes to read three pages. An unreadable file has a version too, so that
 * its change is seen. */
void identity_read(const char *path, struct identity *ret);
/* 16 hexadecimal digits; "" for version 0. */
void identity_text(uint64_t version, char ret[IDENTITY_TEXT_BYTES]);
