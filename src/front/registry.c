/* The register of queries: a hash table by id, a list by age, and a list of those that are over, the first to be forgotten first.
 * Runs in the front. */
#include "front/registry.h"
#include "core/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define FIRST_BUCKETS 4096 /* for the usual history few have more than one record: each further is a cache miss or two */

struct registry {
    struct record **bucket;
    size_t buckets; /* a power of two */
    size_t count;
    uint64_t seed[2]; /* clients choose ids: which bucket they get is not for them to say */
    uint64_t last_number;
    struct record *newest, *oldest;
    struct record *first_over, *last_over;
    int64_t over_count, history;
};

bool query_key_parse(const char *text, struct query_key *ret)
{
    uint64_t part[2] = {0, 0};
    int digits = 0;
    for (int i = 0; i < QUERY_ID_BYTES - 1; i++) {
        char c = text[i];
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (c != '-')
                return false;
            continue;
        }
        int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (v < 0)
            return false;
        part[digits / 16] = part[digits / 16] << 4 | (uint64_t)v;
        digits++;
    }
    if (text[QUERY_ID_BYTES - 1])
        return false;
    *ret = (struct query_key){part[0], part[1]};
    return true;
}

static bool same(struct query_key a, struct query_key b) { return a.high == b.high && a.low == b.low; }

static struct record **bucket_of(struct registry *r, struct query_key k)
{
    uint64_t h = (k.high ^ r->seed[0]) * 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 29 ^ k.low ^ r->seed[1]) * 0xBF58476D1CE4E5B9u;
    return &r->bucket[(h ^ h >> 32) & (r->buckets - 1)];
}

struct registry *registry_new(int64_t history)
{
    struct registry *r = calloc(1, sizeof *r);
    CHECK(r);
    r->buckets = FIRST_BUCKETS;
    r->bucket = calloc(r->buckets, sizeof *r->bucket);
    CHECK(r->bucket && getrandom(r->seed, sizeof r->seed, 0) == (ssize_t)sizeof r->seed);
    r->history = history;
    return r;
}

static void hash_in(struct registry *r, struct record *rec)
{
    struct record **b = bucket_of(r, rec->key);
    rec->hash_next = *b;
    *b = rec;
}

static void grow(struct registry *r)
{
    struct record **bigger = calloc(r->buckets * 2, sizeof *bigger);
    CHECK(bigger);
    free(r->bucket);
    r->bucket = bigger;
    r->buckets *= 2;
    for (struct record *rec = r->newest; rec; rec = rec->older)
        hash_in(r, rec);
}

static void over_unlink(struct registry *r, struct record *rec)
{
    if (!rec->prev_over && r->first_over != rec)
        return; /* not on the list */
    *(rec->prev_over ? &rec->prev_over->next_over : &r->first_over) = rec->next_over;
    *(rec->next_over ? &rec->next_over->prev_over : &r->last_over) = rec->prev_over;
    rec->next_over = rec->prev_over = NULL;
    r->over_count--;
}

static void over_append(struct registry *r, struct record *rec)
{
    rec->prev_over = r->last_over;
    *(r->last_over ? &r->last_over->next_over : &r->first_over) = rec;
    r->last_over = rec;
    r->over_count++;
}

void registry_drop(struct registry *r, struct record *rec)
{
    struct record **at = bucket_of(r, rec->key);
    while (*at != rec)
        at = &(*at)->hash_next;
    *at = rec->hash_next;
    over_unlink(r, rec);
    *(rec->newer ? &rec->newer->older : &r->newest) = rec->older;
    *(rec->older ? &rec->older->newer : &r->oldest) = rec->newer;
    r->count--;
    free(rec->detail);
    free(rec->what);
    free(rec->destination);
    free(rec);
}

static void forget_old(struct registry *r)
{
    while (r->over_count > r->history)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it has left the list when it is freed */
        registry_drop(r, r->first_over);
}

void registry_free(struct registry *r)
{
    if (!r)
        return;
    while (r->newest)
        registry_drop(r, r->newest);
    free(r->bucket);
    free(r);
}

void registry_set_history(struct registry *r, int64_t history)
{
    r->history = history;
    forget_old(r);
}

static struct record *find(struct registry *r, struct query_key k)
{
    struct record *rec = *bucket_of(r, k);
    while (rec && !same(rec->key, k))
        rec = rec->hash_next;
    return rec;
}

