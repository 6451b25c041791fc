/* `auto` resolved, and the arithmetic written down. The formulas are those of the contract, section 3: available = limit - reserve; what is
 * left of it after explicit caps, over all workers, spares and sessions whose sizes are auto, is one process's memory_cap; its memory_limit
 * is half of that, at most 512 MB. Pure. Runs in the supervisor. */
#include "core/sizing.h"
#include "core/buf.h"
#include "core/units.h"

#include <inttypes.h>

/* One kind of process: the pool's workers with their spares, or the sessions. */
struct kind {
    int64_t count, limit_bytes, cap_bytes;
    bool limit_auto, cap_auto;
    bool shares; /* both are auto: it gets its part of what the others leave */
};

struct plan {
    const struct config *cfg;
    const struct machine *machine;
    struct sizing z;
    struct kind pool, session;
    int64_t available_bytes; /* of the limit, without the reserve; may be negative, as may what follows */
    int64_t explicit_bytes;  /* caps of the kinds that share nothing */
    int64_t rest_bytes;
    int64_t sharers;
    int64_t share_bytes; /* one sharer's memory_limit */
    int64_t together_bytes;
};

/* The largest number there is stands for all that are larger. */
static int64_t times(int64_t a, int64_t b)
{
    int64_t r;
    return __builtin_mul_overflow(a, b, &r) ? INT64_MAX : r;
}

static int64_t plus(int64_t a, int64_t b)
{
    int64_t r;
    return __builtin_add_overflow(a, b, &r) ? INT64_MAX : r;
}

/* Likewise with the smallest. */
static int64_t minus(int64_t a, int64_t b)
{
    int64_t r;
    return __builtin_sub_overflow(a, b, &r) ? INT64_MIN : r;
}

static int64_t within(int64_t v, int64_t min, int64_t max) { return v < min ? min : v > max ? max : v; }

/* A limit or cap that stands alone decides the other: cap = 2 x limit. */
static struct kind make_kind(int64_t limit_bytes, int64_t cap_bytes)
{
    struct kind k = {
        .limit_bytes = limit_bytes, .cap_bytes = cap_bytes, .limit_auto = limit_bytes == CONFIG_AUTO, .cap_auto = cap_bytes == CONFIG_AUTO};
    k.shares = k.limit_auto && k.cap_auto;
    if (k.cap_auto && !k.limit_auto)
        k.cap_bytes = times(limit_bytes, 2);
    if (k.limit_auto && !k.cap_auto)
        k.limit_bytes = within(cap_bytes / 2, SIZING_LIMIT_MIN_BYTES, SIZING_LIMIT_AUTO_BYTES);
    return k;
}

static int64_t together(const struct kind *k) { return times(k->count, k->cap_bytes); }

/* Cores without the memory for them: fewer workers start, rather than none. */
static void count_workers(struct plan *p)
{
    int64_t workers = p->cfg->pool.workers;
    if (workers == CONFIG_AUTO) {
        int64_t most = SIZING_POOL_AUTO - p->z.spares;
        if (p->pool.shares) {
            int64_t fit = p->rest_bytes / (2 * SIZING_LIMIT_MIN_BYTES) - p->z.spares - (p->session.shares ? p->session.count : 0);
            most = fit < most ? fit : most;
        }
        workers = within(p->machine->cpus, 1, most > 1 ? most : 1);
    }
    p->z.workers = workers;
    p->pool.count = workers + p->z.spares;
}

