/* The verdict on a text (see the header): the first word refuses early and names the kind, the parsed tree decides, and the engine has to
 * call the same text one statement of the right type. Nothing is bound before the tree was judged. Runs in the worker. */
#include "engine/engine_accept.h"
#include "engine/sqltext.h"

#include <stdio.h>
#include <string.h>

static int forbidden(struct error *err, const char *what, const char *detail) { return error_forbid(err, what, "%s refused: %s", what, detail); }

/* What to do instead of a statement of this kind. */
static const char *way_round(const char *kind)
{
    static const char *const ways[][2] = {
        {"PREPARE", "send the statement itself with its params"},
        {"EXECUTE", "send the statement itself with its params"},
        {"DEALLOCATE", "nothing was prepared"},
        {"CALL", "SELECT * FROM function(...)"},
        {"PRAGMA", "DESCRIBE, SHOW, duckdb_columns() and the like"},
        {"SET", "give parameters, or a common table expression"},
        {"USE", "write schema.table"},
        {"CREATE", "give a common table expression: WITH name AS (SELECT ...)"},
        {"CREATE FUNCTION", "write the expression itself"},
        {"COPY", "SELECT, and choose the format of the answer"},
        {"EXPORT", "SELECT, and choose the format of the answer"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (strcmp(kind, ways[i][0]) == 0)
            return ways[i][1];
    return NULL;
}

static int forbidden_kind(struct error *err, const char *kind, const char *prefix)
{
    char what[96], detail[320];
    const char *way = way_round(kind);
    snprintf(what, sizeof what, "%s%s statement", prefix, kind);
    snprintf(detail, sizeof detail,
             "only statements that read may run here (SELECT, WITH, FROM, VALUES, EXPLAIN of SELECT, DESCRIBE, SHOW, "
             "SUMMARIZE)%s%s",
             way ? "; instead: " : "", way ? way : "");
    return forbidden(err, what, detail);
}

/* The header that the build uses ends at 27; the library knows three kinds more. */
static const char *kind_name(int type)
{
    static const char *const names[] = {
        "invalid",     "SELECT", "INSERT",   "UPDATE",       "EXPLAIN",         "DELETE", "PREPARE", "CREATE",   "EXECUTE",       "ALTER",
        "transaction", "COPY",   "ANALYZE",  "SET VARIABLE", "CREATE FUNCTION", "DROP",   "EXPORT",  "PRAGMA",   "VACUUM",        "CALL",
        "SET",         "LOAD",   "relation", "extension",    "logical plan",    "ATTACH", "DETACH",  "multiple", "COPY DATABASE", "UPDATE EXTENSIONS",
        "MERGE",
    };
    return type >= 0 && (size_t)type < sizeof names / sizeof *names ? names[type] : "unknown";
}

int accept_engine_failed(struct engine *e, const char *message, size_t sql_len, struct error *err)
{
    struct failure_context ctx = e->failure;
    ctx.sql_len = sql_len;
    if (failure_from_message(err, message, 0, &ctx))
        e->spent = true;
    return -1;
}

static int several(struct error *err, const char *sql, size_t len, idx_t count)
{
    size_t seen = sql_count_statements(sql, len);
    if (seen == 1)
        return forbidden(err, "PIVOT without IN",
                         "its columns would have to be found by another statement first; name them: PIVOT t ON column IN (value, ...) USING ...");
    return error_set(err, ERR_BAD_REQUEST, "exactly one statement is expected, these are %zu", seen > 1 ? seen : (size_t)count);
}

/* What a statement that has no tree is: the parser took it, so its words name its kind. */
static int no_select(struct error *err, const char *sql, size_t len, const char *prefix)
{
    const char *kind = sql_main_kind(sql, len);
    if (kind)
        return forbidden_kind(err, kind, prefix);
    return forbidden_kind(err, "unrecognised", prefix);
}

/* Once more by the engine's word, after the tree was judged. */
static int check_type(struct error *err, duckdb_prepared_statement statement, bool explain)
{
    duckdb_statement_type type = duckdb_prepared_statement_type(statement);
    if (type == (explain ? DUCKDB_STATEMENT_TYPE_EXPLAIN : DUCKDB_STATEMENT_TYPE_SELECT))
        return 0;
    return forbidden_kind(err, kind_name((int)type), "");
}

static int prepare_one(struct engine *e, const char *sql, size_t len, duckdb_extracted_statements all, duckdb_prepared_statement *ret_statement,
                       struct error *err)
{
    duckdb_prepared_statement statement = NULL;
    int rc;
    if (duckdb_prepare_extracted_statement(e->con, all, 0, &statement) != DuckDBSuccess)
        rc = accept_engine_failed(e, duckdb_prepare_error(statement), len, err);
    else
        rc = check_type(err, statement, sql_explain_inner(sql, len) > 0);
    if (rc == 0)
        *ret_statement = statement;
    else if (statement)
        duckdb_destroy_prepare(&statement);
    return rc;
}

/* `judged`: the tree was; else the statement must not be prepared, whatever the engine thinks of it. */
static int extract(struct engine *e, const char *sql, size_t len, bool judged, duckdb_prepared_statement *ret_statement, struct error *err)
{
    duckdb_extracted_statements all;
    idx_t count = duckdb_extract_statements(e->con, sql, &all);
    size_t inner = sql_explain_inner(sql, len);
    int rc;
    if (count == 1) {
        rc = judged ? prepare_one(e, sql, len, all, ret_statement, err) : no_select(err, sql + inner, len - inner, inner ? "EXPLAIN of " : "");
    } else if (count > 1) {
        rc = several(err, sql, len, count);
    } else {
        const char *message = duckdb_extract_statements_error(all);
        rc = message && message[0] ? accept_engine_failed(e, message, len, err)
                                   : error_set(err, ERR_BAD_REQUEST, "there is no statement in the text");
    }
    duckdb_destroy_extracted(&all);
    return rc;
}

static int refuse_early(const char *sql, size_t len, struct error *err)
{
    const char *nul = memchr(sql, 0, len);
    if (nul) {
        error_set(err, ERR_SQL, "Parser Error: the statement holds a NUL byte");
        snprintf(err->error_type, sizeof err->error_type, "Parser");
        err->position = nul - sql + 1;
        return -1;
    }
    const char *kind = sql_refused_kind(sql, len);
    if (kind && sql_count_statements(sql, len) > 1)
        return several(err, sql, len, 0);
    if (kind)
        return forbidden_kind(err, kind, "");
    size_t inner = sql_explain_inner(sql, len);
    kind = inner ? sql_refused_kind(sql + inner, len - inner) : NULL;
    return kind ? forbidden_kind(err, kind, "EXPLAIN of ") : 0;
}

int accept_statement(struct engine *e, char *sql, size_t len, struct accepted *ret, struct error *err)
{
    *ret = (struct accepted){.effect = POLICY_KEEP};
    if (refuse_early(sql, len, err) < 0)
        return -1;
    /* The engine shows the tree of a SELECT only: of an EXPLAIN, that of its inside. */
    size_t inner = sql_explain_inner(sql, len);
    bool changed = false;
    if (inner && !sql_explain_plain(sql, inner, &changed))
        return forbidden(err, "EXPLAIN", "its options are plain words: EXPLAIN [ANALYZE] or EXPLAIN (ANALYZE, FORMAT json)");
    enum policy_verdict v = policy_judge(e->policy, sql + inner, len - inner, &ret->effect, &ret->renamed, err);
    if (v == POLICY_REFUSED) {
        if (err->position)
            err->position += (int64_t)inner;
        return -1;
    }
    ret->renamed |= changed;
    /* EXPLAIN ANALYZE turns the connection's profiler on: not a state to hand on. */
    if (inner && ret->effect < POLICY_FRESH)
        ret->effect = POLICY_FRESH;
    return extract(e, sql, len, v == POLICY_ALLOWED, &ret->prepared, err);
}

int accept_again(struct engine *e, const char *sql, size_t len, duckdb_prepared_statement *ret_statement, struct error *err)
{
    return extract(e, sql, len, true, ret_statement, err);
}
