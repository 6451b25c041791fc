/* Which texts take long: learnt from how long they took, so that a short query need not wait behind a row of long ones. A guess and no promise:
 * a text that was never seen counts as short. Knows hashes of texts; no job, no worker. Runs in the front. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LENGTHS_SLOTS 4096 /* texts that are remembered; a newer one takes the place of an older one with the same slot */

struct lengths {
    uint64_t long_text[LENGTHS_SLOTS]; /* keys of texts that took long the last time */
};

/* What a text of a tenant is known by. Never 0. Long texts are told apart by their length, their beginning and their end. */
uint64_t lengths_key(uint32_t tenant, const char *sql, size_t len);
void lengths_note(struct lengths *l, uint64_t key, bool took_long);
/* l NULL: nothing is known. */
bool lengths_is_long(const struct lengths *l, uint64_t key);
