/* /v1/admin: what changes the server or the database. The route table asks for the role. Runs in the front. */
#pragma once

struct front;
struct exchange;
struct control_database;

/* POST /v1/admin/reload */
void admin_reload(struct front *f, struct exchange *x);
/* POST /v1/admin/quarantine/clear: nothing is held against any statement or key any more */
void admin_quarantine_clear(struct front *f, struct exchange *x);
/* The supervisor's word on the database: answers those whose reload is over. */
void admin_reload_over(struct front *f, const struct control_database *m);
/* The server drains: nobody waits any longer. */
void admin_drain(struct front *f);
