/* `auto` resolved: what fits, what is refused and how, and the arithmetic as it is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/buf.h"
#include "core/config.h"
#include "core/errors.h"
#include "core/sizing.h"

#define GIB (1LL << 30)

static struct machine machine(int64_t cpus, int64_t memory_bytes)
{
    struct machine m = {.cpus = cpus, .memory_bytes = memory_bytes};
    strcpy(m.cpus_from, "affinity");
    strcpy(m.memory_from, "machine");
    return m;
}

/* Resolves the text's configuration; 0 or -1, the refusal in err. */
static int resolve(struct sizing *s, const char *text, struct machine m, int64_t sessions, struct error *err)
{
    struct config *cfg = NULL;
    if (config_load_text(&cfg, text, strlen(text), "b.ini", err) < 0)
        fail_msg("%s", err->detail);
    int r = sizing_resolve(s, cfg, &m, sessions, err);
    config_free(cfg);
    return r;
}

static struct sizing resolved(const char *text, struct machine m, int64_t sessions)
{
    struct sizing s;
    struct error err;
    if (resolve(&s, text, m, sessions, &err) < 0)
        fail_msg("%s", err.detail);
    return s;
}

static void test_one_gigabyte_and_two_cpus(void **state)
{
    (void)state;
    struct sizing s = resolved("", machine(2, GIB), 0);
    assert_int_equal(s.workers, 2);
    assert_int_equal(s.spares, 1);
    assert_int_equal(s.sessions, 0);
    assert_int_equal(s.memory_limit_bytes, (GIB - 128000000) / 3 / 2);
    assert_int_equal(s.memory_cap_bytes, 2 * s.memory_limit_bytes);
    assert_int_equal(s.threads, 2);
    assert_int_equal(s.cpu_cap, 2);
    assert_int_equal(s.scratch_limit_bytes, 1000000000);
    assert_int_equal(s.session_scratch_limit_bytes, 1000000000);
    assert_int_equal(s.admin_memory_limit_bytes, s.memory_limit_bytes);
    assert_false(s.overcommitted);
    assert_string_equal(s.text, "memory: limit 1073.7MB (machine) - 128.0MB supervisor and front = 945.7MB / (2 workers + 1 spare "
                                "+ 0 sessions) / 2 = 157.6MB; worker: memory_limit 157.6MB (auto), memory_cap 315.2MB (auto); "
                                "together 3 x 315.2MB = 945.7MB of 945.7MB; cpus: 2 (affinity)");
}

static void test_auto_is_at_most_512MB(void **state)
{
    (void)state;
    struct sizing s = resolved("", machine(4, 64 * GIB), 0);
    assert_int_equal(s.workers, 4);
    assert_int_equal(s.memory_limit_bytes, 512000000);
    assert_int_equal(s.memory_cap_bytes, 1024000000);
}

static void test_sessions_take_their_share(void **state)
{
    (void)state;
    struct sizing s = resolved("", machine(2, GIB), 2);
    assert_int_equal(s.sessions, 2);
    assert_int_equal(s.memory_limit_bytes, (GIB - 128000000) / 5 / 2);
    assert_int_equal(s.session_memory_limit_bytes, s.memory_limit_bytes);
    s = resolved("[session]\nmax = 1\n", machine(2, GIB), 0);
    assert_int_equal(s.sessions, 1);
    assert_int_equal(s.memory_limit_bytes, (GIB - 128000000) / 4 / 2);
}

/* What is explicit is taken off first; what is auto shares the rest. */
static void test_explicit_and_auto_together(void **state)
{
    (void)state;
    struct sizing s = resolved("[session]\nmax = 2\nmemory_cap = 100MB\n", machine(2, GIB), 0);
    assert_int_equal(s.session_memory_limit_bytes, 50000000);
    assert_int_equal(s.memory_limit_bytes, (GIB - 128000000 - 200000000) / 3 / 2);
    assert_non_null(strstr(s.text, "= 945.7MB - 200.0MB of explicit sizes = 745.7MB / (2 workers + 1 spare) / 2 = 124.3MB;"));
    assert_non_null(strstr(s.text, "together 3 x 248.6MB + 2 x 100.0MB = 945.7MB of 945.7MB"));
    s = resolved("[pool]\nmemory_limit = 100MB\nmemory_cap = 120MB\nworkers = 1\ncpu_cap = 0\n"
                 "[admin]\nmemory_limit = 64MB\n[session]\nscratch_limit = 0\n",
                 machine(8, GIB), 0);
    assert_int_equal(s.workers, 1);
    assert_int_equal(s.memory_limit_bytes, 100000000);
    assert_int_equal(s.memory_cap_bytes, 120000000);
    assert_int_equal(s.cpu_cap, 0);
    assert_int_equal(s.admin_memory_limit_bytes, 64000000);
    assert_int_equal(s.session_scratch_limit_bytes, 0);
}

