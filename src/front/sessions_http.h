/* Sessions and sources over HTTP, and where a query runs that names one. Runs in the front. */
#pragma once
#include "front/front.h"
#include "front/query.h"

struct buf;
struct query_request;
struct lane;
struct control_assign;

/* Lanes and sessions of this front; frees them. */
void sessions_start(struct front *f);
void sessions_stop(struct front *f);
/* What the supervisor says; true when it was theirs. */
bool sessions_message(struct front *f, const union control_message *m, const int fds[2]);
void sessions_new_config(struct front *f);
/* After other keys or another configuration: ends the sessions whose owner may not have them any more, as they are. */
void sessions_check_rights(struct front *f);

void sessions_post(struct front *f, struct exchange *x);
void sessions_list(struct front *f, struct exchange *x);
void sessions_get(struct front *f, struct exchange *x, const char *id);
void sessions_delete(struct front *f, struct exchange *x, const char *id);
void sources_list(struct front *f, struct exchange *x);

/* All sessions that this caller may see (NULL: all there are) as JSON objects with commas between. */
struct caller;
void sessions_write(const struct front *f, struct buf *b, const struct caller *c);

/* Chooses q->pool by the request's session or sources. 0, or -1 with *err. */
int query_place(struct query *q, const struct query_request *r, struct error *err);
/* What the pools of lanes have in common. */
struct pool_options sessions_lane_options(const struct front *f);
/* The query is over that had this lane for itself. */
void sources_close_lane(struct lane *l);
/* May this caller use all sources of the set? 0, or -1 with *err (not_found: it is not told of what it must not use). */
int sources_allowed(const struct front *f, const struct exchange *x, const char *set, struct error *err);
/* The first source of the set that is declared and that this key (NULL without a key file) must not use, written to `name` and returned; NULL: none. */
const char *sources_lost(const struct front *f, const struct key *key, enum key_role role, const char *set, char name[SOURCE_NAME_BYTES]);
