/* Sources as checked values, sets of them, and grants on their way through a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "core/config.h"
#include "core/errors.h"
#include "core/source.h"
#include "link/egress.h"
#include "link/grants.h"

static struct config *load(const char *text)
{
    struct config *cfg = NULL;
    struct error err;
    if (config_load_text(&cfg, text, strlen(text), "t.ini", &err) < 0)
        fail_msg("%s", err.detail);
    return cfg;
}

static void test_endpoints_of_s3(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint, *host;
        int port;
        bool tls;
    } good[] = {{"http://127.0.0.1:9000", "127.0.0.1", 9000, false},
                {"127.0.0.1:9000", "127.0.0.1", 9000, false},
                {"localhost:9000/", "localhost", 9000, false},
                {"s3.example.com", "s3.example.com", 443, true},
                {"http://s3.example.com", "s3.example.com", 80, false},
                {"https://127.0.0.1", "127.0.0.1", 443, true},
                {"https://[::1]:9000", "::1", 9000, true},
                {"[::1]:9000", "::1", 9000, false},
                {"", "s3.eu-west-1.amazonaws.com", 443, true}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char text[300];
        struct source s;
        struct error err;
        snprintf(text, sizeof text, "[source.x]\ntype = s3\nbucket = lake\nregion = eu-west-1\nprefix = a/b\nendpoint = %s\n", good[i].endpoint);
        struct config *cfg = load(text);
        if (source_read(&cfg->sources[0], &s, &err) < 0)
            fail_msg("%s: %s", good[i].endpoint, err.detail);
        assert_string_equal(s.host, good[i].host);
        assert_int_equal(s.port, good[i].port);
        assert_int_equal(s.tls, good[i].tls);
        assert_string_equal(s.prefix, "a/b/");
        config_free(cfg);
    }
}

static void test_who_may_use_it(void **state)
{
    (void)state;
    struct source s = {.roles = "", .keys = ""};
    assert_true(source_allows(&s, "analyst", ""));
    s.keys = "ann, ben";
    assert_true(source_allows(&s, "analyst", "ann"));
    assert_true(source_allows(&s, "analyst", "ben"));
    assert_false(source_allows(&s, "analyst", "be"));
    assert_false(source_allows(&s, "analyst", ""));
    s.roles = "admin";
    assert_true(source_allows(&s, "admin", "root"));
    assert_false(source_allows(&s, "analyst", "carl"));
}

static void test_sets(void **state)
{
    (void)state;
    char set[SOURCE_SET_BYTES], name[SOURCE_NAME_BYTES];
    struct error err;
    assert_int_equal(source_set_make((const char *[]){"pg1", "my1", "lake"}, 3, set, &err), 0);
    assert_string_equal(set, "lake,my1,pg1");
    assert_true(source_set_valid(set));
    assert_true(source_set_has(set, "my1"));
    assert_false(source_set_has(set, "my"));
    size_t at = 0, n = 0;
    while (source_set_next(set, &at, name))
        n++;
    assert_int_equal(n, 3);
    assert_int_equal(source_set_make((const char *[]){"a", "a"}, 2, set, &err), -1);
    assert_int_equal(source_set_make((const char *[]){"A"}, 1, set, &err), -1);
    assert_int_equal(source_set_make(NULL, 0, set, &err), 0);
    assert_string_equal(set, "");
    static const char *const bad[] = {",", "a,", ",a", "b,a", "a,a", "a b", "A", "a,,b", "1", "a;b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (source_set_valid(bad[i]))
            fail_msg("'%s' is no set", bad[i]);
    memset(set, 'a', sizeof set);
    assert_false(source_set_valid(set)); /* no end */
}

static void test_grants_survive_the_pipe(void **state)
{
    (void)state;
    struct grant in[2] = {{.name = "pg1", .password = "it's \"quoted\" \\ \n"}, {.name = "lake", .key_id = "k", .secret = ""}}, out[2];
    struct buf b = BUF_INIT(GRANTS_MAX_BYTES);
    size_t count;
    assert_true(grants_put(&b, &in[0]) && grants_put(&b, &in[1]));
    assert_true(grants_take(b.data, b.len, out, 2, &count));
    assert_int_equal(count, 2);
    assert_string_equal(out[0].password, in[0].password);
    assert_string_equal(out[1].key_id, "k");
    assert_false(grants_take(b.data, b.len, out, 1, &count));
    for (size_t cut = 1; cut < b.len; cut++) /* half of it is nothing, but for a whole first one */
        if (grants_take(b.data, cut, out, 2, &count))
            assert_int_equal(count, 1);
    ((uint32_t *)(void *)b.data)[0] = 0xffffffff;
    assert_false(grants_take(b.data, b.len, out, 2, &count));
    buf_free(&b);
}

static void test_endpoints_are_counted_in_the_sets_order(void **state)
{
    (void)state;
    struct config *cfg = load("[source.z]\ntype = postgres\nhost = h1\ndatabase = d\nuser = u\n[source.f]\ntype = files\npath = /srv\n"
                              "[source.a]\ntype = mysql\nhost = h2\nuser = u\nport = 3307\n");
    struct egress_endpoint e[SOURCES_PER_SET];
    assert_int_equal(egress_endpoints(cfg, "a,f,z", e), 2);
    assert_string_equal(e[0].host, "h2");
    assert_int_equal(e[0].port, 3307);
    assert_string_equal(e[1].source, "z");
    assert_int_equal(e[1].port, 5432);
    assert_int_equal(egress_endpoints(cfg, "f", e), 0);
    assert_int_equal(egress_endpoints(cfg, "nosuch", e), 0);
    config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoints_of_s3),
        cmocka_unit_test(test_who_may_use_it),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_grants_survive_the_pipe),
        cmocka_unit_test(test_endpoints_are_counted_in_the_sets_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
