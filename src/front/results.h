/* Results that are kept: of asynchronous queries, until spool.ttl has passed, their query is deleted, or its key is gone. What a reader has begun to
 * fetch it gets to its end, whatever becomes of the result. Knows records and files; must not know HTTP. Runs in the front. */
#pragma once
#include "front/query.h"

#define ETAG_BYTES 35 /* 128 random bits in quotes, with the NUL */

struct result {
    struct record *rec;      /* pinned */
    struct spool_file *file; /* complete; nobody else can write to it */
    struct negotiated form;
    int64_t bytes;
    bool truncated;
    uint64_t version;   /* of the database it was made from; 0: none */
    int64_t expires_ns; /* clock_now_ns's time */
    char etag[ETAG_BYTES];
    struct result *next, *prev;
};

struct results;
struct results *results_new(struct registry *registry, struct tickets *tickets);
void results_free(struct results *all);

/* May one more result be kept for this key ("": without keys)? One has as many as are still free, so that others find some, too. 0, or -1 with *err. */
int results_check(const struct results *all, const char *owner, struct error *err);
/* The query's file becomes its record's result. 0, or -1 with *err: its file is not what it should be. */
int results_keep(struct query *q, struct error *err);
/* The record forgets its result. */
void results_drop(struct results *all, struct result *r);
/* Drops what is over its time. */
void results_expire(struct results *all, int64_t now_ns);
/* The key of that name is gone, and with it what was kept for it. */
void results_drop_owner(struct results *all, const char *owner);
unsigned results_count(const struct results *all);
