/* Ids that were once given out, kept in the page of supervisor and front, so that a front which starts in the place of a dead one can tell
 * "gone" from "never was". Each is a hash of the id and of who owned it: whoever does not own it is told "never was". The newest overwrite the
 * oldest. Written and read by fronts only; a wrong entry makes a 410 of a 404, no more. Runs in the front. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define GONE_ENTRIES 8192

struct gone_ring {
    _Atomic uint64_t count; /* noted so far */
    _Atomic uint64_t hash[GONE_ENTRIES];
};

uint64_t gone_hash(uint64_t id_high, uint64_t id_low, const char *owner);
void gone_note(struct gone_ring *r, uint64_t hash);
bool gone_was(struct gone_ring *r, uint64_t hash);
