/* What a name may do (see the header). Runs in the worker. */
#include "engine/policy_table.h"
#include "core/errors.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))

static const struct policy_function functions[] = {
#define FUNCTION(kind, name, class, effect, way) {name, way, POLICY_##kind, POLICY_##class, POLICY_##effect},
#define VIEW(name, way)
#include "engine/policy_functions.def"
#undef FUNCTION
#undef VIEW
};

static const struct {
    const char *name, *way;
} refused_views[] = {
#define FUNCTION(kind, name, class, effect, way)
#define VIEW(name, way) {name, way},
#include "engine/policy_functions.def"
#undef FUNCTION
#undef VIEW
};

/* Settings whose values say nothing of the machine, its paths, its network or its secrets. All others stay unseen. */
static const char *const shown_settings[] = {
    "access_mode",
    "calendar",
    "current_transaction_invalidation_policy",
    "default_collation",
    "default_null_order",
    "default_order",
    "disable_timestamptz_casts",
    "enable_external_access",
    "errors_as_json",
    "explain_output",
    "ieee_floating_point_ops",
    "integer_division",
    "lambda_syntax",
    "lock_configuration",
    "max_expression_depth",
    "max_memory",
    "memory_limit",
    "null_order",
    "old_implicit_casting",
    "order_by_non_integer_literal",
    "pivot_filter_threshold",
    "pivot_limit",
    "preserve_identifier_case",
    "preserve_insertion_order",
    "scalar_subquery_error_on_multiple_rows",
    "schema",
    "search_path",
    "threads",
    "timezone",
    "worker_threads",
};

struct entry {
    struct policy_function row;
    char *owned; /* the name, where it comes from the operator */
    uint64_t hash;
    struct entry *chain;
};

struct policy_table {
    struct entry *entries;
    size_t count, cap;
    struct entry *buckets[1024];
};

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }

bool policy_name_is(const char *name, size_t len, const char *text)
{
    for (size_t i = 0; i < len; i++)
        if (lower(name[i]) != lower(text[i]) || !text[i])
            return false;
    return !text[len];
}

uint64_t policy_name_hash(const char *name, size_t len)
{
    uint64_t h = 0xCBF29CE484222325ull;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)lower(name[i])) * 0x100000001B3ull;
    return h ^ h >> 29;
}

static struct entry **bucket(struct policy_table *t, uint64_t hash) { return &t->buckets[hash % LENGTH(t->buckets)]; }

static struct entry *add(struct policy_table *t, const struct policy_function *row)
{
    CHECK(t->count < t->cap);
    struct entry *e = &t->entries[t->count++];
    e->row = *row;
    e->hash = policy_name_hash(row->name, strlen(row->name));
    struct entry **at = bucket(t, e->hash);
    e->chain = *at;
    *at = e;
    return e;
}

static size_t list_len(const char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

/* What an allowed function may do: all, but where text becomes SQL, a table or a path it stays with plain strings. */
static void allow(struct policy_function *row)
{
    if (row->class == POLICY_PATH)
        row->class = POLICY_PATH_TEXT;
    else if (policy_refuses(row->class) || row->class == POLICY_FILTERED || row->class == POLICY_SETTING)
        row->class = POLICY_OPEN;
}

static void deny(struct policy_function *row)
{
    row->class = POLICY_DENIED;
    row->way = NULL;
}

/* Changes every row of that name; a name without one gets a row, so that functions of extensions nobody knew can be allowed. */
static void lay_over(struct policy_table *t, const char *name, void (*change)(struct policy_function *row))
{
    uint64_t hash = policy_name_hash(name, strlen(name));
    bool found = false;
    for (struct entry *e = *bucket(t, hash); e; e = e->chain)
        if (e->hash == hash && policy_name_is(name, strlen(name), e->row.name)) {
            change(&e->row);
            found = true;
        }
    if (found)
        return;
    struct policy_function row = {.name = strdup(name), .kind = POLICY_ANY, .class = POLICY_INTERNAL, .effect = POLICY_FRESH};
    CHECK(row.name);
    change(&row);
    add(t, &row)->owned = (char *)row.name;
}

struct policy_table *policy_table_new(const char *const *allowed, const char *const *denied)
{
    struct policy_table *t = calloc(1, sizeof *t);
    CHECK(t);
    t->cap = LENGTH(functions) + list_len(allowed) + list_len(denied);
    t->entries = calloc(t->cap, sizeof *t->entries);
    CHECK(t->entries);
    for (size_t i = 0; i < LENGTH(functions); i++)
        add(t, &functions[i]);
    for (; allowed && *allowed; allowed++)
        lay_over(t, *allowed, allow);
    for (; denied && *denied; denied++)
        lay_over(t, *denied, deny);
    return t;
}

void policy_table_free(struct policy_table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->count; i++)
        free(t->entries[i].owned);
    free(t->entries);
    free(t);
}

/* How well a row's kind fits the place; 0: best. A row of the other kind still counts: whatever the engine then makes of the name, it is
 * judged by something. */
static int distance(enum policy_kind kind, bool table)
{
    if (kind == (table ? POLICY_TABLE : POLICY_CALL))
        return 0;
    return kind == POLICY_ANY ? 1 : kind == POLICY_PRAGMA ? 3 : 2;
}

const struct policy_function *policy_table_find(const struct policy_table *t, const char *name, size_t len, bool table)
{
    uint64_t hash = policy_name_hash(name, len);
    const struct policy_function *best = NULL;
    for (const struct entry *e = t->buckets[hash % LENGTH(t->buckets)]; e; e = e->chain)
        if (e->hash == hash && policy_name_is(name, len, e->row.name) && (!best || distance(e->row.kind, table) < distance(best->kind, table)))
            best = &e->row;
    return best;
}

bool policy_view_refused(const char *name, size_t len, const char **ret_way)
{
    for (size_t i = 0; i < LENGTH(refused_views); i++)
        if (policy_name_is(name, len, refused_views[i].name)) {
            *ret_way = refused_views[i].way;
            return true;
        }
    return false;
}

bool policy_setting_shown(const char *name, size_t len)
{
    for (size_t i = 0; i < LENGTH(shown_settings); i++)
        if (policy_name_is(name, len, shown_settings[i]))
            return true;
    return false;
}

const char *const *policy_shown_settings(size_t *ret_count)
{
    *ret_count = LENGTH(shown_settings);
    return shown_settings;
}

const char *policy_class_reason(enum policy_class c)
{
    switch (c) {
    case POLICY_PATH: return "it reads files and addresses, and this server answers from the tables of its database";
    case POLICY_REVEALS: return "it shows paths, logs or secrets of the server";
    case POLICY_CHANGES: return "it changes the engine or the data, for others as well";
    case POLICY_REMOTE: return "it reaches another server past the tables that are attached";
    case POLICY_STATEMENT: return "it belongs to a statement that may not run here";
    case POLICY_DENIED: return "[policy] deny_functions names it";
    default: return "it is a tool of the engine's own";
    }
}
