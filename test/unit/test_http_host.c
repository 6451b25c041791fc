/* Host and origin texts: what is the same server, what is another one, what is neither. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "front/http_host.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void hosts_are_parsed_to_one_form(void **state)
{
    (void)state;
    static const struct {
        const char *in, *text;
        int port;
    } good[] = {
        {"localhost", "localhost", -1},
        {"LocalHost:8480", "localhost", 8480},
        {"a.b-c_d.", "a.b-c_d", -1},
        {"127.0.0.1:0", "127.0.0.1", 0},
        {"[::1]", "[::1]", -1},
        {"[0:0:0:0:0:0:0:1]:65535", "[::1]", 65535},
        {"[2001:DB8::00ff]:80", "[2001:db8::ff]", 80},
        {"h:", "h", -1},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct host_name h;
        assert_true(host_name_parse(good[i].in, strlen(good[i].in), &h));
        assert_string_equal(h.text, good[i].text);
        assert_int_equal(h.port, good[i].port);
    }
    static const char *const bad[] = {"",       ":80",   "a:b", "a:65536", "a:123456", "a b",   "a/b", "a@b",     "[::1",
                                      "[::1]x", "[::g]", "[]",  "::1",     "a:1:2",    "a\x80", "a,b", "[::1]:x", "*"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct host_name h = {.port = 77};
        assert_false(host_name_parse(bad[i], strlen(bad[i]), &h));
        assert_int_equal(h.port, 77);
    }
    char longest[400];
    memset(longest, 'a', sizeof longest);
    struct host_name h;
    assert_true(host_name_parse(longest, 255, &h));
    assert_false(host_name_parse(longest, 256, &h));
}

static int bound(in_addr_t address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static bool allows(const struct host_rules *r, const char *text, int fd)
{
    struct host_name h;
    assert_true(host_name_parse(text, strlen(text), &h));
    return host_rules_allow(r, &h, fd);
}

static void the_listed_and_the_bound_addresses_are_allowed(void **state)
{
    (void)state;
    int fd = bound(0x7f000105); /* 127.0.1.5 */
    struct host_rules *r = host_rules_new(" a.example ,B.example:99,, fd00::1, [fd00:0::2]:80,bad host", "", &fd, 1);
    static const char *const good[] = {"localhost", "LOCALHOST:1", "127.0.0.1", "[::1]",    "127.0.1.5:80",
                                       "a.example", "b.example",   "[fd00::1]", "[fd00::2]"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(allows(r, good[i], -1));
    static const char *const bad[] = {"127.0.0.2", "a.example.evil", "xa.example", "localhost.evil", "[fd00::3]", "0.0.0.0", "bad"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(allows(r, bad[i], fd));
    host_rules_free(r);
    close(fd);
}

static void a_wildcard_listener_answers_to_the_address_that_was_called(void **state)
{
    (void)state;
    int any = bound(INADDR_ANY), accepted = bound(0x7f000107);
    struct host_rules *r = host_rules_new(NULL, NULL, &any, 1);
    assert_true(allows(r, "127.0.1.7:8480", accepted));
    assert_false(allows(r, "127.0.1.8", accepted));
    assert_false(allows(r, "127.0.1.7", -1));
    host_rules_free(r);
    r = host_rules_new(NULL, NULL, &accepted, 1);
    assert_false(allows(r, "127.0.1.8", any));
    host_rules_free(r);
    close(any);
    close(accepted);
}

static enum origin_kind kind_over(const struct host_rules *r, const char *origin, const char *host, bool tls)
{
    struct host_name h;
    if (host)
        assert_true(host_name_parse(host, strlen(host), &h));
    return host_rules_origin(r, origin, host ? &h : NULL, tls);
}

static enum origin_kind kind(const struct host_rules *r, const char *origin, const char *host) { return kind_over(r, origin, host, false); }

static void origins_are_told_apart(void **state)
{
    (void)state;
    struct host_rules *r = host_rules_new("", "https://App.example/, http://two.example:81", NULL, 0);
    assert_int_equal(kind(r, NULL, "localhost"), ORIGIN_NONE);
    assert_int_equal(kind(r, "http://localhost", "localhost"), ORIGIN_SAME);
    assert_int_equal(kind(r, "http://localhost:80", "localhost"), ORIGIN_SAME);
    assert_int_equal(kind(r, "HTTP://LOCALHOST", "localhost:80"), ORIGIN_SAME);
    assert_int_equal(kind(r, "http://[::1]:8480", "[::1]:8480"), ORIGIN_SAME);
    assert_int_equal(kind(r, "http://localhost:8481", "localhost:8480"), ORIGIN_REFUSED);
    assert_int_equal(kind(r, "https://localhost:8480", "localhost:8480"), ORIGIN_REFUSED);
    assert_int_equal(kind(r, "http://localhost", NULL), ORIGIN_REFUSED);
    assert_int_equal(kind(r, "null", "localhost"), ORIGIN_REFUSED);
    assert_int_equal(kind(r, "", "localhost"), ORIGIN_REFUSED);
    assert_int_equal(kind(r, "https://app.example", "localhost"), ORIGIN_CORS);
    assert_int_equal(kind(r, "http://app.example", "localhost"), ORIGIN_REFUSED);
    assert_int_equal(kind(r, "http://two.example:81", "localhost"), ORIGIN_CORS);
    assert_int_equal(kind(r, "http://two.example", "localhost"), ORIGIN_REFUSED);
    assert_int_equal(kind(r, "https://app.example.evil", "localhost"), ORIGIN_REFUSED);
    assert_int_equal(kind_over(r, "https://localhost", "localhost", true), ORIGIN_SAME);
    assert_int_equal(kind_over(r, "https://localhost:443", "localhost", true), ORIGIN_SAME);
    assert_int_equal(kind_over(r, "https://localhost:8480", "localhost:8480", true), ORIGIN_SAME);
    assert_int_equal(kind_over(r, "https://localhost:80", "localhost", true), ORIGIN_REFUSED);
    assert_int_equal(kind_over(r, "http://localhost:8480", "localhost:8480", true), ORIGIN_REFUSED);
    assert_int_equal(kind_over(r, "https://app.example", "localhost", true), ORIGIN_CORS);
    host_rules_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_are_parsed_to_one_form),
        cmocka_unit_test(the_listed_and_the_bound_addresses_are_allowed),
        cmocka_unit_test(a_wildcard_listener_answers_to_the_address_that_was_called),
        cmocka_unit_test(origins_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
