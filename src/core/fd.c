/* File descriptors. Runs in every process. */
#include "core/fd.h"
#include "core/errors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

void fd_close_p(int *fd)
{
    if (*fd < 0)
        return;
    int e = errno;
    close(*fd);
    *fd = -1;
    errno = e;
}

int fd_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int fd_hold_standard(void)
{
    for (;;) {
        int fd = open("/dev/null", O_RDWR); /* the lowest number that is free */
        if (fd == STDOUT_FILENO) {
            close(fd);
            fd = open("/dev/null", O_RDONLY);
        }
        if (fd < 0)
            return -1;
        if (fd > STDERR_FILENO) {
            close(fd);
            return 0;
        }
    }
}

int fd_memory(const char *name, size_t bytes)
{
    auto_close int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -1;
    return take_fd(&fd);
}

int fd_constant(const char *name, const void *data, size_t len)
{
    auto_close int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    for (size_t at = 0; at < len;) {
        ssize_t n = pwrite(fd, (const char *)data + at, len - at, (off_t)at);
        if (n < 0)
            return -1;
        at += (size_t)n;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return -1;
    return take_fd(&fd);
}

static ssize_t read_some(int fd, char *to, size_t room, size_t at)
{
    for (;;) {
        ssize_t n = pread(fd, to, room, (off_t)at);
        if (n < 0 && errno == ESPIPE) /* a pipe: its bytes come in order anyway */
            n = read(fd, to, room);
        if (n >= 0 || errno != EINTR)
            return n;
    }
}

int fd_read_all(int fd, size_t max, char **ret, size_t *ret_len)
{
    size_t len = 0, cap = 0;
    char *data = NULL;
    for (;;) {
        if (len == cap) { /* always room for one byte more, so that too much is seen */
            cap = cap ? cap * 2 : 4096;
            char *more = realloc(data, cap + 1);
            CHECK(more);
            data = more;
        }
        ssize_t n = read_some(fd, data + len, cap - len, len);
        if (n == 0)
            break;
        if (n > 0)
            len += (size_t)n;
        if (n < 0 || len > max) {
            int e = n < 0 ? errno : EFBIG;
            free(data);
            errno = e;
            return -1;
        }
    }
    data[len] = 0;
    *ret = data;
    *ret_len = len;
    return 0;
}

int fd_send(int sock, const void *data, size_t len, const int *fds, int nfds)
{
    CHECK(nfds >= 0 && nfds <= FD_PASS_MAX);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds > 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int))};
        memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
    }
    ssize_t n;
    do /* without descriptors by send(): a worker's sandbox leaves it no call that could carry them */
        n = nfds > 0 ? sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT) : send(sock, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}

static int collect(struct msghdr *m, int got[], int cap)
{
    int n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        int here = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < here && n < cap; i++)
            memcpy(&got[n++], CMSG_DATA(c) + (size_t)i * sizeof(int), sizeof(int));
    }
    return n;
}

ssize_t fd_recv(int sock, void *data, size_t cap, int *fds, int max_fds, int *ret_nfds)
{
    CHECK(max_fds >= 0 && max_fds <= FD_PASS_MAX);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = data, .iov_len = cap};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = max_fds > 0 ? sizeof control.bytes : 0};
    ssize_t n;
    do
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -1;
    int got[FD_PASS_MAX], count = collect(&m, got, FD_PASS_MAX);
    if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || count > max_fds) {
        for (int i = 0; i < count; i++)
            close(got[i]);
        errno = EMSGSIZE;
        return -1;
    }
    for (int i = 0; i < count; i++)
        fds[i] = got[i];
    if (ret_nfds)
        *ret_nfds = count;
    return n;
}
