/* Log lines: their form, what a reader that does not read costs, and the header that names a trace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/log.h"
#include "front/traceparent.h"

/* Standard error is a pipe of one page while a test runs. */
struct ends {
    int saved, reader;
    char text[1 << 20];
};

static struct ends *redirect(bool as_socket)
{
    struct ends *e = calloc(1, sizeof *e);
    int fds[2];
    assert_non_null(e);
    if (as_socket) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    } else {
        assert_int_equal(pipe(fds), 0);
        assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4096) > 0);
    }
    e->saved = dup(STDERR_FILENO);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    e->reader = fds[0];
    fcntl(e->reader, F_SETFL, O_NONBLOCK);
    return e;
}

static void restore(struct ends *e)
{
    dup2(e->saved, STDERR_FILENO);
    close(e->saved);
    close(e->reader);
    free(e);
}

static const char *read_all(struct ends *e)
{
    size_t len = 0;
    ssize_t n;
    while ((n = read(e->reader, e->text + len, sizeof e->text - 1 - len)) > 0)
        len += (size_t)n;
    e->text[len] = 0;
    return e->text;
}

static json_t *parse_line(const char **text)
{
    json_error_t err;
    const char *end = strchr(*text, '\n');
    assert_non_null(end);
    json_t *line = json_loadb(*text, (size_t)(end - *text), 0, &err);
    if (!line)
        fail_msg("no JSON: %.*s: %s", (int)(end - *text), *text, err.text);
    *text = end + 1;
    return line;
}

static void a_line_is_json_with_its_fields(void **state)
{
    (void)state;
    struct log log = {.level = LOG_INFO, .role = "front"};
    struct ends *e = redirect(false);
    log_event(&log, LOG_INFO, "thing", LOG_S("text", "a\"b\n\x1b\xff"), LOG_I("n", -12), LOG_US("ms", 1234), LOG_US("small", 7),
              LOG_US("minus", -1500), LOG_I("least", INT64_MIN));
    log_event(&log, LOG_DEBUG, "quiet");
    const char *text = read_all(e);
    json_t *line = parse_line(&text);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "info");
    assert_string_equal(json_string_value(json_object_get(line, "event")), "thing");
    assert_int_equal(strlen(json_string_value(json_object_get(line, "ts"))), strlen("2026-01-31T12:34:56.789Z"));
    assert_string_equal(json_string_value(json_object_get(line, "text")), "a\"b\n\x1b\xEF\xBF\xBD");
    assert_int_equal(json_integer_value(json_object_get(line, "n")), -12);
    assert_true(json_real_value(json_object_get(line, "ms")) == 1.234);
    assert_true(json_real_value(json_object_get(line, "small")) == 0.007);
    assert_true(json_real_value(json_object_get(line, "minus")) == -1.5);
    assert_int_equal(json_integer_value(json_object_get(line, "least")), INT64_MIN);
    assert_string_equal(text, "");
    json_decref(line);
    restore(e);
}

/* A log is read on terminals. */
static void what_steers_a_terminal_is_escaped(void **state)
{
    (void)state;
    struct log log = {.level = LOG_INFO, .format = LOG_TEXT, .role = "front"};
    struct ends *e = redirect(false);
    log_event(&log, LOG_INFO, "thing",
              LOG_S("text", "\x1b\x7f\xc2\x9b\xd8\x9c\xe2\x80\x8f\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa6 \xc2\xa0\xe2\x80\xaf\xe2\x82\xac"));
    assert_non_null(strstr(read_all(e), "\"\\u001b\\u007f\\u009b\\u061c\\u200f\\u2028\\u202e\\u2066 \xc2\xa0\xe2\x80\xaf\xe2\x82\xac\""));
    restore(e);
}

static void held_lines_wait_and_urgent_ones_do_not(void **state)
{
    (void)state;
    struct log log = {.level = LOG_INFO, .role = "front"};
    struct ends *e = redirect(false);
    log_hold(&log);
    log_event(&log, LOG_INFO, "one");
    log_event(&log, LOG_INFO, "two");
    assert_true(log_is_holding(&log));
    assert_string_equal(read_all(e), "");
    log_flush(&log);
    assert_false(log_is_holding(&log));
    const char *text = read_all(e);
    assert_non_null(strstr(text, "one"));
    assert_true(strstr(text, "two") > strstr(text, "one"));
    log_event(&log, LOG_INFO, "three");
    log_event(&log, LOG_WARN, "four");
    text = read_all(e);
    assert_true(strstr(text, "four") > strstr(text, "three"));
    restore(e);
    free(log.held);
}

/* Writes until far more than the pipe takes is lost, then reads: lines are whole, and the books balance. */
static void losses_are_counted(bool hold, bool as_socket)
{
    struct log log = {.level = LOG_INFO, .role = "front"};
    struct ends *e = redirect(as_socket);
    int written = 0, read_lines = 0;
    int64_t told = 0;
    if (hold)
        log_hold(&log);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 5000; i++) {
            log_event(&log, LOG_INFO, "line", LOG_I("n", written));
            written++;
        }
        log_flush(&log);
        for (const char *text = read_all(e); *text;) {
            json_t *line = parse_line(&text);
            told += json_integer_value(json_object_get(line, "dropped_lines"));
            read_lines++;
            json_decref(line);
        }
    }
    assert_true(told > 1000);
    assert_int_equal(read_lines + told + (int64_t)log.dropped, written);
    restore(e);
    free(log.held);
}

