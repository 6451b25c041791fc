/* The table of API keys. Runs in the front.
 * Open addressing over the first bytes of the hash. Whoever asks can't choose those bytes without trying keys, so neither the table nor the
 * time of a look into it can be steered; the whole hash is compared in constant time all the same. */
#include "front/keys.h"
#include "core/config.h"
#include "core/errors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARE_USUAL 10

struct keys {
    struct key *keys; /* in the file's order */
    size_t count;
    struct key **table; /* a power of two of places, at most half of them taken */
    size_t mask;
    int64_t next_expiry_s; /* of keys that are still good; INT64_MAX: none */
    int64_t looked_s;      /* when keys_expire last looked: a clock that went back makes keys good again */
    uint32_t last_tenant;
    struct tenant_limits defaults;
    struct tenant *keyless;
    keys_revoked_fn *revoked; /* NULL: nobody wants to know */
    void *revoked_ctx;
};

struct keys *keys_new(void)
{
    struct keys *k = calloc(1, sizeof *k);
    CHECK(k);
    k->next_expiry_s = INT64_MAX;
    k->defaults.share = SHARE_USUAL;
    k->keyless = tenant_new(++k->last_tenant, "", &k->defaults);
    return k;
}

static void drop_keys(struct keys *k)
{
    for (size_t i = 0; i < k->count; i++) {
        tenant_unref(k->keys[i].tenant);
        free(k->keys[i].sources);
    }
    free(k->keys);
    free(k->table);
}

void keys_free(struct keys *k)
{
    if (!k)
        return;
    drop_keys(k);
    tenant_unref(k->keyless);
    free(k);
}

void keys_set_defaults(struct keys *k, const struct config *cfg)
{
    k->defaults = (struct tenant_limits){.concurrency = cfg->limits.per_key_concurrency,
                                         .queue = cfg->limits.per_key_queue,
                                         .per_s = cfg->limits.per_key_rate,
                                         .burst = cfg->limits.per_key_rate,
                                         .share = SHARE_USUAL,
                                         .timeout_max_ms = cfg->limits.timeout_max_ms};
    k->keyless->limits = k->defaults;
}

static void set(int64_t *limit, int64_t own)
{
    if (own != KEYFILE_NONE)
        *limit = own;
}

static struct tenant_limits limits_of(const struct keys *k, const struct key_entry *e)
{
    struct tenant_limits l = k->defaults;
    set(&l.concurrency, e->concurrency);
    set(&l.queue, e->queue);
    set(&l.share, e->share);
    set(&l.memory_bytes, e->memory_bytes);
    if (e->rate != KEYFILE_NONE)
        l.per_s = l.burst = e->rate;
    set(&l.burst, e->burst);
    if (e->timeout_max_ms != KEYFILE_NONE && e->timeout_max_ms < l.timeout_max_ms) /* a key narrows the server's limit, never widens it */
        l.timeout_max_ms = e->timeout_max_ms;
    return l;
}

static size_t place_of(const uint8_t hash[SECRET_HASH_BYTES])
{
    size_t v;
    memcpy(&v, hash, sizeof v);
    return v;
}

static struct key *find(const struct keys *k, const uint8_t hash[SECRET_HASH_BYTES])
{
    if (k->count == 0)
        return NULL;
    for (size_t i = place_of(hash) & k->mask; k->table[i]; i = (i + 1) & k->mask)
        if (secret_hash_equal(k->table[i]->hash, hash))
            return k->table[i];
    return NULL;
}

static void build_table(struct keys *k)
{
    size_t places = 4;
    while (places < k->count * 2)
        places *= 2;
    k->table = calloc(places, sizeof(struct key *));
    CHECK(k->table);
    k->mask = places - 1;
    for (size_t n = 0; n < k->count; n++) {
        size_t i = place_of(k->keys[n].hash) & k->mask;
        while (k->table[i])
            i = (i + 1) & k->mask;
        k->table[i] = &k->keys[n];
    }
}

/* The key of the present table that this one goes on from; NULL: it is a new one. */
static struct key *same_key(const struct keys *old, const struct key_entry *e)
{
    struct key *o = find(old, e->hash);
    return o && !strcmp(o->tenant->name, e->name) && !o->tenant->revoked ? o : NULL;
}

