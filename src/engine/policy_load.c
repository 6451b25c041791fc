/* The database's own views, macros and tables, judged before the first statement (see policy.h). Runs in the worker. */
#include "engine/hidden_names.h"
#include "engine/macro_defaults.h"
#include "engine/policy_names.h"
#include "engine/policy_private.h"
#include "engine/failure.h"
#include "engine/quote.h"
#include "engine/sqltext.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Views, macros, tables with generated columns, and tables whose names could be taken for files: kind, database, schema, name, SQL. The SQL
 * is what the engine prints from the tree that it runs, not the text the object was made with. Statements of their own: planning them in
 * one costs more than running them. */
static const char *const stored_sql[] = {
    "SELECT 1::BIGINT, database_name, schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal",
    ("SELECT 2::BIGINT, database_name, schema_name, function_name,"
     " CASE function_type WHEN 'macro' THEN 'SELECT ' ELSE '' END || macro_definition,"
     " coalesce(max(len(parameters)) OVER (PARTITION BY database_name, schema_name, function_name), 0) * 4 + (function_type <> 'macro')::BIGINT * 2"
     " + coalesce(regexp_full_match(array_to_string(list_concat(parameters, parameter_types), ''), '[^''\"$/:-]*'), false)::BIGINT"
     " FROM duckdb_functions() WHERE NOT internal AND macro_definition IS NOT NULL"),
    ("SELECT 0::BIGINT, database_name, schema_name, table_name, NULL::VARCHAR FROM duckdb_tables()"
     " WHERE NOT internal AND (length(table_name) < 8 OR contains(table_name, '.') OR contains(table_name, '/'))"),
};

/* A table's defaults are judged with its generated columns, which the catalog does not tell apart. */
static const char generated_sql[] =
    "SELECT 0::BIGINT, c.database_name, c.schema_name, c.table_name, 'SELECT (' || string_agg(column_default, '), (') || ')'"
    " FROM duckdb_columns() c JOIN duckdb_tables() t USING (database_name, table_oid)"
    " WHERE column_default IS NOT NULL AND contains(t.sql, 'GENERATED ALWAYS AS') GROUP BY ALL";
static const char any_generated_sql[] = "SELECT 1::BIGINT FROM duckdb_tables() WHERE NOT internal AND contains(sql, 'GENERATED ALWAYS AS') LIMIT 1";

/* What the engine has names for itself, and the database whose objects a bare name in a statement finds. The engine looks there first: a macro `avg`
 * is what SUMMARIZE calls, a view `duckdb_tables` what SHOW TABLES reads, `list_aggr` what its own macro list_sum does, and no tree shows it.
 * In a view of another database that is this other database. */
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

static void add_row(struct policy *p, duckdb_data_chunk chunk, idx_t row)
{
    int64_t kind = ((int64_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0)))[row];
    char *texts[4];
    for (idx_t i = 0; i < 4; i++)
        texts[i] = column_text(chunk, i + 1, row);
    const char *body = texts[3];
    uint32_t number = 0;
    if (kind == STORED_VIEW) {
        const char *select = body ? view_body(body, strlen(body)) : NULL;
        body = select ? select : ""; /* an empty text can't be judged, and is refused */
    }
    if (kind == ENGINE_FUNCTION || kind == ENGINE_VIEW)
        stored_mark_engines(p->stored, kind == ENGINE_VIEW ? POLICY_TABLE_OBJECT : POLICY_FUNCTION_OBJECT, texts[0] ? texts[0] : "",
                            texts[2] ? texts[2] : "");
    else
        number = stored_add(p->stored, (enum stored_kind)kind, texts[0] ? texts[0] : "", texts[1] ? texts[1] : "", texts[2] ? texts[2] : "", body);
    if (kind == STORED_MACRO) {
        int64_t form = ((int64_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 5)))[row];
        struct stored_object *o = stored_get(p->stored, number);
        o->parameters = (uint32_t)(form / 4);
        o->from = form & 2;
        o->plain = form & 1;
    }
    for (size_t i = 0; i < 4; i++)
        free(texts[i]);
}

struct hidden {
    struct judge *judge;
    struct error *err;
    bool refused;
};

