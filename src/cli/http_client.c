/* A small HTTP client. Runs in the command line. */
#include "cli/http_client.h"
#include "core/clock.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <llhttp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#define REQUEST_MAX 2048
#define PART_BYTES 16384

struct http_client {
    char host[256], port[8], path[108]; /* path: of a unix socket */
    char address[300];
    char *key;
    bool tls;
    int timeout_ms;
    SSL_CTX *ctx;
    int fd;
    SSL *ssl;
    int64_t until_ns; /* the request that is under way must be done by then */
};

/* ---- the URL ---- */

static int wrong_url(struct error *err, const char *url)
{
    return error_set(err, ERR_BAD_REQUEST, "'%.200s' is no URL of a server: http://HOST:PORT, https://HOST:PORT or unix:/path", url);
}

static int parse_url(struct http_client *c, const char *url, struct error *err)
{
    if (strncmp(url, "unix:/", 6) == 0) {
        if (strlen(url + 5) >= sizeof c->path)
            return wrong_url(err, url);
        strcpy(c->path, url + 5);
        strcpy(c->host, "localhost");
        snprintf(c->address, sizeof c->address, "%s", url);
        return 0;
    }
    c->tls = strncasecmp(url, "https://", 8) == 0;
    if (!c->tls && strncasecmp(url, "http://", 7) != 0)
        return wrong_url(err, url);
    const char *at = url + (c->tls ? 8 : 7);
    size_t n = *at == '[' ? strcspn(at, "]") + 1 : strcspn(at, ":/");
    const char *port = at + n;
    if (n < 1 || n >= sizeof c->host || strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._[]:") < n)
        return wrong_url(err, url);
    memcpy(c->host, at, n);
    strcpy(c->port, c->tls ? "443" : "80");
    if (*port == ':') {
        size_t digits = strspn(++port, "0123456789");
        if (digits < 1 || digits > 5)
            return wrong_url(err, url);
        memcpy(c->port, port, digits);
        c->port[digits] = 0;
        port += digits;
    }
    if (*port && strcmp(port, "/") != 0)
        return wrong_url(err, url);
    snprintf(c->address, sizeof c->address, "%s:%s", c->host, c->port);
    return 0;
}

static int set_trust(struct http_client *c, const char *ca_file, struct error *err)
{
    tls_library_init();
    c->ctx = SSL_CTX_new(TLS_client_method());
    CHECK(c->ctx && SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION));
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(c->ctx, SSL_MODE_AUTO_RETRY);
    int ok = ca_file ? SSL_CTX_load_verify_locations(c->ctx, ca_file, NULL) : SSL_CTX_set_default_verify_paths(c->ctx);
    ERR_clear_error();
    return ok == 1 ? 0 : error_set(err, ERR_BAD_REQUEST, "%.200s: no certificates can be read there", ca_file ? ca_file : "the system's store");
}

struct http_client *http_client_new(const struct http_client_options *o, struct error *err)
{
    struct http_client *c = calloc(1, sizeof *c);
    CHECK(c);
    c->fd = -1;
    c->timeout_ms = o->timeout_ms;
    if (parse_url(c, o->url, err) < 0 || (c->tls && set_trust(c, o->ca_file, err) < 0)) {
        http_client_free(c);
        return NULL;
    }
    if (o->key) {
        c->key = strdup(o->key);
        CHECK(c->key);
    }
    return c;
}

static void hang_up(struct http_client *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
    fd_close_p(&c->fd);
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    hang_up(c);
    SSL_CTX_free(c->ctx);
    free(c->key);
    free(c);
}

const char *http_client_address(const struct http_client *c) { return c->address; }

/* ---- bytes, with a time limit ---- */

