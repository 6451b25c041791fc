/* How a worker gets to its sources: it makes no connection itself. It asks the broker for "endpoint N" of those that the supervisor granted it, over a
 * SOCK_SEQPACKET channel, and gets a connected socket back. Addresses are the broker's matter: the worker never names one.
 * Runs in supervisor, broker and worker. */
#pragma once
#include "core/source.h"
#include <stddef.h>
#include <stdint.h>

struct config;

/* What one source may be reached at, from the configuration. */
struct egress_endpoint {
    char source[SOURCE_NAME_BYTES];
    char host[SOURCE_HOST_BYTES]; /* a name or an address; a path: the directory of a unix socket */
    uint32_t port;
    uint32_t pad;
};

/* supervisor -> broker, with one fd: the broker's end of a worker's channel. */
struct egress_grant {
    uint32_t worker; /* for the log */
    uint32_t count;
    struct egress_endpoint endpoint[SOURCES_PER_SET];
};

/* worker -> broker */
struct egress_ask {
    uint32_t id;       /* repeated by the answer */
    uint32_t endpoint; /* which of those granted */
};

/* broker -> worker; error 0: one fd comes along. */
struct egress_answer {
    uint32_t id;
    int32_t error; /* an errno */
};

/* The longest that a connection may take to come about, names looked up included. */
#define EGRESS_CONNECT_MS 10000

/* The endpoints of a set, in the set's order: both sides count them alike. Returns how many. Sources that need no network have none. */
size_t egress_endpoints(const struct config *cfg, const char *set, struct egress_endpoint ret[SOURCES_PER_SET]);
/* Where a connection to a unix socket leads: host/.s.PGSQL.port. False: too long. */
int egress_unix_path(const struct egress_endpoint *e, char *ret, size_t cap);
