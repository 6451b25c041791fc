/* Tickets for kept results (see the header). Runs in the front. */
#include "front/tickets.h"
#include "core/clock.h"
#include "core/digest.h"
#include "core/hex.h"
#include "front/queries.h"
#include "front/results.h"
#include "front/results_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define TICKET_LIFE_MS 60000
#define TICKETS_MAX 1024
/* So that one result's tickets leave room for others'. */
#define TICKETS_PER_RESULT 16
#define TICKET_RANDOM_BYTES 24
#define TICKET_TEXT_BYTES (2 * TICKET_RANDOM_BYTES + 1)

struct ticket {
    uint8_t hash[DIGEST_BYTES];
    const struct result *result; /* NULL: it was used, or its result is gone */
    int64_t expires_ns;          /* 0: a free place */
};

struct tickets {
    struct ticket all[TICKETS_MAX];
};

struct tickets *tickets_new(void)
{
    struct tickets *t = calloc(1, sizeof *t);
    CHECK(t);
    return t;
}

void tickets_free(struct tickets *t) { free(t); }

void tickets_forget(struct tickets *t, const struct result *r)
{
    for (int i = 0; i < TICKETS_MAX; i++)
        if (t->all[i].result == r)
            t->all[i].result = NULL;
}

/* A place for one more of this result; NULL: there is none before some expire. */
static struct ticket *find_place(struct tickets *t, const struct result *r, int64_t now_ns)
{
    struct ticket *free_place = NULL;
    unsigned of_result = 0;
    for (int i = 0; i < TICKETS_MAX; i++) {
        bool taken = t->all[i].expires_ns > now_ns;
        of_result += taken && t->all[i].result == r;
        if (!taken)
            free_place = &t->all[i];
    }
    return of_result < TICKETS_PER_RESULT ? free_place : NULL;
}

static struct ticket *find(struct tickets *t, const char *text, int64_t now_ns)
{
    uint8_t hash[DIGEST_BYTES];
    digest_sha256(text, strlen(text), hash);
    for (int i = 0; i < TICKETS_MAX; i++)
        if (t->all[i].expires_ns > now_ns && memcmp(t->all[i].hash, hash, sizeof hash) == 0)
            return &t->all[i];
    return NULL;
}

static void make_text(char ret[TICKET_TEXT_BYTES])
{
    uint8_t r[TICKET_RANDOM_BYTES];
    CHECK(getrandom(r, sizeof r, 0) == (ssize_t)sizeof r);
    *hex_put(ret, r, sizeof r) = 0;
}

/* When its life ends, by the wall clock. */
static void expiry_text(char *ret, size_t cap)
{
    struct timespec ts;
    struct tm t;
    clock_gettime(CLOCK_REALTIME, &ts);
    time_t s = ts.tv_sec + TICKET_LIFE_MS / 1000;
    gmtime_r(&s, &t);
    size_t n = strftime(ret, cap, "%Y-%m-%dT%H:%M:%S", &t);
    snprintf(ret + n, cap - n, ".%03dZ", (int)(ts.tv_nsec / 1000000));
}

void tickets_post(struct front *f, struct exchange *x, const char *id)
{
    struct record *rec = queries_lookup(f, x, id);
    struct error err;
    if (!rec)
        return;
    const struct result *r = rec->result;
    int64_t now = clock_now_ns();
    struct ticket *t = r ? find_place(f->tickets, r, now) : NULL;
    if (!t) {
        if (r) {
            error_set(&err, ERR_RATE_LIMITED, "too many tickets wait to be used");
            err.retry_after_s = TICKET_LIFE_MS / 1000;
        } else {
            results_explain(rec, &err);
        }
        f->metrics.rejected[err.code]++;
        exchange_problem(x, &err, rec->id);
        return;
    }
    char text[TICKET_TEXT_BYTES], expires[40], body[200];
    make_text(text);
    *t = (struct ticket){.result = r, .expires_ns = now + TICKET_LIFE_MS * NS_PER_MS};
    digest_sha256(text, strlen(text), t->hash);
    expiry_text(expires, sizeof expires);
    int n = snprintf(body, sizeof body, "{\"url\":\"/v1/tickets/%s\",\"expires_at\":\"%s\"}\n", text, expires);
    exchange_add_header(x, "Cache-Control", "no-store");
    exchange_answer(x, 201, "application/json", body, (size_t)n);
}

void tickets_get(struct front *f, struct exchange *x, const char *text)
{
    struct error err;
    struct ticket *t = find(f->tickets, text, clock_now_ns());
    if (!t || !t->result) {
        error_set(&err, t ? ERR_GONE : ERR_NOT_FOUND,
                  t ? "the ticket was used, or its result is gone" : "there is no such ticket, or its time is over");
        routes_refuse(f, x, &err);
        return;
    }
    const struct result *r = t->result;
    if (exchange_method(x) != HTTP_M_HEAD)
        t->result = NULL;
    results_serve(f, x, r, "no-store");
}
