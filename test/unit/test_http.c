/* HTTP requests over real sockets: what is accepted, what is refused with which status, keep-alive, pipelining, timeouts, limits. */
#include "test_http_fixture.h"

static void expect_body(struct fixture *f, const char *request, const char *body)
{
    struct reply r = ask(f, request, strlen(request), 200, false);
    assert_string_equal(r.body, body);
    reply_free(&r);
}

static void a_connection_serves_many_requests(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    for (int i = 0; i < 50; i++) {
        char request[200], want[100];
        snprintf(request, sizeof request, "POST /n/%d HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n%05d", i, i);
        snprintf(want, sizeof want, "POST /n/%d|%05d", i, i);
        client_send(f, &c, request);
        struct reply r = read_reply(f, &c);
        assert_int_equal(r.status, 200);
        assert_string_equal(r.body, want);
        assert_null(reply_header(&r, "Connection"));
        assert_int_equal(strlen(reply_header(&r, "Date")), 29);
        reply_free(&r);
    }
    assert_int_equal(http_server_connections(f->server), 1);
    client_close(&c);
    wait_for(f, http_server_connections(f->server) == 0);
}

static void a_thousand_pipelined_requests_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    struct buf b = BUF_INIT(1 << 20);
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "GET /p/%d HTTP/1.1\r\n" HOST "\r\n", i);
    client_send_n(f, &c, b.data, b.len);
    for (int i = 0; i < 1000; i++) {
        char want[40];
        snprintf(want, sizeof want, "GET /p/%d|", i);
        struct reply r = read_reply(f, &c);
        assert_string_equal(r.body, want);
        reply_free(&r);
    }
    buf_free(&b);
    client_close(&c);
}

static void pipelined_requests_wait_for_a_slow_one(void **state)
{
    struct fixture *f = *state;
    f->on_request = hold_exchange;
    struct client c = client_open(f);
    for (int i = 0; i < 300; i++)
        client_send(f, &c, "GET /slow HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < 300; i++) {
        wait_for(f, f->held);
        assert_int_equal(f->requests, i + 1); /* one at a time */
        assert_int_equal(http_server_busy(f->server), 1);
        struct exchange *x = f->held;
        f->held = NULL;
        exchange_answer(x, 200, "text/plain", "ok", 2);
        struct reply r = read_reply(f, &c);
        assert_int_equal(r.status, 200);
        reply_free(&r);
    }
    assert_int_equal(f->gone, 0);
    assert_int_equal(http_server_busy(f->server), 0);
    client_close(&c);
}

static void requests_may_arrive_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    const char *request = "\r\nPOST /a%20b?x=%41+b&y&z=1&w=2 HTTP/1.1\r\n" HOST "Empty:\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n"
                          "GET /next HTTP/1.1\r\n" HOST "\r\n";
    for (const char *p = request; *p; p++) {
        client_send_n(f, &c, p, 1);
        turn(f);
    }
    struct reply r = read_reply(f, &c);
    assert_string_equal(r.body, "POST /a b|abcdefg");
    reply_free(&r);
    r = read_reply(f, &c);
    assert_string_equal(r.body, "GET /next|");
    reply_free(&r);
    client_close(&c);
}

static void say_whether_fresh(struct fixture *f, struct exchange *x)
{
    (void)f;
    const char *text = exchange_head_is_fresh(x) ? "fresh" : "old";
    exchange_answer(x, 200, "text/plain", text, strlen(text));
}

static void a_head_is_fresh_only_when_its_body_came_with_it(void **state)
{
    struct fixture *f = *state;
    static const char head[] = "POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\n", get[] = "GET / HTTP/1.1\r\n" HOST "\r\n";
    static const char *const want[] = {"fresh", "old", "fresh", "old", "old", "fresh"};
    char all[1000];
    struct client c = client_open(f);
    f->on_request = say_whether_fresh;
    /* At once: with a body, none (so no head was asked about), a body; then one whose body comes later in two parts; then the first again. */
    snprintf(all, sizeof all, "%sbody%s%sbody%s%sbo", head, get, head, get, head);
    client_send(f, &c, all);
    for (int i = 0; i < 4; i++) {
        struct reply r = read_reply(f, &c);
        assert_string_equal(r.body, want[i]);
        reply_free(&r);
    }
    assert_int_equal(f->heads, 3);
    for (int i = 4; i < 6; i++) {
        client_send(f, &c, i == 4 ? "dy" : all);
        struct reply r = read_reply(f, &c);
        assert_string_equal(r.body, want[i]);
        reply_free(&r);
    }
    client_close(&c);
}

