/* The headers of a DuckDB file (see the header). Runs in the supervisor, the publisher and the command line. */
#include "publish/db_header.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES 4096 /* the main header, then two database headers that take turns */
#define CHECKSUM_BYTES 8 /* in front of each */
#define MAGIC_AT 8
#define VERSION_AT 12
#define FLAGS_AT 20
#define IDENTIFIER_AT 124 /* behind 4 flag words, two version texts of 32, 8 of encryption */
#define ITERATION_AT 8
#define META_BLOCK_AT 16
#define FLAG_ENCRYPTED 1
#define IDENTIFIER_SINCE 67

static uint64_t word(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The 1 to 7 bytes behind the last whole word (MurmurHash64A as the engine has it). */
static uint64_t remainder_hash(const uint8_t *p, size_t len)
{
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t h = UINT64_C(0xe17a1465) ^ (len * m);
    for (size_t i = len; i-- > 0;)
        h ^= (uint64_t)p[i] << (8 * i);
    h *= m;
    h ^= h >> 47;
    h *= m;
    return h ^ h >> 47;
}

uint64_t db_checksum(uint64_t sum, const uint8_t *data, size_t len)
{
    size_t whole = len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8)
        sum ^= word(data + i) * UINT64_C(0xbf58476d1ce4e5b9);
    return len > whole ? sum ^ remainder_hash(data + whole, len - whole) : sum;
}

static bool checksum_matches(const uint8_t *block)
{
    return word(block) == db_checksum(DB_CHECKSUM_START, block + CHECKSUM_BYTES, BLOCK_BYTES - CHECKSUM_BYTES);
}

static enum db_header_state read_blocks(int fd, uint8_t blocks[3 * BLOCK_BYTES])
{
    size_t have = 0;
    while (have < 3 * BLOCK_BYTES) {
        ssize_t n = pread(fd, blocks + have, 3 * BLOCK_BYTES - have, (off_t)have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return DB_HEADER_UNREADABLE;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    if (have == 0)
        return DB_HEADER_EMPTY;
    if (have < FLAGS_AT || memcmp(blocks + MAGIC_AT, "DUCK", 4) != 0)
        return DB_HEADER_FOREIGN;
    return have < 3 * BLOCK_BYTES ? DB_HEADER_SHORT : DB_HEADER_OK;
}

enum db_header_state db_header_read(int fd, struct db_header *ret)
{
    uint8_t b[3 * BLOCK_BYTES];
    *ret = (struct db_header){0};
    enum db_header_state state = read_blocks(fd, b);
    if (state != DB_HEADER_OK && state != DB_HEADER_SHORT)
        return state;
    ret->storage_version = word(b + VERSION_AT);
    if (ret->storage_version > DB_STORAGE_VERSION_MAX)
        return DB_HEADER_TOO_NEW;
    if (ret->storage_version < DB_STORAGE_VERSION_MIN)
        return DB_HEADER_TOO_OLD;
    if (state == DB_HEADER_SHORT)
        return state;
    ret->encrypted = word(b + FLAGS_AT) & FLAG_ENCRYPTED;
    const uint8_t *one = b + BLOCK_BYTES, *two = b + 2 * BLOCK_BYTES;
    /* Both must be whole, as the engine demands it; those of an encrypted file can't be judged without its key. */
    if (!ret->encrypted && !(checksum_matches(b) && checksum_matches(one) && checksum_matches(two)))
        return DB_HEADER_DAMAGED;
    const uint8_t *newer = word(one + ITERATION_AT) > word(two + ITERATION_AT) ? one : two;
    ret->iteration = word(newer + ITERATION_AT);
    ret->meta_block = word(newer + META_BLOCK_AT);
    ret->has_identifier = ret->storage_version >= IDENTIFIER_SINCE;
    memcpy(ret->identifier, b + IDENTIFIER_AT, sizeof ret->identifier);
    return DB_HEADER_OK;
}

void db_header_text(enum db_header_state state, const struct db_header *h, char *ret, size_t cap)
{
    static const char *const texts[] = {
        [DB_HEADER_OK] = "its headers are sound",
        [DB_HEADER_EMPTY] = "the file is empty",
        [DB_HEADER_FOREIGN] = "it is not a DuckDB database file",
        [DB_HEADER_SHORT] = "the file is truncated: it ends inside its headers",
        [DB_HEADER_DAMAGED] = "the file is damaged: the checksum of a header does not match",
    };
    if (state == DB_HEADER_UNREADABLE)
        snprintf(ret, cap, "it can't be read: %s", strerror(errno));
    else if (state == DB_HEADER_TOO_NEW || state == DB_HEADER_TOO_OLD)
        snprintf(ret, cap, "it was written by a%s version of DuckDB (storage version %" PRIu64 "; this build reads %d to %d)",
                 state == DB_HEADER_TOO_NEW ? " newer" : "n older", h->storage_version, DB_STORAGE_VERSION_MIN, DB_STORAGE_VERSION_MAX);
    else
        snprintf(ret, cap, "%s", texts[state]);
}