static char *sources_of(const char *list)
{
    char *text = NULL;
    if (!list)
        return NULL;
    CHECK(asprintf(&text, ",%s,", list) > 0);
    return text;
}

static void take_entry(struct keys *fresh, const struct keys *old, const struct key_entry *e, uint32_t *last_tenant)
{
    struct key *key = &fresh->keys[fresh->count++];
    struct tenant_limits limits = limits_of(old, e);
    struct key *before = same_key(old, e);
    *key = (struct key){.role = e->role, .expires_s = e->expires_s, .sources = sources_of(e->sources)};
    memcpy(key->hash, e->hash, sizeof key->hash);
    if (before) {
        key->tenant = tenant_ref(before->tenant);
        key->tenant->limits = limits;
    } else {
        key->tenant = tenant_new(++*last_tenant, e->name, &limits);
    }
    if (key->expires_s != KEYFILE_NONE && key->expires_s < fresh->next_expiry_s)
        fresh->next_expiry_s = key->expires_s;
}

void keys_on_revoked(struct keys *k, keys_revoked_fn *fn, void *ctx)
{
    k->revoked = fn;
    k->revoked_ctx = ctx;
}

static void revoke(const struct keys *k, struct tenant *t)
{
    if (t->revoked)
        return;
    t->revoked = true;
    if (k->revoked)
        k->revoked(k->revoked_ctx, t);
}

int keys_load(struct keys *k, const char *text, size_t len, struct error *err)
{
    struct keyfile *file;
    if (keyfile_parse(&file, text, len, "key file", err) < 0)
        return -1;
    struct keys fresh = {.next_expiry_s = INT64_MAX};
    fresh.keys = calloc(file->count + 1, sizeof *fresh.keys);
    CHECK(fresh.keys);
    for (size_t i = 0; i < file->count; i++)
        take_entry(&fresh, k, &file->keys[i], &k->last_tenant);
    keyfile_free(file);
    build_table(&fresh);
    for (size_t i = 0; i < k->count; i++) {
        const struct key *again = find(&fresh, k->keys[i].hash);
        if (!again || again->tenant != k->keys[i].tenant)
            revoke(k, k->keys[i].tenant);
    }
    drop_keys(k);
    k->keys = fresh.keys;
    k->count = fresh.count;
    k->table = fresh.table;
    k->mask = fresh.mask;
    k->next_expiry_s = fresh.next_expiry_s;
    return 0;
}

size_t keys_count(const struct keys *k) { return k->count; }

enum key_check keys_check(const struct keys *k, const char *secret, size_t len, int64_t now_s, const struct key **ret)
{
    uint8_t hash[SECRET_HASH_BYTES];
    if (len != SECRET_CHARS)
        return KEY_MALFORMED;
    secret_hash(secret, len, hash);
    const struct key *key = find(k, hash);
    if (!key) /* which of the two is only for the message */
        return secret_well_formed(secret, len) ? KEY_UNKNOWN : KEY_MALFORMED;
    if (key->expires_s != KEYFILE_NONE && now_s >= key->expires_s)
        return KEY_EXPIRED;
    *ret = key;
    return KEY_GOOD;
}

void keys_expire(struct keys *k, int64_t now_s)
{
    bool went_back = now_s < k->looked_s;
    k->looked_s = now_s;
    if (now_s < k->next_expiry_s && !went_back)
        return;
    k->next_expiry_s = INT64_MAX;
    for (size_t i = 0; i < k->count; i++) {
        struct key *key = &k->keys[i];
        if (key->expires_s == KEYFILE_NONE)
            continue;
        if (key->expires_s > now_s && key->expires_s < k->next_expiry_s)
            k->next_expiry_s = key->expires_s;
        if (key->expires_s <= now_s)
            revoke(k, key->tenant);
        else
            key->tenant->revoked = false; /* the clock went back */
    }
}

const struct key *keys_named(const struct keys *k, const char *name)
{
    for (size_t i = 0; i < k->count; i++)
        if (strcmp(k->keys[i].tenant->name, name) == 0)
            return &k->keys[i];
    return NULL;
}

struct tenant *keys_keyless(struct keys *k) { return k->keyless; }
