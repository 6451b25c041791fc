/* Whether a statement may run (see the header). Runs in the worker. */
#include "engine/policy.h"
#include "engine/engine_private.h"
#include "engine/filtered.h"
#include "engine/sqltext.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct policy {
    duckdb_connection con;
    duckdb_prepared_statement serialize, exists;
    struct policy_table *table;
    struct stored *stored;
    struct filtered *filtered;
    char **files, **catalogs;
    const struct stored_object *shadow; /* a refused object that any statement may use without naming it; NULL: none */
    enum policy_effect shadow_effect;   /* of those that are not refused */
};

/* What the callbacks of one walk need. */
struct judge {
    struct policy *p;
    uint32_t user; /* the stored object whose body this is */
    bool stored, macro;
    bool renamed; /* the stand-ins of filtered functions are in the text: what may be there is known */
};

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

static enum policy_verdict judge_text(struct judge *j, const char *sql, size_t len, unsigned depth, struct policy_walk *w,
                                      struct error *err);

static enum policy_verdict on_text(void *ctx, const char *sql, size_t len, unsigned depth, enum policy_effect *effect, struct error *err)
{
    struct policy_walk w = {.effect = *effect};
    enum policy_verdict v = judge_text(ctx, sql, len, depth, &w, err);
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

static enum policy_verdict judge_text(struct judge *j, const char *sql, size_t len, unsigned depth, struct policy_walk *w,
                                      struct error *err)
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
    enum policy_verdict v = judge_text(j, sql, len, 0, &again, err);
    if (v == POLICY_ALLOWED && again.patch_count > 0) {
        refuse_rename(again.patches[0].function->name, again.patches[0].function->way, err);
        v = POLICY_REFUSED;
    }
    return v;
}

enum policy_verdict policy_judge(struct policy *p, char *sql, size_t len, enum policy_effect *ret_effect, bool *ret_renamed,
                                 struct error *err)
{
    struct judge j = {.p = p};
    struct policy_walk w = {.effect = POLICY_KEEP};
    error_set(err, ERR_OK, "%s", "");
    if (p->shadow) {
        *ret_renamed = false;
        policy_refuse(err, stored_kind_text(p->shadow->kind), (struct span){p->shadow->name, strlen(p->shadow->name)}, p->shadow->why, NULL);
        return POLICY_REFUSED;
    }
    enum policy_verdict v = judge_text(&j, sql, len, 0, &w, err);
    if (p->shadow_effect > w.effect)
        w.effect = p->shadow_effect;
    if (v == POLICY_ALLOWED && w.patch_count > 0)
        v = rename_filtered(&j, sql, len, &w, err);
    *ret_effect = w.effect;
    *ret_renamed = w.patch_count > 0;
    return v;
}

struct stored *policy_stored(struct policy *p) { return p->stored; }

/* ---- the database's own objects ---- */

/* Views, macros, tables with generated columns, and tables whose names could be taken for files: kind, database, schema, name, SQL. The SQL
 * is what the engine prints from the tree that it runs, not the text the object was made with. Statements of their own: planning them in
 * one costs more than running them. */
static const char *const stored_sql[] = {
    "SELECT 1::BIGINT, database_name, schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal",
    ("SELECT 2::BIGINT, database_name, schema_name, function_name,"
     " CASE function_type WHEN 'macro' THEN 'SELECT ' ELSE '' END || macro_definition"
     " FROM duckdb_functions() WHERE NOT internal AND macro_definition IS NOT NULL"),
    ("SELECT 0::BIGINT, database_name, schema_name, table_name, NULL::VARCHAR FROM duckdb_tables()"
     " WHERE NOT internal AND (length(table_name) < 8 OR contains(table_name, '.') OR contains(table_name, '/'))"),
};

/* A table's defaults are judged with its generated columns, which the catalog does not tell apart. */
static const char generated_sql[] =
    "SELECT 0::BIGINT, c.database_name, c.schema_name, c.table_name, 'SELECT (' || string_agg(column_default, '), (') || ')'"
    " FROM duckdb_columns() c JOIN duckdb_tables() t USING (database_name, table_oid)"
    " WHERE column_default IS NOT NULL AND contains(t.sql, 'GENERATED ALWAYS AS') GROUP BY ALL";
static const char any_generated_sql[] =
    "SELECT 1::BIGINT FROM duckdb_tables() WHERE NOT internal AND contains(sql, 'GENERATED ALWAYS AS') LIMIT 1";

/* What the engine has names for itself, in the database whose objects are found by a bare name. The engine looks there first: a macro `avg`
 * is what SUMMARIZE calls, a view `duckdb_tables` what SHOW TABLES reads, `list_aggr` what its own macro list_sum does, and no tree shows it. */
enum { ENGINE_FUNCTION = 3, ENGINE_VIEW };
static const char engine_names_sql[] =
    "SELECT kind, (SELECT database_name FROM duckdb_databases() WHERE NOT internal ORDER BY database_oid LIMIT 1), 'main', name, NULL::VARCHAR"
    " FROM (SELECT 3::BIGINT AS kind, function_name AS name FROM duckdb_functions() WHERE database_name = 'system'"
    " UNION SELECT 4::BIGINT, view_name FROM duckdb_views() WHERE database_name = 'system')";