static void on_hidden(void *ctx, bool call, bool quoted, struct span name)
{
    static const char why[] = "it stands in the quotes of a text, where a type's name may have put it";
    struct hidden *h = ctx;
    struct policy *p = h->judge->p;
    const struct policy_name n = {.name = name, .schema = {"", 0}, .catalog = {"", 0}};
    const struct policy_function *scalar = call ? policy_table_find(p->table, name.at, name.len, false) : NULL;
    const struct policy_function *table = call ? policy_table_find(p->table, name.at, name.len, true) : NULL;
    const char *way;
    stored_use(p->stored, h->judge->user, call ? POLICY_FUNCTION_OBJECT : POLICY_TABLE_OBJECT, &n);
    bool bad = call ? (scalar && scalar->class != POLICY_OPEN) || (table && table->class != POLICY_OPEN)
                    : policy_view_refused(name.at, name.len, &way) || (quoted && policy_names_file(&n));
    if (!bad || h->refused)
        return;
    policy_refuse(h->err, call ? "function" : "table", name, why, NULL);
    h->refused = true;
}

/* The verdict on a text that the engine printed of its tree. */
static enum policy_verdict judge_printed(struct judge *j, const char *sql, struct policy_walk *w, struct error *err)
{
    struct hidden h = {.judge = j, .err = err};
    enum policy_verdict v = policy_judge_text(j, sql, strlen(sql), 0, w, err);
    if (v == POLICY_ALLOWED && !hidden_names(sql, strlen(sql), on_hidden, &h))
        return POLICY_UNJUDGED;
    return v == POLICY_ALLOWED && h.refused ? POLICY_REFUSED : v;
}

/* What the engine says to a call with more arguments than the macro takes; NULL: nothing. The caller's. */
static char *refused_call(struct policy *p, const struct stored_object *o)
{
    const char *const names[] = {o->database, o->schema, o->name};
    struct buf sql = BUF_INIT((size_t)1 << 20);
    duckdb_prepared_statement s = NULL;
    char *words = NULL;
    bool ok = buf_puts(&sql, o->from ? "FROM " : "SELECT ");
    for (size_t i = 0; i < 3; i++)
        ok = ok && buf_puts(&sql, i ? "." : "") && quote_name(&sql, names[i], strlen(names[i]));
    for (uint32_t i = 0; i <= o->parameters; i++)
        ok = ok && buf_puts(&sql, i ? ", NULL" : "(NULL");
    if (ok && buf_append(&sql, ")", 2) && duckdb_prepare(p->con, sql.data, &s) != DuckDBSuccess)
        words = failure_words(duckdb_prepare_error(s));
    duckdb_destroy_prepare(&s);
    buf_free(&sql);
    return words;
}

/* The engine makes constants of a macro's default arguments when it writes them, but takes whatever a file holds. */
static enum policy_verdict judge_defaults(struct judge *j, const struct stored_object *o, struct policy_walk *w, struct error *err)
{
    if (o->parameters == 0) /* or no macro */
        return POLICY_ALLOWED;
    char *words = refused_call(j->p, o);
    enum policy_verdict v = POLICY_ALLOWED;
    if (!words || macro_defaults_any(words, o->name)) {
        char *sql = words && o->plain ? macro_defaults_sql(words, o->name) : NULL;
        v = sql ? judge_printed(j, sql, w, err) : POLICY_UNJUDGED;
        if (v == POLICY_UNJUDGED) {
            error_set(err, ERR_FORBIDDEN, "its default arguments can't be judged");
            v = POLICY_REFUSED;
        }
        free(sql);
    }
    free(words);
    return v;
}

static void judge_stored(struct policy *p, uint32_t number)
{
    struct stored_object *o = stored_get(p->stored, number);
    struct judge j = {.p = p, .user = number, .stored = true, .macro = o->kind == STORED_MACRO};
    struct policy_walk w = {.effect = POLICY_KEEP};
    struct error err = {0};
    if (!o->body)
        return;
    enum policy_verdict v = judge_printed(&j, o->body, &w, &err);
    if (v == POLICY_ALLOWED)
        v = judge_defaults(&j, o, &w, &err);
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

/* A refused object that any statement may use without naming it has every statement refused. */
static void find_shadow(struct policy *p)
{
    char why[700];
    for (uint32_t i = 0; i < stored_count(p->stored); i++) {
        struct stored_object *o = stored_get(p->stored, i);
        if (o->engines != STORED_ENGINES_HOME)
            continue;
        if (o->effect > p->shadow_effect)
            p->shadow_effect = o->effect;
        if (!o->why || p->shadow)
            continue;
        snprintf(why, sizeof why, "the engine has one of that name, which any statement may use, so nothing runs before it is dropped; %.500s",
                 o->why);
        free(o->why);
        o->why = strdup(why);
        CHECK(o->why);
        p->shadow = o;
    }
}

int policy_load(struct policy *p, struct error *err)
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
    if (stored_all_plain(p->stored))
        return 0;
    if (read_rows(p, engine_names_sql, false, err) < 0)
        return -1;
    while (stored_taint(p->stored))
        stored_settle(p->stored);
    find_shadow(p);
    return 0;
}
