/* The database's own views, macros and tables (see the header). Runs in the worker. */
#include "engine/policy_stored.h"
#include "core/errors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024
#define NONE UINT32_MAX

struct use {
    uint32_t used, user;
};

struct stored {
    struct stored_object *objects;
    uint32_t count, cap;
    struct use *uses;
    size_t use_count, use_cap;
    uint32_t buckets[BUCKETS];
};

struct stored *stored_new(void)
{
    struct stored *s = calloc(1, sizeof *s);
    CHECK(s);
    memset(s->buckets, 0xFF, sizeof s->buckets);
    return s;
}

void stored_free(struct stored *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->count; i++) {
        struct stored_object *o = &s->objects[i];
        free(o->database);
        free(o->schema);
        free(o->name);
        free(o->body);
        free(o->why);
    }
    free(s->objects);
    free(s->uses);
    free(s);
}

static char *copy(const char *text)
{
    char *c = text ? strdup(text) : NULL;
    CHECK(c || !text);
    return c;
}

uint32_t stored_add(struct stored *s, enum stored_kind kind, const char *database, const char *schema, const char *name, const char *body)
{
    if (s->count == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 64;
        s->objects = realloc(s->objects, s->cap * sizeof *s->objects);
        CHECK(s->objects);
    }
    struct stored_object *o = &s->objects[s->count];
    *o = (struct stored_object){.kind = kind, .database = copy(database), .schema = copy(schema), .name = copy(name), .body = copy(body)};
    o->hash = policy_name_hash(name, strlen(name));
    o->chain = s->buckets[o->hash % BUCKETS];
    s->buckets[o->hash % BUCKETS] = s->count;
    return s->count++;
}

uint32_t stored_count(const struct stored *s) { return s->count; }
struct stored_object *stored_get(struct stored *s, uint32_t number) { return &s->objects[number]; }

static bool is(struct span s, const char *text) { return policy_name_is(s.at, s.len, text); }

/* Whether the name may stand for the object. `a.t` is schema a, or database a. What stands before a function's name may as well be the
 * value it is called on (x.m(1) is m(x, 1)), so only the name counts there. */
static bool stands_for(const struct policy_name *n, const struct stored_object *o)
{
    if (!is(n->name, o->name))
        return false;
    if (o->kind == STORED_MACRO)
        return true;
    if (n->catalog.len)
        return is(n->catalog, o->database) && is(n->schema, o->schema);
    return !n->schema.len || is(n->schema, o->schema) || is(n->schema, o->database);
}

/* A name with its escapes resolved; `text` is freed by the caller. Names without escapes, nearly all, stay as they are. */
static struct span plain(struct span s, char **ret_text)
{
    size_t len;
    *ret_text = s.len && memchr(s.at, '\\', s.len) ? span_text(s, &len) : NULL;
    return *ret_text ? (struct span){*ret_text, len} : s;
}

/* Calls fn for each object that the name may stand for. */
static void each(const struct stored *s, enum policy_object kind, const struct policy_name *name, void (*fn)(void *ctx, uint32_t number), void *ctx)
{
    char *texts[3];
    struct policy_name n = {
        .catalog = plain(name->catalog, &texts[0]), .schema = plain(name->schema, &texts[1]), .name = plain(name->name, &texts[2])};
    uint64_t hash = policy_name_hash(n.name.at, n.name.len);
    for (uint32_t i = s->buckets[hash % BUCKETS]; i != NONE; i = s->objects[i].chain) {
        const struct stored_object *o = &s->objects[i];
        if ((o->kind == STORED_MACRO) == (kind == POLICY_FUNCTION_OBJECT) && o->hash == hash && stands_for(&n, o))
            fn(ctx, i);
    }
    for (size_t i = 0; i < 3; i++)
        free(texts[i]);
}

struct use_context {
    struct stored *s;
    uint32_t user;
    bool found;
};

static void use(void *ctx, uint32_t number)
{
    struct use_context *u = ctx;
    struct stored *s = u->s;
    u->found = true;
    if (s->use_count == s->use_cap) {
        s->use_cap = s->use_cap ? 2 * s->use_cap : 64;
        s->uses = realloc(s->uses, s->use_cap * sizeof *s->uses);
        CHECK(s->uses);
    }
    s->uses[s->use_count++] = (struct use){number, u->user};
}

