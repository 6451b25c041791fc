/* Kept hashes of statements: one place for each text, which the next with that place takes over. Texts are compared as a whole, so that which
 * place a client's text gets decides of nothing but time. Runs in the front. */
#include "front/sql_hash.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/hex.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PLACES 64
#define KEPT_BYTES 240 /* of a longer text the hash costs as much as looking for it */

struct kept {
    uint32_t len; /* 0: nothing is kept here */
    char text[KEPT_BYTES];
    char hash[SQL_HASH_BYTES];
};

struct sql_hashes {
    struct kept place[PLACES];
};

struct sql_hashes *sql_hashes_new(void)
{
    struct sql_hashes *h = calloc(1, sizeof *h);
    CHECK(h);
    return h;
}

void sql_hashes_free(struct sql_hashes *h) { free(h); }

static struct kept *place_of(struct sql_hashes *h, const char *sql, size_t len)
{
    uint64_t sum = len;
    for (size_t at = 0; at < len; at += sizeof sum) {
        uint64_t word = 0;
        memcpy(&word, sql + at, len - at < sizeof word ? len - at : sizeof word);
        sum = (sum ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        sum ^= sum >> 32;
    }
    return &h->place[sum % PLACES];
}

static void compute(const char *sql, size_t len, char ret[SQL_HASH_BYTES])
{
    uint8_t hash[DIGEST_BYTES];
    digest_sha256(sql, len, hash);
    *hex_put(ret, hash, SQL_HASH_BYTES / 2) = 0;
}

void sql_hash(struct sql_hashes *h, const char *sql, size_t len, char ret[SQL_HASH_BYTES])
{
    if (len == 0 || len > KEPT_BYTES) {
        compute(sql, len, ret);
        return;
    }
    struct kept *k = place_of(h, sql, len);
    if (k->len != len || memcmp(k->text, sql, len) != 0) {
        compute(sql, len, k->hash);
        memcpy(k->text, sql, len);
        k->len = (uint32_t)len;
    }
    memcpy(ret, k->hash, SQL_HASH_BYTES);
}