/* Waits until the socket can do this. -1 with errno ETIMEDOUT. */
static int wait_for(const struct http_client *c, short events)
{
    for (;;) {
        int64_t left_ms = (c->until_ns - clock_now_ns()) / NS_PER_MS;
        struct pollfd p = {.fd = c->fd, .events = events};
        int n = left_ms <= 0 ? 0 : poll(&p, 1, (int)left_ms + 1);
        if (n > 0)
            return 0;
        if (n == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (errno != EINTR)
            return -1;
    }
}

/* After an SSL call that did not succeed: 0, try again; -1 with errno. */
static int wait_for_tls(const struct http_client *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ: return wait_for(c, POLLIN);
    case SSL_ERROR_WANT_WRITE: return wait_for(c, POLLOUT);
    case SSL_ERROR_SYSCALL: errno = errno ? errno : ECONNRESET; return -1;
    default: errno = EPROTO; return -1;
    }
}

static int write_all(struct http_client *c, const char *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        errno = 0;
        ssize_t n = c->ssl ? SSL_write(c->ssl, data + at, (int)(len - at)) : send(c->fd, data + at, len - at, MSG_NOSIGNAL);
        if (n > 0)
            at += (size_t)n;
        else if (c->ssl ? wait_for_tls(c, (int)n) < 0 : errno != EAGAIN || wait_for(c, POLLOUT) < 0)
            return -1;
    }
    return 0;
}

/* 0: the end. */
static ssize_t read_some(struct http_client *c, char *data, size_t cap)
{
    for (;;) {
        errno = 0;
        ssize_t n = c->ssl ? SSL_read(c->ssl, data, (int)cap) : recv(c->fd, data, cap, 0);
        if (n > 0 || (n == 0 && !c->ssl))
            return n;
        if (c->ssl && SSL_get_error(c->ssl, (int)n) == SSL_ERROR_ZERO_RETURN)
            return 0;
        if (c->ssl ? wait_for_tls(c, (int)n) < 0 : errno != EAGAIN || wait_for(c, POLLIN) < 0)
            return -1;
    }
}

/* ---- connecting ---- */

static int connect_to(struct http_client *c, const struct sockaddr *sa, socklen_t len)
{
    c->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return -1;
    int error = 0;
    socklen_t error_len = sizeof error;
    if (connect(c->fd, sa, len) == 0)
        return 0;
    if (errno == EINPROGRESS && wait_for(c, POLLOUT) == 0 && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &error_len) == 0 && error == 0)
        return 0;
    errno = error ? error : errno;
    int e = errno;
    fd_close_p(&c->fd);
    errno = e;
    return -1;
}

static int connect_name(struct http_client *c, struct error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list;
    char host[256];
    size_t n = strlen(c->host);
    bool brackets = c->host[0] == '[' && n > 2;
    snprintf(host, sizeof host, "%.*s", (int)(brackets ? n - 2 : n), c->host + brackets);
    int e = getaddrinfo(host, c->port, &hints, &list);
    if (e)
        return error_set(err, ERR_UNAVAILABLE, "%s: %s", host, gai_strerror(e));
    int r = -1;
    for (const struct addrinfo *a = list; a && r < 0; a = a->ai_next)
        r = connect_to(c, a->ai_addr, a->ai_addrlen);
    e = errno;
    freeaddrinfo(list);
    return r < 0 ? error_set(err, ERR_UNAVAILABLE, "%s: %s", c->address, strerror(e)) : 0;
}

static int start_tls(struct http_client *c, struct error *err)
{
    struct in6_addr ip;
    c->ssl = SSL_new(c->ctx);
    CHECK(c->ssl && SSL_set_fd(c->ssl, c->fd));
    bool is_ip = inet_pton(AF_INET, c->host, &ip) == 1;
    if (is_ip)
        CHECK(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), c->host));
    else
        CHECK(SSL_set1_host(c->ssl, c->host) && SSL_set_tlsext_host_name(c->ssl, c->host));
    for (;;) {
        ERR_clear_error();
        errno = 0;
        int r = SSL_connect(c->ssl);
        if (r == 1)
            return 0;
        if (wait_for_tls(c, r) == 0)
            continue;
        long verify = SSL_get_verify_result(c->ssl);
        const char *why = verify != X509_V_OK ? X509_verify_cert_error_string(verify)
                          : ERR_peek_error()  ? ERR_reason_error_string(ERR_peek_error())
                                              : strerror(errno);
        return error_set(err, ERR_UNAVAILABLE, "%s: TLS: %s", c->address, why ? why : "failed");
    }
}

