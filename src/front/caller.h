/* Who asks: the key that a request came with, and what it may see. One place, so that keys change it for all routes. Runs in the front. */
#pragma once
#include "core/address.h"
#include "front/http.h"
#include "front/keys.h"
#include "front/registry.h"

struct front;

struct caller {
    const char *key; /* the key's name; "": none. Lives as long as the tenant */
    bool sees_all;   /* everybody's queries, not only its own: admins, and callers of a server without keys */
    enum key_role role;
    struct tenant *tenant;     /* on whose account it asks; take a reference to keep it */
    const struct key *api_key; /* NULL without a key file, or when the route needs none; until the next reload */
    struct address address;    /* behind trusted proxies: the client's */
};

/* Of the request whose route is at work; not afterwards (CHECK). */
struct caller caller_of(const struct front *f, const struct exchange *x);
bool caller_may_see(const struct caller *c, const struct record *rec);
