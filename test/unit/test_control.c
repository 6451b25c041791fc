/* The channel and the page between supervisor and front (src/link/control.c): each message from its own side only, with its own number of
 * descriptors, and none left behind of what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/fd.h"
#include "link/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
    enum control_type type;
    size_t bytes;
    bool from_front;
    int fds;
} table[] = {
    {CONTROL_ASSIGN, sizeof(struct control_assign), false, 2},       {CONTROL_SLOT, sizeof(struct control_slot), false, 0},
    {CONTROL_DIED, sizeof(struct control_died), false, 0},           {CONTROL_START_FAILED, sizeof(struct control_start_failed), false, 0},
    {CONTROL_LAYERS, sizeof(struct control_layers), false, 0},       {CONTROL_FENCED, sizeof(struct control_layers), true, 0},
    {CONTROL_CONFIG, sizeof(struct control_plain), false, 1},        {CONTROL_KEYS, sizeof(struct control_plain), false, 1},
    {CONTROL_TLS, sizeof(struct control_plain), false, 1},           {CONTROL_DRAIN, sizeof(struct control_plain), false, 0},
    {CONTROL_DRAIN_OVER, sizeof(struct control_plain), false, 0},    {CONTROL_WANT_FAILED, sizeof(struct control_want_failed), false, 0},
    {CONTROL_SOURCES_CHANGED, sizeof(struct control_set), false, 0}, {CONTROL_DATABASE, sizeof(struct control_database), false, 0},
    {CONTROL_RETIRE, sizeof(struct control_replace), false, 0},      {CONTROL_WRITE_OVER, sizeof(struct control_write_over), false, 0},
    {CONTROL_EXPORT_OPENED, sizeof(struct control_plain), false, 2}, {CONTROL_EXPORT_OVER, sizeof(struct control_export_over), false, 0},
    {CONTROL_EXPORT, sizeof(struct control_export), true, 0},        {CONTROL_EXPORT_COMMIT, sizeof(struct control_plain), true, 0},
    {CONTROL_EXPORT_DROP, sizeof(struct control_plain), true, 0},    {CONTROL_COMMIT, sizeof(struct control_plain), true, 0},
    {CONTROL_RELOAD, sizeof(struct control_plain), true, 0},         {CONTROL_WANT, sizeof(struct control_want), true, 0},
    {CONTROL_UNWANT, sizeof(struct control_unwant), true, 0},        {CONTROL_UP, sizeof(struct control_plain), true, 0},
    {CONTROL_REPLACE, sizeof(struct control_replace), true, 0},      {CONTROL_LEAVES, sizeof(struct control_replace), true, 0},
    {CONTROL_DRAINED, sizeof(struct control_plain), true, 0},
};
#define TYPES (sizeof table / sizeof table[0])
_Static_assert(TYPES == CONTROL_TYPE_COUNT - 1, "each message of control.def has its row here");

/* Zeros, but for what must not be zero. */
static union control_message good(enum control_type type)
{
    union control_message m;
    memset(&m, 0, sizeof m);
    m.type = type;
    if (type == CONTROL_WANT) {
        m.want.want = 1;
        m.want.kind = WORKER_KIND_SESSION;
    } else if (type == CONTROL_EXPORT) {
        m.export.export = 1;
    } else if (type == CONTROL_RELOAD || type == CONTROL_EXPORT_COMMIT || type == CONTROL_EXPORT_DROP) {
        m.plain.flags = 1;
    }
    return m;
}

struct world {
    int send, receive;
};

static int setup(void **state)
{
    static struct world w;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    w = (struct world){pair[0], pair[1]};
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    close(w->send);
    close(w->receive);
    return 0;
}

static int lowest_free_fd(void)
{
    int fd = dup(2);
    close(fd);
    return fd;
}

static void each_message_comes_from_its_own_side_only(void **state)
{
    struct world *w = *state;
    int free_before = lowest_free_fd(), fds[2] = {1, 2};
    for (size_t i = 0; i < TYPES; i++)
        for (int from_front = 0; from_front < 2; from_front++) {
            union control_message m = good(table[i].type), got;
            int got_fds[2], n = -1;
            assert_int_equal(control_send(w->send, &m, fds, table[i].fds), 0);
            int r = control_receive(w->receive, from_front, &got, got_fds, &n);
            if (from_front != table[i].from_front) {
                assert_int_equal(r, -1);
                assert_int_equal(errno, EPROTO);
                assert_int_equal(lowest_free_fd(), free_before);
                continue;
            }
            assert_int_equal(r, 1);
            assert_int_equal(n, table[i].fds);
            assert_memory_equal(&got, &m, table[i].bytes);
            for (int k = 0; k < n; k++)
                close(got_fds[k]);
            assert_int_equal(lowest_free_fd(), free_before);
        }
}

