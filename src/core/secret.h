/* API keys as text: how one is made, what one looks like, what is stored of it. Knows no file and no request. Runs in the command line
 * (which makes keys) and in the front (which checks them).
 *
 * A key is "bh_", 43 base-62 digits of 256 random bits, and 6 digits of a checksum over what stands before them: people and secret
 * scanners recognise it, and a mistyped or cut one is told apart without a look at any table.
 * What is stored is the SHA-256 of the whole text, without salt and without stretching: those are for secrets that people choose. Nobody
 * guesses 256 random bits however fast the hash is, equal keys do not occur, and the check of each request stays below a microsecond. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRET_CHARS 52 /* of a key, without a NUL */
#define SECRET_HASH_BYTES 32
#define SECRET_HINT_CHARS 8 /* the beginning of a key that may be shown: 30 of its 256 bits */

/* A new key with its NUL. Aborts when the kernel has no random bytes. */
void secret_make(char ret[SECRET_CHARS + 1]);
/* Whether text of this length has a key's form and checksum. Says nothing about whether the key is known. */
bool secret_well_formed(const char *text, size_t len);
void secret_hash(const char *text, size_t len, uint8_t ret[SECRET_HASH_BYTES]);
/* Compares in a time that does not depend on where they differ. */
bool secret_hash_equal(const uint8_t a[SECRET_HASH_BYTES], const uint8_t b[SECRET_HASH_BYTES]);
/* Overwrites in a way that the compiler does not leave out. */
void secret_wipe(void *data, size_t len);
