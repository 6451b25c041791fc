/* The listening sockets: opened here, used by the front, kept over its restarts. Runs in the supervisor. */
#include "core/fd.h"
#include "supervisor/supervisor_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 1024

/* "host:port" or "[v6]:port" into its two parts. */
static bool split(const char *listen, char host[256], char port[8])
{
    const char *colon = strrchr(listen, ':');
    if (!colon || strlen(colon + 1) == 0 || strlen(colon + 1) > 5 || strspn(colon + 1, "0123456789") != strlen(colon + 1) || atoi(colon + 1) > 65535)
        return false;
    size_t len = (size_t)(colon - listen);
    const char *from = listen;
    if (len >= 2 && listen[0] == '[' && listen[len - 1] == ']') {
        from++;
        len -= 2;
    } else if (memchr(listen, ':', len)) {
        return false; /* an IPv6 address needs its brackets */
    }
    if (len == 0 || len >= 256)
        return false;
    memcpy(host, from, len);
    host[len] = 0;
    strcpy(port, colon + 1);
    return true;
}

bool listen_is_loopback(const char *listen)
{
    char host[256], port[8];
    struct in_addr v4;
    struct in6_addr v6;
    if (strncmp(listen, "unix:", 5) == 0)
        return true;
    if (!split(listen, host, port))
        return false;
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* A socket file that nobody answers on is what a killed server left; one that answers is another server's. What is no socket is somebody's, though
 * nobody answers there either. */
static bool clear_socket_file(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;
    strcpy(sa.sun_path, path);
    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return false;
    }
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0 && errno == ECONNREFUSED)
        return unlink(path) == 0;
    return false;
}

static int open_unix(struct supervisor *s, const char *path, struct error *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (path[0] != '/' || strlen(path) >= sizeof sa.sun_path)
        return error_set(err, ERR_BAD_REQUEST, "server.listen: unix:%s must be an absolute path of at most %zu bytes", path, sizeof sa.sun_path - 1);
    strcpy(sa.sun_path, path);
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&sa, sizeof sa);
    if (r < 0 && errno == EADDRINUSE && clear_socket_file(path))
        r = bind(fd, (struct sockaddr *)&sa, sizeof sa);
    if (r < 0 && errno == EEXIST)
        return error_set(err, ERR_UNAVAILABLE, "cannot listen on unix:%s: there is something that is no socket; it stays as it is", path);
    struct stat st;
    if (r < 0 || listen(fd, BACKLOG) < 0 || lstat(path, &st) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot listen on unix:%s: %s", path, strerror(errno));
    s->socket_path = strdup(path);
    s->socket_inode = st.st_ino;
    snprintf(s->address, sizeof s->address, "unix:%s", path);
    s->listen_fds[s->listen_count++] = take_fd(&fd);
    return 0;
}

void listen_end(struct supervisor *s)
{
    struct stat st;
    if (s->socket_path && lstat(s->socket_path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_ino == s->socket_inode)
        unlink(s->socket_path);
    free(s->socket_path);
    s->socket_path = NULL;
    for (int i = 0; i < s->listen_count; i++)
        close(s->listen_fds[i]);
    s->listen_count = 0;
}

static void note_address(struct supervisor *s, int fd)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage space;
    } a = {.space = {0}};
    socklen_t len = sizeof a;
    char host[INET6_ADDRSTRLEN] = "";
    if (getsockname(fd, &a.sa, &len) < 0)
        return;
    if (a.sa.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a.v6.sin6_addr, host, sizeof host);
        snprintf(s->address, sizeof s->address, "[%s]:%u", host, ntohs(a.v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &a.v4.sin_addr, host, sizeof host);
        snprintf(s->address, sizeof s->address, "%s:%u", host, ntohs(a.v4.sin_port));
    }
}

static int open_tcp(struct supervisor *s, const char *listen_text, struct error *err)
{
    char host[256], port[8];
    if (!split(listen_text, host, port))
        return error_set(err, ERR_BAD_REQUEST, "server.listen: '%s' is not ADDRESS:PORT, [IPV6]:PORT or unix:/path", listen_text);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list;
    int e = getaddrinfo(host, port, &hints, &list);
    if (e != 0)
        return error_set(err, ERR_UNAVAILABLE, "server.listen: cannot resolve '%s': %s", host, gai_strerror(e));
    auto_close int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    int r = fd < 0 ? -1 : setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (r == 0)
        r = bind(fd, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    if (r < 0 || listen(fd, BACKLOG) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot listen on %s: %s%s", listen_text, strerror(errno),
                         errno == EADDRINUSE ? " by another program: end that, or give --listen (server.listen) another port; 0 takes a free one"
                                             : "");
    note_address(s, fd);
    s->listen_fds[s->listen_count++] = take_fd(&fd);
    return 0;
}

int listen_open(struct supervisor *s, struct error *err)
{
    const char *text = s->cfg->server.listen;
    if (strncmp(text, "unix:", 5) == 0)
        return open_unix(s, text + 5, err);
    return open_tcp(s, text, err);
}
