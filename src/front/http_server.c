/* The HTTP server as a whole: listening sockets, the sweep of all deadlines, the loop's turns, options, draining.
 * Knows libevent and its connections; must not know what a request says. Runs in the front. */
#include "front/http_conn.h"
#include "core/clock.h"
#include "core/errors.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define LAST_TURNS 16   /* of accepting, before the sockets end */
#define ROOM_LOOKS 8    /* at idle connections, before a new one is refused */
#define REJECTS_MAX 128 /* connections over the maximum that get a lingering close; further ones are closed at once */
#define FD_BACKOFF_MS 100

int64_t http_now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return ts.tv_sec * 1000LL + ts.tv_nsec / NS_PER_MS;
}

const char *http_date_line(struct http_server *s, size_t *ret_len)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    if (ts.tv_sec != s->date_s) { /* not strftime: the names must not follow the locale */
        struct tm t;
        gmtime_r(&ts.tv_sec, &t);
        snprintf(s->date, sizeof s->date, "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n", days + t.tm_wday * 3, t.tm_mday % 100,
                 months + t.tm_mon * 3, (t.tm_year + 1900) % 10000, t.tm_hour % 100, t.tm_min % 100, t.tm_sec % 100);
        s->date_s = ts.tv_sec;
    }
    *ret_len = 37;
    return s->date;
}

static void arm(struct event *ev, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    CHECK(event_add(ev, &tv) == 0);
}

void conn_unlink(struct conn *c)
{
    if (c->timer == TIMER_COUNT)
        return;
    struct conn_list *l = &c->s->lists[c->timer];
    *(c->prev ? &c->prev->next : &l->first) = c->next;
    *(c->next ? &c->next->prev : &l->last) = c->prev;
    c->prev = c->next = NULL;
    c->timer = TIMER_COUNT;
}

static void append(struct conn *c, enum timer_kind kind)
{
    conn_unlink(c);
    struct conn_list *l = &c->s->lists[kind];
    c->timer = kind;
    c->prev = l->last;
    *(l->last ? &l->last->next : &l->first) = c;
    l->last = c;
}

void conn_timer(struct conn *c, enum timer_kind kind)
{
    append(c, kind);
    c->since_ms = http_now_ms();
    c->delivered = 0;
}

/* A timer of no length, not event_active: an event that is made active runs before the loop looks at the sockets again. */
void http_arm_turn(struct http_server *s)
{
    if (s->turn_armed)
        return;
    s->turn_armed = true;
    arm(&s->turn_ev, 0);
}

void conn_schedule(struct conn *c)
{
    if (c->on_turn)
        return;
    c->on_turn = true;
    c->turn_next = c->s->turn;
    c->s->turn = c;
    http_arm_turn(c->s);
}

static void free_dead(struct http_server *s)
{
    while (s->dead) {
        struct conn *c = s->dead;
        s->dead = c->turn_next;
        conn_free(c);
    }
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *s = arg;
    (void)fd;
    (void)what;
    s->turn_armed = false;
    struct conn *list = s->turn, *next;
    s->turn = NULL;
    for (struct conn *c = list; c; c = next) {
        next = c->turn_next;
        c->on_turn = false;
        if (c->state != CONN_CLOSED) {
            conn_turn(c);
        } else { /* closed while it waited here */
            c->turn_next = s->dead;
            s->dead = c;
        }
    }
    free_dead(s);
}

static int64_t timeout_ms(const struct http_server *s, enum timer_kind kind)
{
    switch (kind) {
    case TIMER_HEAD: return s->opt.header_timeout_ms;
    case TIMER_BODY: return s->opt.body_timeout_ms;
    case TIMER_WARM: return s->opt.idle_timeout_ms > 0 && s->opt.idle_timeout_ms < HTTP_WARM_MS ? s->opt.idle_timeout_ms : HTTP_WARM_MS;
    case TIMER_IDLE: return s->opt.idle_timeout_ms;
    case TIMER_DELIVER: return s->opt.delivery_timeout_ms;
    case TIMER_LINGER: return HTTP_LINGER_MS;
    default: return 0;
    }
}

static void expire(struct conn *c, enum timer_kind kind)
{
    struct error err;
    switch (kind) {
    case TIMER_HEAD:
        error_set(&err, ERR_REQUEST_TIMEOUT, "The request's head did not arrive within %lld ms.", (long long)c->s->opt.header_timeout_ms);
        conn_refuse(c, &err);
        break;
    case TIMER_BODY:
        error_set(&err, ERR_REQUEST_TIMEOUT, "The request's body made no progress for %lld ms.", (long long)c->s->opt.body_timeout_ms);
        conn_refuse(c, &err);
        break;
    case TIMER_WARM:
        conn_trim(c);
        append(c, TIMER_IDLE); /* since_ms stays: idle_timeout counts from the last answer */
        break;
    case TIMER_DELIVER: conn_lost(c, true); break;
    default: conn_close(c, false); break;
    }
}

