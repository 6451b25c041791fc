/* Answers over real sockets: problem documents, streams with every framing, slow and vanishing clients, callbacks exactly once. */
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "test_http_fixture.h"

/* A body of `total` known bytes of which `ready` are there; given in pieces of at most `piece`. */
struct source {
    uint8_t *data;
    size_t at, ready, total, piece;
    bool tells_all;
    int file; /* has the same bytes; those of [file_from, file_end) are taken from there */
    size_t file_from, file_end;
};

static size_t source_file(void *ctx, int *ret_fd, int64_t *ret_offset)
{
    const struct source *s = ctx;
    if (s->at < s->file_from || s->at >= s->file_end)
        return 0;
    *ret_fd = s->file;
    *ret_offset = (int64_t)s->at;
    size_t end = s->ready < s->file_end ? s->ready : s->file_end;
    return end - s->at;
}

static size_t source_peek(void *ctx, const uint8_t **ret_data)
{
    struct source *s = ctx;
    *ret_data = s->data + s->at;
    size_t end = s->at < s->file_from && s->ready > s->file_from ? s->file_from : s->ready;
    size_t n = end - s->at;
    return n < s->piece ? n : s->piece;
}

static void source_consume(void *ctx, size_t n)
{
    struct source *s = ctx;
    assert_true(n <= s->ready - s->at);
    memset(s->data + s->at, 0xEE, n); /* what is consumed must not be looked at again */
    s->at += n;
}

static bool source_all(void *ctx, size_t n)
{
    struct source *s = ctx;
    return s->tells_all && n == s->ready - s->at;
}

static struct source source_new(size_t total, size_t ready, size_t piece)
{
    struct source s = {.data = malloc(total + 1), .total = total, .ready = ready, .piece = piece};
    assert_non_null(s.data);
    for (size_t i = 0; i < total; i++)
        s.data[i] = (uint8_t)('a' + i * 7 % 26);
    return s;
}

static struct body_source as_source(struct source *s)
{
    return (struct body_source){
        .ctx = s, .file = s->file_end ? source_file : NULL, .peek = source_peek, .consume = source_consume, .all = source_all};
}

/* Part of it lies in a file from now on, and can't be seen in memory. */
static void put_in_file(struct source *s, size_t from, size_t end)
{
    s->file = memfd_create("body", MFD_CLOEXEC);
    assert_true(s->file >= 0 && pwrite(s->file, s->data + from, end - from, (off_t)from) == (ssize_t)(end - from));
    memset(s->data + from, 0xEE, end - from);
    s->file_from = from;
    s->file_end = end;
}

static void assert_body(const struct reply *r, size_t len)
{
    assert_int_equal(r->body_len, len);
    for (size_t i = 0; i < len; i++)
        if (r->body[i] != (char)('a' + i * 7 % 26))
            fail_msg("body differs at %zu", i);
}

static struct exchange *ask_and_hold(struct fixture *f, struct client *c, const char *request)
{
    f->on_request = hold_exchange;
    f->held = NULL;
    client_send(f, c, request);
    wait_for(f, f->held);
    return f->held;
}

#define GET "GET /s HTTP/1.1\r\n" HOST "\r\n"

static void a_stream_grows_with_its_source(void **state)
{
    struct fixture *f = *state;
    for (int mode = 0; mode < 6; mode++) { /* chunked or counted; whole or in pieces; telling its end or not */
        bool counted = mode % 2;
        struct client c = client_open(f);
        struct source s = source_new(3000000, 0, mode / 2 == 1 ? 1000 : SIZE_MAX);
        s.tells_all = mode / 2 == 2;
        struct body_source src = as_source(&s);
        struct exchange *x = ask_and_hold(f, &c, GET);
        exchange_stream(x, 200, "text/csv", counted ? (int64_t)s.total : -1, &src);
        while (f->held && s.ready < s.total) {
            s.ready = s.ready + 77777 < s.total ? s.ready + 77777 : s.total;
            exchange_resume(x);
            client_take(&c, SIZE_MAX);
            turn(f);
        }
        if (!counted) {
            assert_non_null(f->held);
            exchange_finish(x);
        }
        struct reply r = read_reply(f, &c);
        assert_true(r.complete);
        assert_int_equal(r.status, 200);
        assert_string_equal(reply_header(&r, "Content-Type"), "text/csv");
        assert_body(&r, s.total);
        wait_for(f, f->sent == mode + 1);
        assert_ptr_equal(f->user_seen, f);
        assert_int_equal(f->gone, 0);
        reply_free(&r);
        f->on_request = NULL;
        client_send(f, &c, GET); /* the connection goes on */
        r = read_reply(f, &c);
        assert_string_equal(r.body, "GET /s|");
        reply_free(&r);
        free(s.data);
        client_close(&c);
    }
}

