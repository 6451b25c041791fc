/* Reading and writing the one-value files of control groups (src/supervisor/group_files.c), on plain files that look like them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "supervisor/group_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/bulkhead-groups-XXXXXX";

static void make(const char *name, const char *text)
{
    struct group_path p = group_path(directory, name);
    FILE *f = fopen(p.s, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"memory.events", "memory.oom_control", "memory.max", "cgroup.controllers", "pids.max", "empty"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unlink(group_path(directory, names[i]).s);
    return rmdir(directory);
}

static void a_number_stands_behind_its_word(void **state)
{
    (void)state;
    make("memory.events", "low 0\nhigh 7\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n");
    assert_int_equal(group_get_number(directory, "memory.events", "oom_kill"), 2);
    assert_int_equal(group_get_number(directory, "memory.events", "max"), 12);
    assert_int_equal(group_get_number(directory, "memory.events", "oom"), 3);
    assert_int_equal(group_get_number(directory, "memory.events", "oom_group"), -1);
    make("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
    assert_int_equal(group_get_number(directory, "memory.oom_control", "oom_kill"), 5);
}

static void without_a_word_it_is_the_first(void **state)
{
    (void)state;
    make("memory.max", "9223372036854771712\n");
    assert_true(group_get_number(directory, "memory.max", NULL) == INT64_C(9223372036854771712));
    make("memory.max", "200000 100000\n");
    assert_int_equal(group_get_number(directory, "memory.max", NULL), 200000);
    make("memory.max", "max\n");
    assert_int_equal(group_get_number(directory, "memory.max", NULL), -1);
    make("empty", "");
    assert_int_equal(group_get_number(directory, "empty", NULL), -1);
    assert_int_equal(group_get_number(directory, "empty", "oom_kill"), -1);
    assert_int_equal(group_get_number(directory, "missing", NULL), -1);
}

static void a_list_has_whole_words(void **state)
{
    (void)state;
    make("cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
    assert_true(group_lists(directory, "cgroup.controllers", "cpu"));
    assert_true(group_lists(directory, "cgroup.controllers", "pids"));
    assert_false(group_lists(directory, "cgroup.controllers", "mem"));
    assert_false(group_lists(directory, "missing", "memory"));
}

static void what_is_put_can_be_got(void **state)
{
    char text[64];
    (void)state;
    make("pids.max", "");
    assert_int_equal(group_put_number(directory, "pids.max", 130), 0);
    assert_true(group_get(directory, "pids.max", text, sizeof text));
    assert_string_equal(text, "130");
    assert_int_equal(group_put(directory, "missing", "1"), -1);
    assert_int_equal(errno, ENOENT);
    assert_false(group_get(directory, "missing", text, sizeof text));
    assert_string_equal(text, "");
}

static void a_path_that_is_too_long_is_none(void **state)
{
    (void)state;
    char *name = malloc(2 * PATH_MAX);
    assert_non_null(name);
    memset(name, 'x', 2 * PATH_MAX - 1);
    name[2 * PATH_MAX - 1] = 0;
    assert_string_equal(group_path(directory, name).s, "");
    assert_false(group_has_file(directory, name));
    free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_number_stands_behind_its_word), cmocka_unit_test(without_a_word_it_is_the_first),
                                       cmocka_unit_test(a_list_has_whole_words), cmocka_unit_test(what_is_put_can_be_got),
                                       cmocka_unit_test(a_path_that_is_too_long_is_none)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
