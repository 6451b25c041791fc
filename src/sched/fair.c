/* The fair order of jobs that wait. Runs in the front.
 *
 * Tenants that may start a job are on lists by level: what they hold (places, penalty) by their share. A bitmap finds the lowest level that
 * is not empty. A tenant is put at the end of its level's list whenever its level changes, which makes equals take turns. */
#include "sched/fair_internal.h"

#include <stdlib.h>

#define LEVEL_UNIT 100 /* levels of one place at share 1 */
/* While a background job waits and could start: after so many interactive ones it is its turn. */
#define INTERACTIVE_IN_A_ROW 7
#define PENALTY_NS (10 * NS_PER_S) /* how long one place counts */
#define PENALTY_MAX 4
#define TICK_NS NS_PER_S

_Static_assert(JOB_CLASSES == TENANT_CLASSES, "classes");

struct fair *fair_new(bool one_account)
{
    static const struct tenant_limits usual = {.share = 10};
    struct fair *f = calloc(1, sizeof *f);
    CHECK(f);
    f->one_account = one_account;
    f->own = tenant_new(0, "", &usual);
    f->lengths = one_account ? NULL : calloc(1, sizeof *f->lengths);
    CHECK(one_account || f->lengths);
    return f;
}

void fair_free(struct fair *f)
{
    if (!f)
        return;
    tenant_unref(f->own);
    free(f->lengths);
    free(f);
}

/* ---- levels ---- */

static void unlist(struct fair *f, struct tenant *t, enum list list)
{
    struct levels *l = &f->levels[list];
    int level = t->turns.listed[list].level;
    if (level < 0)
        return;
    struct tenant *prev = t->turns.listed[list].prev, *next = t->turns.listed[list].next;
    *(prev ? &prev->turns.listed[list].next : &l->list[level].head) = next;
    *(next ? &next->turns.listed[list].prev : &l->list[level].tail) = prev;
    t->turns.listed[list].prev = t->turns.listed[list].next = NULL;
    t->turns.listed[list].level = -1;
    l->tenants--;
    if (l->list[level].head)
        return;
    l->filled[level / 64] &= ~(UINT64_C(1) << level % 64);
    if (!l->filled[level / 64])
        l->words &= ~(UINT32_C(1) << level / 64);
}

static void enlist(struct fair *f, struct tenant *t, enum list list, int level, bool first)
{
    struct levels *l = &f->levels[list];
    struct tenant *prev = first ? NULL : l->list[level].tail, *next = first ? l->list[level].head : NULL;
    t->turns.listed[list].level = level;
    t->turns.listed[list].prev = prev;
    t->turns.listed[list].next = next;
    *(prev ? &prev->turns.listed[list].next : &l->list[level].head) = t;
    *(next ? &next->turns.listed[list].prev : &l->list[level].tail) = t;
    l->filled[level / 64] |= UINT64_C(1) << level % 64;
    l->words |= UINT32_C(1) << level / 64;
    l->tenants++;
}

static struct tenant *lowest(const struct levels *l)
{
    if (!l->words)
        return NULL;
    int word = __builtin_ctz(l->words);
    return l->list[word * 64 + __builtin_ctzll(l->filled[word])].head;
}

unsigned fair_penalty_places(const struct fair *f, const struct tenant *t)
{
    int64_t left = t->turns.penalty_until_ns - f->now_ns;
    return left > 0 && t->turns.penalty_given_ns > f->forgiven_ns ? (unsigned)((left + PENALTY_NS - 1) / PENALTY_NS) : 0;
}

static int level_of(const struct fair *f, const struct tenant *t)
{
    uint64_t share = t->limits.share > 0 ? (uint64_t)t->limits.share : 1;
    uint64_t level = (uint64_t)(t->turns.running + fair_penalty_places(f, t)) * LEVEL_UNIT / share;
    return level < LEVELS ? (int)level : LEVELS - 1;
}

