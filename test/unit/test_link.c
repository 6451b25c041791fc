/* The link's messages (src/link/messages.c): only what the table allows, from whom and when it allows it, with every field in its range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "link/messages.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
    enum link_type type;
    size_t bytes;
    enum link_side sender;
    bool idle, busy; /* the worker's phases in which it is legal */
    int fds;
} table[] = {
    {LINK_RUN, sizeof(struct link_run), LINK_FRONT, true, false},    {LINK_SPACE, sizeof(struct link_space), LINK_FRONT, true, true},
    {LINK_DATA, sizeof(struct link_data), LINK_WORKER, false, true}, {LINK_END, sizeof(struct link_end), LINK_WORKER, false, true},
    {LINK_FAIL, sizeof(struct link_fail), LINK_WORKER, false, true}, {LINK_SPOOL, sizeof(struct link_spool), LINK_FRONT, true, true, 1},
    {LINK_GRANT, sizeof(struct link_grant), LINK_FRONT, true, true}, {LINK_SPOOLED, sizeof(struct link_spooled), LINK_WORKER, false, true},
    {LINK_WANT, sizeof(struct link_want), LINK_WORKER, false, true},
};
#define TYPES (sizeof table / sizeof table[0])

static union link_message good(enum link_type type)
{
    union link_message m;
    memset(&m, 0, sizeof m);
    m.type = type;
    m.data.job = 7; /* at the same place in all of them */
    if (type == LINK_FAIL)
        m.fail.error.code = ERR_SQL;
    return m;
}

static void each_message_is_legal_in_its_own_place_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < TYPES; i++)
        for (int sender = LINK_FRONT; sender <= LINK_WORKER; sender++)
            for (int phase = LINK_IDLE; phase <= LINK_BUSY; phase++) {
                union link_message m = good(table[i].type);
                bool legal = sender == (int)table[i].sender && (phase == LINK_IDLE ? table[i].idle : table[i].busy);
                assert_int_equal(link_check(&m, table[i].bytes, (enum link_side)sender, (enum link_phase)phase), legal);
            }
}

static enum link_phase phase_of(size_t i) { return table[i].busy ? LINK_BUSY : LINK_IDLE; }

static bool check(const union link_message *m, size_t i) { return link_check(m, table[i].bytes, table[i].sender, phase_of(i)); }

static void another_length_or_type_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        union link_message m = good(table[i].type);
        for (size_t len = 0; len <= sizeof m; len++)
            assert_int_equal(link_check(&m, len, table[i].sender, phase_of(i)), len == table[i].bytes);
        m.data.job = 0;
        assert_false(check(&m, i));
        m = good(table[i].type);
        static const uint32_t types[] = {LINK_NONE, LINK_TYPE_COUNT, LINK_TYPE_COUNT + 1, UINT32_MAX, 1u << 31};
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
            m.type = types[t];
            assert_false(check(&m, i));
        }
    }
}

static void a_text_without_its_end_is_refused(void **state)
{
    (void)state;
    union link_message m = good(LINK_RUN);
    memset(m.run.query_id, 'a', sizeof m.run.query_id);
    assert_false(check(&m, 0));
    struct {
        size_t at, bytes;
    } texts[] = {{offsetof(struct error, error_type), sizeof m.fail.error.error_type},
                 {offsetof(struct error, what), sizeof m.fail.error.what},
                 {offsetof(struct error, detail), sizeof m.fail.error.detail}};
    for (size_t i = 0; i < 3; i++) {
        m = good(LINK_FAIL);
        memset((char *)&m.fail.error + texts[i].at, 'a', texts[i].bytes);
        assert_false(check(&m, 4));
        ((char *)&m.fail.error)[texts[i].at + texts[i].bytes - 1] = 0;
        assert_true(check(&m, 4));
    }
}

static void the_end_of_a_result_is_within_bounds(void **state)
{
    (void)state;
    union link_message m = good(LINK_END);
    m.end.truncated = m.end.spent = 1;
    m.end.cache = 2;
    m.end.rows = m.end.produced = UINT64_MAX; /* the ring's reader and the counters take these as they come */
    assert_true(check(&m, 3));
    m.end.truncated = 2;
    assert_false(check(&m, 3));
    m = good(LINK_END);
    m.end.spent = 255;
    assert_false(check(&m, 3));
    m = good(LINK_END);
    m.end.cache = 3;
    assert_false(check(&m, 3));
    m = good(LINK_END);
    m.end.exec_us = -1;
    assert_false(check(&m, 3));
}

/* A worker can't speak for the front or the supervisor. */
static void a_worker_reports_its_own_errors_only(void **state)
{
    (void)state;
    static const enum error_code its_own[] = {ERR_BAD_REQUEST, ERR_SQL,      ERR_FORBIDDEN, ERR_OUT_OF_MEMORY, ERR_RESULT_TOO_LARGE,
                                              ERR_CANCELLED,   ERR_INTERNAL, ERR_SOURCE,    ERR_SPOOL_FULL,    ERR_CONFLICT};
    for (int code = -1; code <= ERR_COUNT + 1; code++) {
        union link_message m = good(LINK_FAIL);
        m.fail.error.code = (enum error_code)code;
        bool may = false;
        for (size_t i = 0; i < sizeof its_own / sizeof its_own[0]; i++)
            may |= code == (int)its_own[i];
        assert_int_equal(check(&m, 4), may);
    }
    union link_message m = good(LINK_FAIL);
    m.fail.error.stopped_by = STOP_COUNT;
    assert_false(check(&m, 4));
    m = good(LINK_FAIL);
    m.fail.error.position = -1;
    assert_false(check(&m, 4));
    m = good(LINK_FAIL);
    m.fail.error.limit_bytes = INT64_MIN;
    assert_false(check(&m, 4));
    m = good(LINK_FAIL);
    m.fail.spent = 2;
    assert_false(check(&m, 4));
}

