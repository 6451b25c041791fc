/* Tickets: each lets one GET fetch one kept result without a key, within a minute. The front keeps a hash of each, so that not even its memory has what
 * was given out; none stands in any log. Runs in the front. */
#pragma once
#include "front/front.h"

/* POST /v1/queries/{id}/ticket */
void tickets_post(struct front *f, struct exchange *x, const char *id);
/* GET /v1/tickets/{ticket}: the result. A HEAD does not use the ticket up. */
void tickets_get(struct front *f, struct exchange *x, const char *ticket);

struct result;
struct tickets *tickets_new(void);
void tickets_free(struct tickets *t);
/* The result is gone, and its tickets with it. */
void tickets_forget(struct tickets *t, const struct result *r);
