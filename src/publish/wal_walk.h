/* A write-ahead log, entry by entry, without the engine: is it whole, what is in it, and what would the engine drop without a word?
 *
 * The engine takes a log that ends inside an entry for the mark of a crash in the middle of a write: it replays up to the last commit and
 * forgets the rest, silently. That is right for a transaction that never committed, and wrong for a log that was cut short by a
 * copy or a full disk. The same happens when the size field of an entry is damaged. Nobody can tell these apart afterwards; but one can say
 * what is there. The format is that of DuckDB 0.10 to 1.5 (version 2). Knows bytes, no names. Constant memory, whatever the file says.
 * Runs in the publisher and the command line. */
#pragma once
#include "publish/db_header.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAL_KINDS 128

enum wal_state {
    WAL_NONE,         /* no file (the caller's to say) */
    WAL_EMPTY,        /* 0 bytes: the engine ignores it */
    WAL_CLEAN,        /* every entry whole, the last one a commit: it replays entirely */
    WAL_CHECKPOINTED, /* all of it is in the database already: the engine ignores it */
    WAL_TAIL,         /* whole entries behind the last commit: a transaction that never committed; the engine drops them */
    WAL_TORN,         /* ends inside an entry: the engine drops all behind the last commit, without a word */
    WAL_CORRUPT,      /* the checksum of an entry does not match: the engine refuses to open the database */
    WAL_STRANGE,      /* not what a log looks like */
    WAL_OTHER,        /* it belongs to another database */
    WAL_STALE,        /* it belongs to another checkpoint of this database */
    WAL_ENCRYPTED,
    WAL_OLD, /* version 1 (before DuckDB 0.10): it has no checksums, and can't be walked */
    WAL_UNKNOWN_VERSION,
    WAL_UNREADABLE, /* errno */
};

struct wal_report {
    enum wal_state state;
    int64_t bytes; /* of the file */
    uint64_t version;
    uint64_t commits;
    int64_t committed_bytes;       /* where the last commit ends; what follows is not replayed */
    uint64_t committed[WAL_KINDS]; /* entries by kind up to there */
    uint64_t behind[WAL_KINDS];    /* whole entries behind it */
    int64_t bad_at;                /* TORN, CORRUPT, STRANGE: where the bad entry begins */
    uint64_t bad_bytes;            /* TORN: what it says it has, 0 when it does not get so far as to say */
    int64_t bad_have;              /* TORN: what of it is there */
    uint64_t after_bad;            /* CORRUPT: commits that can be read behind it */
    /* A checkpoint that was begun: its marker is the last entry (but for the commit that the engine writes behind it). */
    bool marker;
    int64_t marker_at;
    uint64_t marker_meta_block;
    /* From its first entry, where the format has them. */
    bool has_identifier;
    uint8_t identifier[DB_IDENTIFIER_BYTES];
    uint64_t iteration;
};

/* Walks the log from its start; the fd's offset stays. `header` is that of the database beside it, NULL when that is not known. */
void wal_walk(int fd, const struct db_header *header, struct wal_report *ret);
/* True when the engine takes it as it is and loses nothing by it. */
bool wal_is_harmless(enum wal_state state);
/* What it is, in one or two sentences for an operator. */
void wal_describe(const struct wal_report *r, char *ret, size_t cap);
/* "2 commits: 3 insert, 1 create table" */
void wal_describe_entries(const uint64_t counts[WAL_KINDS], char *ret, size_t cap);

/* A checkpoint's marker with its commit, as the engine writes them: with it in the log, a database whose catalog begins at meta_block has all of the log
 * in it, and the log is ignored; any other database replays the log as before. Returns the bytes used of `ret`. */
#define WAL_MARKER_MAX 80
size_t wal_marker(uint64_t meta_block, uint8_t ret[WAL_MARKER_MAX]);
