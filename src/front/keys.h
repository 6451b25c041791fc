/* The API keys that are in force: found by the hash of what a request shows. Knows the key file's text (core/keyfile.h), not requests or
 * routes. Runs in the front. */
#pragma once
#include "core/keyfile.h"
#include "sched/tenant.h"

struct config;

struct key {
    struct tenant *tenant; /* the name, the limits, and what it has running */
    enum key_role role;
    uint8_t hash[SECRET_HASH_BYTES];
    int64_t expires_s; /* Unix time; KEYFILE_NONE: never */
    char *sources;     /* ",a,b,"; NULL: what the sources themselves allow */
};

struct keys;

/* No key is in force yet. */
struct keys *keys_new(void);
void keys_free(struct keys *k);

/* What a key has that names no limit of its own. Holds for the next keys_load, and for the tenant of keyless callers at once. */
void keys_set_defaults(struct keys *k, const struct config *cfg);
/* Told of each tenant whose key is gone or has expired, once; it is valid during the call only. */
typedef void keys_revoked_fn(void *ctx, struct tenant *t);
void keys_on_revoked(struct keys *k, keys_revoked_fn *fn, void *ctx);

/* Puts the keys of this text in force, in place of the present ones. A key that is there again with the same name and hash keeps its tenant, with
 * new limits; the tenants of the others are revoked. 0; -1 with *err, and the present ones stay. */
int keys_load(struct keys *k, const char *text, size_t len, struct error *err);
size_t keys_count(const struct keys *k);

enum key_check { KEY_GOOD, KEY_MALFORMED, KEY_UNKNOWN, KEY_EXPIRED };
/* Looks at what a request showed. KEY_GOOD: *ret is valid until the next keys_load. now_s: Unix time. */
enum key_check keys_check(const struct keys *k, const char *secret, size_t len, int64_t now_s, const struct key **ret);

/* Revokes the tenants of keys that have expired. Cheap: call it often. */
void keys_expire(struct keys *k, int64_t now_s);

/* By name; NULL: no such key is in force. Valid until the next keys_load. */
const struct key *keys_named(const struct keys *k, const char *name);

/* The one tenant of all callers when the server has no key file. */
struct tenant *keys_keyless(struct keys *k);