struct record *registry_find(struct registry *r, const char *id)
{
    struct query_key k;
    return query_key_parse(id, &k) ? find(r, k) : NULL;
}

bool registry_id_is_free(struct registry *r, const char *id, const char *owner)
{
    const struct record *rec = registry_find(r, id);
    return !rec || (record_is_over(rec) && rec->pins == 0 && !rec->disowned && strcmp(rec->owner, owner) == 0);
}

/* At most `max` bytes of it, ended between two characters. */
static size_t cut(const char *text, size_t len, size_t max)
{
    if (len <= max)
        return len;
    while (max > 0 && ((unsigned char)text[max] & 0xC0) == 0x80)
        max--;
    return max;
}

void registry_disown(struct registry *r, const char *owner)
{
    for (struct record *rec = r->newest; rec; rec = rec->older)
        rec->disowned |= strcmp(rec->owner, owner) == 0;
}

struct record *registry_add(struct registry *r, const char *id, const char *owner, const char *sql, size_t sql_len)
{
    struct query_key key;
    CHECK(query_key_parse(id, &key));
    struct record *old = find(r, key);
    if (old)
        registry_drop(r, old);
    if (r->count >= r->buckets)
        grow(r);
    size_t kept = cut(sql, sql_len, RECORD_SQL_BYTES);
    struct record *rec = calloc(1, sizeof *rec + kept);
    CHECK(rec);
    rec->key = key;
    memcpy(rec->id, id, sizeof rec->id);
    memcpy(rec->owner, owner, strnlen(owner, sizeof rec->owner - 1));
    memcpy(rec->sql, sql, kept);
    rec->sql_len = (uint32_t)kept;
    rec->sql_cut = kept < sql_len;
    rec->state = JOB_QUEUED;
    rec->submitted_ms = clock_wall_ms();
    rec->worker = -1;
    rec->cpu_us = -1;
    rec->progress = -1;
    rec->number = ++r->last_number;
    rec->older = r->newest;
    *(r->newest ? &r->newest->newer : &r->oldest) = rec;
    r->newest = rec;
    r->count++;
    hash_in(r, rec);
    return rec;
}

void registry_over(struct registry *r, struct record *rec)
{
    CHECK(record_is_over(rec));
    rec->live = NULL;
    if (rec->pins == 0) {
        over_append(r, rec);
        forget_old(r);
    }
}

void record_pin(struct registry *r, struct record *rec)
{
    if (rec->pins++ == 0)
        over_unlink(r, rec);
}

void record_unpin(struct registry *r, struct record *rec)
{
    CHECK(rec->pins > 0);
    if (--rec->pins == 0 && record_is_over(rec)) {
        over_append(r, rec);
        forget_old(r);
    }
}

void record_set_error(struct record *rec, const struct error *err)
{
    rec->code = err->code;
    rec->stopped_by = err->stopped_by;
    rec->signal = err->signal;
    rec->position = err->position;
    rec->limit_ms = err->limit_ms;
    rec->limit_bytes = err->limit_bytes;
    snprintf(rec->source, sizeof rec->source, "%.*s", (int)sizeof err->source, err->source);
    memcpy(rec->error_type, err->error_type, sizeof rec->error_type);
    rec->error_type[sizeof rec->error_type - 1] = 0;
    free(rec->what);
    rec->what = NULL;
    if (err->code == ERR_FORBIDDEN && err->what[0])
        CHECK(rec->what = strndup(err->what, sizeof err->what));
    free(rec->detail);
    rec->detail = NULL;
    size_t len = cut(err->detail, strnlen(err->detail, sizeof err->detail), RECORD_DETAIL_BYTES);
    if (len)
        CHECK(rec->detail = strndup(err->detail, len));
}

void record_set_destination(struct record *rec, const char *source, const char *path)
{
    size_t n = strlen(source) + 1, m = strlen(path) + 1;
    free(rec->destination);
    rec->destination = malloc(n + m);
    CHECK(rec->destination);
    memcpy(rec->destination, source, n);
    memcpy(rec->destination + n, path, m);
}

struct record *registry_newest(struct registry *r) { return r->newest; }
size_t registry_count(const struct registry *r) { return r->count; }

/* ---- as JSON ---- */

