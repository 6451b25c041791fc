/* `bulkhead top`: a live view of a server's workers, queries and queue, from which a query can be cancelled. On a terminal; elsewhere it prints
 * one view and ends. Runs in the command line. */
#include "cli/cli.h"
#include "cli/http_client.h"
#include "cli/screen.h"
#include "cli/terminal.h"
#include "cli/top_view.h"
#include "core/clock.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/secret.h"
#include "core/units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_URL "http://127.0.0.1:8480"
#define ANSWER_MAX ((size_t)32 << 20)
#define SCREEN_MAX ((size_t)4 << 20)
#define TIMEOUT_MS 5000
#define KEY_FILE_MAX 4096

static const char usage[] = "usage: bulkhead top [--url URL] [--key-file FILE] [--ca FILE] [--interval TIME] [--once]\n"
                            "\n"
                            "Shows workers, queries and queue of a running server, and again each second; a query can be chosen and cancelled.\n"
                            "  --url URL         http://HOST:PORT, https://HOST:PORT or unix:/path; default BULKHEAD_URL, else " DEFAULT_URL "\n"
                            "  --key-file FILE   a file with the API key (role admin); default the environment variable BULKHEAD_KEY.\n"
                            "                    There is no option for the key itself: other users can read a command line\n"
                            "  --ca FILE         certificates (PEM) to trust instead of the system's\n"
                            "  --interval TIME   how often it is read again, 250ms to 1h; default 1s\n"
                            "  --once            print one view and end, as it also does when the output is no terminal\n"
                            "\n"
                            "Exit code: 0 done, 1 the server can't be reached or says no, 2 wrong usage.\n";

struct top {
    const char *url, *key_file, *ca_file;
    int64_t interval_ms;
    bool once;
    char key[KEY_FILE_MAX];
    struct http_client *client;
    struct top_model now, before;
    bool has_now, has_before;
    char selected[64];
    char message[200];
    bool asking; /* whether the chosen query is really to be cancelled */
    struct error trouble;
};

static int fail(int code, const char *what, const char *arg) { return screen_complain(code, "top", what, arg, ""); }

static int set_interval(struct top *t, const char *text)
{
    if (units_parse_duration(text, &t->interval_ms) || t->interval_ms < 250 || t->interval_ms > 3600000)
        return fail(2, "--interval must be from 250ms to 1h, not ", text);
    return -1;
}

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct top *t)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], **text = !strcmp(arg, "--url")        ? &t->url
                                            : !strcmp(arg, "--key-file") ? &t->key_file
                                            : !strcmp(arg, "--ca")       ? &t->ca_file
                                                                         : NULL;
        bool interval = !strcmp(arg, "--interval");
        if (!strcmp(arg, "-h") || !strcmp(arg, "--help")) {
            fputs(usage, stdout);
            return fflush(stdout) ? 1 : 0;
        }
        if (!strcmp(arg, "--once")) {
            t->once = true;
            continue;
        }
        if (!text && !interval)
            return fail(2, "unknown argument, see `bulkhead top --help`: ", arg);
        if (i + 1 == argc)
            return fail(2, "a value is missing behind ", arg);
        if (text)
            *text = argv[++i];
        else if (set_interval(t, argv[++i]) >= 0)
            return 2;
    }
    return -1;
}

/* The key's text without the line end behind it. */
static int read_key(struct top *t)
{
    const char *env = getenv("BULKHEAD_KEY");
    char *text = NULL;
    size_t len;
    if (t->key_file) {
        auto_close int fd = open(t->key_file, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fd_read_all(fd, sizeof t->key - 1, &text, &len) < 0)
            return fail(2, "the key file can't be read: ", strerror(errno));
        snprintf(t->key, sizeof t->key, "%s", text);
        secret_wipe(text, len);
        free(text);
    } else if (env) {
        snprintf(t->key, sizeof t->key, "%s", env);
    }
    t->key[strcspn(t->key, "\r\n")] = 0;
    return -1;
}

/* ---- talking with the server ---- */

/* What an answer other than 2xx means, as an error. */
static int refused(const struct top *t, int status, const char *what, struct error *err)
{
    if (status == 401 || status == 403)
        return error_set(err, ERR_FORBIDDEN, "%s: %s needs an API key with the role admin (BULKHEAD_KEY, --key-file)", http_client_address(t->client),
                         what);
    return error_set(err, ERR_UNAVAILABLE, "%s: %s answers %d", http_client_address(t->client), what, status);
}

static int get(struct top *t, const char *path, struct buf *body, struct error *err)
{
    int status;
    if (http_client_request(t->client, "GET", path, &status, body, err) < 0)
        return -1;
    return status == 200 ? 0 : refused(t, status, path, err);
}

static int read_server(struct top *t, struct error *err)
{
    struct buf status = BUF_INIT(ANSWER_MAX), queries = BUF_INIT(ANSWER_MAX);
    struct top_model m;
    int r = get(t, "/v1/status", &status, err);
    if (r == 0)
        r = get(t, "/v1/queries?state=queued,running,delivering&limit=1000", &queries, err);
    if (r == 0)
        r = top_model_read(&m, status.data, status.len, queries.data, queries.len, clock_now_ns(), err);
    buf_free(&status);
    buf_free(&queries);
    if (r < 0)
        return -1;
    if (t->has_before)
        top_model_clear(&t->before);
    t->has_before = t->has_now;
    t->before = t->now;
    t->now = m;
    t->has_now = true;
    return 0;
}

