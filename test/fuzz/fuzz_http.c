/* The HTTP server on a connected socket: whatever a client sends, in whatever pieces, what comes back is nothing or answers, and the server
 * keeps no connection and no byte of memory of it. The first byte chooses the size of the pieces. */
#include "core/log.h"
#include "front/http_conn.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(void *ctx, struct exchange *x)
{
    size_t len;
    const char *body = exchange_body(x, &len), *path = exchange_path(x), *type = exchange_header(x, "content-type");
    (void)ctx;
    CHECK(path[0] == '/' && (body || len == 0));
    if (type && len > 0 && body[0] == '!') {
        struct error err;
        error_set(&err, ERR_BAD_REQUEST, "%s", type);
        exchange_problem(x, &err, NULL);
        return;
    }
    exchange_answer(x, 200, "text/plain", body, len);
}

static void unexpected(void *ctx, struct exchange *x, void *user)
{
    (void)ctx;
    (void)x;
    CHECK(!user);
}

static void read_answers(int fd)
{
    char text[65536];
    ssize_t n;
    bool first = true;
    while ((n = recv(fd, text, sizeof text, MSG_DONTWAIT)) > 0) {
        if (first)
            CHECK(n >= 9 && memcmp(text, "HTTP/1.1 ", 9) == 0);
        first = false;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_handler handler = {.request = answer, .gone = unexpected, .sent = unexpected};
    static struct log log = {.level = LOG_ERROR, .role = "front"};
    static struct event_base *base;
    if (size < 1 || size > 60000)
        return 0;
    if (!base)
        base = event_base_new();
    struct http_options o = {.header_timeout_ms = 10000,
                             .body_timeout_ms = 10000,
                             .idle_timeout_ms = 10000,
                             .delivery_timeout_ms = 10000,
                             .max_head_bytes = 4096,
                             .max_body_bytes = 8192,
                             .body_memory_bytes = 65536,
                             .max_connections = 4,
                             .allowed_hosts = "db.example",
                             .cors_origins = "https://app.example"};
    int pair[2];
    struct http_server *s = http_server_new(base, NULL, 0, &o, &handler, NULL, &log);
    CHECK(s && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK(http_server_adopt(s, pair[0]));
    size_t piece = data[0] ? data[0] : size, sent = 1;
    for (int turns = 0; sent < size && turns < 2000; turns++) {
        size_t n = size - sent < piece ? size - sent : piece;
        ssize_t r = send(pair[1], data + sent, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (r > 0)
            sent += (size_t)r;
        event_base_loop(base, EVLOOP_NONBLOCK);
        if (r < 0)
            break;
    }
    for (int i = 0; i < 4; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    read_answers(pair[1]);
    close(pair[1]);
    http_server_free(s);
    return 0;
}