/* Connections whose reading is paused: have they hung up meanwhile? (libevent reports a reset as readable only, so that an event
 * for the hang-up alone would spin.) */
static void check_paused(struct http_server *s)
{
    static const enum timer_kind kinds[] = {TIMER_NONE, TIMER_DELIVER};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct conn *next;
        for (struct conn *c = s->lists[kinds[k]].first; c; c = next) {
            next = c->next;
            struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
            if (c->paused && !c->peer_gone && poll(&p, 1, 0) > 0)
                conn_lost(c, (p.revents & (POLLERR | POLLHUP)) != 0);
        }
    }
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *s = arg;
    (void)fd;
    (void)what;
    int64_t now = http_now_ms();
    bool any = false;
    for (int kind = 0; kind < TIMER_COUNT; kind++) {
        int64_t limit = timeout_ms(s, kind);
        struct conn *c;
        while (limit > 0 && (c = s->lists[kind].first) && now - c->since_ms >= limit)
            expire(c, kind);
        any |= s->lists[kind].first != NULL;
    }
    if (s->paused)
        check_paused(s);
    if (!any && s->connections == 0) /* the next one starts it again */
        event_del(&s->sweep_ev);
}

/* Often enough for the shortest of the timeouts, and never more often than every 10 ms. */
static void arm_sweep(struct http_server *s)
{
    int64_t period = 250;
    for (int kind = 0; kind < TIMER_COUNT; kind++) {
        int64_t limit = timeout_ms(s, kind);
        if (limit > 0 && limit / 8 < period)
            period = limit / 8;
    }
    arm(&s->sweep_ev, period < 10 ? 10 : period);
}

static void reject(struct http_server *s, int fd)
{
    char body[256], text[512];
    int len = snprintf(body, sizeof body,
                       "{\"status\":%d,\"title\":\"%s\",\"detail\":\"Too many connections.\","
                       "\"code\":\"%s\",\"retry_after_s\":1}\n",
                       error_http_status(ERR_OVERLOADED), error_title(ERR_OVERLOADED), error_text(ERR_OVERLOADED));
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 %d Service Unavailable\r\nContent-Type: application/problem+json\r\n"
                     "Content-Length: %d\r\nRetry-After: 1\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n%s",
                     error_http_status(ERR_OVERLOADED), len, body);
    CHECK(len < (int)sizeof body && n < (int)sizeof text);
    if (s->tls) { /* nobody shakes hands only to be sent away */
        close(fd);
        if (s->handler.refused)
            s->handler.refused(s->ctx, NULL, ERR_OVERLOADED);
        return;
    }
    if (s->handler.refused)
        s->handler.refused(s->ctx, NULL, ERR_OVERLOADED);
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) < 0 || s->rejects >= REJECTS_MAX) {
        close(fd);
        return;
    }
    s->rejects++;
    struct conn *c = conn_new(s, fd);
    shutdown(fd, SHUT_WR);
    conn_set_state(c, CONN_LINGER);
    c->linger_left = HTTP_SCRATCH_BYTES;
    conn_timer(c, TIMER_LINGER);
}

/* No request on it, and none on its way. */
static bool is_quiet(const struct conn *c)
{
    char one;
    return c->phase == READ_IDLE && c->ahead.len == c->ahead_off && !transport_has_input(&c->io) && recv(c->fd, &one, 1, MSG_PEEK) <= 0;
}

/* The kept connection that has been idle for longest goes, as it would at the end of its time: idle clients do not keep health checks,
 * admins and everybody else out. */
static bool make_room(struct http_server *s)
{
    static const enum timer_kind kinds[] = {TIMER_IDLE, TIMER_WARM};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct conn *c = s->lists[kinds[k]].first;
        for (int i = 0; c && i < ROOM_LOOKS; i++, c = c->next)
            if (is_quiet(c)) {
                conn_close(c, false);
                return true;
            }
    }
    return false;
}

struct conn *http_server_adopt(struct http_server *s, int fd)
{
    if (s->connections >= s->opt.max_connections && !make_room(s)) {
        reject(s, fd);
        return NULL;
    }
    struct conn *c = conn_new(s, fd);
    c->counted = true;
    s->connections++;
    if (!event_pending(&s->sweep_ev, EV_TIMEOUT, NULL))
        arm_sweep(s);
    return c;
}

static void set_accepting(struct http_server *s, bool on)
{
    if (s->accepting == on)
        return;
    s->accepting = on;
    for (int i = 0; i < s->listener_count; i++) {
        if (on)
            CHECK(event_add(&s->listeners[i], NULL) == 0);
        else
            event_del(&s->listeners[i]);
    }
}

