/* What the file system says about the served database file. Runs in the front. */
#pragma once
#include "link/control.h"
#include <stdbool.h>
#include <stdint.h>

#define DATABASE_VERSION_BYTES 80

struct database_facts {
    char version[DATABASE_VERSION_BYTES]; /* changes whenever the file is replaced or written; "" for no file */
    bool wal_present;                     /* a write-ahead log lies beside it */
    int64_t wal_bytes;
};

/* As the supervisor saw it less than a second ago. */
void database_look(const struct control_page *page, struct database_facts *ret);