static void messages_travel_whole(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    union link_message got;
    assert_int_equal(link_receive(pair[1], LINK_FRONT, LINK_IDLE, &got), -1);
    assert_int_equal(errno, EAGAIN);
    for (size_t i = 0; i < TYPES; i++) {
        union link_message m = good(table[i].type);
        int fd = -1;
        assert_int_equal(table[i].fds ? link_send_fd(pair[0], &m, pair[1]) : link_send(pair[0], &m), 0);
        assert_int_equal(link_receive_fd(pair[1], table[i].sender, phase_of(i), &got, &fd), 1);
        assert_int_equal(fd >= 0, table[i].fds);
        if (fd >= 0)
            close(fd);
        assert_memory_equal(&got, &m, table[i].bytes);
    }
    /* What is no message leaves the caller's alone. */
    union link_message before = got;
    assert_int_equal(send(pair[0], "rubbish", 7, 0), 7);
    assert_int_equal(link_receive(pair[1], LINK_WORKER, LINK_BUSY, &got), -1);
    assert_int_equal(errno, EPROTO);
    assert_memory_equal(&got, &before, sizeof got);
    char large[sizeof(union link_message) + 1] = {LINK_DATA};
    assert_int_equal(send(pair[0], large, sizeof large, 0), sizeof large);
    assert_int_equal(link_receive(pair[1], LINK_WORKER, LINK_BUSY, &got), -1);
    assert_int_equal(errno, EPROTO);
    close(pair[0]);
    assert_int_equal(link_receive(pair[1], LINK_WORKER, LINK_BUSY, &got), 0);
    close(pair[1]);
}

static void send_with_descriptor(int sock, const union link_message *m, size_t bytes)
{
    struct iovec iov = {(void *)(uintptr_t)m, bytes};
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(sizeof(int))];
    } c = {.h = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&c.h), &sock, sizeof(int));
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
    assert_int_equal(sendmsg(sock, &h, 0), bytes);
}

static int lowest_free_number(void)
{
    int fd = dup(0);
    close(fd);
    return fd;
}

/* Descriptors from a worker are never taken, and not left open either; nor one with a message that has none. */
static void a_descriptor_too_many_is_refused(void **state)
{
    (void)state;
    int pair[2], fd = -1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    int next = lowest_free_number();
    union link_message m = good(LINK_DATA), got;
    send_with_descriptor(pair[0], &m, sizeof m.data);
    assert_int_equal(link_receive(pair[1], LINK_WORKER, LINK_BUSY, &got), -1);
    assert_int_equal(errno, EPROTO);
    m = good(LINK_SPACE);
    send_with_descriptor(pair[0], &m, sizeof m.space);
    assert_int_equal(link_receive_fd(pair[1], LINK_FRONT, LINK_BUSY, &got, &fd), -1);
    assert_int_equal(errno, EPROTO);
    assert_int_equal(fd, -1);
    assert_int_equal(lowest_free_number(), next);
    close(pair[0]);
    close(pair[1]);
}

static void a_message_without_its_descriptor_is_refused(void **state)
{
    (void)state;
    int pair[2], fd = -1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    union link_message m = good(LINK_SPOOL), got;
    assert_int_equal(send(pair[0], &m, sizeof m.spool, 0), sizeof m.spool);
    assert_int_equal(link_receive_fd(pair[1], LINK_FRONT, LINK_BUSY, &got, &fd), -1);
    assert_int_equal(errno, EPROTO);
    close(pair[0]);
    close(pair[1]);
}

static void a_file_that_may_be_less_than_empty_is_refused(void **state)
{
    (void)state;
    union link_message m = good(LINK_SPOOL);
    m.spool.base = 10;
    m.spool.limit = 10;
    assert_true(link_check(&m, sizeof m.spool, LINK_FRONT, LINK_BUSY));
    m.spool.limit = 9;
    assert_false(link_check(&m, sizeof m.spool, LINK_FRONT, LINK_BUSY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_is_legal_in_its_own_place_only),
        cmocka_unit_test(another_length_or_type_is_refused),
        cmocka_unit_test(a_text_without_its_end_is_refused),
        cmocka_unit_test(the_end_of_a_result_is_within_bounds),
        cmocka_unit_test(a_worker_reports_its_own_errors_only),
        cmocka_unit_test(messages_travel_whole),
        cmocka_unit_test(a_descriptor_too_many_is_refused),
        cmocka_unit_test(a_message_without_its_descriptor_is_refused),
        cmocka_unit_test(a_file_that_may_be_less_than_empty_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
