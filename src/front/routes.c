/* The table of routes, and who may use each. Runs in the front. */
#include "core/clock.h"
#include "front/front.h"

#include <stdio.h>
#include <string.h>

enum {
    KEYLESS_TOO = 1, /* callers of a server without keys may use it, whatever role it needs */
    UNMETERED = 2,   /* does not count against the key's requests per second: what people need to get out of trouble */
};

struct route {
    enum http_method method;
    const char *path;
    void (*handle)(struct front *f, struct exchange *x);
    enum key_role role; /* the least that may use it; ROLE_NONE: everybody, without a key */
    unsigned flags;
};

static const struct route routes[] = {
    {HTTP_M_POST, "/v1/query", query_post, ROLE_READER},
    {HTTP_M_GET, "/v1/schema", query_schema, ROLE_READER},
    {HTTP_M_GET, "/v1/status", info_status, ROLE_ADMIN, KEYLESS_TOO | UNMETERED},
    {HTTP_M_GET, "/healthz", info_healthz},
    {HTTP_M_GET, "/readyz", info_readyz},
    {HTTP_M_GET, "/metrics", info_metrics, ROLE_ADMIN, KEYLESS_TOO | UNMETERED},
};
#define ROUTES (sizeof routes / sizeof routes[0])

static void refuse(struct front *f, struct exchange *x, const struct error *err)
{
    f->metrics.rejected[err->code]++;
    exchange_problem(x, err, NULL);
}

/* The route; NULL, and then *ret_other is one of the same path for another method, or NULL. */
static const struct route *find(const struct exchange *x, const struct route **ret_other)
{
    const char *path = exchange_path(x);
    enum http_method method = exchange_method(x);
    enum http_method wanted = method == HTTP_M_HEAD ? HTTP_M_GET : method; /* a HEAD is a GET whose body stays here */
    *ret_other = NULL;
    for (size_t i = 0; i < ROUTES; i++) {
        if (strcmp(routes[i].path, path) != 0)
            continue;
        if (routes[i].method == wanted)
            return &routes[i];
        *ret_other = &routes[i];
    }
    return NULL;
}

static int may_use(struct front *f, struct exchange *x, const struct route *r, struct error *err)
{
    return auth_check(f, x, r->role, r->flags & KEYLESS_TOO, &f->caller, err);
}

/* A body costs memory: it is not read from somebody who may not send it. */
int routes_head(void *ctx, struct exchange *x, struct error *err)
{
    struct front *f = ctx;
    const struct route *other, *r = find(x, &other);
    if (!r || may_use(f, x, r, err) == 0)
        return 0;
    f->metrics.requests++;
    f->metrics.rejected[err->code]++;
    return -1;
}

static int within_rate(const struct route *r, struct tenant *t, struct error *err)
{
    int64_t wait_ns;
    if (r->role == ROLE_NONE || r->flags & UNMETERED || t->limits.per_s == 0 ||
        rate_take(&t->rate, clock_now_ns(), t->limits.per_s, t->limits.burst, &wait_ns))
        return 0;
    error_set(err, ERR_RATE_LIMITED, "more than %lld requests per second (and %lld at once)%s%s", (long long)t->limits.per_s,
              (long long)t->limits.burst, t->name[0] ? " by the key " : "", t->name);
    err->retry_after_s = rate_seconds(wait_ns);
    return -1;
}

void routes_request(void *ctx, struct exchange *x)
{
    struct front *f = ctx;
    const struct route *found, *r = find(x, &found);
    struct error err;
    f->metrics.requests++;
    if (r) {
        if (may_use(f, x, r, &err) < 0 || within_rate(r, f->caller.tenant, &err) < 0)
            refuse(f, x, &err);
        else
            r->handle(f, x);
        return;
    }
    if (found) {
        const char *allow = found->method == HTTP_M_GET ? "GET, HEAD" : "POST";
        exchange_add_header(x, "Allow", allow);
        error_set(&err, ERR_METHOD_NOT_ALLOWED, "%s is served for %s only", found->path, allow);
    } else {
        error_set(&err, ERR_NOT_FOUND, "nothing is served at %.200s", exchange_path(x));
    }
    refuse(f, x, &err);
}
