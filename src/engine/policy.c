/* Whether a statement may run (see the header). Runs in the worker. */
#include "engine/engine_private.h"
#include "engine/policy_private.h"

#include <stdlib.h>
#include <string.h>

struct tree {
    duckdb_result result;
    duckdb_data_chunk chunk;
    struct span json;
};

static void tree_free(struct tree *t)
{
    if (t->chunk)
        duckdb_destroy_data_chunk(&t->chunk);
    duckdb_destroy_result(&t->result);
}

static bool one_text(duckdb_prepared_statement s, const char *text, size_t len, struct tree *ret)
{
    *ret = (struct tree){0};
    if (duckdb_bind_varchar_length(s, 1, text, len) != DuckDBSuccess || duckdb_execute_prepared(s, &ret->result) != DuckDBSuccess)
        return false;
    ret->chunk = duckdb_fetch_chunk(ret->result);
    return ret->chunk && duckdb_data_chunk_get_size(ret->chunk) == 1;
}

static bool tree_of(struct policy *p, const char *sql, size_t len, struct tree *ret)
{
    if (!one_text(p->serialize, sql, len, ret))
        return false;
    duckdb_vector v = duckdb_data_chunk_get_vector(ret->chunk, 0);
    uint64_t *valid = duckdb_vector_get_validity(v);
    if (valid && !duckdb_validity_row_is_valid(valid, 0))
        return false;
    duckdb_string_t *s = duckdb_vector_get_data(v);
    ret->json = (struct span){duckdb_string_t_data(s), duckdb_string_t_length(*s)};
    return true;
}

static enum policy_verdict on_text(void *ctx, const char *sql, size_t len, unsigned depth, enum policy_effect *effect, struct error *err)
{
    struct policy_walk w = {.effect = *effect};
    enum policy_verdict v = policy_judge_text(ctx, sql, len, depth, &w, err);
    *effect = w.effect;
    return v;
}

static int on_object(void *ctx, enum policy_object kind, const struct policy_name *name, bool *ret_known, enum policy_effect *effect,
                     struct error *err)
{
    struct judge *j = ctx;
    const struct stored_object *refused;
    if (j->stored) { /* settled when all bodies were seen */
        *ret_known = stored_use(j->p->stored, j->user, kind, name);
        return 0;
    }
    *ret_known = stored_find(j->p->stored, kind, name, effect, &refused);
    if (!refused)
        return 0;
    return policy_refuse(err, stored_kind_text(refused->kind), (struct span){refused->name, strlen(refused->name)}, refused->why, NULL);
}

/* Not in our table: when the engine has no such function either, its own message is better than ours. */
static int on_unknown(void *ctx, struct span name, struct error *err)
{
    struct judge *j = ctx;
    struct policy *p = j->p;
    static const char sql[] = "SELECT count(*) FROM duckdb_functions() WHERE lower(function_name) = lower($1)";
    struct tree t = {0};
    size_t len;
    int64_t count = 1;
    if (j->renamed && filtered_is_stand_in(name.at, name.len))
        return 0;
    char *plain = span_text(name, &len);
    if (plain && (p->exists || duckdb_prepare(p->con, sql, &p->exists) == DuckDBSuccess) && one_text(p->exists, plain, len, &t))
        count = *(int64_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(t.chunk, 0));
    tree_free(&t);
    free(plain);
    return count == 0 ? 0 : policy_refuse(err, "function", name, "this version does not know what it does", NULL);
}

/* A SELECT that the engine itself can't write down as a tree (a limit of 1.5): what can't be seen is refused, but by its name. */
static bool has_no_tree(struct span json)
{
    static const char start[] = "{\"error\":true,\"error_type\":\"serialization\"";
    return json.len >= sizeof start - 1 && memcmp(json.at, start, sizeof start - 1) == 0;
}

enum policy_verdict policy_judge_text(struct judge *j, const char *sql, size_t len, unsigned depth, struct policy_walk *w, struct error *err)
{
    struct tree t;
    enum policy_verdict v = POLICY_UNJUDGED;
    w->table = j->p->table;
    w->files = (const char *const *)j->p->files;
    w->catalogs = (const char *const *)j->p->catalogs;
    w->text = on_text;
    w->object = on_object;
    w->unknown = on_unknown;
    w->ctx = j;
    w->depth = depth;
    w->stored = j->stored;
    w->macro = j->macro;
    if (tree_of(j->p, sql, len, &t))
        v = policy_walk(w, t.json.at, t.json.len, err);
    if (v == POLICY_UNJUDGED && has_no_tree(t.json)) {
        policy_refuse(err, "type", (struct span){"", 0}, "a type with values of its own inside of another, as in ENUM('a')[], can't be judged",
                      "give the value as a parameter with that explicit type");
        v = POLICY_REFUSED;
    }
    tree_free(&t);
    return v;
}