static int count_param(void *ctx, const char *name, const char *value)
{
    (void)value;
    ++*(int *)ctx;
    return strcmp(name, "stop") == 0 ? 7 : 0;
}

static void show_parts(struct fixture *f, struct exchange *x)
{
    (void)f;
    int n = 0, r = exchange_each_param(x, count_param, &n);
    struct buf b = BUF_INIT(65536);
    static const char *const names[] = {"a", "b", "c", "d", "none"};
    buf_printf(&b, "n=%d r=%d", n, r);
    for (int i = 0; i < 5; i++) {
        const char *v = exchange_param(x, names[i]);
        buf_printf(&b, " %s=%s", names[i], v ? v : "NULL");
    }
    const char *one = exchange_header(x, "x-one"), *many = exchange_header(x, "x-many");
    buf_printf(&b, " one=%s many=%s again=%d", one ? one : "NULL", many ? many : "NULL", many == exchange_header(x, "X-MANY"));
    exchange_add_header(x, "X-Extra", "yes");
    exchange_answer(x, 200, "text/plain", b.data, b.len);
    buf_free(&b);
}

static void parameters_and_headers_are_decoded(void **state)
{
    struct fixture *f = *state;
    f->on_request = show_parts;
    expect_body(f, "GET /?a=1%2B1+x&b&c=&%64=%C3%BC&&e=2 HTTP/1.1\r\n" HOST "x-ONE:  v  \r\nX-Many: 1\r\nx-many: 2\r\nX-MANY:\r\n\r\n",
                "n=5 r=0 a=1+1 x b= c= d=\xC3\xBC none=NULL one=v many=1, 2,  again=1");
    expect_body(f, "GET /p?x&stop=1&never HTTP/1.1\r\n" HOST "\r\n", "n=2 r=7 a=NULL b=NULL c=NULL d=NULL none=NULL one=NULL many=NULL again=1");
    struct client c = client_open(f);
    client_send(f, &c, "GET / HTTP/1.1\r\n" HOST "\r\n");
    struct reply r = read_reply(f, &c);
    assert_string_equal(reply_header(&r, "X-Extra"), "yes");
    reply_free(&r);
    client_close(&c);
}

