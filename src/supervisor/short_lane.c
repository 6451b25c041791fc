/* The short lane: a spare stands by for the slot of a worker that dies. One of them the front has meanwhile, and gives it quick queries while all others
 * are busy (sched/pool_short_lane.c). For everybody else it is a spare. Without pool.spares there is none, and while workers are exchanged for a newer
 * database every spare is needed. When the front knows that a worker will have to be replaced, another one starts before. Runs in the supervisor. */
#include "supervisor/supervisor_internal.h"

struct worker *short_lane(const struct supervisor *s)
{
    for (struct worker *w = s->workers; w; w = w->next)
        if (w->short_lane)
            return w;
    return NULL;
}

bool short_lane_is_spare(const struct worker *w) { return w->short_lane && !w->retiring; }

void short_lane_open(struct supervisor *s)
{
    if (s->spares == 0 || s->database.swapping || s->draining || s->front.child.pidfd < 0 || short_lane(s))
        return;
    for (int i = 0; i < s->slots; i++)
        if (!s->slot[i])
            return;
    struct worker *w = workers_oldest_spare(s);
    if (w)
        (void)workers_assign(s, w, WORKER_KIND_POOL, -1, 0);
}

/* Else the lane's worker would take its slot, and the lane be closed for as long as a process takes to start: with slow clients, whose results end
 * as files and cost a worker each, most of the time. Whatever the front says of whomever: one more at a time. */
void short_lane_worker_leaves(struct supervisor *s, uint32_t worker)
{
    struct worker *w = workers_find(s, worker);
    if (!w || w->kind != WORKER_KIND_POOL || w->state != WORKER_POOL || w->doomed || w->leaves)
        return;
    w->leaves = true;
    workers_fill(s);
}

int short_lane_relief(const struct supervisor *s)
{
    if (s->spares == 0 || s->database.swapping || s->draining)
        return 0;
    for (const struct worker *w = s->workers; w; w = w->next)
        if (w->leaves && !w->doomed)
            return 1;
    return 0;
}

bool short_lane_promote(struct supervisor *s, int slot)
{
    struct worker *w = short_lane(s);
    if (!w || w->doomed || w->retiring || w->generation != s->generation || !database_may_serve(w))
        return false;
    struct control_slot m = {.type = CONTROL_SLOT, .worker = w->id, .slot = (uint32_t)slot};
    if (!front_send(s, &m, NULL, 0))
        return false;
    workers_take_slot(w, slot);
    return true;
}
