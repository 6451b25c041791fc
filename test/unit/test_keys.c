/* The keys in force, the throttle of wrong ones, and the limit of events per second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/config.h"
#include "core/errors.h"
#include "front/keys.h"
#include "front/throttle.h"
#include "sched/rate.h"

#define DAY_S 86400

static void put_key(struct buf *b, const char *name, const char *secret, const char *more)
{
    uint8_t hash[SECRET_HASH_BYTES];
    secret_hash(secret, strlen(secret), hash);
    assert_true(buf_printf(b, "[%s]\nhash = sha256:", name));
    for (int i = 0; i < SECRET_HASH_BYTES; i++)
        assert_true(buf_printf(b, "%02x", hash[i]));
    assert_true(buf_printf(b, "\n%s\n", more));
}

static void load(struct keys *k, struct buf *b)
{
    struct error err;
    if (keys_load(k, b->data, b->len, &err) < 0)
        fail_msg("%s", err.detail);
    b->len = 0;
}

static const struct key *good(const struct keys *k, const char *secret, int64_t now_s)
{
    const struct key *key = NULL;
    assert_int_equal(keys_check(k, secret, strlen(secret), now_s, &key), KEY_GOOD);
    return key;
}

static void test_each_of_many_keys_is_found_and_no_other(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    struct keys *k = keys_new();
    struct buf b = BUF_INIT(KEYFILE_TEXT_MAX);
    char(*secrets)[SECRET_CHARS + 1] = calloc(MANY + 1, sizeof *secrets);
    for (int i = 0; i <= MANY; i++) {
        char name[32];
        secret_make(secrets[i]);
        snprintf(name, sizeof name, "k%d", i);
        if (i < MANY)
            put_key(&b, name, secrets[i], i % 2 ? "role = reader" : "role = admin");
    }
    load(k, &b);
    assert_int_equal(keys_count(k), MANY);
    for (int i = 0; i < MANY; i++) {
        const struct key *key = good(k, secrets[i], 1);
        assert_int_equal(atoi(key->tenant->name + 1), i);
        assert_int_equal(key->role, i % 2 ? ROLE_READER : ROLE_ADMIN);
    }
    const struct key *key = NULL;
    assert_int_equal(keys_check(k, secrets[MANY], SECRET_CHARS, 1, &key), KEY_UNKNOWN);
    assert_int_equal(keys_check(k, "bh_x", 4, 1, &key), KEY_MALFORMED);
    assert_int_equal(keys_check(k, "", 0, 1, &key), KEY_MALFORMED);
    assert_null(key);
    free(secrets);
    buf_free(&b);
    keys_free(k);
}

static void test_no_key_is_good_before_a_load(void **state)
{
    (void)state;
    struct keys *k = keys_new();
    const struct key *key;
    char secret[SECRET_CHARS + 1];
    secret_make(secret);
    assert_int_equal(keys_check(k, secret, SECRET_CHARS, 1, &key), KEY_UNKNOWN);
    keys_free(k);
}

static void test_a_key_that_stays_keeps_its_tenant_and_gets_new_limits(void **state)
{
    (void)state;
    struct keys *k = keys_new();
    struct buf b = BUF_INIT(KEYFILE_TEXT_MAX);
    char a[SECRET_CHARS + 1], c[SECRET_CHARS + 1];
    secret_make(a);
    secret_make(c);
    put_key(&b, "a", a, "role = reader\nrate = 1");
    put_key(&b, "gone", c, "role = reader");
    load(k, &b);
    struct tenant *stays = tenant_ref(good(k, a, 1)->tenant), *goes = tenant_ref(good(k, c, 1)->tenant);
    assert_int_equal(stays->limits.per_s, 1);
    put_key(&b, "a", a, "role = admin\nrate = 2\nburst = 7\nconcurrency = 3");
    load(k, &b);
    const struct key *key = good(k, a, 1);
    assert_ptr_equal(key->tenant, stays);
    assert_int_equal(key->role, ROLE_ADMIN);
    assert_int_equal(stays->limits.per_s, 2);
    assert_int_equal(stays->limits.burst, 7);
    assert_int_equal(stays->limits.concurrency, 3);
    assert_false(stays->revoked);
    assert_true(goes->revoked);
    assert_int_equal(goes->refs, 1); /* ours alone */
    tenant_unref(stays);
    tenant_unref(goes);
    buf_free(&b);
    keys_free(k);
}

static void test_the_same_name_with_another_secret_is_another_tenant(void **state)
{
    (void)state;
    struct keys *k = keys_new();
    struct buf b = BUF_INIT(KEYFILE_TEXT_MAX);
    char a[SECRET_CHARS + 1], c[SECRET_CHARS + 1];
    secret_make(a);
    secret_make(c);
    put_key(&b, "a", a, "role = reader");
    load(k, &b);
    struct tenant *old = tenant_ref(good(k, a, 1)->tenant);
    put_key(&b, "a", c, "role = reader");
    load(k, &b);
    assert_true(old->revoked);
    assert_int_not_equal(good(k, c, 1)->tenant->id, old->id);
    tenant_unref(old);
    put_key(&b, "b", c, "role = reader"); /* and the same secret under another name */
    load(k, &b);
    assert_string_equal(good(k, c, 1)->tenant->name, "b");
    buf_free(&b);
    keys_free(k);
}

