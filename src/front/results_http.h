/* GET /v1/queries/{id}/result, and the same with a ticket. Runs in the front. */
#pragma once
#include "front/front.h"

struct record;
struct result;

void results_get(struct front *f, struct exchange *x, const char *id);
/* Why this query has no result that could be fetched. */
void results_explain(const struct record *rec, struct error *ret);
/* Answers with the result, or the part of it that the request asks for. cache_control: the header's value. */
void results_serve(struct front *f, struct exchange *x, const struct result *r, const char *cache_control);