static void a_full_pipe_loses_lines_and_tells_how_many(void **state)
{
    (void)state;
    losses_are_counted(false, false);
    losses_are_counted(true, false);
}

static void a_full_socket_too(void **state)
{
    (void)state;
    losses_are_counted(false, true);
    losses_are_counted(true, true);
}

/* A disk that is full and has room again, by the limit of a file's size. */
static void a_full_disk_tears_no_line_that_comes_later(void **state)
{
    (void)state;
    struct log log = {.level = LOG_INFO, .role = "front"};
    struct rlimit usual, small = {.rlim_cur = 1000};
    char path[] = "/tmp/log-XXXXXX";
    struct ends e = {.saved = dup(STDERR_FILENO), .reader = mkstemp(path)};
    assert_true(e.reader >= 0);
    unlink(path);
    dup2(e.reader, STDERR_FILENO);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &usual);
    small.rlim_max = usual.rlim_max;
    log_hold(&log);
    setrlimit(RLIMIT_FSIZE, &small);
    for (int i = 0; i < 200; i++)
        log_event(&log, LOG_INFO, "line", LOG_I("n", i));
    log_flush(&log);
    setrlimit(RLIMIT_FSIZE, &usual);
    int64_t dropped = (int64_t)log.dropped;
    log_event(&log, LOG_INFO, "room again");
    log_flush(&log);
    dup2(e.saved, STDERR_FILENO);
    close(e.saved);
    char text[4096];
    ssize_t n = pread(e.reader, text, sizeof text - 1, 0);
    assert_true(n > 1000);
    text[n] = 0;
    int whole = 0;
    const char *at = text, *last = strstr(text, "\n{\"ts\":");
    for (const char *next; (next = strstr(last + 1, "\n{\"ts\":")); last = next)
        ;
    while (at < text + 1000 && memchr(at, '\n', (size_t)(text + 1000 - at))) {
        json_decref(parse_line(&at));
        whole++;
    }
    assert_int_equal(whole + dropped, 200);
    last++;
    json_t *line = parse_line(&last);
    assert_string_equal(json_string_value(json_object_get(line, "event")), "room again");
    assert_int_equal(json_integer_value(json_object_get(line, "dropped_lines")), dropped);
    json_decref(line);
    close(e.reader);
    free(log.held);
}

static void a_closed_pipe_is_no_end(void **state)
{
    (void)state;
    struct log log = {.level = LOG_INFO, .role = "front"};
    struct ends *e = redirect(false);
    signal(SIGPIPE, SIG_IGN);
    close(e->reader);
    e->reader = open("/dev/null", O_RDONLY);
    for (int i = 0; i < 10; i++)
        log_event(&log, LOG_INFO, "line");
    assert_int_equal(log.dropped, 10);
    restore(e);
}

static void a_long_text_is_cut_between_characters(void **state)
{
    (void)state;
    struct log log = {.level = LOG_INFO, .role = "front"};
    struct ends *e = redirect(false);
    char *text = malloc(20001);
    for (int i = 0; i < 20000; i += 2)
        memcpy(text + i, "\xC3\xA4", 2);
    text[20000] = 0;
    log_event(&log, LOG_INFO, "long", LOG_S("text", text), LOG_I("after", 1));
    const char *out = read_all(e);
    assert_true(strlen(out) <= 4096);
    json_t *line = parse_line(&out);
    const char *got = json_string_value(json_object_get(line, "text"));
    assert_string_equal(got + strlen(got) - 3, "...");
    json_decref(line);
    free(text);
    restore(e);
}

static void a_traceparent_is_read_or_ignored(void **state)
{
    (void)state;
    static const char *const good[] = {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                       "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-and-more"};
    static const char *const bad[] = {"",
                                      "00",
                                      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
                                      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                                      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
                                      "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                                      "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                      "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                                      "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                                      "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                      "0-04bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"};
    struct traceparent t;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(traceparent_parse(good[i], &t));
        assert_string_equal(t.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_string_equal(t.parent_id, "00f067aa0ba902b7");
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (traceparent_parse(bad[i], &t))
            fail_msg("accepted: %s", bad[i]);
        assert_string_equal(t.trace_id, "");
    }
    assert_false(traceparent_parse(NULL, &t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_json_with_its_fields),
        cmocka_unit_test(what_steers_a_terminal_is_escaped),
        cmocka_unit_test(held_lines_wait_and_urgent_ones_do_not),
        cmocka_unit_test(a_full_pipe_loses_lines_and_tells_how_many),
        cmocka_unit_test(a_full_socket_too),
        cmocka_unit_test(a_full_disk_tears_no_line_that_comes_later),
        cmocka_unit_test(a_closed_pipe_is_no_end),
        cmocka_unit_test(a_long_text_is_cut_between_characters),
        cmocka_unit_test(a_traceparent_is_read_or_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
