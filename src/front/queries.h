/* The register of queries over HTTP: what its routes share. Runs in the front. */
#pragma once
#include "front/front.h"
#include "front/registry.h"

/* The record of that id if the caller may see it, with its id on the answer; else NULL, and the request is answered. */
struct record *queries_lookup(struct front *f, struct exchange *x, const char *id);
/* 0, or -1 with *err when the query string has another parameter than these (NULL-terminated). */
int queries_check_params(const struct exchange *x, const char *const *names, struct error *err);