static bool at_limit(const struct tenant *t) { return t->limits.concurrency > 0 && t->turns.running >= t->limits.concurrency; }

static bool has_waiting(const struct fair *f, const struct tenant *t, enum list list)
{
    if (list != LIST_QUICK)
        return t->turns.waiting[list].count > 0;
    return lines_has_quick(t, JOB_INTERACTIVE) && f->now_ns >= t->turns.quick_until_ns;
}

enum among_equals { STAYS, GOES_BEHIND, GOES_FIRST };

/* Puts the tenant on the lists where it belongs now. STAYS: where its level is new, it goes behind its equals too. */
static void place_among(struct fair *f, struct tenant *t, enum among_equals how)
{
    int level = level_of(f, t);
    for (enum list list = 0; list < LISTS; list++) {
        bool may = has_waiting(f, t, list) && !t->turns.parked && !at_limit(t);
        if (may && t->turns.listed[list].level == level && how == STAYS)
            continue;
        unlist(f, t, list);
        if (may)
            enlist(f, t, list, level, how == GOES_FIRST);
    }
}

static void place(struct fair *f, struct tenant *t) { place_among(f, t, STAYS); }

static void note_active(struct fair *f, struct tenant *t)
{
    bool active = t->turns.running || t->turns.waiting[0].count || t->turns.waiting[1].count;
    if (active == t->turns.active)
        return;
    t->turns.active = active;
    if (active) {
        t->turns.prev_active = NULL;
        t->turns.next_active = f->active;
        if (f->active)
            f->active->turns.prev_active = t;
        f->active = t;
        f->penalties |= t->turns.penalty_until_ns > 0 || t->turns.quick_until_ns > 0;
    } else {
        *(t->turns.prev_active ? &t->turns.prev_active->turns.next_active : &f->active) = t->turns.next_active;
        if (t->turns.next_active)
            t->turns.next_active->turns.prev_active = t->turns.prev_active;
    }
}

/* ---- jobs ---- */

static void added(struct fair *f, struct tenant *t, enum job_class c)
{
    t->turns.waiting[c].count++;
    f->waiting++;
    note_active(f, t);
    place(f, t);
}

void fair_push(struct fair *f, struct job *job)
{
    struct tenant *t = fair_tenant_of(f, job);
    lines_append(t, job, f->lengths);
    added(f, t, job->class);
}

void fair_push_front(struct fair *f, struct job *job)
{
    struct tenant *t = fair_tenant_of(f, job);
    lines_prepend(t, job, f->lengths);
    added(f, t, job->class);
}

static void unpark_one(struct fair *f, struct tenant *t)
{
    struct tenant **at = &f->parked, *before = NULL;
    while (*at && *at != t) {
        before = *at;
        at = &before->turns.next_parked;
    }
    CHECK(*at);
    *at = t->turns.next_parked;
    if (f->last_parked == t)
        f->last_parked = before;
    t->turns.parked = false;
    f->parked_count--;
}

void fair_remove(struct fair *f, struct job *job)
{
    struct tenant *t = fair_tenant_of(f, job);
    enum job_class c = job->class;
    lines_cut(t, job);
    CHECK(t->turns.waiting[c].count > 0);
    t->turns.waiting[c].count--;
    f->waiting--;
    if (t->turns.parked && !t->turns.waiting[0].count && !t->turns.waiting[1].count)
        unpark_one(f, t);
    place(f, t);
    note_active(f, t);
}

static bool background_may(const struct fair *f)
{
    unsigned most = f->places > 1 ? f->places - 1 : 1;
    return f->background_running < most;
}

struct turn {
    struct tenant *tenant; /* NULL: nobody's */
    enum job_class class;
    unsigned in_a_row; /* interactive ones, with this one, while a background job waits */
};