/* No fd or memory for a connection: it stays in the kernel's queue, and we look again a little later instead of spinning. */
static void back_off(struct http_server *s)
{
    int64_t now = http_now_ms();
    if (s->fd_log_ms == 0 || now - s->fd_log_ms >= 1000) {
        s->fd_log_ms = now;
        log_event(s->log, LOG_WARN, "accept_failed", LOG_S("why", strerror(errno)), LOG_I("connections", s->connections));
    }
    set_accepting(s, false);
    arm(&s->resume_ev, FD_BACKOFF_MS);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *s = arg;
    (void)fd;
    (void)what;
    if (!s->draining)
        set_accepting(s, true);
}

/* False: there is nobody more, or no room for anybody. */
static bool accept_some(struct http_server *s, int fd)
{
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0) {
            http_server_adopt(s, client);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            back_off(s);
            return false;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return false;
        } /* anything else (ECONNABORTED, a network error) concerns that one client */
    }
    return true;
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    (void)accept_some(arg, fd);
}

/* Who is in the kernel's queue is taken in. Then the sockets themselves end, whoever else has descriptors of them: whoever connects from
 * here on is refused at once, instead of waiting in that queue until the last query has ended. */
static void stop_listening(struct http_server *s)
{
    set_accepting(s, false);
    for (int i = 0; i < s->listener_count; i++) {
        for (int turn = 0; turn < LAST_TURNS && accept_some(s, s->listen_fds[i]); turn++)
            ;
        shutdown(s->listen_fds[i], SHUT_RDWR);
    }
    event_del(&s->resume_ev);
}

struct http_server *http_server_new(struct event_base *base, const int *listen_fds, int n, const struct http_options *opts,
                                    const struct http_handler *handler, void *ctx, struct log *log)
{
    struct http_server *s = calloc(1, sizeof *s);
    CHECK(s);
    s->base = base;
    s->handler = *handler;
    s->ctx = ctx;
    s->log = log;
    s->listener_count = n;
    s->listeners = calloc((size_t)n + 1, sizeof *s->listeners);
    s->listen_fds = calloc((size_t)n + 1, sizeof *s->listen_fds);
    CHECK(s->listeners && s->listen_fds);
    for (int i = 0; i < n; i++) {
        s->listen_fds[i] = listen_fds[i];
        CHECK(event_assign(&s->listeners[i], base, listen_fds[i], EV_READ | EV_PERSIST, on_accept, s) == 0);
    }
    CHECK(event_assign(&s->resume_ev, base, -1, 0, on_resume, s) == 0);
    CHECK(event_assign(&s->sweep_ev, base, -1, EV_PERSIST, on_sweep, s) == 0);
    CHECK(event_assign(&s->turn_ev, base, -1, 0, on_turn, s) == 0);
    http_server_set_options(s, opts);
    set_accepting(s, true);
    return s;
}

void http_server_set_options(struct http_server *s, const struct http_options *opts)
{
    s->opt = *opts;
    s->opt.allowed_hosts = s->opt.cors_origins = NULL;
    host_rules_free(s->rules);
    s->rules = host_rules_new(opts->allowed_hosts, opts->cors_origins, s->listen_fds, s->listener_count);
    arm_sweep(s);
}

void http_server_set_tls(struct http_server *s, struct tls *tls)
{
    tls_free(s->tls);
    s->tls = tls;
}

void http_server_drain(struct http_server *s)
{
    if (!s->draining)
        stop_listening(s);
    s->draining = true;
    static const enum timer_kind kinds[] = {TIMER_HEAD, TIMER_WARM, TIMER_IDLE};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct conn *next;
        for (struct conn *c = s->lists[kinds[k]].first; c; c = next) {
            next = c->next;
            if (is_quiet(c)) /* a request that is here already is still answered */
                conn_close(c, false);
        }
    }
}

unsigned http_server_connections(const struct http_server *s) { return s->connections; }
unsigned http_server_busy(const struct http_server *s) { return s->busy; }

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    set_accepting(s, false);
    for (int kind = 0; kind < TIMER_COUNT; kind++) {
        struct conn *c;
        while ((c = s->lists[kind].first)) {
            conn_lost(c, true);
            if (c->state != CONN_CLOSED) /* a handler that wants no news */
                conn_close(c, true);
        }
    }
    event_del(&s->resume_ev);
    event_del(&s->sweep_ev);
    event_del(&s->turn_ev);
    while (s->turn) {
        struct conn *c = s->turn;
        s->turn = c->turn_next;
        conn_free(c);
    }
    free_dead(s);
    host_rules_free(s->rules);
    tls_free(s->tls);
    free(s->listeners);
    free(s->listen_fds);
    free(s);
}
