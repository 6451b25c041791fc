/* Texts that end workers (see the header). Runs in the front. */
#include "sched/quarantine.h"
#include "core/clock.h"
#include "core/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRIKES 2
#define EVERYBODY 0 /* the tenant of rows that hold for all */

struct row {
    uint8_t hash[SECRET_HASH_BYTES]; /* SHA-256: nobody makes a text that is taken for another's */
    uint32_t tenant;
    unsigned strikes;
    bool crashed;         /* one of them was a crash */
    int64_t killed_at_ms; /* the longest timeout under which it was killed */
    int64_t last_ns;      /* the last strike */
    int64_t until_ns;     /* refused; 0: not */
};

struct quarantine {
    int64_t for_ns;
    struct row *rows;
    unsigned count;
    uint64_t strikes[2], refusals;
};

struct quarantine *quarantine_new(int64_t for_ms)
{
    struct quarantine *q = calloc(1, sizeof *q);
    CHECK(q);
    q->rows = calloc(QUARANTINE_ROWS, sizeof *q->rows);
    CHECK(q->rows);
    quarantine_set(q, for_ms);
    return q;
}

void quarantine_set(struct quarantine *q, int64_t for_ms)
{
    q->for_ns = for_ms * NS_PER_MS;
    if (for_ms == 0)
        q->count = 0;
}

void quarantine_free(struct quarantine *q)
{
    if (!q)
        return;
    free(q->rows);
    free(q);
}

static bool forgotten(const struct quarantine *q, const struct row *r, int64_t now_ns)
{
    int64_t memory = QUARANTINE_MEMORY_MS * NS_PER_MS;
    return now_ns - r->last_ns > (memory > 2 * q->for_ns ? memory : 2 * q->for_ns);
}

static void forget(struct quarantine *q, int64_t now_ns)
{
    for (unsigned i = 0; i < q->count;)
        if (forgotten(q, &q->rows[i], now_ns))
            q->rows[i] = q->rows[--q->count];
        else
            i++;
}

static struct row *find(struct quarantine *q, const uint8_t *hash, uint32_t tenant)
{
    for (unsigned i = 0; i < q->count; i++)
        if (q->rows[i].tenant == tenant && memcmp(q->rows[i].hash, hash, SECRET_HASH_BYTES) == 0)
            return &q->rows[i];
    return NULL;
}

/* The row that goes: the tenant's own oldest when it has its share, else the oldest of all. */
static struct row *oldest(struct quarantine *q, uint32_t tenant, bool own)
{
    struct row *r = NULL;
    for (unsigned i = 0; i < q->count; i++)
        if ((!own || q->rows[i].tenant == tenant) && (!r || q->rows[i].last_ns < r->last_ns))
            r = &q->rows[i];
    return r;
}

static struct row *find_or_add(struct quarantine *q, const uint8_t *hash, uint32_t tenant)
{
    struct row *r = find(q, hash, tenant);
    unsigned own = 0;
    if (r)
        return r;
    for (unsigned i = 0; i < q->count; i++)
        own += q->rows[i].tenant == tenant;
    if (own >= QUARANTINE_ROWS_OF_ONE || q->count == QUARANTINE_ROWS)
        r = oldest(q, tenant, own >= QUARANTINE_ROWS_OF_ONE);
    else
        r = &q->rows[q->count++];
    *r = (struct row){.tenant = tenant};
    memcpy(r->hash, hash, SECRET_HASH_BYTES);
    return r;
}

static unsigned tenants_crashed(const struct quarantine *q, const uint8_t *hash)
{
    unsigned n = 0;
    for (unsigned i = 0; i < q->count; i++)
        n += q->rows[i].tenant != EVERYBODY && q->rows[i].crashed && memcmp(q->rows[i].hash, hash, SECRET_HASH_BYTES) == 0;
    return n;
}

enum strike_result quarantine_strike(struct quarantine *q, uint32_t tenant, const char *sql, size_t len, enum strike why, int64_t timeout_ms,
                                     int64_t now_ns)
{
    uint8_t hash[SECRET_HASH_BYTES];
    if (q->for_ns == 0 || tenant == EVERYBODY)
        return STRIKE_NOTED;
    q->strikes[why]++;
    forget(q, now_ns);
    secret_hash(sql, len, hash);
    struct row *r = find_or_add(q, hash, tenant);
    r->strikes++;
    r->last_ns = now_ns;
    r->crashed |= why == STRIKE_CRASH;
    if (why == STRIKE_TIMEOUT && timeout_ms > r->killed_at_ms)
        r->killed_at_ms = timeout_ms;
    bool one = r->strikes >= STRIKES;
    if (one)
        r->until_ns = now_ns + q->for_ns;
    if (why != STRIKE_CRASH || tenants_crashed(q, hash) < 2)
        return one ? STRIKE_REFUSED_TO_ONE : STRIKE_NOTED;
    r = find_or_add(q, hash, EVERYBODY);
    r->crashed = true;
    r->last_ns = now_ns;
    r->until_ns = now_ns + q->for_ns;
    return STRIKE_REFUSED_TO_ALL;
}

static bool refuses(const struct row *r, int64_t timeout_ms, int64_t now_ns)
{
    return r && now_ns < r->until_ns && (r->crashed || timeout_ms <= r->killed_at_ms);
}

int quarantine_check(struct quarantine *q, uint32_t tenant, const char *sql, size_t len, int64_t timeout_ms, int64_t now_ns, struct error *err)
{
    uint8_t hash[SECRET_HASH_BYTES];
    if (!q || q->count == 0 || tenant == EVERYBODY)
        return 0;
    secret_hash(sql, len, hash);
    const struct row *all = find(q, hash, EVERYBODY), *own = find(q, hash, tenant), *r;
    r = refuses(own, timeout_ms, now_ns) ? own : refuses(all, timeout_ms, now_ns) ? all : NULL;
    if (!r)
        return 0;
    int64_t left_s = (r->until_ns - now_ns) / (1000 * NS_PER_MS) + 1;
    error_set(err, ERR_FORBIDDEN, "this statement is in quarantine for %lld s: %s", (long long)left_s,
              r == all     ? "it crashed workers of more than one key"
              : r->crashed ? "it crashed a worker, or had to be killed, more than once"
                           : "it had to be killed at its timeout more than once; a longer timeout may be tried");
    snprintf(err->what, sizeof err->what, QUARANTINE_WHAT);
    err->retry_after_s = left_s > INT32_MAX ? INT32_MAX : (int)left_s;
    q->refusals++;
    return -1;
}

void quarantine_hash_text(const char *sql, size_t len, char ret[QUARANTINE_HASH_BYTES])
{
    uint8_t hash[SECRET_HASH_BYTES];
    secret_hash(sql, len, hash);
    for (size_t i = 0; i < QUARANTINE_HASH_BYTES / 2; i++)
        snprintf(ret + 2 * i, 3, "%02x", hash[i]);
}

unsigned quarantine_clear(struct quarantine *q, int64_t now_ns)
{
    unsigned refused = quarantine_figures(q, now_ns).refused;
    q->count = 0;
    return refused;
}

struct quarantine_figures quarantine_figures(struct quarantine *q, int64_t now_ns)
{
    struct quarantine_figures f = {.strikes = {q->strikes[0], q->strikes[1]}, .refusals = q->refusals};
    forget(q, now_ns);
    for (unsigned i = 0; i < q->count; i++)
        f.refused += now_ns < q->rows[i].until_ns;
    return f;
}
