/* File descriptors: owned by one variable, closed on every way out, CLOEXEC from birth. Runs in every process. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

/* Closes *fd unless it is -1, and makes it -1. Keeps errno. */
void fd_close_p(int *fd);
#define auto_close __attribute__((cleanup(fd_close_p)))

/* Moves an fd out of an auto_close variable. */
static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* 0; -1 with errno. */
int fd_nonblock(int fd);

/* Opens /dev/null for each of 0, 1 and 2 that is closed, so that no file or socket gets a number that somebody prints on; 1 for reading only, so that
 * a result which nobody can get is an error. For a program's first line. 0; -1 with errno. */
int fd_hold_standard(void);

/* A new memfd of `bytes` zeros that can neither shrink nor grow, nor be sealed further. The caller's; -1 with errno. */
int fd_memory(const char *name, size_t bytes);
/* A new memfd with these bytes that nobody can change any more, at offset 0. The caller's; -1 with errno. */
int fd_constant(const char *name, const void *data, size_t len);
/* Reads a file whole, from its start where it has one (the fd's offset stays). *ret is malloc'd and NUL-terminated besides, *ret_len without the NUL.
 * 0; -1 with errno, EFBIG for more than `max` bytes. */
int fd_read_all(int fd, size_t max, char **ret, size_t *ret_len);

#define FD_PASS_MAX 4
/* Sends one message over a SOCK_SEQPACKET socket, with up to FD_PASS_MAX fds (which stay the caller's); never blocks.
 * 0; -1 with errno: EAGAIN, EPIPE, ... No SIGPIPE. */
int fd_send(int sock, const void *data, size_t len, const int *fds, int nfds);
/* Receives one message of at most `cap` bytes with at most `max_fds` fds, CLOEXEC, the caller's. Returns its length, 0 at the end of file, -1 with
 * errno; a longer message or more fds than allowed is EMSGSIZE (then every fd that came is closed). `fds` and `ret_nfds` may be NULL with max_fds 0.
 * Blocks only on a blocking socket. */
ssize_t fd_recv(int sock, void *data, size_t cap, int *fds, int max_fds, int *ret_nfds);
