/* The filters of system calls, each put over a child of the test's own: what is left to a worker with sources, and to the broker. */
#include "sandbox/filter.h"
#include "core/build.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define EXPECT(condition)                                                                             \
    do {                                                                                              \
        if (!(condition)) {                                                                           \
            fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
            return 1;                                                                                 \
        }                                                                                             \
    } while (0)

struct sockets {
    int udp, tcp, pair[2]; /* the TCP one is connected to `listener` */
    int listener, elsewhere;
    struct sockaddr_in other; /* where `elsewhere` waits for datagrams */
};

static struct sockaddr_in bind_loopback(int fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    return a;
}

static struct sockets make_sockets(void)
{
    struct sockets s = {.udp = socket(AF_INET, SOCK_DGRAM, 0),
                        .tcp = socket(AF_INET, SOCK_STREAM, 0),
                        .listener = socket(AF_INET, SOCK_STREAM, 0),
                        .elsewhere = socket(AF_INET, SOCK_DGRAM, 0)};
    struct sockaddr_in there = bind_loopback(s.listener);
    assert_int_equal(listen(s.listener, 4), 0);
    assert_int_equal(connect(s.tcp, (struct sockaddr *)&there, sizeof there), 0);
    s.other = bind_loopback(s.elsewhere);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s.pair), 0);
    return s;
}

static void close_sockets(struct sockets *s)
{
    close(s->udp);
    close(s->tcp);
    close(s->listener);
    close(s->elsewhere);
    close(s->pair[0]);
    close(s->pair[1]);
}

static bool sends_to(const struct sockets *s, int fd, int flags) { return syscall(SYS_sendto, fd, "x", 1, flags, &s->other, sizeof s->other) >= 0; }

static bool sends_message(const struct sockets *s, int fd, int flags)
{
    struct sockaddr_in to = s->other;
    struct iovec io = {"x", 1};
    struct msghdr m = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &io, .msg_iovlen = 1};
    struct mmsghdr many = {.msg_hdr = m};
    return syscall(SYS_sendmsg, fd, &m, flags) >= 0 || syscall(SYS_sendmmsg, fd, &many, 1, flags) > 0;
}

static bool sets(int fd, int level, int name, const void *value, socklen_t len) { return syscall(SYS_setsockopt, fd, level, name, value, len) == 0; }