/* The SELECT of "CREATE VIEW name (columns) AS SELECT ..", as the engine prints it; NULL: there is none. */
static const char *view_body(const char *sql, size_t len)
{
    size_t pos = 0, depth = 0;
    for (struct sql_token t = sql_next(sql, len, &pos); t.kind != SQL_END; t = sql_next(sql, len, &pos)) {
        if (t.kind == SQL_OTHER)
            depth += (size_t)(sql[t.begin] == '(') - (size_t)(sql[t.begin] == ')');
        else if (depth == 0 && sql_token_is(sql, &t, "as"))
            return sql + pos;
    }
    return NULL;
}

static char *column_text(duckdb_data_chunk chunk, idx_t column, idx_t row)
{
    duckdb_vector v = duckdb_data_chunk_get_vector(chunk, column);
    uint64_t *valid = duckdb_vector_get_validity(v);
    if (valid && !duckdb_validity_row_is_valid(valid, row))
        return NULL;
    duckdb_string_t *s = (duckdb_string_t *)duckdb_vector_get_data(v) + row;
    char *text = strndup(duckdb_string_t_data(s), duckdb_string_t_length(*s));
    CHECK(text);
    return text;
}

static void look_for_shadow(struct policy *p, enum policy_object kind, const char *database, const char *name)
{
    struct stored_object *o = p->shadow ? NULL : stored_shadow(p->stored, kind, database, name, &p->shadow_effect);
    char why[700];
    if (!o)
        return;
    snprintf(why, sizeof why, "the engine has one of that name, which any statement may use, so nothing runs before it is dropped; %.500s", o->why);
    free(o->why);
    o->why = strdup(why);
    CHECK(o->why);
    p->shadow = o;
}

static void add_row(struct policy *p, duckdb_data_chunk chunk, idx_t row)
{
    int64_t kind = ((int64_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0)))[row];
    char *texts[4];
    for (idx_t i = 0; i < 4; i++)
        texts[i] = column_text(chunk, i + 1, row);
    const char *body = texts[3];
    if (kind == STORED_VIEW) {
        const char *select = body ? view_body(body, strlen(body)) : NULL;
        body = select ? select : ""; /* an empty text can't be judged, and is refused */
    }
    if (kind == ENGINE_FUNCTION || kind == ENGINE_VIEW)
        look_for_shadow(p, kind == ENGINE_VIEW ? POLICY_TABLE_OBJECT : POLICY_FUNCTION_OBJECT, texts[0] ? texts[0] : "", texts[2] ? texts[2] : "");
    else
        stored_add(p->stored, (enum stored_kind)kind, texts[0] ? texts[0] : "", texts[1] ? texts[1] : "", texts[2] ? texts[2] : "", body);
    for (size_t i = 0; i < 4; i++)
        free(texts[i]);
}

static void judge_stored(struct policy *p, uint32_t number)
{
    struct stored_object *o = stored_get(p->stored, number);
    struct judge j = {.p = p, .user = number, .stored = true, .macro = o->kind == STORED_MACRO};
    struct policy_walk w = {.effect = POLICY_KEEP};
    struct error err = {0};
    if (!o->body)
        return;
    enum policy_verdict v = judge_text(&j, o->body, strlen(o->body), 0, &w, &err);
    o->effect = (uint8_t)w.effect;
    if (v == POLICY_ALLOWED)
        return;
    o->why = strdup(v == POLICY_REFUSED ? err.detail : "its SQL can't be judged");
    CHECK(o->why);
}

/* Takes the rows (`only_count`: only counts them). Their number, or -1 with *err. */
static int64_t read_rows(struct policy *p, const char *sql, bool only_count, struct error *err)
{
    duckdb_result r;
    duckdb_data_chunk chunk;
    int64_t count = 0;
    if (duckdb_query(p->con, sql, &r) != DuckDBSuccess) {
        duckdb_destroy_result(&r);
        return error_set(err, ERR_UNAVAILABLE, "cannot read the database's catalog");
    }
    while ((chunk = duckdb_fetch_chunk(r)) != NULL) {
        count += (int64_t)duckdb_data_chunk_get_size(chunk);
        for (idx_t i = 0; !only_count && i < duckdb_data_chunk_get_size(chunk); i++)
            add_row(p, chunk, i);
        duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&r);
    return count;
}

static int load_stored(struct policy *p, struct error *err)
{
    for (size_t i = 0; i < sizeof stored_sql / sizeof *stored_sql; i++)
        if (read_rows(p, stored_sql[i], false, err) < 0)
            return -1;
    int64_t generated = read_rows(p, any_generated_sql, true, err);
    if (generated < 0 || (generated > 0 && read_rows(p, generated_sql, false, err) < 0))
        return -1;
    for (uint32_t i = 0; i < stored_count(p->stored); i++)
        judge_stored(p, i);
    stored_settle(p->stored);
    /* Stored objects that are as harmless as tables need no look at the list. */
    return !stored_all_plain(p->stored) && read_rows(p, engine_names_sql, false, err) < 0 ? -1 : 0;
}

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
    else if ((p->filtered = filtered_new(p->con, err)) != NULL && (o->nothing_stored || load_stored(p, err) == 0))
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
