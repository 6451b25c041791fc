/* The table of routes, who may use each, and whom the HTTP server tells how an answer fared. Runs in the front. */
#include "core/clock.h"
#include "front/admin.h"
#include "front/front.h"
#include "front/openapi.h"
#include "front/query.h"
#include "front/results_http.h"
#include "front/sessions_http.h"
#include "front/tickets.h"

#include <stdio.h>
#include <string.h>

enum {
    KEYLESS_TOO = 1, /* callers of a server without keys may use it, whatever role it needs */
    UNMETERED = 2,   /* does not count against the key's requests per second: what people need to get out of trouble */
    MAKES_QUERY = 4, /* every answer to it concerns a query, and has its id */
};

/* One {} segment at most stands in a path; what is there goes to handle_id. */
struct route {
    enum http_method method;
    const char *path;
    void (*handle)(struct front *f, struct exchange *x);
    void (*handle_id)(struct front *f, struct exchange *x, const char *id);
    enum key_role role; /* the least that may use it; ROLE_NONE: everybody, without a key */
    unsigned flags;
};

static const struct route routes[] = {
    {HTTP_M_POST, "/v1/query", query_post, .role = ROLE_READER, .flags = MAKES_QUERY},
    {HTTP_M_POST, "/v1/queries", query_post_asynchronous, .role = ROLE_READER, .flags = MAKES_QUERY},
    {HTTP_M_GET, "/v1/queries", queries_list, .role = ROLE_READER},
    {HTTP_M_GET, "/v1/queries/{}", .handle_id = queries_get, .role = ROLE_READER},
    {HTTP_M_DELETE, "/v1/queries/{}", .handle_id = queries_delete, .role = ROLE_READER, .flags = UNMETERED},
    {HTTP_M_GET, "/v1/queries/{}/result", .handle_id = results_get, .role = ROLE_READER},
    {HTTP_M_POST, "/v1/queries/{}/ticket", .handle_id = tickets_post, .role = ROLE_READER},
    {HTTP_M_GET, "/v1/tickets/{}", .handle_id = tickets_get},
    {HTTP_M_GET, "/v1/schema", query_schema, .role = ROLE_READER},
    {HTTP_M_POST, "/v1/sessions", sessions_post, .role = ROLE_ANALYST},
    {HTTP_M_GET, "/v1/sessions", sessions_list, .role = ROLE_ANALYST},
    /* Readers have none: to them each is another's, which is 404. */
    {HTTP_M_GET, "/v1/sessions/{}", .handle_id = sessions_get, .role = ROLE_READER},
    {HTTP_M_DELETE, "/v1/sessions/{}", .handle_id = sessions_delete, .role = ROLE_READER, .flags = UNMETERED},
    {HTTP_M_GET, "/v1/sources", sources_list, .role = ROLE_ANALYST},
    {HTTP_M_GET, "/v1/status", info_status, .role = ROLE_ADMIN, .flags = KEYLESS_TOO | UNMETERED},
    {HTTP_M_POST, "/v1/admin/sql", query_admin, .role = ROLE_ADMIN, .flags = MAKES_QUERY},
    {HTTP_M_POST, "/v1/admin/reload", admin_reload, .role = ROLE_ADMIN, .flags = UNMETERED},
    {HTTP_M_POST, "/v1/admin/quarantine/clear", admin_quarantine_clear, .role = ROLE_ADMIN, .flags = UNMETERED},
    {HTTP_M_GET, "/openapi.json", openapi_get},
    {HTTP_M_GET, "/healthz", info_healthz},
    {HTTP_M_GET, "/readyz", info_readyz},
    {HTTP_M_GET, "/metrics", info_metrics, .role = ROLE_ADMIN, .flags = KEYLESS_TOO | UNMETERED},
};
#define ROUTES (sizeof routes / sizeof routes[0])
#define ID_BYTES 256 /* no id is longer */

/* Does the path fit the pattern? What stands for {} is written to id, which is "" for a pattern without one. */
static bool match(const char *pattern, const char *path, char id[ID_BYTES])
{
    const char *hole = strstr(pattern, "{}");
    id[0] = 0;
    if (!hole)
        return strcmp(pattern, path) == 0;
    size_t before = (size_t)(hole - pattern), len;
    if (strncmp(pattern, path, before) != 0)
        return false;
    len = strcspn(path + before, "/");
    if (len == 0 || len >= ID_BYTES || strcmp(hole + 2, path + before + len) != 0)
        return false;
    memcpy(id, path + before, len);
    id[len] = 0;
    return true;
}

