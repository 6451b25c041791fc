/*
 * bench_drain: one POST, its answer read as fast as it comes and thrown away. The client of the results part of the benchmark: it
 * should cost as little as a client can, since it shares the machine with the server.
 *
 * Knows: enough HTTP to see that the answer is good and whole (Content-Length, or the last chunk). Runs as a process of its own,
 * one answer per run, and prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE_BYTES ((size_t)1 << 20)
#define HEAD_MAX ((size_t)16384)

static char piece[PIECE_BYTES];

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench_drain: %s\n", what);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int connect_to(const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("cannot connect");
    return fd;
}

static void send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n <= 0)
            die("cannot send");
        data += n;
        len -= (size_t)n;
    }
}

struct answer {
    int status;
    int64_t length; /* -1: chunked */
    uint64_t bytes; /* of the body as it came, with its framing */
    char last[5];   /* the body's last bytes */
    double first_s, end_s;
};

/* Reads to the end of the head; returns how many bytes of the body came with it, at the start of `piece`. */
static size_t read_head(int fd, struct answer *a)
{
    size_t have = 0;
    char *end = NULL, *field;

    while (end == NULL) {
        ssize_t n = have < HEAD_MAX ? read(fd, piece + have, PIECE_BYTES - have - 1) : -1;

        if (n <= 0)
            die("no head");
        if (have == 0)
            a->first_s = now_s();
        have += (size_t)n;
        piece[have] = 0;
        end = strstr(piece, "\r\n\r\n");
    }
    *end = 0;
    if (sscanf(piece, "HTTP/1.1 %d", &a->status) != 1)
        die("no status line");
    field = strcasestr(piece, "\r\nContent-Length:");
    a->length = field != NULL ? atoll(field + strlen("\r\nContent-Length:")) : -1;
    have -= (size_t)(end + 4 - piece);
    memmove(piece, end + 4, have);
    return have;
}

static void note(struct answer *a, const char *data, size_t n)
{
    size_t keep = n < sizeof a->last ? n : sizeof a->last;

    a->bytes += n;
    memmove(a->last, a->last + keep, sizeof a->last - keep);
    memcpy(a->last + sizeof a->last - keep, data + n - keep, keep);
}

static bool is_whole(const struct answer *a)
{
    return a->length >= 0 ? a->bytes == (uint64_t)a->length : memcmp(a->last, "0\r\n\r\n", sizeof a->last) == 0;
}

int main(int argc, char **argv)
{
    struct answer a = {0};
    char *request;
    int fd, len;
    double start;

    if (argc != 5) {
        fputs("usage: bench_drain PORT ACCEPT ACCEPT-ENCODING BODY\n", stderr);
        return 2;
    }
    len = asprintf(&request,
                   "POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: %s\r\nAccept-Encoding: %s\r\n"
                   "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
                   argv[2], argv[3], strlen(argv[4]), argv[4]);
    if (len < 0)
        die("out of memory");
    fd = connect_to(argv[1]);
    start = now_s();
    send_all(fd, request, (size_t)len);
    for (size_t n = read_head(fd, &a);;) {
        note(&a, piece, n);
        ssize_t got = read(fd, piece, PIECE_BYTES);

        if (got < 0)
            die("the connection broke");
        if (got == 0)
            break;
        n = (size_t)got;
    }
    a.end_s = now_s();
    printf("{\"status\":%d,\"whole\":%s,\"seconds\":%.6f,\"first_ms\":%.3f,\"bytes\":%llu}\n", a.status, is_whole(&a) ? "true" : "false",
           a.end_s - start, (a.first_s - start) * 1e3, (unsigned long long)a.bytes);
    close(fd);
    return 0;
}