static void a_slow_reader_gets_every_byte(void **state)
{
    struct fixture *f = *state;
    for (int mode = 0; mode < 2; mode++) {
        struct client c = client_open_buffered(f, 4096);
        struct source s = source_new(8000000, 8000000, mode ? 100003 : SIZE_MAX);
        struct body_source src = as_source(&s);
        struct exchange *x = ask_and_hold(f, &c, GET);
        exchange_stream(x, 200, "text/csv", mode ? 8000000 : -1, &src);
        wait_for(f, exchange_is_blocked(x));
        if (!mode)
            exchange_finish(x);
        assert_int_equal(f->sent, mode);
        struct reply r;
        while (c.in.len < s.total) { /* a sip at a time, each with a limit of its own: on a busy machine all of them take long */
            size_t had = c.in.len;
            wait_for(f, client_take(&c, 3333) && c.in.len > had);
        }
        wait_for(f, client_take(&c, 3333) && parse_reply(&c, false, &r));
        assert_body(&r, s.total);
        wait_for(f, f->sent == mode + 1);
        assert_int_equal(f->gone, 0);
        reply_free(&r);
        free(s.data);
        client_close(&c);
    }
}

static void a_body_may_lie_in_a_file(void **state)
{
    struct fixture *f = *state;
    static const size_t parts[][2] = {{0, 3000000}, {0, 1000000}, {1000000, 3000000}, {1000000, 2000000}, {2999999, 3000000}, {0, 1}};
    int sent = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        for (int mode = 0; mode < 4; mode++) { /* chunked or counted; a quick client or a slow one */
            struct client c = client_open_buffered(f, mode / 2 ? 4096 : 0);
            struct source s = source_new(3000000, 3000000, SIZE_MAX);
            put_in_file(&s, parts[i][0], parts[i][1]);
            s.tells_all = i % 2;
            struct body_source src = as_source(&s);
            struct exchange *x = ask_and_hold(f, &c, GET);
            exchange_stream(x, 200, "text/csv", mode % 2 ? (int64_t)s.total : -1, &src);
            if (mode % 2 == 0)
                exchange_finish(x);
            struct reply r;
            wait_for(f, client_take(&c, mode / 2 ? 33333 : SIZE_MAX) && c.in.len >= s.total && parse_reply(&c, false, &r));
            assert_true(r.complete);
            assert_body(&r, s.total);
            wait_for(f, f->sent == sent + 1);
            sent++;
            assert_int_equal(f->gone, 0);
            reply_free(&r);
            f->on_request = NULL;
            client_send(f, &c, GET); /* the connection goes on */
            r = read_reply(f, &c);
            assert_string_equal(r.body, "GET /s|");
            reply_free(&r);
            close(s.file);
            free(s.data);
            client_close(&c);
        }
}

static void a_file_that_is_shorter_than_it_was_said_to_be_cuts_the_body(void **state)
{
    struct fixture *f = *state;
    for (int mode = 0; mode < 2; mode++) {
        struct client c = client_open(f);
        struct source s = source_new(3000000, 3000000, SIZE_MAX);
        put_in_file(&s, 0, s.total);
        assert_int_equal(ftruncate(s.file, 1234567), 0);
        struct body_source src = as_source(&s);
        struct exchange *x = ask_and_hold(f, &c, GET);
        exchange_stream(x, 200, "text/csv", mode ? (int64_t)s.total : -1, &src);
        struct reply r;
        wait_for(f, client_take(&c, SIZE_MAX) && (c.eof || c.reset));
        assert_int_equal(f->gone, mode + 1);
        assert_int_equal(f->sent, 0);
        assert_true(parse_reply(&c, false, &r) && !r.complete);
        reply_free(&r);
        close(s.file);
        free(s.data);
        client_close(&c);
    }
}

