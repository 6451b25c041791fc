/* Prepared statements by text (see the header). Runs in the worker. */
#include "engine/stmt_cache.h"
#include "core/errors.h"

#include <stdlib.h>
#include <string.h>

struct stmt_cache {
    uint32_t entries_max, entries, bucket_mask;
    size_t bytes;
    struct stmt **buckets;
    struct stmt *newest, *oldest;
};

struct stmt_cache *stmt_cache_new(uint32_t entries)
{
    struct stmt_cache *c = calloc(1, sizeof *c);
    CHECK(c);
    c->entries_max = entries < 65536 ? entries : 65536;
    uint32_t buckets = 1;
    while (buckets < 2 * c->entries_max)
        buckets *= 2;
    c->bucket_mask = buckets - 1;
    c->buckets = calloc(buckets, sizeof(struct stmt *));
    CHECK(c->buckets);
    return c;
}

void stmt_release(struct stmt *s)
{
    columns_free(s->columns);
    s->columns = NULL;
    if (s->prepared)
        duckdb_destroy_prepare(&s->prepared);
}

/* Only spreads entries: every hit compares the whole text, and there are few entries for a chain to grow long. */
static uint64_t text_hash(const char *text, size_t len)
{
    uint64_t h = 0x9E3779B97F4A7C15ull ^ len, word;
    for (; len >= 8; len -= 8, text += 8) {
        memcpy(&word, text, 8);
        h = (h ^ word) * 0xD6E8FEB86659FD93ull;
        h ^= h >> 32;
    }
    word = 0;
    memcpy(&word, text, len);
    h = (h ^ word) * 0xD6E8FEB86659FD93ull;
    return h ^ h >> 32;
}

static void list_remove(struct stmt_cache *c, struct stmt *s)
{
    *(s->newer ? &s->newer->older : &c->newest) = s->older;
    *(s->older ? &s->older->newer : &c->oldest) = s->newer;
}

static void list_push(struct stmt_cache *c, struct stmt *s)
{
    s->newer = NULL;
    s->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = s;
    c->newest = s;
}

struct stmt *stmt_cache_find(struct stmt_cache *c, const char *text, size_t len)
{
    if (c->entries == 0 || len > STMT_CACHE_TEXT_MAX)
        return NULL;
    uint64_t h = text_hash(text, len);
    struct stmt *s = c->buckets[h & c->bucket_mask];
    while (s && (s->hash != h || s->text_len != len || memcmp(s->text, text, len) != 0))
        s = s->chain;
    if (s && s != c->newest) {
        list_remove(c, s);
        list_push(c, s);
    }
    return s;
}

static void drop(struct stmt_cache *c, struct stmt *s)
{
    struct stmt **at = &c->buckets[s->hash & c->bucket_mask];
    while (*at != s)
        at = &(*at)->chain;
    *at = s->chain;
    list_remove(c, s);
    c->entries--;
    c->bytes -= s->text_len;
    stmt_release(s);
    free(s->text);
    free(s);
}

struct stmt *stmt_cache_add(struct stmt_cache *c, const char *text, size_t len)
{
    if (c->entries_max == 0 || len > STMT_CACHE_TEXT_MAX)
        return NULL;
    while (c->oldest && (c->entries >= c->entries_max || c->bytes + len > STMT_CACHE_TOTAL_MAX))
        drop(c, c->oldest);
    struct stmt *s = calloc(1, sizeof *s);
    CHECK(s);
    s->text = malloc(len ? len : 1);
    CHECK(s->text);
    memcpy(s->text, text, len);
    s->text_len = len;
    s->hash = text_hash(text, len);
    s->chain = c->buckets[s->hash & c->bucket_mask];
    c->buckets[s->hash & c->bucket_mask] = s;
    list_push(c, s);
    c->entries++;
    c->bytes += len;
    return s;
}

void stmt_cache_unprepare(struct stmt_cache *c)
{
    struct stmt *older;
    for (struct stmt *s = c->newest; s; s = older) {
        older = s->older;
        if (s->renamed)
            drop(c, s);
        else
            stmt_release(s);
    }
}

void stmt_cache_clear(struct stmt_cache *c)
{
    for (struct stmt *s = c->oldest, *newer; s; s = newer) {
        newer = s->newer;
        drop(c, s);
    }
}

void stmt_cache_free(struct stmt_cache *c)
{
    if (!c)
        return;
    stmt_cache_clear(c);
    free(c->buckets);
    free(c);
}