/* What a path is served for, as the Allow header has it. */
static void allowed_methods(const struct route *same_path, char *ret, size_t cap)
{
    static const char *const names[] = {[HTTP_M_GET] = "GET, HEAD", [HTTP_M_POST] = "POST", [HTTP_M_PUT] = "PUT", [HTTP_M_DELETE] = "DELETE"};
    size_t n = 0;
    ret[0] = 0;
    for (size_t i = 0; i < ROUTES; i++)
        if (strcmp(routes[i].path, same_path->path) == 0)
            n += (size_t)snprintf(ret + n, cap - n, "%s%s", n ? ", " : "", names[routes[i].method]);
}

/* The route and its id; NULL, and then *ret_other is one of the same path for another method, or NULL. */
static const struct route *find(const struct exchange *x, char id[ID_BYTES], const struct route **ret_other)
{
    const char *path = exchange_path(x);
    enum http_method method = exchange_method(x);
    enum http_method wanted = method == HTTP_M_HEAD ? HTTP_M_GET : method; /* a HEAD is a GET whose body stays here */
    *ret_other = NULL;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!match(routes[i].path, path, id))
            continue;
        if (routes[i].method == wanted)
            return &routes[i];
        *ret_other = &routes[i];
    }
    return NULL;
}

/* The client's id or one of ours for a query that is refused unread, on its answer; NULL: it was to be none. */
static const char *refused_id(struct front *f, struct exchange *x)
{
    char id[ID_BYTES];
    const struct route *other, *r = find(x, id, &other);
    struct query_key key;
    if (!r || !(r->flags & MAKES_QUERY))
        return NULL;
    const char *chosen = exchange_header(x, QUERY_ID_HEADER);
    if (chosen && query_key_parse(chosen, &key))
        memcpy(f->refused_id, chosen, QUERY_ID_BYTES);
    else
        query_id_make(f, f->refused_id);
    exchange_add_header(x, QUERY_ID_HEADER, f->refused_id);
    return f->refused_id;
}

void routes_refuse(struct front *f, struct exchange *x, const struct error *err)
{
    f->metrics.rejected[err->code]++;
    exchange_problem(x, err, refused_id(f, x));
}

const char *routes_refused(void *ctx, struct exchange *x, enum error_code code)
{
    struct front *f = ctx;
    f->metrics.rejected[code]++;
    return x ? refused_id(f, x) : NULL;
}

/* Finds out who asks, for caller_of. -1 with *err: not somebody who may. */
static int may_use(struct front *f, struct exchange *x, const struct route *r, struct error *err)
{
    f->caller_exchange = x;
    return auth_check(f, x, r->role, r->flags & KEYLESS_TOO, &f->caller, err);
}

/* A body costs memory: it is not read from somebody who may not send it. */
int routes_head(void *ctx, struct exchange *x, struct error *err)
{
    struct front *f = ctx;
    char id[ID_BYTES];
    const struct route *other, *r = find(x, id, &other);
    return r ? may_use(f, x, r, err) : 0;
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

static void handle(struct front *f, struct exchange *x, const struct route *r, const char *id)
{
    struct error err;
    bool known = exchange_head_is_fresh(x) && f->caller_exchange == x; /* routes_head has found out, for the same route */
    if ((!known && may_use(f, x, r, &err) < 0) || within_rate(r, f->caller.tenant, &err) < 0)
        routes_refuse(f, x, &err);
    else if (r->handle_id)
        r->handle_id(f, x, id);
    else
        r->handle(f, x);
}

void routes_request(void *ctx, struct exchange *x)
{
    struct front *f = ctx;
    char id[ID_BYTES];
    const struct route *found, *r = find(x, id, &found);
    struct error err;
    f->metrics.requests++;
    if (r) {
        handle(f, x, r, id);
        return;
    }
    if (found) {
        char allow[64];
        allowed_methods(found, allow, sizeof allow);
        exchange_add_header(x, "Allow", allow);
        error_set(&err, ERR_METHOD_NOT_ALLOWED, "%.200s is served for %s only", exchange_path(x), allow);
    } else {
        error_set(&err, ERR_NOT_FOUND, "nothing is served at %.200s", exchange_path(x));
    }
    routes_refuse(f, x, &err);
}

void routes_gone(void *ctx, struct exchange *x, void *user)
{
    (void)ctx;
    (void)x;
    struct asker *a = user;
    a->gone(a);
}

void routes_sent(void *ctx, struct exchange *x, void *user)
{
    (void)ctx;
    (void)x;
    struct asker *a = user;
    a->sent(a);
}
