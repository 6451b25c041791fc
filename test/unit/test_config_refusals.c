/* Refusals: each names the place, the key, what is wrong and the nearest known name, word for word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "core/errors.h"

struct row {
    const char *input, *refusal;
};

static void expect(int result, const struct error *err, const struct config *untouched, const struct row *row)
{
    if (result != -1)
        fail_msg("accepted: %s", row->input);
    assert_null(untouched);
    if (strcmp(err->detail, row->refusal))
        fail_msg("%s\n gives   %s\n instead %s", row->input, err->detail, row->refusal);
}

static void expect_text(const struct row *row, size_t len)
{
    struct config *cfg = NULL;
    struct error err = {0};
    int r = config_load_text(&cfg, row->input, len, "b.ini", &err);
    expect(r, &err, cfg, row);
}

static void test_form(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"timeout = 1s\n", "b.ini:1: a key before the first [section]"},
        {"[limits]\ntimeout\n", "b.ini:2: neither [section] nor key = value nor a comment"},
        {"[limits]\ntimeout = 1s\n  2s\n", "b.ini:3: neither [section] nor key = value nor a comment"},
        {"\n\n[limits\n", "b.ini:3: a section header without its ]"},
        {"[limits] ; x\n", "b.ini:1: text behind the ] of a section header (comments stand on lines of their own)"},
        {"[limits]\ntimeout = 5s ; five\n", "b.ini:2: comments stand on lines of their own; a value with \" "
                                            ";\" or \" #\" stands in double quotes"},
        {"[database]\npath = #x\n", "b.ini:2: comments stand on lines of their own; a value with \" ;\" or "
                                    "\" #\" stands in double quotes"},
        {"[database]\npath = \"a\n", "b.ini:2: the value's closing double quote is missing"},
        {"[database]\npath = \"a\" b\n", "b.ini:2: text behind the value's closing double quote"},
        {"[database]\npath = \"a\\n\"\n", "b.ini:2: in double quotes a backslash stands only before \" or another backslash"},
        {"[database]\npath = a\x01\n", "b.ini:2: a control character"},
        {"[database]\rpath = a\n", "b.ini:1: a control character"},
        {"[database]\npath = \xFF\n", "b.ini:2: not UTF-8 text"},
        {"\xEF\xBB\xBF[database]\n\xEF\xBB\xBFpath = a\n", "b.ini:2: [database] has no key \"\xEF\xBB\xBFpath\"; nearest known key: [database] path"},
        {"[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n", "b.ini:1: the section's name is too long"},
        {0},
    };
    for (const struct row *r = rows; r->input; r++)
        expect_text(r, strlen(r->input));
    static const char nul[] = "[limits]\ntimeout = 5s\0junk\n";
    expect_text(&(struct row){nul, "b.ini:2: a control character"}, sizeof nul - 1);
}

static void test_line_past_the_limit(void **state)
{
    (void)state;
    size_t len = 40000;
    char *text = malloc(len + 1);
    assert_non_null(text);
    memset(text, 'x', len);
    memcpy(text, "[database]\npath = ", 18);
    text[len] = 0;
    expect_text(&(struct row){text, "b.ini:2: the line is too long"}, len);
    free(text);
}

static void test_names(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"[limit]\ntimeout = 1s\n", "b.ini:1: unknown section [limit]; nearest known section: [limits]"},
        {"[ server ]\n", "b.ini:1: unknown section [ server ]; nearest known section: [server]"},
        {"[]\n", "b.ini:1: a key before the first [section]"},
        {"[sources.pg]\n", "b.ini:1: unknown section [sources.pg]; nearest known section: [source.NAME]"},
        {"[limits]\ntimout = 1s\n", "b.ini:2: [limits] has no key \"timout\"; nearest known key: [limits] timeout"},
        {"[limits]\nTimeout = 1s\n", "b.ini:2: [limits] has no key \"Timeout\"; nearest known key: [limits] timeout"},
        {"[pool]\nmemroy_limit = 1GB\n", "b.ini:2: [pool] has no key \"memroy_limit\"; nearest known key: [pool] memory_limit"},
        {"[server]\nqueue_length = 1\n", "b.ini:2: [server] has no key \"queue_length\"; nearest known key: [limits] queue_length"},
        {"[limits]\nhistory = 1\n\n[log]\nlevel = info\n[limits]\nhistory = 1\n", "b.ini:7: [limits] history is given twice, first in line 2"},
        {"[source.a b]\n", "b.ini:1: [source.a b]: a source's name is 1 to 31 of a-z, 0-9 and _, a letter first"},
        {"[source.1a]\n", "b.ini:1: [source.1a]: a source's name is 1 to 31 of a-z, 0-9 and _, a letter first"},
        {"[source.]\n", "b.ini:1: [source.]: a source's name is 1 to 31 of a-z, 0-9 and _, a letter first"},
        {"[source.a]\ntype = s3\nbuket = b\n", "b.ini:3: [source.a] has no key \"buket\"; nearest known key: bucket"},
        {"[source.a]\ntype = s3\ntype = s3\n", "b.ini:3: [source.a] type is given twice, first in line 2"},
        {"[source.a]\ntype = redis\n", "b.ini:2: [source.a] type: \"redis\" is none of: postgres, mysql, s3, files, duckdb"},
        {"[source.a]\nport = 70000\n", "b.ini:2: [source.a] port: \"70000\" is out of range: 1 to 65535"},
        {"[source.a]\nhost = h\n", "[source.a] has no type; one of: postgres, mysql, s3, files, duckdb"},
        {0},
    };
    for (const struct row *r = rows; r->input; r++)
        expect_text(r, strlen(r->input));
}

static void test_values(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"[limits]\ntimeout = 30\n", "b.ini:2: [limits] timeout: \"30\" has no unit: write ms, s, m, h or d right behind the number"},
        {"[limits]\ntimeout = 0\n", "b.ini:2: [limits] timeout: \"0\" is out of range: 1ms to 30d"},
        {"[limits]\ntimeout =\n", "b.ini:2: [limits] timeout: \"\" is empty"},
        {"[limits]\ntimeout = auto\n", "b.ini:2: [limits] timeout: \"auto\" is not a duration: a whole number, then ms, s, m, h or d"},
        {"[pool]\nmemory_limit = 1MB\n", "b.ini:2: [pool] memory_limit: \"1MB\" is out of range: 32MB to 1024TB, or auto"},
        {"[pool]\nmemory_limit = -1\n", "b.ini:2: [pool] memory_limit: \"-1\" is negative"},
        {"[pool]\nworkers = 0\n", "b.ini:2: [pool] workers: \"0\" is out of range: 1 to 1024, or auto"},
        {"[pool]\nworkers = 2s\n", "b.ini:2: [pool] workers: \"2s\" is not a whole number (it takes no unit)"},
        {"[pool]\nisolation = shar\n", "b.ini:2: [pool] isolation: \"shar\" is none of: shared, key"},
        {"[pool]\nisolation = shared, key\n", "b.ini:2: [pool] isolation: \"shared, key\" is none of: shared, key"},
        {"[pool]\nisolation =\n", "b.ini:2: [pool] isolation: \"\" is none of: shared, key"},
        {"[pool]\novercommit = maybe\n", "b.ini:2: [pool] overcommit: \"maybe\" is neither yes nor no"},
        {"[server]\nallowed_hosts = a,,b\n", "b.ini:2: [server] allowed_hosts: \"a,,b\" has an empty entry between its commas"},
        {"[server]\nallowed_hosts = a,\n", "b.ini:2: [server] allowed_hosts: \"a,\" has an empty entry between its commas"},
        {"[server]\nlisten =\n", "b.ini:2: [server] listen: \"\" must not be empty"},
        {0},
    };
    for (const struct row *r = rows; r->input; r++)
        expect_text(r, strlen(r->input));
}

static void test_values_against_each_other(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"[limits]\ntimeout = 600s\n", "[limits] timeout = 10m (b.ini:2) is longer than [limits] timeout_max = 5m (the default)"},
        {"[session]\nttl = 5m\n", "[session] idle_timeout = 10m (the default) is longer than [session] ttl = 5m (b.ini:2)"},
        {"[pool]\nmemory_limit = 1GB\nmemory_cap = 512MB\n",
         "[pool] memory_limit = 1GB (b.ini:2) is larger than [pool] memory_cap = 512MB (b.ini:3)"},
        {"[server]\nbody_memory = 64KB\n", "[limits] max_sql_bytes = 1MB (the default) is larger than [server] body_memory = 64KB (b.ini:2)"},
        {"[server]\ntls_cert = a.pem\n", "[server] tls_cert = a.pem (b.ini:2): needs [server] tls_key as well"},
        {"[server]\nlisten = 0.0.0.0:80\n", "[server] listen = 0.0.0.0:80 (b.ini:2): without [server] "
                                            "keys_file only loopback addresses are served "
                                            "(127.0.0.1, [::1], unix:/path)"},
        {"[server]\nlisten = [::]:80\n", "[server] listen = [::]:80 (b.ini:2): without [server] keys_file only loopback addresses are served "
                                         "(127.0.0.1, [::1], unix:/path)"},
        {"[server]\nlisten = 8480\n", "[server] listen = 8480 (b.ini:2): not ADDRESS:PORT, [IPv6 ADDRESS]:PORT or unix:/path"},
        {"[server]\nlisten = ::1:80\n", "[server] listen = ::1:80 (b.ini:2): not ADDRESS:PORT, [IPv6 ADDRESS]:PORT or unix:/path"},
        {"[server]\nlisten = 127.0.0.1:65536\n", "[server] listen = 127.0.0.1:65536 (b.ini:2): not ADDRESS:PORT, [IPv6 ADDRESS]:PORT or unix:/path"},
        {"[server]\nlisten = unix:x\n", "[server] listen = unix:x (b.ini:2): behind unix: stands an absolute path of at most 107 bytes"},
        {0},
    };
    for (const struct row *r = rows; r->input; r++)
        expect_text(r, strlen(r->input));
    static const char *const fine[] = {"[server]\nlisten = localhost:0\n", "[server]\nlisten = 127.8.8.8:65535\n",
                                       "[server]\nlisten = unix:/run/b.sock\n", "[server]\nlisten = 0.0.0.0:80\nkeys_file = k\n", NULL};
    for (const char *const *f = fine; *f; f++) {
        struct config *cfg = NULL;
        struct error err;
        if (config_load_text(&cfg, *f, strlen(*f), "b.ini", &err) < 0)
            fail_msg("%s", err.detail);
        config_free(cfg);
    }
}

static void test_environment(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"BULKHEAD_LIMITS_TIMOUT=1s", "environment variable BULKHEAD_LIMITS_TIMOUT: no such key; nearest known: BULKHEAD_LIMITS_TIMEOUT"},
        {"BULKHEAD_POOL_WORKERS=x", "environment variable BULKHEAD_POOL_WORKERS: [pool] workers: \"x\" is "
                                    "not a whole number (it takes no unit)"},
        {"BULKHEAD_SOURCE_PG_HOST=h", "environment variable BULKHEAD_SOURCE_PG_HOST: sources are configured "
                                      "in the file or by --set, not here"},
        {"BULKHEAD_DATABASE_PATH=a\nb", "environment variable BULKHEAD_DATABASE_PATH: [database] path: \"a?b\" has a control character"},
        {"BULKHEAD_DATABASE_PATH=a\x1b[31m\xC2\x9B", "environment variable BULKHEAD_DATABASE_PATH: "
                                                     "[database] path: \"a?[31m??\" has a control character"},
        {0},
    };
    for (const struct row *r = rows; r->input; r++) {
        char *env[] = {(char *)r->input, NULL};
        struct config *cfg = NULL;
        struct error err = {0};
        int result = config_load(&cfg, NULL, NULL, env, &err);
        expect(result, &err, cfg, r);
    }
}

static void test_set(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"limits.timeout", "--set limits.timeout: not of the form section.key=value"},
        {"timeout=1s", "--set timeout=1s: not of the form section.key=value"},
        {".timeout=1s", "--set .timeout=1s: not of the form section.key=value"},
        {"limits.=1s", "--set limits.=1s: not of the form section.key=value"},
        {"", "--set : not of the form section.key=value"},
        {"limits.timeout=1", "--set limits.timeout: [limits] timeout: \"1\" has no unit: write ms, s, m, h or d right "
                             "behind the number"},
        {"limts.timeout=1s", "--set limts.timeout: unknown section [limts]; nearest known section: [limits]"},
        {"limits.timeout=10m", "[limits] timeout = 10m (--set) is longer than [limits] timeout_max = 5m (the default)"},
        {0},
    };
    for (const struct row *r = rows; r->input; r++) {
        const char *const sets[] = {r->input, NULL};
        struct config *cfg = NULL;
        struct error err = {0};
        int result = config_load(&cfg, NULL, sets, NULL, &err);
        expect(result, &err, cfg, r);
    }
}

static void test_files_that_cannot_be_read(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"/nowhere/b.ini", "/nowhere/b.ini: the configuration file can't be read: No such file or directory"},
        {"/tmp", "/tmp: the configuration file can't be read: Is a directory"},
        {"/dev/zero", "/dev/zero: the configuration file can't be read: File too large"},
        {0},
    };
    for (const struct row *r = rows; r->input; r++) {
        struct config *cfg = NULL;
        struct error err = {0};
        int result = config_load(&cfg, r->input, NULL, NULL, &err);
        expect(result, &err, cfg, r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),   cmocka_unit_test(test_line_past_the_limit),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_values), cmocka_unit_test(test_values_against_each_other), cmocka_unit_test(test_environment),
        cmocka_unit_test(test_set),    cmocka_unit_test(test_files_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