static int refuse_rename(const char *name, const char *way, struct error *err)
{
    return policy_refuse(err, "table function", (struct span){name, strlen(name)},
                         "it shows paths of the server, and is written in a way that can't be filtered", way);
}

/* Puts the stand-ins in the place of filtered functions. Positions are the engine's, and may be off (it drops Unicode blanks before it parses), so the
 * result is judged once more: it must hold none of them any longer. */
static enum policy_verdict rename_filtered(struct judge *j, char *sql, size_t len, const struct policy_walk *w, struct error *err)
{
    struct policy_walk again = {.effect = POLICY_KEEP};
    for (size_t i = 0; i < w->patch_count; i++) {
        const struct policy_function *f = w->patches[i].function;
        if (filtered_rename(sql, len, w->patches[i].at, f->name) < 0) {
            refuse_rename(f->name, f->way, err);
            return POLICY_REFUSED;
        }
    }
    j->renamed = true;
    enum policy_verdict v = policy_judge_text(j, sql, len, 0, &again, err);
    if (v == POLICY_ALLOWED && again.patch_count > 0) {
        refuse_rename(again.patches[0].function->name, again.patches[0].function->way, err);
        v = POLICY_REFUSED;
    }
    return v;
}

enum policy_verdict policy_judge(struct policy *p, char *sql, size_t len, enum policy_effect *ret_effect, bool *ret_renamed, struct error *err)
{
    struct judge j = {.p = p};
    struct policy_walk w = {.effect = POLICY_KEEP};
    error_set(err, ERR_OK, "%s", "");
    if (p->shadow) {
        *ret_renamed = false;
        policy_refuse(err, stored_kind_text(p->shadow->kind), (struct span){p->shadow->name, strlen(p->shadow->name)}, p->shadow->why, NULL);
        return POLICY_REFUSED;
    }
    enum policy_verdict v = policy_judge_text(&j, sql, len, 0, &w, err);
    if (p->shadow_effect > w.effect)
        w.effect = p->shadow_effect;
    if (v == POLICY_ALLOWED && w.patch_count > 0)
        v = rename_filtered(&j, sql, len, &w, err);
    *ret_effect = w.effect;
    *ret_renamed = w.patch_count > 0;
    return v;
}

struct stored *policy_stored(struct policy *p) { return p->stored; }

/* ---- life ---- */

static char **copy_list(const char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    char **copy = calloc(n + 1, sizeof *copy);
    CHECK(copy);
    for (size_t i = 0; i < n; i++)
        CHECK(copy[i] = strdup(list[i]));
    return copy;
}

struct policy *policy_new(duckdb_database db, const struct policy_options *o, struct error *err)
{
    /* What a default would say again is left out: less to write, less to read. */
    static const char serialize[] = "SELECT json_serialize_sql($1::VARCHAR, skip_null := true, skip_empty := true, skip_default := true)";
    struct policy *p = calloc(1, sizeof *p);
    CHECK(p);
    p->table = policy_table_new(o->allow, o->deny);
    p->files = copy_list(o->files);
    p->catalogs = copy_list(o->catalogs);
    p->stored = stored_new();
    if (duckdb_connect(db, &p->con) != DuckDBSuccess)
        error_set(err, ERR_UNAVAILABLE, "the engine gives no connection for the policy");
    else if (duckdb_query(p->con, ENGINE_OWN_NAMES, NULL) != DuckDBSuccess)
        error_set(err, ERR_UNAVAILABLE, "the engine does not keep the database's macros from the policy's own statements");
    else if (duckdb_prepare(p->con, serialize, &p->serialize) != DuckDBSuccess)
        error_set(err, ERR_UNAVAILABLE, "the engine can't show how it parses a statement: %s", duckdb_prepare_error(p->serialize));
    else if ((p->filtered = filtered_new(p->con, err)) != NULL && (o->nothing_stored || policy_load(p, err) == 0))
        return p;
    policy_free(p);
    return NULL;
}

static void free_list(char **list)
{
    for (char **f = list; *f; f++)
        free(*f);
    free(list);
}

void policy_free(struct policy *p)
{
    if (!p)
        return;
    filtered_free(p->filtered);
    if (p->serialize)
        duckdb_destroy_prepare(&p->serialize);
    if (p->exists)
        duckdb_destroy_prepare(&p->exists);
    if (p->con)
        duckdb_disconnect(&p->con);
    stored_free(p->stored);
    policy_table_free(p->table);
    free_list(p->files);
    free_list(p->catalogs);
    free(p);
}