static void divide(struct plan *p)
{
    p->available_bytes = p->machine->memory_bytes - SIZING_RESERVE_BYTES;
    p->session.count = p->z.sessions;
    if (!p->session.shares)
        p->explicit_bytes = together(&p->session);
    p->rest_bytes = minus(p->available_bytes, p->explicit_bytes);
    count_workers(p);
    if (!p->pool.shares)
        p->explicit_bytes = plus(p->explicit_bytes, together(&p->pool));
    p->rest_bytes = minus(p->available_bytes, p->explicit_bytes);
    p->sharers = (p->pool.shares ? p->pool.count : 0) + (p->session.shares ? p->session.count : 0);
    if (p->sharers > 0)
        p->share_bytes = p->rest_bytes / p->sharers / 2;
    struct kind *const kinds[] = {&p->pool, &p->session};
    for (int i = 0; i < 2; i++) {
        if (!kinds[i]->shares)
            continue;
        kinds[i]->limit_bytes = within(p->share_bytes, SIZING_LIMIT_MIN_BYTES, SIZING_LIMIT_AUTO_BYTES);
        kinds[i]->cap_bytes = 2 * kinds[i]->limit_bytes;
    }
    if (p->session.shares && p->session.count == 0) { /* there is none: the number is only shown */
        p->session.limit_bytes = p->pool.limit_bytes;
        p->session.cap_bytes = p->pool.cap_bytes;
    }
    p->together_bytes = plus(together(&p->pool), together(&p->session));
}

static int64_t given_or(int64_t value, int64_t otherwise) { return value == CONFIG_AUTO ? otherwise : value; }

static void take_sizes(struct plan *p)
{
    const struct config *c = p->cfg;
    struct sizing *z = &p->z;
    z->threads = c->pool.threads;
    z->cpu_cap = given_or(c->pool.cpu_cap, z->threads);
    z->memory_limit_bytes = p->pool.limit_bytes;
    z->memory_cap_bytes = p->pool.cap_bytes;
    z->scratch_limit_bytes = c->pool.scratch_limit_bytes;
    z->session_memory_limit_bytes = p->session.limit_bytes;
    z->session_memory_cap_bytes = p->session.cap_bytes;
    z->session_scratch_limit_bytes = given_or(c->session.scratch_limit_bytes, z->scratch_limit_bytes);
    z->admin_memory_limit_bytes = given_or(c->admin.memory_limit_bytes, z->memory_limit_bytes);
    z->admin_threads = given_or(c->admin.threads, z->threads);
    z->overcommitted = p->together_bytes > p->available_bytes;
}

struct text {
    char s[UNITS_TEXT_MAX];
};

static struct text human(int64_t bytes)
{
    struct text t;
    units_human_size(bytes, t.s);
    return t;
}

static void put_count(struct buf *b, const char *before, int64_t n, const char *noun)
{
    buf_printf(b, "%s%" PRId64 " %s%s", before, n, noun, n == 1 ? "" : "s");
}

/* " / (2 workers + 1 spare + 0 sessions) / 2 = 157.6MB" */
static void put_division(struct buf *b, const struct plan *p)
{
    if (p->explicit_bytes > 0)
        buf_printf(b, " - %s of explicit sizes = %s", human(p->explicit_bytes).s, human(p->rest_bytes).s);
    buf_puts(b, " / (");
    if (p->pool.shares) {
        put_count(b, "", p->z.workers, "worker");
        put_count(b, " + ", p->z.spares, "spare");
    }
    if (p->session.shares)
        put_count(b, p->pool.shares ? " + " : "", p->session.count, "session");
    buf_printf(b, ") / 2 = %s", human(p->share_bytes).s);
    if (p->share_bytes > SIZING_LIMIT_AUTO_BYTES)
        buf_printf(b, ", at most %s", human(SIZING_LIMIT_AUTO_BYTES).s);
}

static void put_kind(struct buf *b, const char *name, const struct kind *k)
{
    buf_printf(b, "; %s: memory_limit %s%s, memory_cap %s%s", name, human(k->limit_bytes).s, k->limit_auto ? " (auto)" : "", human(k->cap_bytes).s,
               k->cap_auto ? " (auto)" : "");
}

