/* Values: the defaults of the contract, every source of a value, what wins, the round trip and the
 * difference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/config.h"
#include "core/errors.h"

static struct config *load(const char *text)
{
    struct config *cfg = NULL;
    struct error err;
    if (config_load_text(&cfg, text, strlen(text), "test.ini", &err) < 0)
        fail_msg("%s", err.detail);
    return cfg;
}

/* A file with this text; the caller unlinks it. */
static void make_file(char path[32], const char *text)
{
    strcpy(path, "/tmp/bulkhead-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_defaults_are_the_contracts(void **state)
{
    (void)state;
    struct config *cfg = load("");
    assert_string_equal(cfg->server.listen, "127.0.0.1:8480");
    assert_false(cfg->server.keyless_admin);
    assert_int_equal(cfg->server.max_connections, 10000);
    assert_int_equal(cfg->server.body_memory_bytes, 64000000);
    assert_int_equal(cfg->server.header_timeout_ms, 10000);
    assert_int_equal(cfg->server.idle_timeout_ms, 75000);
    assert_string_equal(cfg->database.path, "");
    assert_int_equal(cfg->pool.workers, CONFIG_AUTO);
    assert_int_equal(cfg->pool.memory_limit_bytes, CONFIG_AUTO);
    assert_int_equal(cfg->pool.memory_cap_bytes, CONFIG_AUTO);
    assert_int_equal(cfg->pool.spares, 1);
    assert_int_equal(cfg->pool.threads, 2);
    assert_int_equal(cfg->pool.scratch_limit_bytes, 1000000000);
    assert_int_equal(cfg->pool.isolation, ISOLATION_SHARED);
    assert_int_equal(cfg->pool.statement_cache, 256);
    assert_int_equal(cfg->limits.timeout_ms, 30000);
    assert_int_equal(cfg->limits.timeout_max_ms, 300000);
    assert_int_equal(cfg->limits.interrupt_grace_ms, 250);
    assert_int_equal(cfg->limits.term_grace_ms, 1000);
    assert_int_equal(cfg->limits.queue_length, 64);
    assert_int_equal(cfg->limits.max_result_bytes, 10000000000);
    assert_int_equal(cfg->limits.inline_bytes, 64000);
    assert_int_equal(cfg->admin.copy_timeout_ms, 600000);
    assert_int_equal(cfg->session.max, CONFIG_AUTO);
    assert_int_equal(cfg->session.ttl_ms, 28800000);
    assert_int_equal(cfg->spool.ttl_ms, 900000);
    assert_int_equal(cfg->sandbox.require.count, 0);
    assert_int_equal(cfg->source_count, 0);
    config_free(cfg);
    config_free(NULL);
}

static void test_every_type_is_read(void **state)
{
    (void)state;
    struct config *cfg = load("[server]\nlisten = [::1]:0\nallowed_hosts = a.example , b.example,c\nkeyless_admin = yes\n"
                              "[pool]\nmemory_limit = 300MiB\nisolation = key\nworkers = 3\n"
                              "[limits]\ntimeout = 1500ms\nqueue_length = 0\n[log]\nlevel = debug\nsql = off\n");
    assert_string_equal(cfg->server.listen, "[::1]:0");
    assert_int_equal(cfg->server.allowed_hosts.count, 3);
    assert_string_equal(cfg->server.allowed_hosts.items[0], "a.example");
    assert_string_equal(cfg->server.allowed_hosts.items[1], "b.example");
    assert_string_equal(cfg->server.allowed_hosts.items[2], "c");
    assert_true(cfg->server.keyless_admin);
    assert_int_equal(cfg->pool.memory_limit_bytes, 314572800);
    assert_int_equal(cfg->pool.isolation, ISOLATION_KEY);
    assert_int_equal(cfg->pool.workers, 3);
    assert_int_equal(cfg->limits.timeout_ms, 1500);
    assert_int_equal(cfg->limits.queue_length, 0);
    assert_int_equal(cfg->log.level, 3);
    assert_int_equal(cfg->log.sql, LOG_SQL_OFF);
    config_free(cfg);
}

/* Each form that inih by itself would cut, join or take for something else. */
static void test_forms_of_the_file(void **state)
{
    (void)state;
    struct config *cfg = load("\xEF\xBB\xBF[database]\r\n; a comment\r\n# another, \x80 not UTF-8\r\n\r\n"
                              "  path = \"/data/a ; b # \\\"c\\\" \\\\ \"\r\n\textension_directory=/x;y#z\r\n"
                              "[limits]\n[limits]\n   timeout=2s\n[database]\nextensions = \"json\"");
    assert_string_equal(cfg->database.path, "/data/a ; b # \"c\" \\ ");
    assert_string_equal(cfg->database.extension_directory, "/x;y#z");
    assert_int_equal(cfg->limits.timeout_ms, 2000);
    assert_string_equal(cfg->database.extensions.items[0], "json");
    config_free(cfg);
}

static void test_long_values_arrive_whole(void **state)
{
    (void)state;
    char text[8192], path[4001];
    for (size_t i = 0; i < sizeof path; i++)
        path[i] = (char)('a' + i % 26);
    path[sizeof path - 1] = 0;
    snprintf(text, sizeof text, "[database]\npath = %s\n", path);
    struct config *cfg = load(text);
    assert_string_equal(cfg->database.path, path);
    config_free(cfg);
}

static void test_set_beats_environment_beats_file(void **state)
{
    (void)state;
    char path[32];
    make_file(path, "[limits]\nqueue_length = 1\nhistory = 1\nper_key_queue = 1\n");
    char *env[] = {"PATH=/bin",
                   "BULKHEAD_LIMITS_QUEUE_LENGTH=2",
                   "BULKHEAD_LIMITS_HISTORY=2",
                   "BULKHEAD_FAULT=x:y",
                   "BULKHEAD_BUILD=/b",
                   "BULKHEAD_TEST_ANYTHING=1",
                   "BULKHEADS=1",
                   "ODD",
                   NULL};
    const char *const sets[] = {"limits.queue_length=3", "limits.queue_length=4", "source.pg.type=postgres", "source.pg.host=a=b", NULL};
    struct config *cfg = NULL;
    struct error err;
    int r = config_load(&cfg, path, sets, env, &err);
    unlink(path);
    if (r < 0)
        fail_msg("%s", err.detail);
    assert_int_equal(cfg->limits.queue_length, 4);
    assert_int_equal(cfg->limits.history, 2);
    assert_int_equal(cfg->limits.per_key_queue, 1);
    assert_int_equal(cfg->source_count, 1);
    assert_string_equal(config_source_get(&cfg->sources[0], "host"), "a=b");
    config_free(cfg);
}

static void test_sources_are_kept(void **state)
{
    (void)state;
    struct config *cfg = load("[source.pg]\ntype = postgres\nhost = db.example\nport = 5432\nroles = analyst, admin\n"
                              "[source.lake]\ntype = s3\nbucket = b\n[source.pg]\nuser = u\n");
    assert_int_equal(cfg->source_count, 2);
    assert_string_equal(cfg->sources[0].name, "pg");
    assert_int_equal(cfg->sources[0].count, 5);
    assert_string_equal(config_source_get(&cfg->sources[0], "roles"), "analyst, admin");
    assert_string_equal(config_source_get(&cfg->sources[0], "user"), "u");
    assert_null(config_source_get(&cfg->sources[0], "bucket"));
    assert_string_equal(config_source_get(&cfg->sources[1], "bucket"), "b");
    config_free(cfg);
}

static void assert_same_after_round_trip(const struct config *cfg)
{
    struct buf first = BUF_INIT(CONFIG_TEXT_MAX), second = BUF_INIT(CONFIG_TEXT_MAX);
    struct config *back = NULL;
    struct error err;
    assert_true(config_to_text(cfg, &first));
    if (config_load_text(&back, first.data, first.len, "effective", &err) < 0)
        fail_msg("%s in\n%.*s", err.detail, (int)first.len, first.data);
    assert_true(config_to_text(back, &second));
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    config_free(back);
    buf_free(&first);
    buf_free(&second);
}

static void test_effective_text_reads_back(void **state)
{
    (void)state;
    struct config *cfg = load("");
    assert_same_after_round_trip(cfg);
    config_free(cfg);
    const char *const sets[] = {"database.path= /a b ",
                                "pool.scratch_directory=#x",
                                "spool.directory=\"q\\",
                                "database.extension_directory=a ; b",
                                "server.cors_origins=http://a,\"b\" ;c",
                                "pool.memory_limit=123456789B",
                                "limits.timeout=1ms",
                                "session.scratch_limit=0",
                                "source.a.type=files",
                                "source.a.path=\t#",
                                "source.a.prefix=",
                                NULL};
    struct error err;
    if (config_load(&cfg, NULL, sets, NULL, &err) < 0)
        fail_msg("%s", err.detail);
    assert_string_equal(cfg->database.path, " /a b ");
    assert_string_equal(cfg->server.cors_origins.items[1], "\"b\" ;c");
    assert_same_after_round_trip(cfg);
    config_free(cfg);
}

/* The longest value that is accepted grows by its quotes, and must still be read back. */
static void test_longest_list_reads_back(void **state)
{
    (void)state;
    char *text = malloc(20000);
    assert_non_null(text);
    strcpy(text, "policy.deny_functions=\" #");
    size_t at = strlen(text), start = strlen("policy.deny_functions=");
    while (at < start + 16384)
        text[at] = at % 20 == 0 ? ',' : '"', at++;
    text[start + 16383] = '"';
    text[start + 16384] = 0;
    const char *const sets[] = {text, NULL};
    struct config *cfg = NULL;
    struct error err;
    if (config_load(&cfg, NULL, sets, NULL, &err) < 0)
        fail_msg("%s", err.detail);
    assert_same_after_round_trip(cfg);
    config_free(cfg);
    free(text);
}

struct seen {
    char text[1000];
};

static void note(void *user, const char *name, const char *from, const char *to, enum config_when when)
{
    struct seen *s = user;
    size_t n = strlen(s->text);
    snprintf(s->text + n, sizeof s->text - n, "%s:%s>%s:%s\n", name, from, to, config_when_text(when));
}

static void test_difference_names_what_changed(void **state)
{
    (void)state;
    struct config *a = load("[limits]\ntimeout = 30s\n[source.x]\ntype = files\npath = /a\n[source.gone]\ntype = s3\n");
    struct config *b = load("[server]\nlisten = 127.0.0.1:1\n[pool]\nthreads = 4\n[limits]\ntimeout = 60s\n"
                            "[source.x]\ntype = files\npath = /b\n[source.new]\ntype = mysql\n");
    struct seen s = {{0}};
    config_diff(a, b, note, &s);
    assert_string_equal(s.text, "server.listen:127.0.0.1:8480>127.0.0.1:1:restart\n"
                                "pool.threads:2>4:workers\n"
                                "limits.timeout:30s>1m:live\n"
                                "source.x.path:/a>/b:workers\n"
                                "source.gone.type:s3>:workers\n"
                                "source.new.type:>mysql:workers\n");
    s.text[0] = 0;
    config_diff(a, a, note, &s);
    assert_string_equal(s.text, "");
    config_free(a);
    config_free(b);
}

/* Every row is complete, its default is within its own range (loading checks that), names occur once. */
static void test_table_is_sound(void **state)
{
    (void)state;
    size_t count;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        assert_true(*keys[i].help && *keys[i].unit && keys[i].min <= keys[i].max);
        for (size_t k = i + 1; k < count; k++)
            assert_false(!strcmp(keys[i].section, keys[k].section) && !strcmp(keys[i].key, keys[k].key));
    }
    keys = config_source_key_rows(&count);
    for (size_t i = 0; i < count; i++)
        assert_true(keys[i].key && *keys[i].help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_the_contracts),
        cmocka_unit_test(test_every_type_is_read),
        cmocka_unit_test(test_forms_of_the_file),
        cmocka_unit_test(test_long_values_arrive_whole),
        cmocka_unit_test(test_set_beats_environment_beats_file),
        cmocka_unit_test(test_sources_are_kept),
        cmocka_unit_test(test_effective_text_reads_back),
        cmocka_unit_test(test_longest_list_reads_back),
        cmocka_unit_test(test_difference_names_what_changed),
        cmocka_unit_test(test_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
