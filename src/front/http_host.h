/* Which Host and Origin headers this server answers to (contract section 3).
 * Knows header texts and socket addresses; must not know connections or requests. Runs in the front. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define HOST_TEXT_MAX 256

/* A host as it stands in a Host header or an origin: lower case, IPv6 literals in brackets and in their shortest form. */
struct host_name {
    char text[HOST_TEXT_MAX];
    int port; /* -1: none given */
};

enum origin_kind {
    ORIGIN_NONE, /* no Origin header */
    ORIGIN_SAME, /* this server's own pages */
    ORIGIN_CORS, /* another site that cors_origins allows */
    ORIGIN_REFUSED,
};

struct host_rules;

/* Splits "host", "host:port", "[v6]", "[v6]:port". False when it is none of these; *ret_host is then unchanged. */
bool host_name_parse(const char *text, size_t len, struct host_name *ret_host);

/* Both lists are comma-separated, NULL or "" for none. The addresses that listen_fds are bound to are allowed too; for one bound
 * to every address, the address a connection came in on. The fds are only looked at here. Owned by the caller. */
struct host_rules *host_rules_new(const char *allowed_hosts, const char *cors_origins, const int *listen_fds, int n);
void host_rules_free(struct host_rules *r);

/* fd: the accepted socket the request came in on (-1: none). The port does not count: a forwarded port is no attack. */
bool host_rules_allow(const struct host_rules *r, const struct host_name *host, int fd);

/* origin: the header's value, NULL when absent. host: the request's Host, NULL when absent. tls: the request came over TLS, so that this server's
 * own pages are https ones. */
enum origin_kind host_rules_origin(const struct host_rules *r, const char *origin, const struct host_name *host, bool tls);
