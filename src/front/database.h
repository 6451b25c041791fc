/* What the supervisor told about the database file, for those who ask: readiness, status, metrics. Opens nothing itself. Runs in the front. */
#pragma once
#include "core/buf.h"
#include <stdbool.h>
#include <stdint.h>

struct front;
struct control_database;

#define DATABASE_VERSION_BYTES 17

void database_init(struct front *f);
/* The supervisor's message: kept, logged where it matters to callers, and whoever waits for a reload is answered. */
void database_told(struct front *f, const struct control_database *m);
/* The version that a number stands for: 16 hexadecimal digits; "" for 0. */
void database_version_text(uint64_t version, char ret[DATABASE_VERSION_BYTES]);

/* Bulkhead-Database-Version on an answer, unless it is 0. */
struct exchange;
void database_version_header(struct exchange *x, uint64_t version);

/* The checks "database" and "wal" of GET /readyz: each is ok or not, with what to say of it (no paths in it). The database's decides
 * readiness; the log's never does, it only makes the server degraded. */
struct database_checks {
    bool database_ok, degraded, wal_ok;
    char database[700], wal[320];
};
void database_check(const struct front *f, bool has_workers, struct database_checks *ret);
/* The member "database" of GET /v1/status, from its brace on. */
void database_put_status(const struct front *f, struct buf *b);
void database_put_metrics(const struct front *f, struct buf *b);
