/* The hash of a statement as the log shows it: the beginning of its SHA-256. Those of statements that come again and again are kept: hashing one
 * block costs a small query's front 4 % of its time. Knows texts; no query. Runs in the front. */
#pragma once
#include <stddef.h>

#define SQL_HASH_BYTES 17 /* with its NUL */

struct sql_hashes;

struct sql_hashes *sql_hashes_new(void);
void sql_hashes_free(struct sql_hashes *h);
void sql_hash(struct sql_hashes *h, const char *sql, size_t len, char ret[SQL_HASH_BYTES]);
