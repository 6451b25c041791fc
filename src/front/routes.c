/* The table of routes, and whom the HTTP server tells how an answer fared. Runs in the front. */
#include "front/front.h"

#include <stdio.h>
#include <string.h>

/* One {} segment at most stands in a path; what is there goes to handle_id. */
struct route {
    enum http_method method;
    const char *path;
    void (*handle)(struct front *f, struct exchange *x);
    void (*handle_id)(struct front *f, struct exchange *x, const char *id);
};

static const struct route routes[] = {
    {HTTP_M_POST, "/v1/query", query_post},
    {HTTP_M_GET, "/v1/queries", queries_list},
    {HTTP_M_GET, "/v1/queries/{}", .handle_id = queries_get},
    {HTTP_M_DELETE, "/v1/queries/{}", .handle_id = queries_delete},
    {HTTP_M_GET, "/v1/schema", query_schema},
    {HTTP_M_GET, "/v1/status", info_status},
    {HTTP_M_GET, "/healthz", info_healthz},
    {HTTP_M_GET, "/readyz", info_readyz},
    {HTTP_M_GET, "/metrics", info_metrics},
};
#define ROUTES (sizeof routes / sizeof routes[0])
#define ID_BYTES 256 /* no id is longer */

void routes_refuse(struct front *f, struct exchange *x, const struct error *err)
{
    f->metrics.rejected[err->code]++;
    exchange_problem(x, err, NULL);
}

void routes_refused(void *ctx, enum error_code code)
{
    struct front *f = ctx;
    f->metrics.rejected[code]++;
}

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

void routes_request(void *ctx, struct exchange *x)
{
    struct front *f = ctx;
    const char *path = exchange_path(x);
    enum http_method method = exchange_method(x);
    enum http_method wanted = method == HTTP_M_HEAD ? HTTP_M_GET : method; /* a HEAD is a GET whose body stays here */
    const struct route *found = NULL;
    char id[ID_BYTES];
    f->metrics.requests++;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!match(routes[i].path, path, id))
            continue;
        if (routes[i].method == wanted) {
            if (routes[i].handle_id)
                routes[i].handle_id(f, x, id);
            else
                routes[i].handle(f, x);
            return;
        }
        found = &routes[i];
    }
    struct error err;
    if (found) {
        char allow[64];
        allowed_methods(found, allow, sizeof allow);
        exchange_add_header(x, "Allow", allow);
        error_set(&err, ERR_METHOD_NOT_ALLOWED, "%.200s is served for %s only", path, allow);
    } else {
        error_set(&err, ERR_NOT_FOUND, "nothing is served at %.200s", path);
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
