/* How many wrong keys an address may show: a table of fixed size, whatever comes. Knows addresses and time, no keys. Runs in the front.
 *
 * With 256 random bits in a key nobody guesses one; this bounds what a client with a wrong key costs (log lines, above all) and tells it
 * to slow down. A right key is let in from any address: else one broken client behind a proxy would lock out everybody there. */
#pragma once
#include "core/address.h"
#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_BURST 10 /* wrong keys at once, and so many a second: */
#define THROTTLE_PER_S 1

struct throttle;

struct throttle *throttle_new(void);
void throttle_free(struct throttle *t);
/* One more wrong key from this address (IPv6: its /64). True while that is within the limit; else false, and *ret_wait_ns how long until it will
 * be. now_ns: monotonic. An address that is seldom seen may be forgotten: then it begins anew. */
bool throttle_wrong_key(struct throttle *t, const struct address *a, int64_t now_ns, int64_t *ret_wait_ns);