static void put_arithmetic(struct plan *p)
{
    struct buf fixed = {.data = p->z.text, .cap = sizeof p->z.text - 1, .max = sizeof p->z.text - 1}, *b = &fixed;
    buf_printf(b, "memory: limit %s (%s) - %s supervisor and front = %s", human(p->machine->memory_bytes).s, p->machine->memory_from,
               human(SIZING_RESERVE_BYTES).s, human(p->available_bytes).s);
    if (p->sharers > 0)
        put_division(b, p);
    put_kind(b, "worker", &p->pool);
    if (p->session.count > 0)
        put_kind(b, "session", &p->session);
    buf_printf(b, "; together %" PRId64 " x %s", p->pool.count, human(p->pool.cap_bytes).s);
    if (p->session.count > 0)
        buf_printf(b, " + %" PRId64 " x %s", p->session.count, human(p->session.cap_bytes).s);
    buf_printf(b, " = %s of %s%s", human(p->together_bytes).s, human(p->available_bytes).s, p->z.overcommitted ? " (too much)" : "");
    buf_printf(b, "; cpus: %" PRId64 " (%s)", p->machine->cpus, p->machine->cpus_from);
    p->z.text[b->len] = 0;
}

static int refuse(const struct plan *p, struct error *err)
{
    /* Together too much, so the share was below the least (see divide): for want of memory, unless the explicit sizes alone are too much. */
    if (p->sharers > 0 && p->explicit_bytes <= p->available_bytes)
        return error_set(err, ERR_BAD_REQUEST,
                         "there is too little memory: a worker needs a memory_limit of at least %s. %s. Lower [pool] workers, spares, "
                         "[session] max, the explicit sizes, or set [pool] overcommit = yes",
                         human(SIZING_LIMIT_MIN_BYTES).s, p->z.text);
    int64_t left = minus(p->available_bytes, together(&p->session));
    return error_set(err, ERR_BAD_REQUEST,
                     "the configured memory does not fit. %s. At these sizes %" PRId64 " workers and spares fit together; lower [pool] "
                     "memory_limit, memory_cap, workers, spares, [session] max, or set [pool] overcommit = yes",
                     p->z.text, left > 0 ? left / p->pool.cap_bytes : 0);
}

int64_t sizing_auto_sessions(const struct machine *m, const struct config *cfg)
{
    int64_t pool = given_or(cfg->pool.workers, m->cpus) + cfg->pool.spares;
    int64_t fit = (m->memory_bytes - SIZING_RESERVE_BYTES) / (2 * SIZING_LIMIT_AUTO_BYTES) - pool;
    return within(fit, SIZING_SESSIONS_LEAST, SIZING_SESSIONS_AUTO);
}

int sizing_resolve(struct sizing *ret, const struct config *cfg, const struct machine *m, int64_t auto_sessions, struct error *err)
{
    struct plan p = {.cfg = cfg,
                     .machine = m,
                     .pool = make_kind(cfg->pool.memory_limit_bytes, cfg->pool.memory_cap_bytes),
                     .session = make_kind(cfg->session.memory_limit_bytes, cfg->session.memory_cap_bytes)};
    p.z.spares = cfg->pool.spares;
    p.z.sessions = given_or(cfg->session.max, auto_sessions);
    divide(&p);
    take_sizes(&p);
    put_arithmetic(&p);
    if (p.z.overcommitted && !cfg->pool.overcommit)
        return refuse(&p, err);
    *ret = p.z;
    return 0;
}

void sizing_apply(const struct sizing *s, struct config *cfg)
{
    cfg->pool.workers = s->workers;
    cfg->pool.memory_limit_bytes = s->memory_limit_bytes;
    cfg->pool.memory_cap_bytes = s->memory_cap_bytes;
    cfg->pool.cpu_cap = s->cpu_cap;
    cfg->session.max = s->sessions;
    cfg->session.memory_limit_bytes = s->session_memory_limit_bytes;
    cfg->session.memory_cap_bytes = s->session_memory_cap_bytes;
    cfg->session.scratch_limit_bytes = s->session_scratch_limit_bytes;
    cfg->admin.memory_limit_bytes = s->admin_memory_limit_bytes;
    cfg->admin.threads = s->admin_threads;
}
