/* What the file system says about the served database file. Runs in the front. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define DATABASE_VERSION_BYTES 80

struct database_facts {
    char version[DATABASE_VERSION_BYTES]; /* changes whenever the file is replaced or written; "" for no file */
    bool wal_present;                     /* a write-ahead log lies beside it */
    int64_t wal_bytes;
};

/* Looks now. An empty path is the database in memory. */
void database_look(const char *path, struct database_facts *ret);
