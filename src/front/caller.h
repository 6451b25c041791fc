/* Who asks: the key that a request came with, and what it may see. One place, so that keys change it for all routes. Runs in the front. */
#pragma once
#include "front/http.h"
#include "front/registry.h"

struct front;

struct caller {
    const char *key; /* the key's name; "": none. Lives as long as the exchange */
    bool sees_all;   /* everybody's queries, not only its own */
};

/* Without keys every caller is the same one, and sees all. */
struct caller caller_of(const struct front *f, const struct exchange *x);
bool caller_may_see(const struct caller *c, const struct record *rec);