static int open_connection(struct http_client *c, struct error *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int r = 0;
    if (c->path[0]) {
        strcpy(sa.sun_path, c->path);
        if (connect_to(c, (const struct sockaddr *)&sa, sizeof sa) < 0)
            r = error_set(err, ERR_UNAVAILABLE, "%s: %s", c->address, strerror(errno));
    } else {
        r = connect_name(c, err);
    }
    if (r == 0 && c->tls)
        r = start_tls(c, err);
    if (r < 0)
        hang_up(c);
    return r;
}

/* ---- the answer ---- */

struct answer {
    struct buf *body;
    bool done, too_large, keep;
};

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    struct answer *a = p->data;
    a->too_large = !buf_append(a->body, at, len);
    return a->too_large ? -1 : 0;
}

static int on_message_complete(llhttp_t *p)
{
    struct answer *a = p->data;
    a->done = true;
    a->keep = llhttp_should_keep_alive(p);
    return HPE_PAUSED;
}

static int read_answer(struct http_client *c, int *ret_status, struct buf *body, struct error *err)
{
    static const llhttp_settings_t settings = {.on_body = on_body, .on_message_complete = on_message_complete};
    struct answer a = {.body = body};
    llhttp_t p;
    char part[PART_BYTES];
    llhttp_init(&p, HTTP_RESPONSE, &settings);
    p.data = &a;
    while (!a.done) {
        ssize_t n = read_some(c, part, sizeof part);
        if (n < 0)
            return error_set(err, ERR_UNAVAILABLE, "%s: %s", c->address, strerror(errno));
        llhttp_errno_t e = n ? llhttp_execute(&p, part, (size_t)n) : llhttp_finish(&p);
        if (a.too_large)
            return error_set(err, ERR_UNAVAILABLE, "%s: the answer is too large", c->address);
        if (!a.done && (e != HPE_OK || n == 0))
            return error_set(err, ERR_UNAVAILABLE, "%s: %s", c->address,
                             n ? "what answers there does not speak HTTP/1.1" : "the connection ended in the middle of an answer");
    }
    *ret_status = p.status_code;
    if (!a.keep)
        hang_up(c);
    return 0;
}

static int try_request(struct http_client *c, const char *text, size_t len, int *ret_status, struct buf *body, struct error *err)
{
    body->len = 0;
    if (c->fd < 0 && open_connection(c, err) < 0)
        return -1;
    if (write_all(c, text, len) < 0) {
        error_set(err, ERR_UNAVAILABLE, "%s: %s", c->address, strerror(errno));
        hang_up(c);
        return -1;
    }
    if (read_answer(c, ret_status, body, err) < 0) {
        hang_up(c);
        return -1;
    }
    CHECK(buf_reserve(body, 1));
    body->data[body->len] = 0;
    return 0;
}

int http_client_request(struct http_client *c, const char *method, const char *path, int *ret_status, struct buf *body, struct error *err)
{
    char space[REQUEST_MAX];
    struct buf b = {.data = space, .cap = sizeof space, .max = sizeof space};
    bool ok = buf_printf(&b, "%s %s HTTP/1.1\r\nHost: %s%s%s\r\nUser-Agent: bulkhead/%s\r\nAccept: application/json\r\n", method, path, c->host,
                         c->port[0] ? ":" : "", c->port, BULKHEAD_VERSION);
    if (c->key)
        ok = ok && buf_printf(&b, "Authorization: Bearer %s\r\n", c->key);
    if (!ok || !buf_puts(&b, "\r\n"))
        return error_set(err, ERR_BAD_REQUEST, "the request is too long");
    c->until_ns = clock_now_ns() + c->timeout_ms * NS_PER_MS;
    bool kept = c->fd >= 0;
    int r = try_request(c, b.data, b.len, ret_status, body, err);
    /* A kept connection may have been closed by the other side just now. */
    if (r < 0 && kept && clock_now_ns() < c->until_ns)
        r = try_request(c, b.data, b.len, ret_status, body, err);
    return r;
}
