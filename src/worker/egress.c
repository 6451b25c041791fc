/* Asking the broker (see the header). Runs in the worker, in any of the engine's threads. */
#include "worker/egress.h"
#include "core/clock.h"
#include "core/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

/* Numbers of connections beyond it are not hung up. A worker's limit of descriptors is below. */
#define CONNECTIONS_MAX 4096
#define LATER_MS 20

/* The one state of a process that is not reached from its context: the replaced calls have nothing but the C library's arguments. */
static struct {
    pthread_mutex_t lock; /* one ask at a time */
    int fd;               /* -1: nothing can be reached */
    uint32_t last_id;
    size_t count;
    struct egress_endpoint endpoint[SOURCES_PER_SET];
    const atomic_bool *stop;
    _Atomic unsigned hang_ups;                        /* who waits for the broker gives up with the next one */
    _Atomic uint64_t connected[CONNECTIONS_MAX / 64]; /* a bit for each number that was one */
} egress = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

void egress_start(int channel_fd, const struct egress_endpoint *endpoints, size_t count, const atomic_bool *stop)
{
    memcpy(egress.endpoint, endpoints, count * sizeof *endpoints);
    egress.count = count;
    egress.stop = stop;
    egress.fd = channel_fd;
}

static int find_exactly(const char *host, unsigned port)
{
    for (size_t i = 0; i < egress.count; i++)
        if (strcasecmp(egress.endpoint[i].host, host) == 0 && (port == 0 || egress.endpoint[i].port == port))
            return (int)i;
    return -1;
}

/* Libraries (curl, MySQL's) know what `localhost` means, and ask for its address. */
static int find(const char *host, unsigned port)
{
    int i = find_exactly(host, port);
    bool local = strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
    return i < 0 && local ? find_exactly("localhost", port) : i;
}

bool egress_address(const char *host, unsigned port, struct sockaddr_in *ret)
{
    int i = find(host, port);
    if (i < 0)
        return false;
    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(SOURCES_NET + (uint32_t)i + 1)};
    return true;
}

static int of_unix(const struct sockaddr *address, socklen_t len)
{
    const struct sockaddr_un *a = (const struct sockaddr_un *)address;
    size_t path_len = len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;
    for (size_t i = 0; i < egress.count; i++) {
        char path[sizeof a->sun_path];
        if (egress.endpoint[i].host[0] == '/' && egress_unix_path(&egress.endpoint[i], path, sizeof path) &&
            strnlen(a->sun_path, path_len) == strlen(path) && memcmp(a->sun_path, path, strlen(path)) == 0)
            return (int)i;
    }
    return -1;
}

int egress_endpoint(const struct sockaddr *address, socklen_t len)
{
    char host[INET6_ADDRSTRLEN] = "";
    unsigned port = 0;
    if (address->sa_family == AF_UNIX)
        return of_unix(address, len);
    if (address->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *a = (const struct sockaddr_in *)address;
        uint32_t net = ntohl(a->sin_addr.s_addr);
        port = ntohs(a->sin_port);
        if (net > SOURCES_NET && net <= SOURCES_NET + egress.count) /* the name was found at one port; it may be meant for another of the same host */
            return find(egress.endpoint[net - SOURCES_NET - 1].host, port);
        inet_ntop(AF_INET, &a->sin_addr, host, sizeof host);
    } else if (address->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)address;
        port = ntohs(a->sin6_port);
        inet_ntop(AF_INET6, &a->sin6_addr, host, sizeof host);
    }
    return host[0] && port ? find(host, port) : -1;
}

/* Whoever waits is not to, any more; `hang_ups` is what there were when it began. */
static bool given_up(unsigned hang_ups)
{
    return (egress.stop && atomic_load_explicit(egress.stop, memory_order_relaxed)) || atomic_load(&egress.hang_ups) != hang_ups;
}

/* Waits for the answer to this ask; those to earlier ones, which were given up, are dropped. */
static int wait_answer(uint32_t id)
{
    unsigned hang_ups = atomic_load(&egress.hang_ups);
    int64_t deadline = clock_now_ns() + (EGRESS_CONNECT_MS + 1000) * NS_PER_MS;
    for (;;) {
        struct pollfd p = {.fd = egress.fd, .events = POLLIN};
        struct egress_answer m;
        int fd = -1, nfds = 0;
        if (poll(&p, 1, 50) < 0 && errno != EINTR)
            return -1;
        if (given_up(hang_ups)) {
            errno = ECANCELED;
            return -1;
        }
        if (clock_now_ns() > deadline) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (!p.revents)
            continue;
        ssize_t n = fd_recv(egress.fd, &m, sizeof m, &fd, 1, &nfds);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        bool mine = n == (ssize_t)sizeof m && m.id == id;
        if (mine && m.error == 0 && nfds == 1)
            return fd;
        if (nfds == 1)
            close(fd);
        if (n <= 0 || mine) {
            errno = n <= 0 ? ECONNREFUSED : m.error ? m.error : EPROTO;
            return -1;
        }
    }
}

static int ask_once(int endpoint)
{
    pthread_mutex_lock(&egress.lock);
    struct egress_ask ask = {.id = ++egress.last_id, .endpoint = (uint32_t)endpoint};
    int fd = fd_send(egress.fd, &ask, sizeof ask, NULL, 0) < 0 ? -1 : wait_answer(ask.id);
    int e = errno;
    pthread_mutex_unlock(&egress.lock);
    errno = e;
    return fd;
}

/* EAGAIN: the broker will not do more for this worker at the moment. That is not the library's matter, which would take it for a refusal. */
int egress_connect(int endpoint)
{
    int64_t deadline = clock_now_ns() + EGRESS_CONNECT_MS * NS_PER_MS;
    unsigned hang_ups = atomic_load(&egress.hang_ups);
    if (egress.fd < 0) {
        errno = EACCES;
        return -1;
    }
    for (;;) {
        int fd = ask_once(endpoint);
        bool later = fd < 0 && errno == EAGAIN && clock_now_ns() < deadline;
        if (!later)
            return fd;
        if (given_up(hang_ups)) {
            errno = ECANCELED;
            return -1;
        }
        (void)poll(NULL, 0, LATER_MS);
    }
}

void egress_connected(int fd)
{
    if (fd >= 0 && fd < CONNECTIONS_MAX)
        atomic_fetch_or(&egress.connected[fd / 64], UINT64_C(1) << (fd % 64));
}

/* A number may have been closed since, and be something else's. That is a file, or another connection: a worker has no other sockets but those that it
 * was born with. */
void egress_hang_up(void)
{
    atomic_fetch_add(&egress.hang_ups, 1);
    for (int i = 0; i < CONNECTIONS_MAX / 64; i++)
        for (uint64_t left = atomic_exchange(&egress.connected[i], 0); left; left &= left - 1)
            (void)shutdown(64 * i + __builtin_ctzll(left), SHUT_RDWR);
}
