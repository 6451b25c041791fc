/* The shared region (src/link/ring.c): its layout, its seals, and a reader that believes nothing the writer says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "link/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUEST_BYTES ((size_t)131072)

/* Both sides of one region, in one process. */
struct world {
    int fd;
    struct ring front, worker;
    struct ring_reader reader;
};

static int setup(void **state)
{
    static struct world w;
    memset(&w, 0, sizeof w);
    w.fd = ring_create(REQUEST_BYTES);
    assert_true(w.fd >= 0);
    assert_int_equal(ring_map(w.fd, REQUEST_BYTES, false, &w.front), 0);
    assert_int_equal(ring_map(w.fd, REQUEST_BYTES, true, &w.worker), 0);
    w.reader.ring = &w.front;
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    ring_unmap(&w->front);
    ring_unmap(&w->worker);
    ring_unmap(&w->worker); /* twice is harmless */
    close(w->fd);
    return 0;
}

static void produce(struct world *w, uint64_t position) { atomic_store(&w->worker.shared->produced, position); }

static void the_region_is_sealed(void **state)
{
    struct world *w = *state;
    assert_int_equal(ftruncate(w->fd, 4096), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(w->fd, 64 << 20), -1);
    int seals = fcntl(w->fd, F_GET_SEALS);
    assert_int_equal(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

static void a_region_of_another_size_is_not_mapped(void **state)
{
    struct world *w = *state;
    struct ring r;
    assert_int_equal(ring_map(w->fd, REQUEST_BYTES + 65536, false, &r), -1);
    assert_int_equal(errno, EPROTO);
    assert_int_equal(ring_map(w->fd, REQUEST_BYTES - 65536, true, &r), -1);
    assert_int_equal(errno, EPROTO);
    assert_int_equal(ring_map(-1, REQUEST_BYTES, false, &r), -1);
    assert_int_equal(errno, EBADF);
}

static void the_request_area_holds_twice_the_longest_statement(void **state)
{
    (void)state;
    for (int64_t sql = 1000; sql <= 64000000; sql *= 4) {
        assert_true(ring_request_bytes(sql) >= 2 * (size_t)sql);
        assert_int_equal(ring_request_bytes(sql) % 65536, 0);
    }
}

static void both_sides_see_the_same_bytes_and_the_ring_twice(void **state)
{
    struct world *w = *state;
    memcpy(w->front.request, "SELECT 1", 8);
    assert_memory_equal(w->worker.request, "SELECT 1", 8);
    /* Written over the end in one go; read over the end in one go. */
    memcpy(w->worker.bytes + RING_BYTES - 3, "abcdef", 6);
    assert_memory_equal(w->front.bytes + RING_BYTES - 3, "abcdef", 6);
    assert_memory_equal(w->front.bytes, "def", 3);
    assert_memory_equal(w->front.bytes + RING_BYTES, "def", 3);
}

/* In a child: true when writing that byte ends it by a fault. */
static bool writing_faults(void *at)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); /* cmocka's own handler would go on with the tests here */
        signal(SIGBUS, SIG_DFL);
        *(volatile char *)at = 1;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void each_side_can_write_its_own_part_only(void **state)
{
    struct world *w = *state;
    assert_true(writing_faults(w->worker.request));
    assert_true(writing_faults(w->worker.request + REQUEST_BYTES - 1));
    assert_true(writing_faults(w->front.bytes));
    assert_true(writing_faults(w->front.bytes + 2 * RING_BYTES - 1));
    assert_false(writing_faults(w->worker.bytes + 2 * RING_BYTES - 1));
    assert_false(writing_faults(w->front.request + REQUEST_BYTES - 1));
}

static void the_reader_follows_the_writer_round_and_round(void **state)
{
    struct world *w = *state;
    uint64_t at = 0;
    for (int i = 0; i < 5000; i++) {
        size_t n = (size_t)(i * 7919) % 100000 + 1;
        memset(w->worker.bytes + (at & (RING_BYTES - 1)), i & 0xff, n);
        at += n;
        produce(w, at);
        assert_true(ring_reader_refresh(&w->reader));
        assert_int_equal(ring_reader_ready(&w->reader), n);
        const uint8_t *data = ring_reader_data(&w->reader);
        assert_int_equal(data[0], i & 0xff);
        assert_int_equal(data[n - 1], i & 0xff);
        (void)ring_reader_consume(&w->reader, n);
        assert_int_equal(atomic_load(&w->worker.shared->consumed), at);
    }
}

static void a_writer_that_cheats_is_found(void **state)
{
    struct world *w = *state;
    produce(w, 100);
    assert_true(ring_reader_refresh(&w->reader));
    static const uint64_t lies[] = {99, 0, RING_BYTES + 1, RING_BYTES * 2, UINT64_MAX, UINT64_MAX - RING_BYTES, (uint64_t)1 << 63};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        produce(w, lies[i]);
        assert_false(ring_reader_refresh(&w->reader));
        assert_false(ring_reader_set_limit(&w->reader, lies[i]));
        assert_int_equal(ring_reader_ready(&w->reader), 100); /* what was checked before still stands */
    }
    assert_true(ring_reader_set_limit(&w->reader, RING_BYTES)); /* full is legal */
    (void)ring_reader_consume(&w->reader, 10);
    assert_false(ring_reader_set_limit(&w->reader, RING_BYTES + 11));
    assert_true(ring_reader_set_limit(&w->reader, RING_BYTES + 10));
}

static void what_the_writer_does_to_consumed_does_not_matter(void **state)
{
    struct world *w = *state;
    produce(w, 1000);
    assert_true(ring_reader_refresh(&w->reader));
    (void)ring_reader_consume(&w->reader, 400);
    atomic_store(&w->worker.shared->consumed, 5);
    assert_int_equal(ring_reader_ready(&w->reader), 600);
    (void)ring_reader_consume(&w->reader, 600);
    assert_int_equal(atomic_load(&w->front.shared->consumed), 1000);
}

static void a_sleeping_writer_is_woken_once_and_only_when_there_is_room(void **state)
{
    struct world *w = *state;
    produce(w, RING_BYTES);
    assert_true(ring_reader_refresh(&w->reader));
    assert_false(ring_reader_consume(&w->reader, RING_BYTES / 2)); /* it does not sleep */
    produce(w, RING_BYTES + RING_BYTES / 2);
    assert_true(ring_reader_refresh(&w->reader));
    atomic_store(&w->worker.shared->waiting, 1);
    assert_false(ring_reader_consume(&w->reader, 1000)); /* not worth it yet */
    assert_true(ring_reader_consume(&w->reader, RING_BYTES / 4));
    assert_int_equal(atomic_load(&w->worker.shared->waiting), 0);
    assert_false(ring_reader_consume(&w->reader, 1000));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_region_is_sealed),
        TEST(a_region_of_another_size_is_not_mapped),
        TEST(the_request_area_holds_twice_the_longest_statement),
        TEST(both_sides_see_the_same_bytes_and_the_ring_twice),
        TEST(each_side_can_write_its_own_part_only),
        TEST(the_reader_follows_the_writer_round_and_round),
        TEST(a_writer_that_cheats_is_found),
        TEST(what_the_writer_does_to_consumed_does_not_matter),
        TEST(a_sleeping_writer_is_woken_once_and_only_when_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
