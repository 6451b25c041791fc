/* The member "sources" of a request's body. Apart from query_request.h, whose readers need no JSON library. Runs in the front. */
#pragma once
#include "core/errors.h"
#include <jansson.h>

/* An array of names as a set (core/source.h), malloc'd; *ret_set stays as it is (NULL) for an empty one. 0, or -1 with *err. */
int query_request_sources(json_t *v, char **ret_set, struct error *err);
