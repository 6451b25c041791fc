/* The probe on fake machines: each test lays out /proc and the cgroup trees as some system shows them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/errors.h"
#include "core/limits_probe.h"

#define V2_MOUNT "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define UNLIMITED_V1 "9223372036854771712\n"

static char root[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const char *text)
{
    char full[600];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *p = full + strlen(root) + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        mkdir(full, 0755);
        *p = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **state)
{
    (void)state;
    strcpy(root, "/tmp/bulkhead-test-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    put("/proc/meminfo", "MemTotal:       16000000 kB\nMemFree:         1 kB\n");
    return 0;
}

static void expect(int64_t cpus, const char *cpus_from, int64_t memory, const char *memory_from)
{
    struct machine m;
    struct error err;
    if (limits_probe(&m, root, 8, &err) < 0)
        fail_msg("%s", err.detail);
    assert_string_equal(m.memory_from, memory_from);
    assert_int_equal(m.memory_bytes, memory);
    assert_string_equal(m.cpus_from, cpus_from);
    assert_int_equal(m.cpus, cpus);
}

#define MACHINE_BYTES (16000000LL * 1024)

static void test_no_cgroups_at_all(void **state)
{
    (void)state;
    expect(8, "affinity", MACHINE_BYTES, "machine");
}

static void test_no_meminfo(void **state)
{
    (void)state;
    char path[100];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    assert_int_equal(unlink(path), 0);
    struct machine m = {.cpus = -5};
    struct error err;
    assert_int_equal(limits_probe(&m, root, 8, &err), -1);
    assert_int_equal(m.cpus, -5);
    assert_non_null(strstr(err.detail, "/proc/meminfo: the machine's memory can't be read"));
}

/* The smallest limit counts, wherever it stands on the way up. */
static void test_v2_nested(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/a/b/c\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
    put("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/b/memory.max", "2147483648\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "250000 100000\n");
    put("/sys/fs/cgroup/a/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/a/cpu.max", "400000 100000\n");
    expect(3, "cgroup v2 /a/b cpu.max", 1073741824, "cgroup v2 /a memory.max");
}

static void test_v2_memory_high_counts(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/a\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/a/memory.max", "2000000000\n");
    put("/sys/fs/cgroup/a/memory.high", "1500000000\n");
    put("/sys/fs/cgroup/a/cpu.max", "10000 100000\n");
    expect(1, "cgroup v2 /a cpu.max", 1500000000, "cgroup v2 /a memory.high");
}

/* A container with its own cgroup namespace sees its group as the root of the mount. */
static void test_v2_own_namespace(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    expect(2, "cgroup v2 / cpu.max", 1073741824, "cgroup v2 / memory.max");
}

/* Moved out of the namespace's root: the path leads out of the mount. */
static void test_v2_outside_the_namespace(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/../other\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/memory.max", "1073741824\n");
    put("/sys/fs/other/memory.max", "1\n");
    expect(8, "affinity", 1073741824, "cgroup v2 / memory.max");
}

/* A container without a cgroup namespace: the path is the host's, the mount's root is that very group. */
static void test_v1_container_without_namespace(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "5:memory:/docker/1234\n4:cpu,cpuacct:/docker/1234\n1:name=systemd:/docker/1234\n");
    put("/proc/self/mountinfo", "40 30 0:30 /docker/1234 /sys/fs/cgroup/memory ro,nosuid master:1 - cgroup cgroup rw,memory\n"
                                "41 30 0:31 /docker/1234 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    expect(2, "cgroup v1 / cpu.cfs_quota_us", 1073741824, "cgroup v1 / memory.limit_in_bytes");
}

/* The namespace hides the path: what is mounted is all there is to look at. */
static void test_v1_path_not_below_the_root(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "5:memory:/kubepods/pod7/c1\n");
    put("/proc/self/mountinfo", "40 30 0:30 /docker/1234 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000000\n");
    put("/sys/fs/cgroup/memory/kubepods/pod7/c1/memory.limit_in_bytes", "1\n");
    expect(8, "affinity", 3000000000, "cgroup v1 / memory.limit_in_bytes");
}