static void small_streams_and_empty_ones_end_well(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    int sent = 0;
    for (int mode = 0; mode < 4; mode++) {
        struct source s = source_new(10, mode % 2 ? 10 : 0, SIZE_MAX);
        s.tells_all = true;
        struct body_source src = as_source(&s);
        struct exchange *x = ask_and_hold(f, &c, GET);
        exchange_stream(x, 200, NULL, mode < 2 ? -1 : (int64_t)s.ready, &src);
        assert_int_equal(f->sent, sent); /* never from inside exchange_stream */
        if (mode < 2)
            exchange_finish(x);
        struct reply r = read_reply(f, &c);
        assert_body(&r, s.ready);
        sent++;
        wait_for(f, f->sent == sent);
        reply_free(&r);
        free(s.data);
    }
    struct source s = source_new(10, 10, SIZE_MAX);
    struct body_source src = as_source(&s);
    struct exchange *x = ask_and_hold(f, &c, "HEAD / HTTP/1.1\r\n" HOST "\r\n");
    exchange_stream(x, 200, NULL, 10, &src);
    struct reply r = read_reply_to(f, &c, true);
    assert_string_equal(reply_header(&r, "Content-Length"), "10");
    assert_int_equal(c.in.len, 0);
    wait_for(f, f->sent == sent + 1);
    reply_free(&r);
    free(s.data);
    client_close(&c);
}

