/* The table of routes. Runs in the front. */
#include "front/front.h"

#include <stdio.h>
#include <string.h>

struct route {
    enum http_method method;
    const char *path;
    void (*handle)(struct front *f, struct exchange *x);
};

static const struct route routes[] = {
    {HTTP_M_POST, "/v1/query", query_post},
    {HTTP_M_GET, "/v1/schema", query_schema},
    {HTTP_M_GET, "/v1/status", info_status},
    {HTTP_M_GET, "/healthz", info_healthz},
    {HTTP_M_GET, "/readyz", info_readyz},
    {HTTP_M_GET, "/metrics", info_metrics},
};
#define ROUTES (sizeof routes / sizeof routes[0])

static void refuse(struct front *f, struct exchange *x, const struct error *err)
{
    f->metrics.rejected[err->code]++;
    exchange_problem(x, err, NULL);
}

void routes_refused(void *ctx, enum error_code code)
{
    struct front *f = ctx;
    f->metrics.rejected[code]++;
}

void routes_request(void *ctx, struct exchange *x)
{
    struct front *f = ctx;
    const char *path = exchange_path(x);
    enum http_method method = exchange_method(x);
    enum http_method wanted = method == HTTP_M_HEAD ? HTTP_M_GET : method; /* a HEAD is a GET whose body stays here */
    const struct route *found = NULL;
    f->metrics.requests++;
    for (size_t i = 0; i < ROUTES; i++) {
        if (strcmp(routes[i].path, path) != 0)
            continue;
        if (routes[i].method == wanted) {
            routes[i].handle(f, x);
            return;
        }
        found = &routes[i];
    }
    struct error err;
    if (found) {
        const char *allow = found->method == HTTP_M_GET ? "GET, HEAD" : "POST";
        exchange_add_header(x, "Allow", allow);
        error_set(&err, ERR_METHOD_NOT_ALLOWED, "%s is served for %s only", found->path, allow);
    } else {
        error_set(&err, ERR_NOT_FOUND, "nothing is served at %.200s", path);
    }
    refuse(f, x, &err);
}
