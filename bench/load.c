/*
 * bench_load: a small HTTP/1.1 keep-alive load generator for the benchmark.
 *
 * Knows: one fixed request, N connections to one loopback address, when to stop. Must not know: which
 * server answers, so that every subject is driven by the same bytes in the same way. One thread, two
 * system calls for each request on one connection, three on several (epoll). Runs as a process of its
 * own, always ends by itself, and prints one line of JSON.
 */
#define _GNU_SOURCE
#include "hist.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 256
#define MAX_ANSWER (4u << 20) /* head and body of one answer */
#define MAX_BODY (1u << 20)
#define MAX_BROKEN 100 /* reconnects before giving up */
#define STALL_MS 20000 /* nothing at all from the server for so long: give up */

enum answer_state { ANSWER_PARTIAL, ANSWER_WHOLE, ANSWER_BAD };

struct conn {
    int fd;
    int64_t sent_ns;
    char *buf;
    size_t len;
    size_t cap;
};

struct load {
    const char *host, *method, *path, *want;
    unsigned want_status;
    int port;
    unsigned n_conns;
    double seconds, warmup_s;
    uint64_t max_requests;    /* 0: no limit but the time */
    int64_t gap_ns, due_ns;   /* between two requests of the one connection; when the next one is due. 0: no pause */
    uint64_t turn, n_of_turn; /* so many requests of the one connection for each line on stdin. 0: no turns */
    bool told_to_end;
    char *request;
    size_t request_len;
    struct conn conns[MAX_CONNECTIONS];
    int epoll_fd;
    bool counting; /* the warm-up is over */
    int64_t count_from_ns, end_ns;
    uint64_t n_ok, n_broken, n_mismatch, n_status[600], n_bytes;
    int64_t max_ns;
    uint32_t hist[HIST_SIZE];
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_load: %s: %s\n", what, why);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double percentile_us(const struct load *l, double p)
{
    uint64_t want = (uint64_t)(p * (double)l->n_ok), seen = 0;

    for (unsigned i = 0; i < HIST_SIZE; i++) {
        seen += l->hist[i];
        if (seen > want || (seen == l->n_ok && seen > 0))
            return hist_value(i) / 1000.0;
    }
    return 0;
}

static void conn_open(struct load *l, struct conn *c)
{
    const struct timeval stall = {.tv_sec = STALL_MS / 1000};
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->port)};
    int one = 1;

    if (inet_pton(AF_INET, l->host, &addr.sin_addr) != 1)
        die(l->host, "not an IPv4 address");
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof addr) != 0)
        die("connect", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof stall);
    if (l->n_conns > 1) {
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

        if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) != 0)
            die("epoll_ctl", strerror(errno));
    }
    c->len = 0;
}

/* Keeps to the asked rate. What was missed is not made up for: a slow answer must not end in a burst. */
static void wait_until_due(struct load *l)
{
    int64_t now = now_ns();

    if (l->due_ns > now) {
        const struct timespec t = {.tv_sec = l->due_ns / 1000000000, .tv_nsec = l->due_ns % 1000000000};

        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    } else {
        l->due_ns = now;
    }
    l->due_ns += l->gap_ns;
}

/* At the end of a turn it says so, and waits to be given the next one. */
static void wait_for_turn(struct load *l)
{
    char line[16];

    if (l->n_of_turn == l->turn) {
        l->n_of_turn = 0;
        puts("turn");
        fflush(stdout);
    }
    if (l->n_of_turn++ == 0)
        l->told_to_end = fgets(line, sizeof line, stdin) == NULL;
}

