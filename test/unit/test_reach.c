/* Which addresses a declared name may lead to: every re-resolution is held against this. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>

#include "broker/reach.h"

static bool allows(const char *host, const char *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return reach_allows(host, (struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return reach_allows(host, (struct sockaddr *)&v6);
}

static void test_a_name_leads_to_other_machines(void **state)
{
    (void)state;
    static const char *const good[] = {"10.0.0.5", "192.168.1.1", "172.16.0.9", "8.8.8.8", "2001:db8::1", "fd12:3456::1", "::ffff:10.0.0.1"};
    static const char *const bad[] = {"127.0.0.1",
                                      "127.9.9.9",
                                      "0.0.0.0",
                                      "0.1.2.3",
                                      "169.254.169.254",
                                      "169.254.0.1",
                                      "224.0.0.1",
                                      "255.255.255.255",
                                      "240.0.0.1",
                                      "100.100.100.200",
                                      "::1",
                                      "::",
                                      "fe80::1",
                                      "ff02::1",
                                      "fd00:ec2::254",
                                      "::ffff:127.0.0.1",
                                      "::ffff:169.254.169.254",
                                      "::127.0.0.1",
                                      "64:ff9b::169.254.169.254",
                                      "2002:7f00:1::",
                                      "2002:a9fe:a9fe::1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!allows("db.example.com", good[i]))
            fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (allows("db.example.com", bad[i]))
            fail_msg("%s is allowed", bad[i]);
}

static void test_localhost_means_this_machine_and_no_other(void **state)
{
    (void)state;
    assert_true(allows("localhost", "127.0.0.1"));
    assert_true(allows("LOCALHOST", "::1"));
    assert_false(allows("localhost", "10.0.0.1"));
    assert_false(allows("localhost", "169.254.169.254"));
    assert_false(allows("localhost.example.com", "127.0.0.1"));
}

static void test_what_is_declared_literally_is_meant(void **state)
{
    (void)state;
    assert_true(allows("127.0.0.1", "127.0.0.1"));
    assert_true(allows("169.254.10.10", "169.254.10.10"));
    assert_true(allows("fe80::1", "fe80::1"));
    struct sockaddr local = {.sa_family = AF_UNIX};
    assert_false(reach_allows("db.example.com", &local));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_leads_to_other_machines),
        cmocka_unit_test(test_localhost_means_this_machine_and_no_other),
        cmocka_unit_test(test_what_is_declared_literally_is_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