static int as_worker_with_sources(const struct sockets *s)
{
    int on = 1, e = -1;
    socklen_t len = sizeof e;
    /* It talks over what it was given. */
    EXPECT(send(s->tcp, "x", 1, MSG_NOSIGNAL) == 1 && send(s->pair[0], "x", 1, MSG_NOSIGNAL) == 1);
    EXPECT(sets(s->tcp, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) && sets(s->tcp, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
    EXPECT(syscall(SYS_getsockopt, s->tcp, SOL_SOCKET, SO_ERROR, &e, &len) == 0 && e == 0);
    /* It names nobody else: neither to a socket that is connected nor to one that is not. */
    EXPECT(!sends_to(s, s->udp, 0) && !sends_to(s, s->tcp, 0) && !sends_to(s, s->tcp, MSG_FASTOPEN));
    EXPECT(!sends_message(s, s->udp, 0) && !sends_message(s, s->tcp, 0) && !sends_message(s, s->tcp, MSG_FASTOPEN));
    EXPECT(connect(s->udp, (const struct sockaddr *)&s->other, sizeof s->other) < 0);
    /* It makes none, and hands none on. */
    for (int family = 0; family < 46; family++)
        for (int type = 1; type <= 10; type++)
            EXPECT(syscall(SYS_socket, family, type, 0) < 0 && errno == EPERM);
    int pair[2];
    EXPECT(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair) < 0 && bind(s->udp, (const struct sockaddr *)&s->other, sizeof s->other) < 0);
    EXPECT(listen(s->tcp, 1) < 0 && syscall(SYS_accept4, s->listener, NULL, NULL, 0) < 0 && syscall(SYS_accept, s->listener, NULL, NULL) < 0);
    /* No option leads a connection another way, or a program into the kernel. */
    unsigned char route[8] = {IPOPT_LSRR, 7, 4, 127, 0, 0, 2, IPOPT_END};
    EXPECT(!sets(s->tcp, IPPROTO_IP, IP_OPTIONS, route, sizeof route) && !sets(s->tcp, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
    EXPECT(!sets(s->tcp, IPPROTO_TCP, TCP_ULP, "tls", 4) && !sets(s->tcp, SOL_SOCKET, SO_ATTACH_BPF, &on, sizeof on));
    EXPECT(!sets(s->tcp, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on) && !sets(s->tcp, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on));
    EXPECT(syscall(SYS_getsockopt, s->pair[0], SOL_SOCKET, 77 /* SO_PEERPIDFD */, &e, &len) < 0 && errno == ENOSYS);
    return 0;
}

static int as_broker(const struct sockets *s)
{
    (void)s;
    EXPECT(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 && socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0) != -2);
    EXPECT(socket(AF_NETLINK, SOCK_RAW, 0) >= 0 && socket(AF_NETLINK, SOCK_RAW, 12) < 0);
    EXPECT(socket(AF_INET, SOCK_RAW, 1) < 0 && errno == ENOSYS && socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == ENOSYS);
    EXPECT(socket(AF_ALG, SOCK_SEQPACKET, 0) < 0 && errno == ENOSYS && socket(AF_VSOCK, SOCK_STREAM, 0) < 0 && errno == ENOSYS);
    EXPECT(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(at != MAP_FAILED && mprotect(at, 4096, PROT_READ | PROT_EXEC) < 0);
    EXPECT(fork() < 0 && syscall(SYS_kill, getppid(), 0) < 0 && syscall(SYS_memfd_create, "x", 0) < 0);
    EXPECT(listen(socket(AF_INET, SOCK_STREAM, 0), 1) < 0 && errno == EPERM);
    return 0;
}

static int run(enum filter_kind kind, int (*inside)(const struct sockets *), const struct sockets *s)
{
    char text[200];
    pid_t pid = fork();
    if (pid == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || filter_install(kind, text, sizeof text) < 0)
            _exit(2);
        _exit(inside(s));
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_a_worker_with_sources_sends_to_nobody_else(void **state)
{
    (void)state;
    struct sockets s = make_sockets();
    assert_true(sends_to(&s, s.udp, 0)); /* without the filter it is so */
    char got[8];
    assert_int_equal(recv(s.elsewhere, got, sizeof got, 0), 1);
    assert_int_equal(run(FILTER_NETWORK, as_worker_with_sources, &s), 0);
    assert_int_equal(recv(s.elsewhere, got, sizeof got, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
    close_sockets(&s);
}

static void test_the_broker_connects_and_no_more(void **state)
{
    (void)state;
    struct sockets s = make_sockets();
    assert_int_equal(run(FILTER_BROKER, as_broker, &s), 0);
    close_sockets(&s);
}

static int execs(const struct sockets *s)
{
    (void)s;
    syscall(SYS_execve, "/bin/true", NULL, NULL);
    return 0;
}

static void test_only_an_attacker_calls_exec(void **state)
{
    (void)state;
    for (int kind = 0; kind < FILTER_KINDS; kind++) {
        if (kind == FILTER_CLOSED) /* comes on top of another */
            continue;
        int status = run((enum filter_kind)kind, execs, NULL);
        if (SANITIZED) /* its reports try to run another program: that fails */
            assert_int_equal(status, 0);
        else
            assert_int_equal(status & 0x7f, SIGSYS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_worker_with_sources_sends_to_nobody_else),
        cmocka_unit_test(test_the_broker_connects_and_no_more),
        cmocka_unit_test(test_only_an_attacker_calls_exec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