static void every_form_of_target_and_method_works(void **state)
{
    struct fixture *f = *state;
    expect_body(f, "GET /a/../b%2Fc HTTP/1.1\r\n" HOST "\r\n", "GET /a/../b/c|");
    expect_body(f, "GET http://localhost:80/x?y=1 HTTP/1.1\r\n" HOST "\r\n", "GET /x|");
    expect_body(f, "GET HTTP://db.example HTTP/1.1\r\n" HOST "\r\n", "GET /|");
    expect_body(f, "GET http://db.example?q=1 HTTP/1.1\r\n" HOST "\r\n", "GET /|");
    expect_body(f, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx", "PUT /|x");
    expect_body(f, "DELETE /q HTTP/1.1\r\n" HOST "\r\n", "DELETE /q|");
    expect_body(f, "OPTIONS /q HTTP/1.1\r\n" HOST "\r\n", "OPTIONS /q|");
    expect_body(f, "BREW /pot HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", "OTHER /pot|abc");
    expect_body(f, "PATCH /q HTTP/1.1\r\n" HOST "\r\n", "OTHER /q|");
    expect_body(f, "get /q HTTP/1.1\r\n" HOST "\r\n", "OTHER /q|");
    expect_status(f, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 204, false);
    struct reply r = ask(f, "HEAD /h HTTP/1.1\r\n" HOST "\r\n", strlen("HEAD /h HTTP/1.1\r\n" HOST "\r\n"), 200, false);
    assert_string_equal(reply_header(&r, "Content-Length"), "8");
    reply_free(&r);
    expect_body(f, "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", "GET /|");
}

static void broken_requests_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const broken[] = {
        "GARBAGE\r\n\r\n",
        "GET /?a=1&b=2&a=1 HTTP/1.1\r\n" HOST "\r\n",
        "GET /?a=1&%61 HTTP/1.1\r\n" HOST "\r\n",
        "\x16\x03\x01\x02",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/2.0\r\n" HOST "\r\n",
        "GET / HTTP/0.9\r\n" HOST "\r\n",
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\n" HOST "\r\n",
        "GET / HTTP/1.1\n" HOST "\r\n",
        "GET x HTTP/1.1\r\n" HOST "\r\n",
        "GET * HTTP/1.1\r\n" HOST "\r\n",
        "GET ftp://localhost/ HTTP/1.1\r\n" HOST "\r\n",
        "GET http:///x HTTP/1.1\r\n" HOST "\r\n",
        "GET http://me@localhost/x HTTP/1.1\r\n" HOST "\r\n",
        "GET /%zz HTTP/1.1\r\n" HOST "\r\n",
        "GET /%4 HTTP/1.1\r\n" HOST "\r\n",
        "GET /% HTTP/1.1\r\n" HOST "\r\n",
        "GET /%00 HTTP/1.1\r\n" HOST "\r\n",
        "GET /?a=%0 HTTP/1.1\r\n" HOST "\r\n",
        "GET /?a=%00 HTTP/1.1\r\n" HOST "\r\n",
        "GET /\x01 HTTP/1.1\r\n" HOST "\r\n",
        "GET /\x7f HTTP/1.1\r\n" HOST "\r\n",
        "GET /#f HTTP/1.1\r\n" HOST "\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST HOST "\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST " folded: x\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "Bad Name: x\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "A: \x01\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        "GET / RTSP/1.0\r\n" HOST "\r\n",
        "SOURCE / ICE/1.0\r\n" HOST "\r\n",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        expect_problem(f, broken[i], 400, "bad_request");
    const char nul[] = "GET /\0x HTTP/1.1\r\n" HOST "\r\n";
    struct reply r = ask(f, nul, sizeof nul - 1, 400, true);
    reply_free(&r);
    assert_int_equal(f->requests, 0);
}

static void limits_have_their_statuses(void **state)
{
    struct fixture *f = *state;
    struct buf b = BUF_INIT(1 << 20);
    buf_puts(&b, "GET /");
    while (b.len < 5000)
        buf_puts(&b, "x");
    buf_append(&b, "", 1);
    expect_problem(f, b.data, 431, "headers_too_large");
    b.len = 0;
    buf_puts(&b, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 200; i++)
        buf_printf(&b, "h%d: 1\r\n", i);
    buf_append(&b, "", 1);
    expect_problem(f, b.data, 431, "headers_too_large");
    b.len = 0;
    buf_puts(&b, "GET /?");
    for (int i = 0; i < 40; i++)
        buf_printf(&b, "p%d&", i);
    buf_puts(&b, " HTTP/1.1\r\n" HOST "\r\n");
    buf_append(&b, "", 1);
    expect_problem(f, b.data, 400, "bad_request");
    b.len = 0; /* a head of exactly the limit passes */
    buf_puts(&b, "GET / HTTP/1.1\r\n" HOST "a: ");
    while (b.len < f->opt.max_head_bytes - 4)
        buf_puts(&b, "x");
    buf_puts(&b, "\r\n\r\n");
    buf_append(&b, "", 1);
    expect_status(f, b.data, 200, false);
    b.len = 0; /* the body itself is never sent */
    expect_problem(f, "POST / HTTP/1.1\r\n" HOST "Content-Length: 100001\r\n\r\n", 413, "payload_too_large");
    expect_problem(f, "POST / HTTP/1.1\r\n" HOST "Content-Length: 100001\r\nExpect: 100-continue\r\n\r\n", 413, "payload_too_large");
    buf_puts(&b, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 11; i++) {
        buf_puts(&b, "2710\r\n");
        for (int k = 0; k < 1000; k++)
            buf_puts(&b, "0123456789");
        buf_puts(&b, "\r\n");
    }
    buf_append(&b, "", 1);
    expect_problem(f, b.data, 413, "payload_too_large");
    /* nor are the bytes of a chunk that is too large, or too large on top of what came before it */
    expect_problem(f, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n186a1\r\n", 413, "payload_too_large");
    expect_problem(f, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 413, "payload_too_large");
    expect_problem(f, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1869e\r\n", 413, "payload_too_large");
    b.len = 0; /* chunk extensions without end */
    buf_puts(&b, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1;a=");
    for (int k = 0; k < 1000; k++)
        buf_puts(&b, "0123456789");
    buf_append(&b, "", 1);
    expect_problem(f, b.data, 400, "bad_request");
    buf_free(&b);
}

static void a_large_upload_can_read_its_refusal(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    client_send(f, &c, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5000000\r\n\r\n");
    char *block = calloc(1, 100000);
    for (int i = 0; i < 50; i++)
        assert_true(client_send_n(f, &c, block, 100000)); /* no reset under way */
    free(block);
    struct reply r = read_reply(f, &c);
    assert_int_equal(r.status, 413);
    assert_non_null(strstr(r.body, "\"limit_bytes\":100000"));
    reply_free(&r);
    wait_closed(f, &c);
    client_close(&c);
}

static void bodies_share_their_memory(void **state)
{
    struct fixture *f = *state;
    f->opt.body_memory_bytes = 100000;
    set_options(f);
    struct client first = client_open(f), second = client_open(f);
    char *block = malloc(60000);
    memset(block, 'x', 60000);
    client_send(f, &first, "POST /1 HTTP/1.1\r\n" HOST "Content-Length: 60001\r\n\r\n");
    client_send_n(f, &first, block, 60000);
    wait_for(f, f->server->body_bytes >= 60000);
    client_send(f, &second, "POST /2 HTTP/1.1\r\n" HOST "Content-Length: 60000\r\n\r\n");
    client_send_n(f, &second, block, 60000);
    struct reply r = read_reply(f, &second);
    assert_int_equal(r.status, 503);
    assert_string_equal(reply_header(&r, "Retry-After"), "1");
    assert_non_null(strstr(r.body, "\"retry_after_s\":1"));
    reply_free(&r);
    client_send(f, &first, "y");
    r = read_reply(f, &first);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.body_len, 8 + 60001);
    reply_free(&r);
    assert_int_equal(f->server->body_bytes, 0);
    client_close(&first);
    client_close(&second);
    free(block);
}

static void expect_continue_is_answered_after_the_head(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    client_send(f, &c, "POST /e HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n");
    struct reply r = read_reply(f, &c);
    assert_int_equal(r.status, 100);
    reply_free(&r);
    assert_int_equal(f->requests, 0);
    client_send(f, &c, "abc");
    r = read_reply(f, &c);
    assert_string_equal(r.body, "POST /e|abc");
    reply_free(&r);
    client_send(f, &c, "POST /e HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc");
    r = read_reply(f, &c); /* the body was there already: no 100 */
    assert_int_equal(r.status, 200);
    reply_free(&r);
    client_close(&c);
    expect_problem(f, "POST /e HTTP/1.1\r\nHost: evil\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", 403, "forbidden");
}

static void http10_is_served(void **state)
{
    struct fixture *f = *state;
    expect_status(f, "GET / HTTP/1.0\r\n\r\n", 200, true);
    expect_status(f, "GET / HTTP/1.0\r\n" HOST "\r\n", 200, true);
    expect_status(f, "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", 200, true);
    struct client c = client_open(f);
    for (int i = 0; i < 3; i++) {
        client_send(f, &c, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        struct reply r = read_reply(f, &c);
        assert_string_equal(reply_header(&r, "Connection"), "keep-alive");
        reply_free(&r);
    }
    client_close(&c);
}

static void slow_heads_get_408(void **state)
{
    struct fixture *f = *state;
    f->opt.header_timeout_ms = 80;
    set_options(f);
    expect_problem(f, "GET / HT", 408, "request_timeout");
    struct client c = client_open(f); /* a byte now and then does not help */
    int64_t next = 0;
    const char *drip = "GET /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    struct reply r;
    wait_for(f, (clock_now_ns() >= next && *drip ? (send(c.fd, drip++, 1, MSG_NOSIGNAL), next = clock_now_ns() + 5 * NS_PER_MS) : 0,
                 client_take(&c, SIZE_MAX), parse_reply(&c, false, &r)));
    assert_int_equal(r.status, 408);
    assert_true(*drip); /* cut in the middle of the drip */
    reply_free(&r);
    client_close(&c);
    c = client_open(f); /* and neither does sending nothing at all */
    r = read_reply(f, &c);
    assert_int_equal(r.status, 408);
    reply_free(&r);
    client_close(&c);
    wait_for(f, http_server_connections(f->server) == 0);
}

static void slow_bodies_get_408(void **state)
{
    struct fixture *f = *state;
    f->opt.body_timeout_ms = 80;
    set_options(f);
    expect_problem(f, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na", 408, "request_timeout");
    struct client c = client_open(f);
    client_send(f, &c, "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999\r\n\r\n");
    int64_t next = 0;
    int sent = 0;
    struct reply r;
    wait_for(f, (clock_now_ns() >= next ? (sent += send(c.fd, "x", 1, MSG_NOSIGNAL) > 0, next = clock_now_ns() + 5 * NS_PER_MS) : 0,
                 client_take(&c, SIZE_MAX), parse_reply(&c, false, &r)));
    assert_int_equal(r.status, 408);
    assert_true(sent < 99999);
    reply_free(&r);
    client_close(&c);
}

static void idle_connections_are_closed_without_an_answer(void **state)
{
    struct fixture *f = *state;
    f->opt.idle_timeout_ms = 60;
    set_options(f);
    struct client c = client_open(f);
    client_send(f, &c, "GET / HTTP/1.1\r\n" HOST "\r\n");
    struct reply r = read_reply(f, &c);
    reply_free(&r);
    wait_closed(f, &c);
    client_close(&c);
}

static void an_idle_connection_keeps_no_buffers(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    client_send(f, &c, "POST /m HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
    struct reply r = read_reply(f, &c);
    reply_free(&r);
    wait_for(f, f->server->lists[TIMER_IDLE].first);
    struct conn *k = f->server->lists[TIMER_IDLE].first;
    assert_int_equal(k->head.cap + k->body.cap + k->ahead.cap + k->out.cap + k->x.extra.cap, 0);
    assert_true(sizeof *k <= 2048);
    client_send(f, &c, "POST /m HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
    r = read_reply(f, &c);
    assert_string_equal(r.body, "POST /m|abc");
    reply_free(&r);
    client_close(&c);
}

static void too_many_connections_get_503(void **state)
{
    struct fixture *f = *state;
    f->opt.max_connections = 2;
    set_options(f);
    struct client a = client_open(f), b = client_open(f);
    wait_for(f, http_server_connections(f->server) == 2);
    expect_problem(f, "GET / HTTP/1.1\r\n" HOST "\r\n", 503, "overloaded");
    assert_int_equal(http_server_connections(f->server), 2);
    client_close(&a);
    wait_for(f, http_server_connections(f->server) == 1);
    expect_status(f, "GET / HTTP/1.1\r\n" HOST "\r\n", 200, false);
    client_close(&b);
}

static void host_and_origin_are_checked(void **state)
{
    struct fixture *f = *state;
    expect_problem(f, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "forbidden");
    expect_problem(f, "GET http://evil.example/ HTTP/1.1\r\n" HOST "\r\n", 403, "forbidden");
    expect_problem(f, "GET / HTTP/1.1\r\n" HOST "Origin: null\r\n\r\n", 403, "forbidden");
    expect_problem(f, "GET / HTTP/1.1\r\n" HOST "Origin: http://evil.example\r\n\r\n", 403, "forbidden");
    expect_problem(f, "GET / HTTP/1.1\r\n" HOST "Origin: https://localhost\r\n\r\n", 403, "forbidden");
    expect_problem(f, "GET / HTTP/1.1\r\n" HOST "Origin: http://localhost\r\nOrigin: http://localhost\r\n\r\n", 403, "forbidden");
    expect_problem(f, "GET / HTTP/1.1\r\n" HOST "Sec-Fetch-Site: cross-site\r\n\r\n", 403, "forbidden");
    expect_status(f, "GET / HTTP/1.1\r\nHost: DB.example:99\r\n\r\n", 200, false);
    expect_status(f, "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", 200, false);
    expect_status(f, "GET / HTTP/1.1\r\nHost: [0:0::1]:8480\r\n\r\n", 200, false);
    expect_status(f, "GET / HTTP/1.1\r\nHost: 127.0.0.1:8480\r\nOrigin: http://127.0.0.1:8480\r\nSec-Fetch-Site: same-origin\r\n\r\n", 200, false);
    struct reply r = ask(f, "GET / HTTP/1.1\r\nHost: evil\r\n\r\n", strlen("GET / HTTP/1.1\r\nHost: evil\r\n\r\n"), 403, true);
    assert_non_null(strstr(r.body, "\"what\":\"host\""));
    reply_free(&r);
    const char *cors = "GET / HTTP/1.1\r\n" HOST "Origin: https://app.example\r\nSec-Fetch-Site: cross-site\r\n\r\n";
    r = ask(f, cors, strlen(cors), 200, false);
    assert_string_equal(reply_header(&r, "Access-Control-Allow-Origin"), "https://app.example");
    assert_string_equal(reply_header(&r, "Vary"), "Origin");
    reply_free(&r);
    const char *preflight = "OPTIONS /v1/query HTTP/1.1\r\n" HOST "Origin: https://app.example\r\n"
                            "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,content-type\r\n\r\n";
    int before = f->requests;
    r = ask(f, preflight, strlen(preflight), 204, false);
    assert_string_equal(reply_header(&r, "Access-Control-Allow-Headers"), "authorization,content-type");
    assert_non_null(strstr(reply_header(&r, "Access-Control-Allow-Methods"), "POST"));
    assert_int_equal(f->requests, before);
    reply_free(&r);
}

static void draining_finishes_what_is_under_way(void **state)
{
    struct fixture *f = *state;
    struct client idle = client_open(f), busy = client_open(f), late = client_open(f);
    client_send(f, &idle, "GET / HTTP/1.1\r\n" HOST "\r\n");
    struct reply r = read_reply(f, &idle);
    reply_free(&r);
    f->on_request = hold_exchange;
    client_send(f, &busy, "GET /busy HTTP/1.1\r\n" HOST "\r\n");
    wait_for(f, f->held && http_server_connections(f->server) == 3);
    client_send(f, &late, "GET /late HTTP/1.1\r\n" HOST "\r\n"); /* in the socket, not read yet */
    http_server_drain(f->server);
    wait_closed(f, &idle);
    exchange_answer(f->held, 200, "text/plain", "x", 1);
    r = read_reply(f, &busy);
    assert_string_equal(reply_header(&r, "Connection"), "close");
    reply_free(&r);
    wait_closed(f, &busy);
    f->on_request = NULL;
    f->held = NULL;
    wait_for(f, f->held || f->requests == 3);
    r = read_reply(f, &late);
    assert_string_equal(reply_header(&r, "Connection"), "close");
    reply_free(&r);
    wait_for(f, http_server_connections(f->server) == 0);
    client_close(&idle);
    client_close(&busy);
    client_close(&late);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        TEST(a_connection_serves_many_requests),
        TEST(a_thousand_pipelined_requests_are_answered_in_order),
        TEST(pipelined_requests_wait_for_a_slow_one),
        TEST(requests_may_arrive_byte_by_byte),
        TEST(a_head_is_fresh_only_when_its_body_came_with_it),
        TEST(parameters_and_headers_are_decoded),
        TEST(every_form_of_target_and_method_works),
        TEST(broken_requests_are_refused),
        TEST(limits_have_their_statuses),
        TEST(a_large_upload_can_read_its_refusal),
        TEST(bodies_share_their_memory),
        TEST(expect_continue_is_answered_after_the_head),
        TEST(http10_is_served),
        TEST(slow_heads_get_408),
        TEST(slow_bodies_get_408),
        TEST(idle_connections_are_closed_without_an_answer),
        TEST(an_idle_connection_keeps_no_buffers),
        TEST(too_many_connections_get_503),
        TEST(host_and_origin_are_checked),
        TEST(draining_finishes_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