static void test_v1_unlimited(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "5:memory:/a\n4:cpu:/a\n");
    put("/proc/self/mountinfo", "40 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                                "41 30 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n");
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", UNLIMITED_V1);
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED_V1);
    put("/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    expect(8, "affinity", MACHINE_BYTES, "machine");
}

/* v1 holds the controllers, v2 is mounted beside it without any. */
static void test_hybrid_with_v1_controllers(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "4:memory:/api/x\n3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n0::/\n");
    put("/proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
                                "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
                                "33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n"
                                "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
                                "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
                                "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n");
    put("/sys/fs/cgroup/unified/cgroup.procs", "1\n");
    put("/sys/fs/cgroup/cpuacct/cpu.cfs_quota_us", "1\n");
    put("/sys/fs/cgroup/cpuacct/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/api/x/memory.limit_in_bytes", UNLIMITED_V1);
    put("/sys/fs/cgroup/memory/api/memory.limit_in_bytes", "4294967296\n");
    expect(8, "affinity", 4294967296, "cgroup v1 /api memory.limit_in_bytes");
}

/* cpu on v1, memory on v2, and a mount point with a blank in its name. */
static void test_hybrid_split_and_escapes(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "1:cpu:/a\n0::/a\n");
    put("/proc/self/mountinfo", "32 31 0:29 / /my\\040cgroup/cpu rw shared:1 shared:2 - cgroup cgroup rw,cpu\n"
                                "41 31 0:38 / /my\\040cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put("/my cgroup/cpu/a/cpu.cfs_quota_us", "100000\n");
    put("/my cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    put("/my cgroup/unified/a/memory.max", "700000000\n");
    expect(1, "cgroup v1 /a cpu.cfs_quota_us", 700000000, "cgroup v2 /a memory.max");
}

/* One hierarchy mounted twice: the mount that shows our own group wins over the one that shows another's. */
static void test_two_mounts_of_one_hierarchy(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/proc/self/mountinfo", "40 30 0:26 /x /elsewhere rw - cgroup2 cgroup2 rw\n"
                                "41 30 0:26 /a /deep rw - cgroup2 cgroup2 rw\n"
                                "42 30 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    put("/elsewhere/memory.max", "1\n");
    put("/deep/b/memory.max", "900000000\n");
    put("/sys/fs/cgroup/a/memory.max", "800000000\n");
    /* The whole tree shows more limits than a part of it. */
    expect(8, "affinity", 800000000, "cgroup v2 /a memory.max");
}

static void test_nonsense_is_ignored(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "garbage\n0:\n0::/a\n::::\n");
    put("/proc/self/mountinfo", "\n - \n1 2 - cgroup2\nx\n" V2_MOUNT);
    put("/sys/fs/cgroup/a/memory.max", "lots\n");
    put("/sys/fs/cgroup/a/memory.high", "99999999999999999999999999\n");
    put("/sys/fs/cgroup/a/cpu.max", "5\n");
    put("/sys/fs/cgroup/cpu.max", "100000 0\n");
    expect(8, "affinity", MACHINE_BYTES, "machine");
}

/* The real machine: whatever it has, it is something, and a run with this process's own affinity agrees
 * with the kernel. */
static void test_this_machine(void **state)
{
    (void)state;
    struct machine m;
    struct error err;
    assert_int_equal(limits_probe(&m, "", 0, &err), 0);
    assert_in_range(m.cpus, 1, sysconf(_SC_NPROCESSORS_CONF));
    assert_in_range(m.memory_bytes, 1 << 20, (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
}

#define ON_TREE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_TREE(test_no_cgroups_at_all),
        ON_TREE(test_no_meminfo),
        ON_TREE(test_v2_nested),
        ON_TREE(test_v2_memory_high_counts),
        ON_TREE(test_v2_own_namespace),
        ON_TREE(test_v2_outside_the_namespace),
        ON_TREE(test_v1_container_without_namespace),
        ON_TREE(test_v1_path_not_below_the_root),
        ON_TREE(test_v1_unlimited),
        ON_TREE(test_hybrid_with_v1_controllers),
        ON_TREE(test_hybrid_split_and_escapes),
        ON_TREE(test_two_mounts_of_one_hierarchy),
        ON_TREE(test_nonsense_is_ignored),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
