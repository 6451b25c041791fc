/* The database file as the supervisor sees it: which version is there, which one the workers have, whether it is to be given up for a while.
 * database_watch.c looks, database_swap.c brings the workers to what is there. Runs in the supervisor. */
#pragma once
#include "link/control.h"
#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

struct supervisor;
struct worker;

struct database {
    /* An epoch is the file as it was found at one moment, or was to be opened again. Workers carry the one they were started in. */
    unsigned epoch;
    uint64_t version; /* of the file at that epoch (publish/identity.h) */
    unsigned proven;  /* the newest epoch of which a worker became ready; 0: none yet */
    uint64_t proven_version;
    bool swapping; /* there are workers of an older epoch than the file's */
    int64_t swap_began_ns;
    uint32_t reload;   /* the front's last request to open it again; 0: none waits for an answer */
    bool paused;       /* somebody needs the file for itself: no worker may have it */
    char refused[512]; /* why the file that is there can't be opened, while another version is served; "" */

    struct control_database told; /* what the front knows */

    int inotify_fd;
    struct event *inotify_event, *look;
    char name[256], real_name[256]; /* of the path as it was given, and of where it leads */
    int watch, real_watch;          /* of their directories; -1 */
};

/* database_watch.c */
void database_open(struct supervisor *s);
void database_close(struct supervisor *s);
/* Looks at the file now. When it is another one, a new epoch begins; the caller fills (workers_fill). */
void database_look(struct supervisor *s);
/* Tells the front what has changed since it was told last; `all`: everything (a new front). */
void database_tell(struct supervisor *s, bool all);

/* database_swap.c */
/* The file is another one, or is to be opened again: everybody is to come to it. */
void database_new_epoch(struct supervisor *s);
/* POST /v1/admin/reload. */
void database_reload(struct supervisor *s, uint32_t request);
/* A worker of the pool became ready. False: what it has open is not what it was started for; it was ended. */
bool database_proved(struct worker *w);
/* One could not start, and why. */
void database_refused(struct worker *w, const char *why);
/* May this spare take a slot, and does it count as one that is wanted? */
bool database_may_serve(const struct worker *w);
bool database_is_current(const struct worker *w);
/* How many spares there should be now: one at least while workers are exchanged. */
int database_spares(const struct supervisor *s);
/* The next exchanges, as far as spares are ready. At the end of every workers_fill. */
void database_swap_step(struct supervisor *s);
/* Gives the file up, or takes it up again. */
void database_pause(struct supervisor *s);
void database_resume(struct supervisor *s);