static void http10_streams_until_close(void **state)
{
    struct fixture *f = *state;
    for (int abort = 0; abort < 2; abort++) {
        struct client c = client_open(f);
        struct source s = source_new(100000, 100000, 999);
        struct body_source src = as_source(&s);
        struct exchange *x = ask_and_hold(f, &c, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_true(exchange_is_http10(x));
        exchange_stream(x, 200, NULL, -1, &src);
        if (abort) {
            exchange_abort(x);
            wait_for(f, client_take(&c, SIZE_MAX) && (c.eof || c.reset));
            assert_true(c.reset); /* an orderly end would look like a whole answer */
        } else {
            exchange_finish(x);
            struct reply r = read_reply(f, &c);
            assert_null(reply_header(&r, "Transfer-Encoding"));
            assert_string_equal(reply_header(&r, "Connection"), "close");
            assert_true(r.complete);
            assert_body(&r, s.total);
            reply_free(&r);
        }
        assert_int_equal(f->sent, 1);
        free(s.data);
        client_close(&c);
    }
    assert_int_equal(f->gone, 0);
}

static void an_abort_cuts_the_body(void **state)
{
    struct fixture *f = *state;
    for (int counted = 0; counted < 2; counted++) {
        struct client c = client_open(f);
        struct source s = source_new(1000, 500, SIZE_MAX);
        struct body_source src = as_source(&s);
        struct exchange *x = ask_and_hold(f, &c, GET);
        exchange_stream(x, 200, NULL, counted ? 1000 : -1, &src);
        exchange_abort(x);
        struct reply r = read_reply(f, &c);
        assert_false(r.complete);
        assert_body(&r, 500);
        reply_free(&r);
        free(s.data);
        client_close(&c);
    }
    assert_int_equal(f->gone + f->sent, 0);
    assert_int_equal(http_server_connections(f->server), 0);
}

static void a_source_that_ends_short_cuts_the_body(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    struct source s = source_new(1000, 500, SIZE_MAX);
    struct body_source src = as_source(&s);
    struct exchange *x = ask_and_hold(f, &c, GET);
    exchange_stream(x, 200, NULL, 1000, &src);
    exchange_finish(x);
    assert_int_equal(f->gone, 1);
    assert_int_equal(f->sent, 0);
    wait_for(f, client_take(&c, SIZE_MAX) && (c.eof || c.reset));
    free(s.data);
    client_close(&c);
}

static void a_client_that_goes_is_reported_once(void **state)
{
    struct fixture *f = *state;
    for (int mode = 0; mode < 8; mode++) { /* waiting or streaming; EOF or reset; with pipelined bytes waiting or without */
        bool streaming = mode & 1, reset = mode & 2, flooded = mode & 4;
        struct client c = client_open_buffered(f, 4096);
        struct source s = source_new(5000000, 5000000, SIZE_MAX);
        struct body_source src = as_source(&s);
        struct exchange *x = ask_and_hold(f, &c, GET);
        if (flooded) {
            for (int i = 0; i < 1000; i++)
                send(c.fd, GET, sizeof GET - 1, MSG_NOSIGNAL);
            wait_for(f, f->server->paused == 1);
        }
        if (streaming) {
            exchange_stream(x, 200, NULL, -1, &src);
            wait_for(f, exchange_is_blocked(x));
        }
        if (reset)
            client_cut(&c);
        else
            client_close(&c);
        wait_for(f, f->gone == mode + 1);
        assert_ptr_equal(f->user_seen, f);
        wait_for(f, http_server_connections(f->server) == 0);
        assert_int_equal(http_server_busy(f->server), 0);
        assert_int_equal(f->server->paused, 0);
        assert_int_equal(f->server->body_bytes, 0);
        free(s.data);
    }
    assert_int_equal(f->gone, 8);
    assert_int_equal(f->sent, 0);
}

static void without_a_user_the_answer_goes_into_the_void(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    struct exchange *x = ask_and_hold(f, &c, GET);
    exchange_set_user(x, NULL);
    client_close(&c);
    wait_for(f, f->server->paused == 1); /* its going has been seen */
    exchange_answer(x, 200, NULL, "x", 1);
    wait_for(f, http_server_connections(f->server) == 0);
    assert_int_equal(f->gone, 0);
}

static void a_client_that_takes_nothing_is_cut(void **state)
{
    struct fixture *f = *state;
    f->opt.delivery_timeout_ms = 80;
    set_options(f);
    struct client c = client_open_buffered(f, 4096);
    struct source s = source_new(8000000, 8000000, SIZE_MAX);
    struct body_source src = as_source(&s);
    struct exchange *x = ask_and_hold(f, &c, GET);
    exchange_stream(x, 200, NULL, -1, &src);
    wait_for(f, f->gone == 1);
    wait_for(f, client_take(&c, SIZE_MAX) && (c.eof || c.reset));
    assert_true(c.reset);
    client_close(&c);
    c = client_open_buffered(f, 4096); /* the same for an answer whose exchange is dead already */
    x = ask_and_hold(f, &c, GET);
    exchange_answer(x, 200, NULL, s.data, s.total);
    assert_int_equal(http_server_busy(f->server), 1);
    wait_for(f, http_server_connections(f->server) == 0);
    assert_int_equal(f->gone, 1);
    client_close(&c);
    free(s.data);
}

static void a_client_that_leaves_with_its_whole_answer_had_it(void **state)
{
    struct fixture *f = *state;
    for (int counted = 0; counted < 2; counted++) {
        struct client c = client_open(f);
        struct source s = source_new(100, 100, SIZE_MAX);
        struct body_source src = as_source(&s);
        struct exchange *x = ask_and_hold(f, &c, GET);
        exchange_stream(x, 200, NULL, counted ? 100 : -1, &src);
        if (!counted)
            exchange_finish(x);
        client_close(&c); /* before the server has turned once */
        wait_for(f, http_server_connections(f->server) == 0);
        assert_int_equal(f->sent, counted + 1);
        assert_int_equal(f->gone, 0);
        free(s.data);
    }
}

/* A connection whose kernel buffer is small, so that the server notices each bite. */
static int adopt_small(struct fixture *f)
{
    int pair[2], bytes = 4608;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
    assert_non_null(http_server_adopt(f->server, pair[0]));
    return pair[1];
}

static void a_client_that_drips_is_cut(void **state)
{
    struct fixture *f = *state;
    f->opt.delivery_timeout_ms = 150;
    set_options(f);
    struct source s = source_new(8000000, 8000000, SIZE_MAX);
    struct body_source src = as_source(&s);
    for (int counted = 0; counted < 2; counted++) { /* while the source goes on, and when only the rest is left */
        int fd = adopt_small(f);
        char bite[256];
        f->on_request = hold_exchange;
        assert_true(send(fd, GET, strlen(GET), 0) > 0);
        wait_for(f, f->held);
        s.at = 0;
        exchange_stream(f->held, 200, NULL, counted ? 8000000 : -1, &src);
        /* 256 bytes in two milliseconds or more: never 256 KB in 150. */
        wait_for(f, recv(fd, bite, sizeof bite, 0) >= -1 && f->gone == counted + 1);
        close(fd);
    }
    assert_int_equal(f->sent, 0);
    free(s.data);
}

static void a_source_may_take_longer_than_the_delivery_timeout(void **state)
{
    struct fixture *f = *state;
    f->opt.delivery_timeout_ms = 40;
    set_options(f);
    struct client c = client_open(f);
    struct source s = source_new(10, 5, SIZE_MAX);
    struct body_source src = as_source(&s);
    struct exchange *x = ask_and_hold(f, &c, GET);
    exchange_stream(x, 200, NULL, -1, &src);
    int64_t start = clock_now_ns();
    wait_for(f, clock_now_ns() - start > 200 * NS_PER_MS);
    assert_int_equal(f->gone, 0);
    s.ready = 10;
    exchange_finish(x);
    struct reply r = read_reply(f, &c);
    assert_body(&r, 10);
    reply_free(&r);
    free(s.data);
    client_close(&c);
}

static void a_large_answer_to_a_slow_client_is_whole(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open_buffered(f, 4096);
    struct source s = source_new(8000000, 0, SIZE_MAX);
    struct exchange *x = ask_and_hold(f, &c, GET GET);
    exchange_answer(x, 200, NULL, s.data, s.total);
    memset(s.data, 0, s.total); /* it was copied */
    f->on_request = NULL;
    f->held = NULL;
    struct reply r = read_reply(f, &c);
    assert_body(&r, s.total);
    reply_free(&r);
    r = read_reply(f, &c); /* then the pipelined one */
    assert_string_equal(r.body, "GET /s|");
    reply_free(&r);
    free(s.data);
    client_close(&c);
}

static void one_fast_reader_does_not_starve_others(void **state)
{
    struct fixture *f = *state;
    struct client fast = client_open(f), other = client_open(f);
    struct source s = source_new(64 << 20, 64 << 20, SIZE_MAX);
    struct body_source src = as_source(&s);
    struct exchange *x = ask_and_hold(f, &fast, GET);
    size_t before = s.at;
    exchange_stream(x, 200, NULL, (int64_t)s.total, &src);
    assert_in_range(s.at - before, 1, HTTP_STREAM_TURN_BYTES);
    f->on_request = NULL;
    client_send(f, &other, GET);
    struct reply r;
    wait_for(f, client_take(&fast, SIZE_MAX) && client_take(&other, SIZE_MAX) && (fast.in.len = 0, parse_reply(&other, false, &r)));
    assert_true(s.at < s.total);
    reply_free(&r);
    client_close(&fast);
    client_close(&other);
    wait_for(f, f->gone == 1);
    free(s.data);
}

static void assert_congestion(const struct exchange *x, const char *name)
{
    char now[16] = "";
    socklen_t len = sizeof now - 1;
    assert_int_equal(getsockopt(x->conn->fd, IPPROTO_TCP, TCP_CONGESTION, now, &len), 0);
    assert_string_equal(now, name);
}

static void long_answers_to_this_machine_are_not_paced(void **state)
{
    struct fixture *f = *state;
    const char *other = "bbr"; /* accepted sockets begin with the listener's */
    if (setsockopt(f->listen_fd, IPPROTO_TCP, TCP_CONGESTION, other, 3) < 0 &&
        setsockopt(f->listen_fd, IPPROTO_TCP, TCP_CONGESTION, other = "cubic", 5) < 0)
        skip(); /* this kernel lets us have none but reno */
    struct client c = client_open(f);
    for (int round = 0; round < 3; round++) {
        size_t length = round ? 700000 : 1000;
        struct source s = source_new(length, length, SIZE_MAX);
        struct body_source src = as_source(&s);
        struct exchange *x = ask_and_hold(f, &c, GET);
        assert_congestion(x, round < 2 ? other : "reno");
        exchange_stream(x, 200, "text/csv", (int64_t)length, &src);
        assert_congestion(x, round == 0 ? other : "reno");
        struct reply r = read_reply(f, &c);
        assert_body(&r, length);
        wait_for(f, f->sent == round + 1);
        reply_free(&r);
        free(s.data);
    }
    client_close(&c);
}

static const struct error *problem_to_send;

static void send_problem(struct fixture *f, struct exchange *x)
{
    (void)f;
    exchange_problem(x, problem_to_send, exchange_param(x, "id"));
}

static void expect_document(struct fixture *f, const struct error *err, const char *status_line, const char *json)
{
    problem_to_send = err;
    f->on_request = send_problem;
    struct client c = client_open(f);
    client_send(f, &c, "GET /?id=q1 HTTP/1.1\r\n" HOST "\r\n");
    struct reply r = read_reply(f, &c);
    assert_memory_equal(r.head, status_line, strlen(status_line));
    assert_string_equal(reply_header(&r, "Content-Type"), "application/problem+json");
    assert_string_equal(r.body, json);
    if (err->retry_after_s)
        assert_int_equal(atoi(reply_header(&r, "Retry-After")), err->retry_after_s);
    else
        assert_null(reply_header(&r, "Retry-After"));
    assert_null(reply_header(&r, "Connection"));
    reply_free(&r);
    client_close(&c);
}

static void problems_have_the_contracts_fields(void **state)
{
    struct fixture *f = *state;
    struct error e;
#define HEADS(status, title) "{\"status\":" status ",\"title\":\"" title "\",\"detail\":\"why \\\"x\\\"\\n\",\"code\":"
#define SET(code) error_set(&e, code, "why \"x\"\n")
    SET(ERR_NOT_FOUND);
    expect_document(f, &e, "HTTP/1.1 404 Not Found\r\n", HEADS("404", "Not found") "\"not_found\",\"query_id\":\"q1\"}\n");
    SET(ERR_FORBIDDEN);
    strcpy(e.what, "COPY");
    expect_document(f, &e, "HTTP/1.1 403 Forbidden\r\n", HEADS("403", "Forbidden") "\"forbidden\",\"query_id\":\"q1\",\"what\":\"COPY\"}\n");
    SET(ERR_SQL);
    strcpy(e.error_type, "Parser");
    e.position = 8;
    expect_document(f, &e, "HTTP/1.1 400 Bad Request\r\n",
                    HEADS("400", "The statement failed") "\"sql_error\",\"query_id\":\"q1\",\"error_type\":\"Parser\",\"position\":8}\n");
    SET(ERR_WORKER_CRASHED);
    e.signal = 11;
    expect_document(
        f, &e, "HTTP/1.1 502 Bad Gateway\r\n",
        HEADS("502", "The worker process died while running this query") "\"worker_crashed\",\"query_id\":\"q1\",\"signal\":\"SIGSEGV\"}\n");
    e.signal = 0;
    expect_document(f, &e, "HTTP/1.1 502 Bad Gateway\r\n",
                    HEADS("502", "The worker process died while running this query") "\"worker_crashed\",\"query_id\":\"q1\"}\n");
    SET(ERR_TIMEOUT);
    e.limit_ms = 5000;
    e.stopped_by = STOP_TERM;
    expect_document(f, &e, "HTTP/1.1 504 Gateway Timeout\r\n",
                    HEADS("504", "The query ran out of time") "\"timeout\",\"query_id\":\"q1\",\"limit_ms\":5000,\"stopped_by\":\"term\"}\n");
    SET(ERR_OUT_OF_MEMORY);
    e.limit_bytes = 1000000;
    expect_document(
        f, &e, "HTTP/1.1 507 Insufficient Storage\r\n",
        HEADS("507", "The query ran out of memory") "\"out_of_memory\",\"query_id\":\"q1\",\"limit_bytes\":1000000,\"stopped_by\":\"engine\"}\n");
    SET(ERR_RESULT_TOO_LARGE);
    e.limit_bytes = 7;
    expect_document(f, &e, "HTTP/1.1 413 ", HEADS("413", "The result is too large") "\"result_too_large\",\"query_id\":\"q1\",\"limit_bytes\":7}\n");
    SET(ERR_OVERLOADED);
    e.retry_after_s = 3;
    expect_document(f, &e, "HTTP/1.1 503 Service Unavailable\r\n",
                    HEADS("503", "Overloaded") "\"overloaded\",\"query_id\":\"q1\",\"retry_after_s\":3}\n");
    for (int code = ERR_BAD_REQUEST; code < ERR_COUNT; code++) { /* every status has its own phrase */
        char line[40];
        error_set(&e, code, "x");
        snprintf(line, sizeof line, "HTTP/1.1 %d Status\r\n", error_http_status(code));
        problem_to_send = &e;
        struct reply r = ask(f, GET, strlen(GET), error_http_status(code), false);
        assert_int_not_equal(strncmp(r.head, line, strlen(line)), 0);
        reply_free(&r);
    }
    memset(e.detail, '\x01', sizeof e.detail - 1); /* the longest text there can be */
    e.detail[sizeof e.detail - 1] = 0;
    struct reply r = ask(f, GET, strlen(GET), error_http_status(e.code), false);
    assert_true(r.body_len > 6 * (sizeof e.detail - 1));
    reply_free(&r);
}

static void freeing_the_server_tells_living_exchanges(void **state)
{
    struct fixture *f = *state;
    struct client a = client_open(f), b = client_open(f), c = client_open(f);
    struct source s = source_new(10, 5, SIZE_MAX);
    struct body_source src = as_source(&s);
    exchange_stream(ask_and_hold(f, &a, GET), 200, NULL, -1, &src);
    ask_and_hold(f, &b, GET);
    client_send(f, &c, "GET / HT");
    wait_for(f, http_server_connections(f->server) == 3);
    http_server_free(f->server);
    f->server = NULL;
    assert_int_equal(f->gone, 2);
    client_close(&a);
    client_close(&b);
    client_close(&c);
    free(s.data);
}

static void running_out_of_fds_only_delays_a_client(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    int spare[256], n = 0;
    struct rlimit usual, low;
    getrlimit(RLIMIT_NOFILE, &usual);
    low = (struct rlimit){.rlim_cur = 200, .rlim_max = usual.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (n < 256 && (spare[n] = dup(f->listen_fd)) >= 0)
        n++;
    assert_in_range(n, 1, 255);
    f->log.level = LOG_ERROR;
    client_send(f, &c, GET);
    wait_for(f, !f->server->accepting);
    assert_int_equal(http_server_connections(f->server), 0);
    while (n > 0)
        close(spare[--n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    struct reply r = read_reply(f, &c);
    assert_int_equal(r.status, 200);
    reply_free(&r);
    client_close(&c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        TEST(a_stream_grows_with_its_source),
        TEST(a_slow_reader_gets_every_byte),
        TEST(small_streams_and_empty_ones_end_well),
        TEST(a_body_may_lie_in_a_file),
        TEST(a_file_that_is_shorter_than_it_was_said_to_be_cuts_the_body),
        TEST(http10_streams_until_close),
        TEST(an_abort_cuts_the_body),
        TEST(a_source_that_ends_short_cuts_the_body),
        TEST(a_client_that_goes_is_reported_once),
        TEST(without_a_user_the_answer_goes_into_the_void),
        TEST(a_client_that_leaves_with_its_whole_answer_had_it),
        TEST(a_client_that_takes_nothing_is_cut),
        TEST(a_client_that_drips_is_cut),
        TEST(a_source_may_take_longer_than_the_delivery_timeout),
        TEST(a_large_answer_to_a_slow_client_is_whole),
        TEST(one_fast_reader_does_not_starve_others),
        TEST(long_answers_to_this_machine_are_not_paced),
        TEST(problems_have_the_contracts_fields),
        TEST(freeing_the_server_tells_living_exchanges),
        TEST(running_out_of_fds_only_delays_a_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
