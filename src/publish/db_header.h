/* The headers of a DuckDB file, read without the engine: what format it has, which checkpoint it is at. Knows bytes, no names.
 * The layout is that of the engine's storage format 64 to 68 (DuckDB 0.10 to 1.5). Runs in the supervisor, the publisher and the command line. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DB_STORAGE_VERSION_MIN 64
#define DB_STORAGE_VERSION_MAX 68 /* the newest that libduckdb 1.5.5 reads; test_publish_files checks it against the library */
#define DB_IDENTIFIER_BYTES 16

struct db_header {
    uint64_t storage_version;
    bool encrypted;
    bool has_identifier; /* formats from 67 on write it, and their logs repeat it */
    uint8_t identifier[DB_IDENTIFIER_BYTES];
    /* Of the newer of the two header blocks: the checkpoint that is in force. */
    uint64_t iteration;
    uint64_t meta_block; /* where its catalog begins; a log's checkpoint marker names this */
};

enum db_header_state {
    DB_HEADER_OK,
    DB_HEADER_UNREADABLE, /* errno */
    DB_HEADER_EMPTY,
    DB_HEADER_FOREIGN, /* no DuckDB file */
    DB_HEADER_TOO_NEW, /* ret->storage_version says which */
    DB_HEADER_TOO_OLD,
    DB_HEADER_SHORT,   /* ends inside its headers */
    DB_HEADER_DAMAGED, /* a checksum does not match */
};

/* Reads from the file's start; the fd's offset stays. */
enum db_header_state db_header_read(int fd, struct db_header *ret);
/* "it was written by a newer version of DuckDB (storage version 70; this build reads 64 to 68)" */
void db_header_text(enum db_header_state state, const struct db_header *h, char *ret, size_t cap);

/* The engine's checksum over its header blocks and log entries, in steps: every step but the last must be a multiple of 8 bytes. */
#define DB_CHECKSUM_START UINT64_C(5381)
uint64_t db_checksum(uint64_t sum, const uint8_t *data, size_t len);