static struct turn next_turn(const struct fair *f)
{
    struct tenant *interactive = lowest(&f->levels[JOB_INTERACTIVE]);
    struct tenant *background = background_may(f) ? lowest(&f->levels[JOB_BACKGROUND]) : NULL;
    if (background && (!interactive || f->in_a_row >= INTERACTIVE_IN_A_ROW))
        return (struct turn){background, JOB_BACKGROUND, 0};
    return (struct turn){interactive, JOB_INTERACTIVE, background ? f->in_a_row + 1 : 0};
}

static struct job *take_turn(struct fair *f, const struct turn *turn)
{
    struct job *job = lines_next(turn->tenant, turn->class, f->lengths);
    f->in_a_row = turn->in_a_row;
    fair_remove(f, job);
    return job;
}

struct job *fair_pop(struct fair *f)
{
    struct turn turn = next_turn(f);
    return turn.tenant ? take_turn(f, &turn) : NULL;
}

struct job *fair_pop_if_quick(struct fair *f)
{
    struct turn turn = next_turn(f);
    bool quick = turn.tenant && turn.class == JOB_INTERACTIVE && lines_next_is_quick(turn.tenant, turn.class, f->lengths);
    return quick ? take_turn(f, &turn) : NULL;
}

struct job *fair_pop_quick(struct fair *f)
{
    struct tenant *t;
    while ((t = lowest(&f->levels[LIST_QUICK]))) {
        struct job *job = lines_quick(t, JOB_INTERACTIVE, f->lengths);
        if (job) {
            fair_remove(f, job);
            return job;
        }
        place(f, t); /* none of them is quick any more */
    }
    return NULL;
}

bool fair_has_room(const struct fair *f, const struct job *job)
{
    const struct tenant *t = fair_tenant_of(f, job);
    return !at_limit(t) && !t->turns.parked;
}

bool fair_may_pass(const struct fair *f, const struct job *job)
{
    const struct tenant *t = fair_tenant_of(f, job);
    if (at_limit(t) || t->turns.parked || f->levels[JOB_INTERACTIVE].tenants > 0)
        return false;
    /* Background jobs that wait though a worker is free wait for their own limit, not for this one. */
    return job->class == JOB_INTERACTIVE ? t->turns.waiting[JOB_INTERACTIVE].count == 0 : background_may(f) && f->levels[JOB_BACKGROUND].tenants == 0;
}

void fair_started(struct fair *f, struct job *job)
{
    struct tenant *t = fair_tenant_of(f, job);
    CHECK(!job->has_place);
    job->has_place = true;
    t->turns.running++;
    f->background_running += job->class == JOB_BACKGROUND;
    note_active(f, t);
    place_among(f, t, GOES_BEHIND);
}

void fair_ended(struct fair *f, struct job *job)
{
    struct tenant *t = fair_tenant_of(f, job);
    if (!job->has_place)
        return;
    job->has_place = false;
    CHECK(t->turns.running > 0);
    t->turns.running--;
    f->background_running -= job->class == JOB_BACKGROUND;
    place(f, t);
    note_active(f, t);
}

void fair_sent_early(struct fair *f, struct job *job)
{
    fair_started(f, job);
    fair_tenant_of(f, job)->turns.early++;
    f->early++;
}

void fair_early_over(struct fair *f, struct job *job)
{
    CHECK(f->early > 0);
    fair_tenant_of(f, job)->turns.early--;
    f->early--;
}

unsigned fair_early(const struct fair *f) { return f->early; }

void fair_set_places(struct fair *f, unsigned places) { f->places = places; }

/* ---- parking ---- */

void fair_park(struct fair *f, struct job *of)
{
    struct tenant *t = fair_tenant_of(f, of);
    if (t->turns.parked)
        return;
    t->turns.parked = true;
    t->turns.next_parked = NULL;
    *(f->last_parked ? &f->last_parked->turns.next_parked : &f->parked) = t;
    f->last_parked = t;
    f->parked_count++;
    place(f, t);
}