static void another_length_or_number_of_descriptors_is_refused(void **state)
{
    struct world *w = *state;
    int free_before = lowest_free_fd(), fds[2] = {1, 2}, got_fds[2], n;
    union control_message got;
    for (size_t i = 0; i < TYPES; i++)
        for (size_t len = 1; len <= sizeof got; len = len < 64 ? len + 1 : len * 2)
            for (int count = 0; count <= 2; count++) {
                union control_message m = good(table[i].type);
                bool right = len == table[i].bytes && count == table[i].fds;
                assert_int_equal(fd_send(w->send, &m, len, fds, count), 0);
                int r = control_receive(w->receive, table[i].from_front, &got, got_fds, &n);
                assert_int_equal(r, right ? 1 : -1);
                for (int k = 0; right && k < n; k++)
                    close(got_fds[k]);
                assert_int_equal(lowest_free_fd(), free_before);
            }
}

static void no_type_and_unknown_types_are_refused(void **state)
{
    struct world *w = *state;
    static const uint32_t types[] = {CONTROL_NONE, CONTROL_TYPE_COUNT, UINT32_MAX};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (int from_front = 0; from_front < 2; from_front++) {
            struct control_plain m = {.type = types[i]};
            union control_message got;
            int fds[2], n;
            assert_int_equal(fd_send(w->send, &m, sizeof m, NULL, 0), 0);
            assert_int_equal(control_receive(w->receive, from_front, &got, fds, &n), -1);
            assert_int_equal(errno, EPROTO);
        }
}

static void a_reason_without_its_end_is_refused(void **state)
{
    struct world *w = *state;
    struct control_start_failed m = {.type = CONTROL_START_FAILED};
    union control_message got;
    int fds[2], n;
    memset(m.text, 'a', sizeof m.text);
    assert_int_equal(control_send(w->send, &m, NULL, 0), 0);
    assert_int_equal(control_receive(w->receive, false, &got, fds, &n), -1);
    m.text[sizeof m.text - 1] = 0;
    assert_int_equal(control_send(w->send, &m, NULL, 0), 0);
    assert_int_equal(control_receive(w->receive, false, &got, fds, &n), 1);
}

static void an_empty_channel_and_a_closed_one_are_told_apart(void **state)
{
    struct world *w = *state;
    union control_message got;
    int fds[2], n;
    assert_int_equal(control_receive(w->receive, true, &got, fds, &n), -1);
    assert_int_equal(errno, EAGAIN);
    close(w->send);
    assert_int_equal(control_receive(w->receive, true, &got, fds, &n), 0);
    w->send = dup(2);
}

static void the_page_is_one_memory_for_both(void **state)
{
    (void)state;
    int fd = fd_memory("page", sizeof(struct control_page));
    assert_true(fd >= 0);
    struct control_page *a = control_map(fd), *b = control_map(fd);
    assert_true(a && b && a != b);
    atomic_store(&a->cell[CONTROL_CELLS - 1].deadline_ns, 42);
    assert_int_equal(atomic_load(&b->cell[CONTROL_CELLS - 1].deadline_ns), 42);
    close(fd);
    assert_null(control_map(fd));
}

static void every_reason_and_state_has_a_word(void **state)
{
    (void)state;
    for (int i = 0; i < DEATH_REASONS; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(death_reason_text((enum death_reason)i), death_reason_text((enum death_reason)k));
    for (int i = 0; i < WORKER_STATES; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(worker_state_text((enum worker_state)i), worker_state_text((enum worker_state)k));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_message_comes_from_its_own_side_only),
        TEST(another_length_or_number_of_descriptors_is_refused),
        TEST(no_type_and_unknown_types_are_refused),
        TEST(a_reason_without_its_end_is_refused),
        TEST(an_empty_channel_and_a_closed_one_are_told_apart),
        TEST(the_page_is_one_memory_for_both),
        TEST(every_reason_and_state_has_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
