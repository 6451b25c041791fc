/* Extensions' files: their paths, and the states that tell whether one is still what was looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/errors.h"
#include "core/extensions.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char directory[64], path[96];
};

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    strcpy(p->directory, "/tmp/bulkhead-ext-XXXXXX");
    assert_non_null(mkdtemp(p->directory));
    snprintf(p->path, sizeof p->path, "%s/a.duckdb_extension", p->directory);
    put(p->path, "one");
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    unlink(p->path);
    rmdir(p->directory);
    free(p);
    return 0;
}

static void state_of(const char *path, char ret[EXTENSION_STATE_BYTES])
{
    bool settled;
    assert_true(extension_state(path, ret, &settled));
}

/* The clock of the file system has ticks: a change is made until it has moved on. */
static void change_until_it_shows(const char *path, const char *before)
{
    char now[EXTENSION_STATE_BYTES];
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};
    struct stat st;
    do {
        assert_int_equal(stat(path, &st), 0);
        times[0] = st.st_atim;
        times[1] = st.st_mtim;
        put(path, "two"); /* as long as before, and with the old time of change */
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
        state_of(path, now);
    } while (strcmp(now, before) == 0);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_mtim.tv_sec == times[1].tv_sec && st.st_mtim.tv_nsec == times[1].tv_nsec && st.st_size == 3);
}

static void test_a_file_that_nobody_touched_keeps_its_state(void **state)
{
    struct place *p = *state;
    char a[EXTENSION_STATE_BYTES], b[EXTENSION_STATE_BYTES];
    state_of(p->path, a);
    state_of(p->path, b);
    assert_string_equal(a, b);
    assert_null(strchr(a, ','));
    assert_true(strlen(a) + 1 < EXTENSION_STATE_BYTES);
}

static void test_a_write_shows_even_when_size_and_time_are_as_before(void **state)
{
    struct place *p = *state;
    char a[EXTENSION_STATE_BYTES];
    state_of(p->path, a);
    assert_true(extension_is_in(a, p->path));
    change_until_it_shows(p->path, a);
    assert_false(extension_is_in(a, p->path));
}

static void test_another_file_in_its_place_shows(void **state)
{
    struct place *p = *state;
    char a[EXTENSION_STATE_BYTES], other[128];
    state_of(p->path, a);
    snprintf(other, sizeof other, "%s/b", p->directory);
    put(other, "one");
    assert_int_equal(rename(other, p->path), 0);
    assert_false(extension_is_in(a, p->path));
}

static void test_a_link_is_what_it_leads_to(void **state)
{
    struct place *p = *state;
    char a[EXTENSION_STATE_BYTES], link[128];
    state_of(p->path, a);
    snprintf(link, sizeof link, "%s/link", p->directory);
    assert_int_equal(symlink(p->path, link), 0);
    bool same = extension_is_in(a, link);
    unlink(link);
    assert_true(same);
}

static void test_lists(void **state)
{
    struct place *p = *state;
    char a[EXTENSION_STATE_BYTES], list[4 * EXTENSION_STATE_BYTES];
    state_of(p->path, a);
    static const char *const with[] = {"%s", "%s,x", "x,%s", "x,%s,y", "x,y,%s"}, *const without[] = {"x%s", "%sx", "x,%sx", "x%s,y", " %s", "x %s"};
    for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
        snprintf(list, sizeof list, with[i], a);
        assert_true(extension_is_in(list, p->path));
    }
    for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
        snprintf(list, sizeof list, without[i], a);
        assert_false(extension_is_in(list, p->path));
    }
    a[strlen(a) - 1] = 0;
    assert_false(extension_is_in(a, p->path));
    assert_false(extension_is_in("", p->path));
    assert_false(extension_is_in(",", p->path));
}

static void test_what_was_changed_just_now_has_not_settled(void **state)
{
    struct place *p = *state;
    char a[EXTENSION_STATE_BYTES];
    bool settled = true;
    assert_true(extension_state(p->path, a, &settled));
    assert_false(settled);
    assert_true(extension_state("/usr/bin/env", a, &settled));
    assert_true(settled);
}

static void test_only_files_have_one(void **state)
{
    struct place *p = *state;
    char a[EXTENSION_STATE_BYTES];
    bool settled;
    assert_false(extension_state("/nowhere/x", a, &settled));
    assert_false(extension_state(p->directory, a, &settled));
    assert_false(extension_state("/dev/null", a, &settled));
}

static void test_paths(void **state)
{
    (void)state;
    char path[EXTENSION_PATH_BYTES], cwd[EXTENSION_PATH_BYTES], want[2 * EXTENSION_PATH_BYTES], far[EXTENSION_PATH_BYTES + 8];
    struct error err;
    assert_int_equal(extension_path("/d", "httpfs", path, &err), 0);
    assert_string_equal(path, "/d/httpfs.duckdb_extension");
    assert_int_equal(extension_path("/d", "/e/x.duckdb_extension", path, &err), 0);
    assert_string_equal(path, "/e/x.duckdb_extension");
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(want, sizeof want, "%s/e/x", cwd);
    assert_int_equal(extension_path("/d", "e/x", path, &err), 0);
    assert_string_equal(path, want);
    memset(far, 'x', sizeof far);
    far[sizeof far - 1] = 0;
    assert_int_equal(extension_path("/d", far, path, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_file_that_nobody_touched_keeps_its_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_write_shows_even_when_size_and_time_are_as_before, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_file_in_its_place_shows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_link_is_what_it_leads_to, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_changed_just_now_has_not_settled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_files_have_one, setup, teardown),
        cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
