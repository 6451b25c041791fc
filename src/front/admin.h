/* /v1/admin: what changes the server or the database. The route table asks for the role. Runs in the front. */
#pragma once

struct front;
struct exchange;
struct control_database;
struct control_write_over;
struct error;
struct query;
struct query_request;

/* POST /v1/admin/reload */
void admin_reload(struct front *f, struct exchange *x);
/* POST /v1/admin/quarantine/clear: nothing is held against any statement or key any more */
void admin_quarantine_clear(struct front *f, struct exchange *x);
/* The supervisor's word on the database: answers those whose reload is over. */
void admin_reload_over(struct front *f, const struct control_database *m);
/* The server drains: nobody waits any longer. */
void admin_drain(struct front *f);

/* admin_sql.c: a query of POST /v1/admin/sql gets a lane of its own, with a worker that looks at the statements, and one that writes where they do.
 * 0, or -1 with *err. Puts it on record in the log. */
int admin_place(struct query *q, const struct query_request *r, struct error *err);
/* Its writer has done its part: asks for the publication. query_published follows. */
void admin_publish(struct query *q);
void admin_write_over(struct front *f, const struct control_write_over *m);
/* How much of the copy for that query is made, from 0 to 1; negative: none is being made. */
double admin_copy_progress(const struct query *q);