static void cancel(struct top *t)
{
    char path[128];
    struct buf body = BUF_INIT(ANSWER_MAX);
    struct error err;
    int status;
    snprintf(path, sizeof path, "/v1/queries/%s", t->selected);
    if (http_client_request(t->client, "DELETE", path, &status, &body, &err) < 0)
        snprintf(t->message, sizeof t->message, "%.180s", err.detail);
    else if (status == 202)
        snprintf(t->message, sizeof t->message, "%.40s is being cancelled", t->selected);
    else
        snprintf(t->message, sizeof t->message, "the server answers %d: %.40s was not cancelled", status, t->selected);
    buf_free(&body);
}

/* ---- the screen ---- */

/* Ids go into a path: only what looks like one is ever chosen. */
static bool is_id(const char *id)
{
    size_t n = strlen(id);
    return n > 0 && n < sizeof((struct top *)0)->selected && strspn(id, "0123456789abcdefABCDEF-") == n;
}

static size_t position(const struct top *t)
{
    for (size_t i = 0; i < t->now.query_count; i++)
        if (strcmp(t->now.queries[i].id, t->selected) == 0)
            return i;
    return SIZE_MAX;
}

static void choose(struct top *t, const struct top_screen *s, int step)
{
    size_t shown = top_view_queries(s), at = position(t);
    if (shown == 0)
        return;
    if (at == SIZE_MAX || at >= shown)
        at = step > 0 ? 0 : shown - 1;
    else if (step > 0 ? at + 1 < shown : at > 0)
        at += step > 0 ? 1 : (size_t)-1;
    if (is_id(t->now.queries[at].id))
        strcpy(t->selected, t->now.queries[at].id);
}

static struct top_screen screen_of(struct top *t)
{
    struct top_screen s = {.now = &t->now, .before = t->has_before ? &t->before : NULL, .address = http_client_address(t->client), .colours = true};
    terminal_size(&s.rows, &s.columns);
    if (position(t) == SIZE_MAX)
        t->selected[0] = 0;
    s.selected = t->selected[0] ? t->selected : NULL;
    s.message = t->message[0] ? t->message : NULL;
    s.trouble = t->trouble.code == ERR_OK ? NULL : t->trouble.detail;
    return s;
}

static void draw(struct top *t)
{
    struct buf b = BUF_INIT(SCREEN_MAX);
    struct top_screen s = screen_of(t);
    (void)buf_puts(&b, "\x1b[H");
    top_view(&s, &b);
    for (size_t at = 0; at < b.len;) {
        ssize_t n = write(STDOUT_FILENO, b.data + at, b.len - at);
        if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    buf_free(&b);
}

/* False: the end. */
static bool act(struct top *t, struct terminal_event e, bool *ret_read)
{
    struct top_screen s = screen_of(t);
    bool confirmed = t->asking && e.key == KEY_TEXT && (e.text == 'y' || e.text == 'Y');
    if (e.key == KEY_QUIT || e.key == KEY_END)
        return false;
    if (e.key == KEY_NONE || e.key == KEY_REDRAW)
        return true;
    t->asking = false;
    t->message[0] = 0;
    if (confirmed && t->selected[0]) {
        cancel(t);
        *ret_read = true;
    } else if (e.key == KEY_UP || e.key == KEY_DOWN) {
        choose(t, &s, e.key == KEY_UP ? -1 : 1);
    } else if (e.key == KEY_TEXT && e.text == 'c') {
        t->asking = t->selected[0];
        snprintf(t->message, sizeof t->message, t->asking ? "cancel %.40s? (y/n)" : "choose a query first, with up and down%.0s", t->selected);
    } else if (e.key == KEY_TEXT && e.text == ' ') {
        *ret_read = true;
    }
    return true;
}

static int run_live(struct top *t)
{
    int64_t next_ns = clock_now_ns() + t->interval_ms * NS_PER_MS;
    if (!terminal_open())
        return fail(1, "this is no terminal: ", strerror(errno));
    bool on = true;
    while (on) {
        bool read_now = false;
        draw(t);
        int64_t left_ms = (next_ns - clock_now_ns() + NS_PER_MS - 1) / NS_PER_MS; /* rounded up: not woken before it is time */
        on = act(t, terminal_wait(left_ms > 0 ? (int)left_ms : 0), &read_now);
        if (!read_now && clock_now_ns() < next_ns)
            continue;
        t->trouble.code = ERR_OK;
        (void)(on && read_server(t, &t->trouble)); /* what was shown stays, with the reason above it */
        next_ns = clock_now_ns() + t->interval_ms * NS_PER_MS;
    }
    terminal_close();
    return 0;
}

static int print_once(struct top *t)
{
    struct buf b = BUF_INIT(SCREEN_MAX);
    struct top_screen s = {.now = &t->now, .address = http_client_address(t->client)};
    top_view(&s, &b);
    fwrite(b.data, 1, b.len, stdout);
    buf_free(&b);
    return fflush(stdout) ? 1 : 0;
}

int cmd_top(int argc, char **argv)
{
    struct top t = {.interval_ms = 1000};
    struct error err;
    const char *env_url = getenv("BULKHEAD_URL");
    int code = parse(argc, argv, &t);
    if (code < 0)
        code = read_key(&t);
    if (code >= 0)
        return code;
    struct http_client_options o = {t.url ? t.url : env_url ? env_url : DEFAULT_URL, t.key[0] ? t.key : NULL, t.ca_file, TIMEOUT_MS};
    screen_init();
    t.client = http_client_new(&o, &err);
    if (!t.client)
        return fail(2, "", err.detail);
    if (read_server(&t, &err) < 0)
        code = fail(1, "", err.detail);
    else
        code = t.once || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO) ? print_once(&t) : run_live(&t);
    if (t.has_now)
        top_model_clear(&t.now);
    if (t.has_before)
        top_model_clear(&t.before);
    http_client_free(t.client);
    secret_wipe(t.key, sizeof t.key);
    return code;
}