static void test_a_refused_text_changes_nothing(void **state)
{
    (void)state;
    struct keys *k = keys_new();
    struct buf b = BUF_INIT(KEYFILE_TEXT_MAX);
    struct error err;
    char a[SECRET_CHARS + 1];
    secret_make(a);
    put_key(&b, "a", a, "role = reader");
    load(k, &b);
    assert_int_equal(keys_load(k, "[b]\n", 4, &err), -1);
    assert_false(good(k, a, 1)->tenant->revoked);
    buf_free(&b);
    keys_free(k);
}

static void note_revoked(void *ctx, struct tenant *t) { *(struct tenant **)ctx = t; }

static void test_an_expired_key_is_refused_and_its_tenant_revoked(void **state)
{
    (void)state;
    struct keys *k = keys_new();
    struct buf b = BUF_INIT(KEYFILE_TEXT_MAX);
    char a[SECRET_CHARS + 1], c[SECRET_CHARS + 1];
    const struct key *key = NULL;
    int64_t at;
    assert_null(key_time_parse("2026-01-31", &at));
    secret_make(a);
    secret_make(c);
    put_key(&b, "a", a, "role = reader\nexpires = 2026-01-31");
    put_key(&b, "b", c, "role = reader\nexpires = 2026-02-01");
    load(k, &b);
    struct tenant *last = NULL;
    keys_on_revoked(k, note_revoked, &last);
    keys_expire(k, at - 1);
    assert_null(last);
    struct tenant *t = good(k, a, at - 1)->tenant;
    assert_int_equal(keys_check(k, a, SECRET_CHARS, at, &key), KEY_EXPIRED);
    keys_expire(k, at);
    assert_true(t->revoked);
    assert_ptr_equal(last, t);
    last = NULL;
    keys_expire(k, at + 1);
    assert_null(last); /* told once */
    keys_expire(k, at + DAY_S);
    assert_string_equal(last->name, "b");
    keys_expire(k, at - 5); /* the clock was set back: both are good again */
    assert_false(t->revoked);
    assert_ptr_equal(good(k, a, at - 5)->tenant, t);
    keys_expire(k, at + DAY_S);
    assert_true(t->revoked);
    buf_free(&b);
    keys_free(k);
}

static void test_limits_come_from_the_key_or_the_configuration(void **state)
{
    (void)state;
    static const char text[] = "[limits]\nper_key_concurrency = 9\nper_key_queue = 8\nper_key_rate = 7\ntimeout_max = 60s\n";
    struct keys *k = keys_new();
    struct buf b = BUF_INIT(KEYFILE_TEXT_MAX);
    struct config *cfg;
    struct error err;
    char a[SECRET_CHARS + 1], c[SECRET_CHARS + 1];
    assert_int_equal(config_load_text(&cfg, text, strlen(text), "t", &err), 0);
    keys_set_defaults(k, cfg);
    secret_make(a);
    secret_make(c);
    put_key(&b, "a", a, "role = reader");
    put_key(&b, "b", c, "role = reader\nconcurrency = 0\nqueue = 1\nrate = 100\nshare = 30\ntimeout_max = 2h\nmemory = 1GB\nsources = x,y");
    load(k, &b);
    struct tenant_limits l = good(k, a, 1)->tenant->limits;
    assert_int_equal(l.concurrency, 9);
    assert_int_equal(l.queue, 8);
    assert_int_equal(l.per_s, 7);
    assert_int_equal(l.burst, 7);
    assert_int_equal(l.share, 10);
    assert_int_equal(l.timeout_max_ms, 60000);
    assert_int_equal(l.memory_bytes, 0);
    const struct key *own = good(k, c, 1);
    l = own->tenant->limits;
    assert_int_equal(l.concurrency, 0);
    assert_int_equal(l.queue, 1);
    assert_int_equal(l.per_s, 100);
    assert_int_equal(l.burst, 100);
    assert_int_equal(l.share, 30);
    assert_int_equal(l.timeout_max_ms, 60000); /* never above the server's */
    assert_int_equal(l.memory_bytes, 1000000000);
    assert_string_equal(own->sources, ",x,y,");
    assert_int_equal(keys_keyless(k)->limits.per_s, 7);
    config_free(cfg);
    buf_free(&b);
    keys_free(k);
}

/* ---- the rate ---- */