bool stored_use(struct stored *s, uint32_t user, enum policy_object kind, const struct policy_name *name)
{
    struct use_context u = {s, user, false};
    each(s, kind, name, use, &u);
    return u.found;
}

static int by_used(const void *a, const void *b)
{
    uint32_t x = ((const struct use *)a)->used, y = ((const struct use *)b)->used;
    return x < y ? -1 : x > y;
}

/* True when the user's verdict became worse. */
static bool carry(const struct stored_object *used, struct stored_object *user)
{
    bool worse = used->effect > user->effect;
    if (worse)
        user->effect = used->effect;
    if (!used->why || user->why)
        return worse;
    char why[600];
    snprintf(why, sizeof why, "it uses %s %.100s.%.100s: %.300s", stored_kind_text(used->kind), used->schema, used->name, used->why);
    user->why = copy(why);
    return true;
}

void stored_settle(struct stored *s)
{
    if (s->use_count == 0)
        return;
    qsort(s->uses, s->use_count, sizeof *s->uses, by_used);
    size_t *first = malloc((s->count + 1) * sizeof *first);
    bool *waits = calloc(s->count, sizeof *waits);
    uint32_t *work = malloc(s->count * sizeof *work), n = 0;
    CHECK(first && waits && work);
    for (size_t o = 0, i = 0; o <= s->count; o++) {
        while (i < s->use_count && s->uses[i].used < o)
            i++;
        first[o] = i;
    }
    for (uint32_t o = 0; o < s->count; o++)
        if (s->objects[o].why || s->objects[o].effect > POLICY_KEEP) {
            work[n++] = o;
            waits[o] = true;
        }
    /* Each object gets worse a few times at most, so this ends, circles included. */
    while (n > 0) {
        uint32_t o = work[--n];
        waits[o] = false;
        for (size_t i = first[o]; i < first[o + 1]; i++) {
            uint32_t user = s->uses[i].user;
            if (carry(&s->objects[o], &s->objects[user]) && !waits[user]) {
                waits[user] = true;
                work[n++] = user;
            }
        }
    }
    free(first);
    free(waits);
    free(work);
}

struct find_context {
    const struct stored *s;
    bool found;
    enum policy_effect effect;
    const struct stored_object *refused;
};

static void find(void *ctx, uint32_t number)
{
    struct find_context *f = ctx;
    const struct stored_object *o = &f->s->objects[number];
    f->found = true;
    if (o->effect > f->effect)
        f->effect = o->effect;
    if (o->why && !f->refused)
        f->refused = o;
}

bool stored_find(const struct stored *s, enum policy_object kind, const struct policy_name *name, enum policy_effect *effect,
                 const struct stored_object **ret_refused)
{
    struct find_context f = {.s = s, .effect = *effect};
    if (s->count)
        each(s, kind, name, find, &f);
    *effect = f.effect;
    *ret_refused = f.refused;
    return f.found;
}

bool stored_all_plain(const struct stored *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->objects[i].why || s->objects[i].effect > POLICY_KEEP)
            return false;
    return true;
}

void stored_mark_engines(struct stored *s, enum policy_object kind, const char *home, const char *name)
{
    size_t len = strlen(name);
    for (uint32_t i = s->buckets[policy_name_hash(name, len) % BUCKETS]; i != NONE; i = s->objects[i].chain) {
        struct stored_object *o = &s->objects[i];
        if ((o->kind == STORED_MACRO) == (kind == POLICY_FUNCTION_OBJECT) && policy_name_is(name, len, o->name) &&
            policy_name_is("main", 4, o->schema))
            o->engines = strcmp(o->database, home) == 0 ? STORED_ENGINES_HOME : STORED_ENGINES_AWAY;
    }
}

bool stored_taint(struct stored *s)
{
    bool worse = false;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct stored_object *o = &s->objects[i];
        if (o->engines != STORED_ENGINES_AWAY || (!o->why && o->effect == POLICY_KEEP))
            continue;
        for (uint32_t k = 0; k < s->count; k++)
            if (s->objects[k].body && strcmp(s->objects[k].database, o->database) == 0)
                worse |= carry(o, &s->objects[k]);
    }
    return worse;
}

const char *stored_kind_text(enum stored_kind kind)
{
    static const char *const texts[] = {"table", "view", "macro"};
    return texts[kind];
}
