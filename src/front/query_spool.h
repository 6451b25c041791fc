/* A query's way into a file of the spool: by an order to its worker, which then writes there itself, or by copying what is in the ring. Both for
 * the results that are kept and for clients that are slower than their result. Runs in the front. */
#pragma once
#include "front/query.h"

/* There is much in the ring: copies it as query_spool_take, or, when the file is a long one already, has the worker go on there. 0, also when the
 * worker can't be told just now; -1 with *err (spool_full, unavailable, internal), and all is as before. */
int query_spool_move(struct query *q, struct error *err);
/* There is something in the ring, and its client has not even taken what is in the file: as query_spool_move, the latter once the worker waits. */
int query_spool_follow(struct query *q, struct error *err);
/* Copies all that is ready in the ring into the file, made when there is none, and gives the ring back. 0, or -1 with *err: there is no room, or it
 * can't be written, and all is as before. */
int query_spool_take(struct query *q, struct error *err);
/* The worker has turned to the file, or is further there. False: nothing new. */
bool query_spool_look(struct query *q);
/* Lets the worker write more. False: there is no room now, and the worker waits. */
bool query_spool_grow(struct query *q);
/* There is room that the worker does not know of yet. */
bool query_spool_room_is_set_aside(const struct query *q);
/* The worker has done its part: the file has its final size. */
void query_spool_end(struct query *q);
