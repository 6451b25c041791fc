/* Who a request is from: the key it shows, its role, its address. Knows headers, keys and the throttle; not what a route does. Runs in the front. */
#pragma once
#include "core/address.h"
#include "core/errors.h"
#include "front/caller.h"
#include "front/keys.h"

struct front;
struct exchange;
struct config;

enum auth_failure { AUTH_MISSING, AUTH_MALFORMED, AUTH_UNKNOWN, AUTH_EXPIRED, AUTH_THROTTLED, AUTH_ROLE, AUTH_FAILURES };
const char *auth_failure_text(enum auth_failure failure); /* the label `reason` of bulkhead_auth_failures_total */

struct auth {
    struct keys *keys;
    struct throttle *throttle;
    struct address_range *proxies; /* server.trusted_proxies */
    size_t proxy_count;
    bool keyless; /* the server has no key file */
    bool keyless_admin;
    uint64_t failures[AUTH_FAILURES];
    int64_t logged_ns; /* when key_refused was last logged: once a second at most */
    uint64_t unlogged;
};

void auth_init(struct auth *a);
void auth_free(struct auth *a);
/* The parts of the configuration that matter here. */
void auth_configure(struct auth *a, const struct config *cfg);

/* Of callers of a server without keys. */
enum key_role auth_keyless_role(const struct auth *a);
/* The client's address, behind trusted proxies as they give it. */
struct address auth_address(const struct auth *a, const struct exchange *x);
/* Whether the request may use a route for `needed` and above (ROLE_NONE: anybody; keyless_ok: callers of a server without keys too). 0 and *ret;
 * -1 with *err (unauthorized, forbidden, rate_limited) and what belongs into the answer's head. Takes nothing off the key's own rate. */
int auth_check(struct front *f, struct exchange *x, enum key_role needed, bool keyless_ok, struct caller *ret, struct error *err);