static void put_text(struct buf *b, const char *name, const char *text, size_t len)
{
    buf_printf(b, ",\"%s\":", name);
    if (text)
        buf_json_string(b, text, len);
    else
        buf_puts(b, "null");
}

static void put_name(struct buf *b, const char *name, const char *text) { put_text(b, name, text, text ? strlen(text) : 0); }

static void put_time(struct buf *b, int64_t ms)
{
    struct tm t;
    time_t s = (time_t)(ms / 1000);
    char text[40];
    gmtime_r(&s, &t);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &t);
    snprintf(text + n, sizeof text - n, ".%03dZ", (int)(ms % 1000));
    put_name(b, "submitted_at", text);
}

static void put_error(struct buf *b, const struct record *rec)
{
    if (rec->detail)
        put_name(b, "detail", rec->detail);
    if (rec->what)
        put_name(b, "what", rec->what);
    if (rec->error_type[0])
        put_name(b, "error_type", rec->error_type);
    if (rec->position > 0)
        buf_printf(b, ",\"position\":%" PRId64, rec->position);
    const char *abbrev = rec->signal > 0 ? sigabbrev_np(rec->signal) : NULL;
    if (abbrev)
        buf_printf(b, ",\"signal\":\"SIG%s\"", abbrev);
    else if (rec->signal > 0)
        buf_printf(b, ",\"signal\":\"signal %d\"", rec->signal);
}

/* As in the answer of the query itself: out of memory was found by the engine or by the kernel. */
static const char *stopped_by(const struct record *rec)
{
    if (rec->code == ERR_OUT_OF_MEMORY)
        return rec->stopped_by == STOP_KILL ? "kernel" : "engine";
    return rec->stopped_by == STOP_NONE ? NULL : stop_stage_text(rec->stopped_by);
}

bool record_write(const struct record *rec, struct buf *b)
{
    bool over = record_is_over(rec);
    if (!buf_reserve(b, RECORD_JSON_BYTES))
        return false;
    buf_puts(b, "{\"id\":");
    buf_json_string(b, rec->id, strlen(rec->id));
    put_name(b, "state", job_state_text(rec->state));
    put_name(b, "code", over ? error_text(rec->code) : NULL);
    put_name(b, "key", rec->owner[0] ? rec->owner : NULL);
    put_text(b, "sql", rec->sql, rec->sql_len);
    if (rec->sql_cut)
        buf_puts(b, ",\"sql_truncated\":true");
    put_time(b, rec->submitted_ms);
    buf_printf(b, ",\"queue_ms\":%.3f,\"exec_ms\":%.3f,\"rows\":%" PRIu64 ",\"bytes\":%" PRIu64, (double)rec->queue_us / 1e3,
               (double)rec->exec_us / 1e3, rec->rows, rec->bytes);
    if (rec->progress < 0)
        buf_puts(b, ",\"progress\":null");
    else
        buf_printf(b, ",\"progress\":%.4g", rec->progress);
    if (rec->worker < 0)
        buf_puts(b, ",\"worker\":null");
    else
        buf_printf(b, ",\"worker\":%d", rec->worker);
    if (rec->memory_bytes > 0)
        buf_printf(b, ",\"memory_bytes\":%" PRId64, rec->memory_bytes);
    else
        buf_puts(b, ",\"memory_bytes\":null");
    if (rec->cpu_us >= 0)
        buf_printf(b, ",\"cpu_ms\":%.3f", (double)rec->cpu_us / 1e3);
    else
        buf_puts(b, ",\"cpu_ms\":null");
    if (rec->profiled)
        buf_printf(b, ",\"profile\":{\"rows_scanned\":%" PRIu64 ",\"spill_bytes\":%" PRIu64 ",\"peak_memory_bytes\":%" PRIu64 "}", rec->rows_scanned,
                   rec->spill_bytes, rec->peak_memory_bytes);
    put_name(b, "stopped_by", stopped_by(rec));
    put_error(b, rec);
    if (rec->destination) {
        const char *path = rec->destination + strlen(rec->destination) + 1;
        buf_printf(b, ",\"destination\":{\"source\":\"%s\"", rec->destination); /* a source's name: a-z, 0-9 and _ */
        put_name(b, "path", path);
        buf_puts(b, "}");
    }
    return buf_puts(b, "}");
}
