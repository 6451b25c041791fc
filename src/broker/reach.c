/* Looking up, judging and connecting (see the header). Runs in the broker. */
#include "broker/reach.h"
#include "core/clock.h"
#include "core/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

static bool is_literal(const char *host)
{
    struct in6_addr any;
    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

static bool v4_is_public_or_private(uint32_t a)
{
    static const struct {
        uint32_t net, mask;
    } refused[] = {
        {0x00000000, 0xff000000}, /* this network */
        {0x7f000000, 0xff000000}, /* the machine itself */
        {0xa9fe0000, 0xffff0000}, /* link-local: cloud metadata among them */
        {0xe0000000, 0xe0000000}, /* groups, reserved, broadcast */
        {0x646464c8, 0xffffffff}, /* 100.100.100.200: a cloud's metadata, outside of link-local */
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if ((a & refused[i].mask) == refused[i].net)
            return false;
    return true;
}

static bool v6_is_public_or_private(const struct in6_addr *a)
{
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b}, metadata[16] = {0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54};
    uint32_t inner;
    memcpy(&inner, &a->s6_addr[12], sizeof inner);
    if (IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_MULTICAST(a) ||
        memcmp(a, metadata, sizeof metadata) == 0)
        return false;
    /* An IPv4 address in other clothes is judged as what it is. */
    if (IN6_IS_ADDR_V4MAPPED(a) || IN6_IS_ADDR_V4COMPAT(a) || memcmp(a, nat64, sizeof nat64) == 0)
        return v4_is_public_or_private(ntohl(inner));
    if (a->s6_addr[0] == 0x20 && a->s6_addr[1] == 0x02) { /* 6to4 */
        memcpy(&inner, &a->s6_addr[2], sizeof inner);
        return v4_is_public_or_private(ntohl(inner));
    }
    return true;
}

bool reach_allows(const char *host, const struct sockaddr *address)
{
    bool localhost = strcasecmp(host, "localhost") == 0;
    if (is_literal(host))
        return true;
    if (address->sa_family == AF_INET) {
        uint32_t a = ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr);
        return localhost ? a >> 24 == 127 : v4_is_public_or_private(a);
    }
    if (address->sa_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)address)->sin6_addr;
        return localhost ? IN6_IS_ADDR_LOOPBACK(a) : v6_is_public_or_private(a);
    }
    return false;
}

/* Waits for the connect to come about. 0, or an errno. */
static int wait_connected(int fd, int64_t deadline_ns)
{
    for (;;) {
        int64_t left_ms = (deadline_ns - clock_now_ns()) / NS_PER_MS;
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int n = left_ms > 0 ? poll(&p, 1, (int)left_ms) : 0;
        if (n == 0)
            return ETIMEDOUT;
        if (n < 0 && errno != EINTR)
            return errno;
        if (n < 0)
            continue;
        int e = 0;
        socklen_t len = sizeof e;
        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0 ? errno : e;
    }
}

/* What clients set before they connect, they set on something that is no socket yet (worker/egress.h): we set it. */
static void set_options(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

static int connect_one(const struct sockaddr *a, socklen_t len, int64_t deadline_ns, int *ret_error)
{
    auto_close int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        *ret_error = errno;
        return -1;
    }
    if (a->sa_family != AF_UNIX)
        set_options(fd);
    int e = connect(fd, a, len) == 0 ? 0 : errno;
    if (e == EINPROGRESS)
        e = wait_connected(fd, deadline_ns);
    if (e) {
        *ret_error = e;
        return -1;
    }
    return take_fd(&fd);
}

static int connect_unix(const struct egress_endpoint *e, int64_t deadline_ns, int *ret_error)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (!egress_unix_path(e, a.sun_path, sizeof a.sun_path)) {
        *ret_error = ENAMETOOLONG;
        return -1;
    }
    return connect_one((struct sockaddr *)&a, sizeof a, deadline_ns, ret_error);
}

int reach_connect(const struct egress_endpoint *e, int timeout_ms, int *ret_error, bool *ret_refused, char ret_address[64])
{
    int64_t deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *all = NULL;
    char port[8];
    *ret_error = EHOSTUNREACH;
    *ret_refused = false;
    ret_address[0] = 0;
    if (e->host[0] == '/')
        return connect_unix(e, deadline_ns, ret_error);
    snprintf(port, sizeof port, "%u", e->port & 0xffff);
    if (is_literal(e->host))
        hints.ai_flags |= AI_NUMERICHOST;
    if (getaddrinfo(e->host, port, &hints, &all) != 0)
        return -1;
    int fd = -1;
    for (const struct addrinfo *a = all; a && fd < 0 && clock_now_ns() < deadline_ns; a = a->ai_next) {
        if (reach_allows(e->host, a->ai_addr)) {
            fd = connect_one(a->ai_addr, a->ai_addrlen, deadline_ns, ret_error);
            continue;
        }
        *ret_refused = true;
        *ret_error = EACCES;
        (void)getnameinfo(a->ai_addr, a->ai_addrlen, ret_address, 64, NULL, 0, NI_NUMERICHOST);
    }
    freeaddrinfo(all);
    return fd;
}
