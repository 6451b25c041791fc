/* Every seed of the fuzzer of trees goes through its target: what was found once stays fixed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fd.h"
#include "fuzz/fuzz_policy_tree.c"

static void replay(const char *path)
{
    char *data;
    size_t len;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fd_read_all(fd, (size_t)1 << 20, &data, &len), 0);
    LLVMFuzzerTestOneInput((const uint8_t *)data, len);
    free(data);
}

static void test_seeds(void **state)
{
    (void)state;
    char dir[1024], path[2048];
    int seeds = 0;
    assert_true(strlen(__FILE__) < sizeof dir);
    strcpy(dir, __FILE__);
    char *unit = strstr(dir, "unit/test_policy_corpus.c");
    assert_non_null(unit);
    strcpy(unit, "fuzz/corpus/policy_tree");
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        replay(path);
        seeds++;
    }
    closedir(d);
    assert_true(seeds >= 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