static void test_explicit_sizes_that_do_not_fit(void **state)
{
    (void)state;
    struct sizing s = {.workers = -5};
    struct error err;
    assert_int_equal(resolve(&s, "[pool]\nmemory_limit = 400MB\n", machine(2, GIB), 0, &err), -1);
    assert_int_equal(s.workers, -5);
    assert_string_equal(err.detail, "the configured memory does not fit. memory: limit 1073.7MB (machine) - 128.0MB supervisor and "
                                    "front = 945.7MB; worker: memory_limit 400.0MB, memory_cap 800.0MB (auto); together 3 x 800.0MB = "
                                    "2400.0MB of 945.7MB (too much); cpus: 2 (affinity). At these sizes 1 workers and spares fit "
                                    "together; lower [pool] memory_limit, memory_cap, workers, spares, [session] max, or set [pool] "
                                    "overcommit = yes");
    /* nor with sessions that take what there is */
    assert_int_equal(resolve(&s, "[pool]\nmemory_limit = 400MB\n", machine(2, GIB), 2, &err), -1);
    assert_int_equal(strncmp(err.detail, "the configured memory does not fit. ", 36), 0);
    s = resolved("[pool]\nmemory_limit = 400MB\novercommit = yes\n", machine(2, GIB), 0);
    assert_true(s.overcommitted);
    assert_int_equal(s.memory_cap_bytes, 800000000);
}

static void test_a_limit_that_fits_exactly(void **state)
{
    (void)state;
    struct sizing s = resolved("[pool]\nworkers = 1\nmemory_limit = 100MB\n", machine(2, 528000000), 0);
    assert_false(s.overcommitted);
    struct error err;
    assert_int_equal(resolve(&s, "[pool]\nworkers = 1\nmemory_limit = 100MB\n", machine(2, 527999999), 0, &err), -1);
}

static void test_too_small_a_machine(void **state)
{
    (void)state;
    struct sizing s;
    struct error err;
    assert_int_equal(resolve(&s, "", machine(1, 255999999), 0, &err), -1);
    assert_non_null(strstr(err.detail, "there is too little memory: a worker needs a memory_limit of at least 32.0MB. memory: "
                                       "limit 256.0MB (machine) - 128.0MB supervisor and front = 128.0MB / (1 worker + 1 "
                                       "spare + 0 sessions) / 2 = 32.0MB;"));
    s = resolved("", machine(1, 256000000), 0);
    assert_int_equal(s.memory_limit_bytes, 32000000);
    assert_int_equal(resolve(&s, "", machine(1, 64000000), 0, &err), -1);
    assert_non_null(strstr(err.detail, "supervisor and front = -64.0MB"));
    s = resolved("[pool]\novercommit = yes\n", machine(1, 64000000), 0);
    assert_int_equal(s.memory_limit_bytes, 32000000);
    assert_true(s.overcommitted);
}

/* Cores without the memory for them: fewer workers start, rather than none; workers that were asked for are
 * refused. */
static void test_many_cores_and_little_memory(void **state)
{
    (void)state;
    struct sizing s = resolved("", machine(64, GIB), 0);
    assert_int_equal(s.workers, 13);
    assert_in_range(s.memory_limit_bytes, 32000000, 34000000);
    struct error err;
    assert_int_equal(resolve(&s, "[pool]\nworkers = 64\n", machine(64, GIB), 0, &err), -1);
    s = resolved("[pool]\nmemory_limit = 32MB\nworkers = 14\nspares = 0\n", machine(64, GIB), 0);
    assert_int_equal(s.workers, 14);
}

static void test_largest_values_do_not_overflow(void **state)
{
    (void)state;
    struct sizing s;
    struct error err;
    const char *text = "[pool]\nworkers = 1024\nspares = 256\nmemory_limit = 1024TB\n"
                       "[session]\nmax = 1024\nmemory_limit = 1024TB\n";
    assert_int_equal(resolve(&s, text, machine(1, GIB), 0, &err), -1);
    assert_non_null(strstr(err.detail, "1280 x 2048.0TB + 1024 x 2048.0TB = 4718592.0TB of 945.7MB (too much)"));
}

/* What the children are handed: the resolved sizes as text, which must be within the ranges of the keys. */
static void test_resolved_sizes_survive_the_text(void **state)
{
    (void)state;
    for (int64_t memory = 256000000; memory < 300 * GIB; memory = memory * 5 / 4 + 12345) {
        struct machine m = machine(1 + memory % 67, memory);
        struct config *cfg = NULL, *back = NULL;
        struct sizing s;
        struct error err;
        struct buf b = BUF_INIT(CONFIG_TEXT_MAX);
        assert_int_equal(config_load_text(&cfg, "", 0, "b.ini", &err), 0);
        assert_int_equal(sizing_resolve(&s, cfg, &m, 0, &err), 0);
        sizing_apply(&s, cfg);
        assert_true(config_to_text(cfg, &b));
        if (config_load_text(&back, b.data, b.len, "effective", &err) < 0)
            fail_msg("%s", err.detail);
        assert_int_equal(back->pool.workers, s.workers);
        assert_int_equal(back->pool.memory_limit_bytes, s.memory_limit_bytes);
        assert_int_equal(back->pool.memory_cap_bytes, s.memory_cap_bytes);
        assert_true((s.workers + s.spares) * s.memory_cap_bytes <= memory - SIZING_RESERVE_BYTES);
        config_free(cfg);
        config_free(back);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_gigabyte_and_two_cpus),
        cmocka_unit_test(test_auto_is_at_most_512MB),
        cmocka_unit_test(test_sessions_take_their_share),
        cmocka_unit_test(test_explicit_and_auto_together),
        cmocka_unit_test(test_explicit_sizes_that_do_not_fit),
        cmocka_unit_test(test_a_limit_that_fits_exactly),
        cmocka_unit_test(test_too_small_a_machine),
        cmocka_unit_test(test_many_cores_and_little_memory),
        cmocka_unit_test(test_largest_values_do_not_overflow),
        cmocka_unit_test(test_resolved_sizes_survive_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
