/* Addresses, ranges of them, and what proxies say about whose request it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/address.h"
#include "front/forwarded.h"

static struct address parse(const char *text)
{
    struct address a = {0};
    if (!address_parse(text, strlen(text), &a))
        fail_msg("no address: %s", text);
    return a;
}

static void test_what_is_an_address(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"192.0.2.1", "192.0.2.1"},      {"192.0.2.1:80", "192.0.2.1"}, {"::1", "::1"}, {"[::1]", "::1"}, {"[2001:DB8::1]:443", "2001:db8::1"},
        {"::ffff:10.0.0.1", "10.0.0.1"}, {"2001:db8::1", "2001:db8::1"}};
    static const char *const bad[] = {"",           "192.0.2",   "192.0.2.256", "192.0.2.1:", "192.0.2.1:123456", "[::1",     "::1]",
                                      "[::1]x",     "[::1]:",    "[192.0.2.1]", "unknown",    "_hidden",          "1.2.3.4 ", "localhost",
                                      "0x7f.0.0.1", "1.2.3.4,5", "[]",          "[[::1]]",    "1.2.3.4\n"};
    char text[ADDRESS_TEXT_BYTES];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct address a = parse(good[i][0]);
        address_format(&a, text);
        assert_string_equal(text, good[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct address a;
        if (address_parse(bad[i], strlen(bad[i]), &a))
            fail_msg("accepted: %s", bad[i]);
    }
    struct address a;
    assert_false(address_parse("1.2.3.4\0", 8, &a));
}

static void test_loopback(void **state)
{
    (void)state;
    static const char *const yes[] = {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"}, *const no[] = {"128.0.0.1", "::2", "10.0.0.1"};
    for (size_t i = 0; i < 4; i++) {
        struct address a = parse(yes[i]);
        assert_true(address_is_loopback(&a));
    }
    for (size_t i = 0; i < 3; i++) {
        struct address a = parse(no[i]);
        assert_false(address_is_loopback(&a));
    }
}

static void expect_range(const char *range, const char *address, bool expected)
{
    struct address_range r;
    const char *wrong = address_range_parse(range, &r);
    if (wrong)
        fail_msg("%s %s", range, wrong);
    struct address a = parse(address);
    if (address_range_has(&r, &a) != expected)
        fail_msg("%s %s %s", range, expected ? "has not" : "has", address);
}

static void test_ranges(void **state)
{
    (void)state;
    expect_range("10.0.0.0/8", "10.255.0.1", true);
    expect_range("10.0.0.0/8", "11.0.0.1", false);
    expect_range("192.168.16.0/20", "192.168.31.255", true);
    expect_range("192.168.16.0/20", "192.168.32.0", false);
    expect_range("192.0.2.1", "192.0.2.1", true);
    expect_range("192.0.2.1", "192.0.2.2", false);
    expect_range("0.0.0.0/0", "203.0.113.9", true);
    expect_range("0.0.0.0/0", "2001:db8::1", false);
    expect_range("::/0", "2001:db8::1", true);
    expect_range("2001:db8::/33", "2001:db8:7fff::1", true);
    expect_range("2001:db8::/33", "2001:db8:8000::1", false);
    static const char *const bad[] = {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::/129", "proxy.example", "10.0.0.0/8/8", "[::1]", "1.2.3.4:5"};
    struct address_range r, unix_range;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (!address_range_parse(bad[i], &r))
            fail_msg("accepted: %s", bad[i]);
    struct address unix_peer = {.kind = ADDRESS_UNIX}, ip = parse("127.0.0.1"), none = {0};
    assert_null(address_range_parse("unix", &unix_range));
    assert_true(address_range_has(&unix_range, &unix_peer));
    assert_false(address_range_has(&unix_range, &ip));
    assert_false(address_range_has(&unix_range, &none));
}

static void expect_client(const char *peer, const char *x_forwarded_for, const char *forwarded, const char *expected)
{
    struct address_range trusted[2];
    char text[ADDRESS_TEXT_BYTES];
    assert_null(address_range_parse("10.0.0.0/8", &trusted[0]));
    assert_null(address_range_parse("2001:db8::/32", &trusted[1]));
    struct address p = parse(peer), client = forwarded_client(&p, x_forwarded_for, forwarded, trusted, 2);
    address_format(&client, text);
    if (strcmp(text, expected))
        fail_msg("%s, \"%s\", \"%s\": %s, not %s", peer, x_forwarded_for ? x_forwarded_for : "-", forwarded ? forwarded : "-", text, expected);
}

static void test_only_a_trusted_peer_is_believed(void **state)
{
    (void)state;
    expect_client("10.0.0.1", "192.0.2.1", NULL, "192.0.2.1");
    expect_client("11.0.0.1", "192.0.2.1", NULL, "11.0.0.1");
    expect_client("11.0.0.1", NULL, "for=192.0.2.1", "11.0.0.1");
    expect_client("10.0.0.1", NULL, NULL, "10.0.0.1");
    struct address p = parse("10.0.0.1");
    struct address c = forwarded_client(&p, "192.0.2.1", NULL, NULL, 0);
    assert_true(address_equal(&p, &c));
}

static void test_the_last_untrusted_hop_counts(void **state)
{
    (void)state;
    expect_client("10.0.0.1", "198.51.100.9, 192.0.2.1", NULL, "192.0.2.1");
    expect_client("10.0.0.1", "198.51.100.9,192.0.2.1 , 10.0.0.7", NULL, "192.0.2.1");
    expect_client("10.0.0.1", "10.0.0.9, 10.0.0.8", NULL, "10.0.0.9");
    expect_client("10.0.0.1", "192.0.2.1:51234, 10.0.0.8", NULL, "192.0.2.1");
    expect_client("2001:db8::1", "[2001:db8:1::5]:99", NULL, "2001:db8:1::5");
    expect_client("10.0.0.1", "2001:1::5", NULL, "2001:1::5");
    expect_client("10.0.0.1", NULL, "for=198.51.100.9, for=192.0.2.1;proto=https, For=10.0.0.8", "192.0.2.1");
    expect_client("10.0.0.1", NULL, "proto=https; for=\"[2001:1::5]:4711\" ;by=10.0.0.3", "2001:1::5");
}

static void test_what_can_t_be_read_is_not_guessed(void **state)
{
    (void)state;
    expect_client("10.0.0.1", "", NULL, "10.0.0.1");
    expect_client("10.0.0.1", ",", NULL, "10.0.0.1");
    expect_client("10.0.0.1", "unknown", NULL, "10.0.0.1");
    expect_client("10.0.0.1", "192.0.2.1, unknown", NULL, "10.0.0.1");
    expect_client("10.0.0.1", "unknown, 10.0.0.8", NULL, "10.0.0.8");
    expect_client("10.0.0.1", NULL, "for=_hidden", "10.0.0.1");
    expect_client("10.0.0.1", NULL, "for", "10.0.0.1");
    expect_client("10.0.0.1", NULL, "for=\"192.0.2.1", "10.0.0.1");
    expect_client("10.0.0.1", NULL, "by=192.0.2.1", "10.0.0.1");
}

static void test_two_headers_must_agree(void **state)
{
    (void)state;
    expect_client("10.0.0.1", "192.0.2.1", "for=192.0.2.1", "192.0.2.1");
    expect_client("10.0.0.1", "192.0.2.1", "for=192.0.2.2", "10.0.0.1");
    expect_client("10.0.0.1", "unknown", "for=192.0.2.2", "10.0.0.1");
}

static void test_a_chain_without_end_is_followed_for_32_hops(void **state)
{
    (void)state;
    char chain[2048] = "192.0.2.1";
    for (int i = 0; i < 100; i++)
        strcat(chain, ", 10.0.0.8");
    expect_client("10.0.0.1", chain, NULL, "10.0.0.8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_an_address),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_only_a_trusted_peer_is_believed),
        cmocka_unit_test(test_the_last_untrusted_hop_counts),
        cmocka_unit_test(test_what_can_t_be_read_is_not_guessed),
        cmocka_unit_test(test_two_headers_must_agree),
        cmocka_unit_test(test_a_chain_without_end_is_followed_for_32_hops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
