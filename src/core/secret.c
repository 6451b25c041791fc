/* API keys as text. Runs in the command line and in the front. */
#include "core/secret.h"
#include "core/digest.h"
#include "core/errors.h"

#include <openssl/crypto.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define PREFIX "bh_"
#define PREFIX_CHARS 3
#define RANDOM_BYTES 32
#define RANDOM_CHARS 43 /* 62^43 > 2^256 */
#define CHECK_CHARS 6   /* 62^6 > 2^32 */
#define BODY_CHARS (PREFIX_CHARS + RANDOM_CHARS)

_Static_assert(SECRET_HASH_BYTES == DIGEST_BYTES, "SHA-256");
_Static_assert(BODY_CHARS + CHECK_CHARS == SECRET_CHARS, "the parts of a key");

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* CRC-32 (IEEE 802.3), bit by bit: 46 bytes. It finds typing errors; it protects nothing. */
static uint32_t crc32(const char *text, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned char)text[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xEDB88320) : 0);
    }
    return ~crc;
}

/* Divides the number (most significant byte first) by 62; the remainder. */
static unsigned next_digit(uint8_t *number, size_t len)
{
    unsigned rest = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned v = rest << 8 | number[i];
        number[i] = (uint8_t)(v / 62);
        rest = v % 62;
    }
    return rest;
}

static void put_checksum(const char *body, char out[CHECK_CHARS])
{
    uint32_t crc = crc32(body, BODY_CHARS);
    for (int i = CHECK_CHARS; i-- > 0; crc /= 62)
        out[i] = digits[crc % 62];
}

void secret_make(char ret[SECRET_CHARS + 1])
{
    uint8_t random[RANDOM_BYTES];
    ssize_t got;
    do
        got = getrandom(random, sizeof random, 0);
    while (got < 0 && errno == EINTR);
    CHECK(got == (ssize_t)sizeof random);
    memcpy(ret, PREFIX, PREFIX_CHARS);
    for (int i = RANDOM_CHARS; i-- > 0;)
        ret[PREFIX_CHARS + i] = digits[next_digit(random, sizeof random)];
    put_checksum(ret, ret + BODY_CHARS);
    ret[SECRET_CHARS] = 0;
    secret_wipe(random, sizeof random);
}

bool secret_well_formed(const char *text, size_t len)
{
    char check[CHECK_CHARS];
    if (len != SECRET_CHARS || memcmp(text, PREFIX, PREFIX_CHARS) != 0)
        return false;
    for (size_t i = PREFIX_CHARS; i < len; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')))
            return false;
    }
    put_checksum(text, check);
    return CRYPTO_memcmp(check, text + BODY_CHARS, CHECK_CHARS) == 0;
}

void secret_hash(const char *text, size_t len, uint8_t ret[SECRET_HASH_BYTES]) { digest_sha256(text, len, ret); }

bool secret_hash_equal(const uint8_t a[SECRET_HASH_BYTES], const uint8_t b[SECRET_HASH_BYTES]) { return CRYPTO_memcmp(a, b, SECRET_HASH_BYTES) == 0; }

void secret_wipe(void *data, size_t len) { OPENSSL_cleanse(data, len); }