static void conn_send(struct load *l, struct conn *c)
{
    size_t done = 0;

    if (l->turn > 0)
        wait_for_turn(l);
    if (l->told_to_end)
        return;
    if (l->gap_ns > 0)
        wait_until_due(l);
    c->sent_ns = now_ns();
    c->len = 0;
    while (done < l->request_len) {
        ssize_t n = send(c->fd, l->request + done, l->request_len - done, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* the read that follows sees the broken connection and counts it */
        done += (size_t)n;
    }
}

/* Walks the chunks in place; they are few, so starting over with every read is cheap enough. */
static enum answer_state chunked_state(const char *p, const char *end)
{
    for (;;) {
        const char *line = memmem(p, (size_t)(end - p), "\r\n", 2);
        char *stop;
        unsigned long n;

        if (line == NULL)
            return ANSWER_PARTIAL;
        n = strtoul(p, &stop, 16);
        if (stop == p || n > MAX_ANSWER)
            return ANSWER_BAD;
        p = line + 2;
        if ((size_t)(end - p) < n + 2)
            return ANSWER_PARTIAL;
        p += n + 2;
        if (n == 0)
            return p == end ? ANSWER_WHOLE : ANSWER_BAD;
    }
}

static enum answer_state answer_state(const struct conn *c, unsigned *ret_status)
{
    const char *end = c->buf + c->len, *head_end, *field;
    size_t head_len, length;

    if (c->len < 12)
        return ANSWER_PARTIAL;
    head_end = memmem(c->buf, c->len, "\r\n\r\n", 4);
    if (head_end == NULL)
        return ANSWER_PARTIAL;
    if (memcmp(c->buf, "HTTP/1.1 ", 9) != 0)
        return ANSWER_BAD;
    *ret_status = (unsigned)atoi(c->buf + 9);
    if (*ret_status < 100 || *ret_status > 599)
        return ANSWER_BAD;
    head_end += 4;
    head_len = (size_t)(head_end - c->buf);
    field = strcasestr(c->buf, "\r\ncontent-length:");
    if (field != NULL && field < head_end) {
        length = strtoul(field + 17, NULL, 10);
        if (c->len < head_len + length)
            return ANSWER_PARTIAL;
        return c->len == head_len + length ? ANSWER_WHOLE : ANSWER_BAD;
    }
    field = strcasestr(c->buf, "\r\ntransfer-encoding: chunked");
    if (field != NULL && field < head_end)
        return chunked_state(head_end, end);
    return ANSWER_BAD;
}

static void count_answer(struct load *l, const struct conn *c, unsigned status)
{
    int64_t now = now_ns(), took = now - c->sent_ns;

    if (!l->counting) {
        if (now < l->count_from_ns)
            return;
        l->counting = true;
        l->count_from_ns = now;
        return;
    }
    l->n_bytes += c->len;
    if (status != l->want_status) {
        l->n_status[status]++;
    } else if (l->want != NULL && strstr(c->buf, l->want) == NULL) {
        l->n_mismatch++;
    } else {
        l->n_ok++;
        l->hist[hist_index((uint64_t)took)]++;
        if (took > l->max_ns)
            l->max_ns = took;
    }
}

static void conn_broken(struct load *l, struct conn *c)
{
    if (++l->n_broken > MAX_BROKEN)
        die("server", "too many broken connections or answers");
    close(c->fd);
    conn_open(l, c);
    conn_send(l, c);
}

static void conn_readable(struct load *l, struct conn *c)
{
    unsigned status = 0;
    ssize_t n;

    if (c->cap - c->len < 65536 && c->cap < MAX_ANSWER) {
        c->cap = c->cap ? c->cap * 2 : 131072;
        c->buf = realloc(c->buf, c->cap + 1);
        if (c->buf == NULL)
            die("memory", strerror(errno));
    }
    if (c->len == c->cap)
        die("answer", "larger than this tool takes");
    n = recv(c->fd, c->buf + c->len, c->cap - c->len, 0);
    if (n < 0 && errno == EINTR)
        return;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        die("server", "no answer for too long");
    if (n <= 0) {
        conn_broken(l, c);
        return;
    }
    c->len += (size_t)n;
    c->buf[c->len] = '\0';
    switch (answer_state(c, &status)) {
    case ANSWER_PARTIAL: return;
    case ANSWER_BAD: conn_broken(l, c); return;
    case ANSWER_WHOLE: count_answer(l, c, status); conn_send(l, c);
    }
}

static bool finished(const struct load *l) { return l->told_to_end || now_ns() >= l->end_ns || (l->max_requests != 0 && l->n_ok >= l->max_requests); }

static void run(struct load *l)
{
    struct epoll_event events[MAX_CONNECTIONS];
    int64_t start = now_ns();

    l->count_from_ns = start + (int64_t)(l->warmup_s * 1e9);
    l->end_ns = l->count_from_ns + (int64_t)(l->seconds * 1e9);
    for (unsigned i = 0; i < l->n_conns; i++) {
        conn_open(l, &l->conns[i]);
        conn_send(l, &l->conns[i]);
    }
    while (!finished(l)) {
        int n;

        if (l->n_conns == 1) {
            conn_readable(l, &l->conns[0]);
            continue;
        }
        n = epoll_wait(l->epoll_fd, events, MAX_CONNECTIONS, STALL_MS);
        if (n == 0)
            die("server", "no answer for too long");
        for (int i = 0; i < n; i++)
            conn_readable(l, events[i].data.ptr);
    }
    l->end_ns = now_ns();
}

static void print_report(const struct load *l)
{
    double seconds = (double)(l->end_ns - l->count_from_ns) / 1e9;
    const char *comma = "";

    printf("{\"connections\":%u,\"requests\":%llu,\"seconds\":%.4f,\"per_s\":%.1f,\"bytes\":%llu,"
           "\"broken\":%llu,\"mismatches\":%llu,\"errors\":{",
           l->n_conns, (unsigned long long)l->n_ok, seconds, (double)l->n_ok / seconds, (unsigned long long)l->n_bytes,
           (unsigned long long)l->n_broken, (unsigned long long)l->n_mismatch);
    for (unsigned i = 0; i < 600; i++) {
        if (l->n_status[i] == 0)
            continue;
        printf("%s\"%u\":%llu", comma, i, (unsigned long long)l->n_status[i]);
        comma = ",";
    }
    printf("},\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"max_us\":%.2f}\n", percentile_us(l, 0.50), percentile_us(l, 0.90),
           percentile_us(l, 0.99), (double)l->max_ns / 1000.0);
}

static void usage(void)
{
    fputs("usage: bench_load HOST PORT [--connections N] [--seconds S] [--warmup S] [--requests N]\n"
          "       [--rate PER_S (one connection only)] [--turn N (likewise)] [--method M] [--path P] [--header 'Name: value']... [--body FILE] "
          "[--status N] [--expect TEXT]\n",
          stderr);
    exit(2);
}

static size_t read_body(const char *file, char *body)
{
    FILE *f = fopen(file, "rbe");
    size_t n;

    if (f == NULL)
        die(file, strerror(errno));
    n = fread(body, 1, MAX_BODY, f);
    fclose(f);
    return n;
}

static void build_request(struct load *l, const char *headers, const char *body, size_t body_len)
{
    int n;

    l->request = malloc(strlen(headers) + body_len + 1024);
    if (l->request == NULL || strlen(l->method) + strlen(l->path) > 512)
        die("request", "too large");
    n = sprintf(l->request, "%s %s HTTP/1.1\r\nHost: %s:%d\r\n%s", l->method, l->path, l->host, l->port, headers);
    if (body_len > 0)
        n += sprintf(l->request + n, "Content-Length: %zu\r\n", body_len);
    n += sprintf(l->request + n, "\r\n");
    memcpy(l->request + n, body, body_len);
    l->request_len = (size_t)n + body_len;
}

static void parse_args(struct load *l, int argc, char **argv)
{
    static char body[MAX_BODY], headers[4096];
    size_t body_len = 0, headers_len = 0;

    if (argc < 3)
        usage();
    l->host = argv[1];
    l->port = atoi(argv[2]);
    for (int i = 3; i < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];

        if (value == NULL)
            usage();
        else if (strcmp(key, "--connections") == 0)
            l->n_conns = (unsigned)atoi(value);
        else if (strcmp(key, "--seconds") == 0)
            l->seconds = atof(value);
        else if (strcmp(key, "--warmup") == 0)
            l->warmup_s = atof(value);
        else if (strcmp(key, "--requests") == 0)
            l->max_requests = strtoull(value, NULL, 10);
        else if (strcmp(key, "--rate") == 0 && atof(value) >= 1)
            l->gap_ns = (int64_t)(1e9 / atof(value));
        else if (strcmp(key, "--turn") == 0)
            l->turn = strtoull(value, NULL, 10);
        else if (strcmp(key, "--method") == 0)
            l->method = value;
        else if (strcmp(key, "--path") == 0)
            l->path = value;
        else if (strcmp(key, "--body") == 0)
            body_len = read_body(value, body);
        else if (strcmp(key, "--status") == 0)
            l->want_status = (unsigned)atoi(value);
        else if (strcmp(key, "--expect") == 0)
            l->want = value;
        else if (strcmp(key, "--header") == 0 && headers_len + strlen(value) + 3 < sizeof headers)
            headers_len += (size_t)sprintf(headers + headers_len, "%s\r\n", value);
        else
            usage();
    }
    if (l->n_conns < 1 || l->n_conns > MAX_CONNECTIONS || l->seconds <= 0 || l->warmup_s < 0)
        usage();
    if ((l->gap_ns > 0 || l->turn > 0) && l->n_conns > 1)
        usage();
    build_request(l, headers, body, body_len);
}

int main(int argc, char **argv)
{
    struct load *l = calloc(1, sizeof *l);

    if (l == NULL)
        die("memory", strerror(errno));
    l->want_status = 200;
    l->method = "GET";
    l->path = "/";
    l->n_conns = 1;
    l->seconds = 2;
    l->warmup_s = 0.3;
    parse_args(l, argc, argv);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0)
        die("epoll_create1", strerror(errno));
    run(l);
    print_report(l);
    for (unsigned i = 0; i < l->n_conns; i++) {
        close(l->conns[i].fd);
        free(l->conns[i].buf);
    }
    close(l->epoll_fd);
    free(l->request);
    free(l);
    return 0;
}