static void test_a_burst_then_the_rate(void **state)
{
    (void)state;
    struct rate r = {0};
    int64_t now = 1000 * NS_PER_S, wait = 0;
    for (int i = 0; i < 5; i++)
        assert_true(rate_take(&r, now, 10, 5, &wait));
    assert_false(rate_take(&r, now, 10, 5, &wait));
    assert_int_equal(wait, NS_PER_S / 10);
    assert_false(rate_take(&r, now + wait - 1, 10, 5, &wait));
    assert_int_equal(wait, 1);
    now += NS_PER_S / 10;
    assert_true(rate_take(&r, now, 10, 5, &wait));
    assert_false(rate_take(&r, now, 10, 5, &wait));
    now += 100 * NS_PER_S; /* a long pause gives one burst, not more */
    int taken = 0;
    while (rate_take(&r, now, 10, 5, &wait))
        taken++;
    assert_int_equal(taken, 5);
}

static void test_over_time_the_rate_holds_exactly(void **state)
{
    (void)state;
    struct rate r = {0};
    int64_t wait;
    int taken = 0;
    for (int64_t ms = 0; ms < 10000; ms++)
        taken += rate_take(&r, NS_PER_S + ms * NS_PER_MS, 50, 1, &wait);
    assert_int_equal(taken, 500);
}

static void test_retry_after_is_never_0(void **state)
{
    (void)state;
    assert_int_equal(rate_seconds(1), 1);
    assert_int_equal(rate_seconds(NS_PER_S), 1);
    assert_int_equal(rate_seconds(NS_PER_S + 1), 2);
    assert_int_equal(rate_seconds(INT64_MAX / 2), 3600);
}

/* ---- the throttle ---- */

static struct address v4(uint32_t n)
{
    struct address a = {.kind = ADDRESS_IP, .bytes = {[10] = 0xFF, [11] = 0xFF}};
    for (int i = 0; i < 4; i++)
        a.bytes[12 + i] = (uint8_t)(n >> (24 - 8 * i));
    return a;
}

static struct address v6(uint32_t net, uint32_t host)
{
    struct address a = {.kind = ADDRESS_IP, .bytes = {0x20, 0x01}};
    memcpy(a.bytes + 4, &net, 4);
    memcpy(a.bytes + 12, &host, 4);
    return a;
}

static int allowed(struct throttle *t, struct address a, int64_t now, int tries)
{
    int64_t wait;
    int n = 0;
    for (int i = 0; i < tries; i++)
        n += throttle_wrong_key(t, &a, now, &wait);
    return n;
}

static void test_each_address_has_its_own_count(void **state)
{
    (void)state;
    struct throttle *t = throttle_new();
    int64_t now = 1000 * NS_PER_S, wait = 0;
    assert_int_equal(allowed(t, v4(1), now, 50), THROTTLE_BURST);
    assert_int_equal(allowed(t, v4(2), now, 50), THROTTLE_BURST);
    struct address a = v4(1);
    assert_false(throttle_wrong_key(t, &a, now, &wait));
    assert_true(wait > 0 && wait <= NS_PER_S);
    assert_int_equal(allowed(t, v4(1), now + 3 * NS_PER_S, 50), 3 * THROTTLE_PER_S);
    throttle_free(t);
}

static void test_a_whole_v6_net_counts_as_one(void **state)
{
    (void)state;
    struct throttle *t = throttle_new();
    int n = 0;
    for (uint32_t host = 0; host < 100; host++)
        n += allowed(t, v6(7, host), 1000 * NS_PER_S, 1);
    assert_int_equal(n, THROTTLE_BURST);
    assert_int_equal(allowed(t, v6(8, 1), 1000 * NS_PER_S, 50), THROTTLE_BURST);
    throttle_free(t);
}

static void test_many_addresses_push_out_the_quiet_ones_only(void **state)
{
    (void)state;
    struct throttle *t = throttle_new();
    int64_t now = 1000 * NS_PER_S;
    for (uint32_t i = 0; i < 1000000; i++)
        allowed(t, v4(i), now + (int64_t)i * 1000, 1);
    assert_int_equal(allowed(t, v4(2000000), now, 50), THROTTLE_BURST);
    /* One that goes on all the time stays known beside a hundred thousand others. */
    int n = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        n += allowed(t, v4(3000000), now + 5 * NS_PER_S, 1);
        allowed(t, v4(4000000 + i), now + 5 * NS_PER_S, 1);
    }
    assert_true(n <= THROTTLE_BURST);
    throttle_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_of_many_keys_is_found_and_no_other),
        cmocka_unit_test(test_no_key_is_good_before_a_load),
        cmocka_unit_test(test_a_key_that_stays_keeps_its_tenant_and_gets_new_limits),
        cmocka_unit_test(test_the_same_name_with_another_secret_is_another_tenant),
        cmocka_unit_test(test_a_refused_text_changes_nothing),
        cmocka_unit_test(test_an_expired_key_is_refused_and_its_tenant_revoked),
        cmocka_unit_test(test_limits_come_from_the_key_or_the_configuration),
        cmocka_unit_test(test_a_burst_then_the_rate),
        cmocka_unit_test(test_over_time_the_rate_holds_exactly),
        cmocka_unit_test(test_retry_after_is_never_0),
        cmocka_unit_test(test_each_address_has_its_own_count),
        cmocka_unit_test(test_a_whole_v6_net_counts_as_one),
        cmocka_unit_test(test_many_addresses_push_out_the_quiet_ones_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
