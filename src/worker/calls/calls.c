/* The C library's calls that lead out of the process, and one about what is around it, as this program has them: the engine's extensions, loaded later, find these first. Linked into the
 * worker's program only, never into tests. What is not answered here with an endpoint of the worker's own (worker/egress.h) fails.
 *
 * socket() gives something that is no socket: an eventfd that keeps the number until connect() puts the broker's socket in its place. Options set
 * before that, and those that the filter refuses, are accepted and lost; the broker has set those that matter. */
#include "worker/egress.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Exported by name (CMakeLists.txt); none of our own headers declares them as ours. */
#define EXPORTED __attribute__((visibility("default"), used))

EXPORTED int socket(int domain, int type, int protocol)
{
    (void)protocol;
    if ((domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX) || (type & 0xf) != SOCK_STREAM) {
        errno = EACCES;
        return -1;
    }
    return eventfd(0, (type & SOCK_CLOEXEC ? EFD_CLOEXEC : 0) | (type & SOCK_NONBLOCK ? EFD_NONBLOCK : 0));
}

EXPORTED int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    int endpoint = egress_endpoint(address, len), flags = fcntl(fd, F_GETFL), descriptor = fcntl(fd, F_GETFD);
    if (endpoint < 0 || flags < 0 || descriptor < 0) {
        errno = endpoint < 0 ? EACCES : EBADF;
        return -1;
    }
    int got = egress_connect(endpoint);
    if (got < 0)
        return -1;
    /* In one step: the number never stands for anything else. */
    bool ok = dup3(got, fd, descriptor & FD_CLOEXEC ? O_CLOEXEC : 0) >= 0 && fcntl(fd, F_SETFL, flags & O_NONBLOCK) >= 0;
    int e = errno;
    close(got);
    errno = e;
    if (ok)
        egress_connected(fd);
    return ok ? 0 : -1;
}

EXPORTED int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    int r = (int)syscall(SYS_setsockopt, fd, level, name, value, len);
    bool lost = errno == ENOTSOCK || errno == ENOSYS; /* no socket yet, or an option that the filter keeps from us */
    return r < 0 && lost ? 0 : r;
}

EXPORTED int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    int r = (int)syscall(SYS_getsockopt, fd, level, name, value, len);
    if (r == 0 || (errno != ENOTSOCK && errno != ENOSYS))
        return r;
    memset(value, 0, *len);
    if (level == SOL_SOCKET && name == SO_TYPE && *len >= sizeof(int))
        *(int *)value = SOCK_STREAM;
    return 0;
}

EXPORTED int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    struct found {
        struct addrinfo info;
        struct sockaddr_in address;
    };
    char *end = NULL;
    long port = service && service[0] ? strtol(service, &end, 10) : 0;
    struct sockaddr_in address;
    if (!node || (end && *end) || port < 0 || port > 65535 || (hints && hints->ai_flags & AI_PASSIVE) ||
        !egress_address(node, (unsigned)port, &address))
        return EAI_NONAME;
    if (hints && hints->ai_family != AF_UNSPEC && hints->ai_family != AF_INET)
        return EAI_FAMILY;
    if (hints && hints->ai_socktype && hints->ai_socktype != SOCK_STREAM)
        return EAI_SOCKTYPE;
    struct found *f = calloc(1, sizeof *f);
    if (!f)
        return EAI_MEMORY;
    f->address = address;
    f->info = (struct addrinfo){.ai_family = AF_INET,
                                .ai_socktype = SOCK_STREAM,
                                .ai_protocol = IPPROTO_TCP,
                                .ai_addrlen = sizeof f->address,
                                .ai_addr = (struct sockaddr *)&f->address};
    *ret = &f->info;
    return 0;
}

EXPORTED void freeaddrinfo(struct addrinfo *a) { free(a); }

EXPORTED struct hostent *gethostbyname(const char *name)
{
    (void)name;
    h_errno = HOST_NOT_FOUND;
    return NULL;
}

/* The engine would look up its control group at each opening, and give up where it sees the file and can't read it. It is told its sizes: for it there
 * is no such thing. */
EXPORTED int access(const char *path, int mode)
{
    if (strcmp(path, "/proc/self/cgroup") == 0) {
        errno = ENOENT;
        return -1;
    }
    return (int)syscall(SYS_faccessat, AT_FDCWD, path, mode);
}

EXPORTED int bind(int fd, const struct sockaddr *address, socklen_t len)
{
    (void)fd;
    (void)address;
    (void)len;
    errno = EACCES;
    return -1;
}

EXPORTED int listen(int fd, int backlog)
{
    (void)fd;
    (void)backlog;
    errno = EACCES;
    return -1;
}
