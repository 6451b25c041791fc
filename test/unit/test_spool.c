/* The spool's files: what may come into them, on whose account, and what is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/fd.h"
#include "front/spool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MB ((int64_t)1 << 20)

struct world {
    char directory[64];
    int dir_fd;
    struct log log;
    struct spool *spool;
    struct tenant *ann, *bob;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct tenant_limits limits = {0};
    struct spool_options o = {.max_bytes = 20 * MB, .per_key_bytes = 8 * MB, .max_files = 8};
    snprintf(w->directory, sizeof w->directory, "/var/tmp/test-spool-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    w->dir_fd = open(w->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(w->dir_fd >= 0);
    w->log = (struct log){.level = LOG_ERROR, .role = "test"};
    w->spool = spool_new(w->dir_fd, &o, &w->log);
    w->ann = tenant_new(1, "ann", &limits);
    w->bob = tenant_new(2, "bob", &limits);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    struct spool_figures f = spool_figures(w->spool);
    assert_true(f.bytes == 0 && f.files == 0);
    spool_free(w->spool);
    tenant_unref(w->ann);
    tenant_unref(w->bob);
    close(w->dir_fd);
    assert_int_equal(rmdir(w->directory), 0); /* no file has ever had a name there */
    free(w);
    return 0;
}

static struct spool_file *must_open(struct world *w, struct tenant *t, int64_t bytes)
{
    struct error err;
    struct spool_file *f = spool_open(w->spool, t, bytes, &err);
    assert_non_null(f);
    return f;
}

static void assert_full(struct world *w, struct tenant *t, int64_t bytes)
{
    struct error err;
    assert_null(spool_open(w->spool, t, bytes, &err));
    assert_int_equal(err.code, ERR_SPOOL_FULL);
    assert_int_equal(spool_check(w->spool, t, bytes, &err), -1);
}

static void bytes_are_counted_before_they_come(void **state)
{
    struct world *w = *state;
    struct spool_file *f = must_open(w, NULL, 2 * MB);
    assert_int_equal(spool_figures(w->spool).bytes, 2 * MB);
    assert_int_equal(spool_extend(f, 5 * MB, MB), 5 * MB);
    assert_int_equal(spool_room(f), 7 * MB);
    assert_int_equal(spool_extend(f, 100 * MB, 50 * MB), 0);  /* not so much */
    assert_int_equal(spool_extend(f, 100 * MB, MB), 13 * MB); /* as much as there is */
    assert_int_equal(spool_extend(f, MB, MB), 0);
    assert_full(w, NULL, 1);
    assert_int_equal(pwrite(spool_fd(f), "x", 1, 3 * MB), 1);
    spool_finish(f, 3 * MB + 1);
    assert_int_equal(spool_figures(w->spool).bytes, 3 * MB + 1);
    struct stat st;
    assert_int_equal(fstat(spool_fd(f), &st), 0);
    assert_int_equal(st.st_size, 3 * MB + 1);
    assert_int_equal(st.st_nlink, 0);
    spool_discard(f, 2 * MB + 5); /* whole pieces only */
    assert_int_equal(spool_figures(w->spool).bytes, MB + 1);
    char c;
    assert_int_equal(pread(spool_fd(f), &c, 1, 3 * MB), 1);
    assert_int_equal(c, 'x');
    spool_unref(f);
}

static void a_key_has_its_own_quota(void **state)
{
    struct world *w = *state;
    struct spool_file *a = must_open(w, w->ann, 6 * MB);
    assert_full(w, w->ann, 3 * MB);
    struct spool_file *b = must_open(w, w->bob, 8 * MB);
    assert_int_equal(spool_extend(a, 5 * MB, MB), 2 * MB);
    assert_full(w, w->ann, 1);
    assert_full(w, w->bob, 1);
    struct spool_file *c = must_open(w, NULL, 4 * MB); /* without keys there is only the whole */
    spool_unref(a);
    struct spool_file *d = must_open(w, w->ann, 8 * MB);
    spool_unref(b);
    spool_unref(c);
    spool_unref(d);
}

static void one_key_leaves_places_for_others(void **state)
{
    struct world *w = *state;
    struct spool_file *f[8];
    unsigned n = 0;
    while (n < 4) /* of 8: as many as are left */
        f[n++] = must_open(w, w->ann, 1);
    assert_full(w, w->ann, 1);
    f[n++] = must_open(w, w->bob, 1);
    f[n++] = must_open(w, w->bob, 1);
    assert_full(w, w->bob, 1);
    f[n++] = must_open(w, NULL, 1);
    f[n++] = must_open(w, NULL, 1);
    assert_full(w, NULL, 1);
    while (n > 0)
        spool_unref(f[--n]);
}

static void who_has_a_file_keeps_it(void **state)
{
    struct world *w = *state;
    struct spool_file *f = must_open(w, w->ann, MB), *again = spool_ref(f);
    spool_unref(f);
    assert_int_equal(spool_figures(w->spool).files, 1);
    assert_int_equal(pwrite(spool_fd(again), "x", 1, 0), 1);
    spool_unref(again);
    spool_unref(NULL);
}

static void the_worker_s_way_is_for_writing_only(void **state)
{
    struct world *w = *state;
    char c;
    struct spool_file *f = must_open(w, w->ann, MB);
    auto_close int fd = spool_fd_for_writing(f);
    assert_int_equal(pwrite(fd, "y", 1, 0), 1);
    assert_int_equal(pread(fd, &c, 1, 0), -1);
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(pread(spool_fd(f), &c, 1, 0), 1);
    spool_unref(f);
}

static void an_adopted_file_is_nobody_s(void **state)
{
    struct world *w = *state;
    int fd = memfd_create("export", MFD_CLOEXEC), worker = dup(fd);
    struct spool_file *f = spool_adopt(w->spool, fd, worker);
    assert_int_equal(spool_extend(f, 100 * MB, 100 * MB), 100 * MB);
    assert_true(spool_figures(w->spool).bytes == 0 && spool_figures(w->spool).files == 0);
    auto_close int its = spool_fd_for_writing(f);
    assert_true(its >= 0 && its != worker);
    spool_finish(f, 5);
    spool_unref(f);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(fcntl(worker, F_GETFD), -1);
}

static void a_directory_that_can_t_be_used_is_said_to_be_so(void **state)
{
    (void)state;
    struct error err;
    struct log log = {.level = LOG_ERROR, .role = "test"};
    struct spool_options o = {.max_bytes = MB, .max_files = 8};
    auto_close int nowhere = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct spool *s = spool_new(nowhere, &o, &log);
    assert_null(spool_open(s, NULL, 1, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(spool_figures(s).trouble);
    o.max_bytes = 0;
    spool_set_options(s, &o);
    assert_null(spool_open(s, NULL, 1, &err));
    assert_int_equal(err.code, ERR_SPOOL_FULL);
    spool_free(s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(bytes_are_counted_before_they_come),
        TEST(a_key_has_its_own_quota),
        TEST(one_key_leaves_places_for_others),
        TEST(who_has_a_file_keeps_it),
        TEST(the_worker_s_way_is_for_writing_only),
        TEST(an_adopted_file_is_nobody_s),
        cmocka_unit_test(a_directory_that_can_t_be_used_is_said_to_be_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
