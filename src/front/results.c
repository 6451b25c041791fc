/* Kept results (see the header). Runs in the front. */
#include "front/results.h"
#include "core/clock.h"
#include "front/tickets.h"
#include "link/gone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Each has a record of up to 3 KB and a descriptor. */
#define RESULTS_MAX 4096

struct results {
    struct registry *registry;
    struct tickets *tickets;
    struct result *first;
    unsigned count;
    int64_t next_ns; /* nothing expires before */
};

struct results *results_new(struct registry *registry, struct tickets *tickets)
{
    struct results *all = calloc(1, sizeof *all);
    CHECK(all);
    all->registry = registry;
    all->tickets = tickets;
    return all;
}

void results_free(struct results *all)
{
    for (struct result *r = all ? all->first : NULL, *next; r; r = next) {
        next = r->next;
        results_drop(all, r);
    }
    free(all);
}

int results_check(const struct results *all, const char *owner, struct error *err)
{
    unsigned left = all->count < RESULTS_MAX ? RESULTS_MAX - all->count : 0, mine = 0;
    for (const struct result *r = all->first; owner[0] && r; r = r->next)
        mine += strcmp(r->rec->owner, owner) == 0;
    if (left > 0 && mine < left)
        return 0;
    return error_set(err, ERR_SPOOL_FULL, "%u results are kept, %u of them for this key, and there is no place for one more: delete some", all->count,
                     mine);
}

/* Not made from the id: an id may be used again, and then means other bytes. */
static void make_etag(char ret[ETAG_BYTES])
{
    uint64_t r[2];
    CHECK(getrandom(r, sizeof r, 0) == (ssize_t)sizeof r);
    snprintf(ret, ETAG_BYTES, "\"%016llx%016llx\"", (unsigned long long)r[0], (unsigned long long)r[1]);
}

int results_keep(struct query *q, struct error *err)
{
    struct results *all = q->f->results;
    struct record *rec = q->record;
    if (all->count >= RESULTS_MAX)
        return error_set(err, ERR_SPOOL_FULL, "%u results are kept, and there is no place for one more", all->count);
    if (spool_size(spool_fd(q->file)) != q->file_end)
        return error_set(err, ERR_INTERNAL, "the file of the result is not as long as the result");
    struct result *r = calloc(1, sizeof *r);
    CHECK(r && rec && !rec->result);
    *r = (struct result){.rec = rec,
                         .file = q->file,
                         .form = q->form,
                         .bytes = q->file_end,
                         .truncated = q->job->truncated,
                         .version = q->job->version,
                         .expires_ns = clock_now_ns() + q->f->cfg->spool.ttl_ms * NS_PER_MS,
                         .next = all->first};
    q->file = NULL;
    make_etag(r->etag);
    if (all->first)
        all->first->prev = r;
    all->first = r;
    all->count++;
    record_pin(all->registry, rec);
    rec->result = r;
    if (all->count == 1 || r->expires_ns < all->next_ns)
        all->next_ns = r->expires_ns;
    gone_note(&q->f->page->results, gone_hash(rec->key.high, rec->key.low, rec->owner));
    return 0;
}

void results_drop(struct results *all, struct result *r)
{
    *(r->prev ? &r->prev->next : &all->first) = r->next;
    if (r->next)
        r->next->prev = r->prev;
    all->count--;
    tickets_forget(all->tickets, r);
    r->rec->result = NULL;
    record_unpin(all->registry, r->rec);
    spool_unref(r->file);
    free(r);
}

void results_expire(struct results *all, int64_t now_ns)
{
    if (now_ns < all->next_ns || !all->first)
        return;
    all->next_ns = INT64_MAX;
    for (struct result *r = all->first, *next; r; r = next) {
        next = r->next;
        if (now_ns >= r->expires_ns)
            results_drop(all, r);
        else if (r->expires_ns < all->next_ns)
            all->next_ns = r->expires_ns;
    }
}

void results_drop_owner(struct results *all, const char *owner)
{
    for (struct result *r = all->first, *next; r; r = next) {
        next = r->next;
        if (strcmp(r->rec->owner, owner) == 0)
            results_drop(all, r);
    }
}

unsigned results_count(const struct results *all) { return all->count; }