void fair_unpark(struct fair *f)
{
    struct tenant *last_first = NULL;
    while (f->parked) {
        struct tenant *t = f->parked;
        unpark_one(f, t);
        t->turns.next_parked = last_first;
        last_first = t;
    }
    while (last_first) {
        struct tenant *t = last_first;
        last_first = t->turns.next_parked;
        place_among(f, t, GOES_FIRST);
    }
}

unsigned fair_parked(const struct fair *f) { return f->parked_count; }

/* ---- penalties, limits ---- */

void fair_penalize(struct fair *f, struct job *of, int64_t now_ns)
{
    struct tenant *t = fair_tenant_of(f, of);
    bool more = t->turns.penalty_until_ns > now_ns && t->turns.penalty_given_ns > f->forgiven_ns;
    int64_t until = (more ? t->turns.penalty_until_ns : now_ns) + PENALTY_NS;
    t->turns.penalty_until_ns = until < now_ns + PENALTY_MAX * PENALTY_NS ? until : now_ns + PENALTY_MAX * PENALTY_NS;
    t->turns.penalty_given_ns = now_ns;
    f->penalized++;
    if (now_ns > f->now_ns)
        f->now_ns = now_ns;
    f->penalties = true;
    place(f, t);
}

uint64_t fair_penalties(const struct fair *f) { return f->penalized; }

void fair_distrust(struct fair *f, const struct job *job, enum length taken_for, int64_t until_ns)
{
    struct tenant *t = fair_tenant_of(f, job);
    int64_t *at = taken_for == LENGTH_QUICK ? &t->turns.quick_until_ns : &t->turns.unknown_until_ns;
    if (until_ns > *at)
        *at = until_ns;
    f->penalties = true;
    place(f, t);
}

void fair_forgive(struct fair *f, int64_t now_ns)
{
    f->forgiven_ns = now_ns;
    fair_limits_changed(f);
}

void fair_tick(struct fair *f, int64_t now_ns)
{
    if (now_ns - f->now_ns < TICK_NS)
        return;
    f->now_ns = now_ns;
    if (!f->penalties)
        return;
    f->penalties = false;
    for (struct tenant *t = f->active; t; t = t->turns.next_active) {
        place(f, t);
        f->penalties |= fair_penalty_places(f, t) > 0 || t->turns.quick_until_ns > f->now_ns;
    }
}

void fair_limits_changed(struct fair *f)
{
    for (struct tenant *t = f->active; t; t = t->turns.next_active)
        place(f, t);
}

/* ---- figures ---- */

static unsigned waiting_of(const struct tenant *t) { return t->turns.waiting[JOB_INTERACTIVE].count + t->turns.waiting[JOB_BACKGROUND].count; }

unsigned fair_waiting(const struct fair *f) { return f->waiting + f->early; }

unsigned fair_waiting_of(const struct fair *f, const struct job *job)
{
    const struct tenant *t = fair_tenant_of(f, job);
    return waiting_of(t) + t->turns.early;
}

bool fair_at_its_limit(const struct fair *f, const struct job *job) { return at_limit(fair_tenant_of(f, job)); }

struct job *fair_victim(struct fair *f, const struct job *newcomer)
{
    const struct tenant *longest = NULL;
    for (const struct tenant *t = f->active; t; t = t->turns.next_active)
        if (!longest || waiting_of(t) > waiting_of(longest))
            longest = t;
    if (!longest || waiting_of(longest) <= waiting_of(fair_tenant_of(f, newcomer)) + 1)
        return NULL;
    for (int c = JOB_BACKGROUND; c >= JOB_INTERACTIVE; c--)
        if (longest->turns.waiting[c].count > 0)
            return lines_newest(longest, (enum job_class)c);
    return NULL;
}

void fair_each(const struct fair *f, void (*fn)(void *ctx, const struct fair_figures *figures), void *ctx)
{
    for (const struct tenant *t = f->active; t; t = t->turns.next_active) {
        struct fair_figures figures = {t->name, waiting_of(t) + t->turns.early, t->turns.running - t->turns.early, fair_penalty_places(f, t)};
        fn(ctx, &figures);
    }
}
