/* The verdict on a text (see the header): the words decide early, the engine's own parser decides for good. Runs in the worker. */
#include "engine/engine_accept.h"
#include "engine/sqltext.h"

#include <stdio.h>
#include <string.h>

static int forbidden(struct error *err, const char *what, const char *detail)
{
    error_set(err, ERR_FORBIDDEN, "%s refused: %s", what, detail);
    snprintf(err->what, sizeof err->what, "%s", what);
    return -1;
}

static int forbidden_kind(struct error *err, const char *kind, const char *prefix)
{
    char what[96];
    snprintf(what, sizeof what, "%s%s statement", prefix, kind);
    return forbidden(err, what, "only statements that read may run here (SELECT, WITH, FROM, VALUES, EXPLAIN of SELECT, DESCRIBE, SHOW, SUMMARIZE)");
}

/* The header that the build uses ends at 27; the library knows three kinds more. */
static const char *kind_name(int type)
{
    static const char *const names[] = {
        "invalid", "SELECT", "INSERT", "UPDATE", "EXPLAIN", "DELETE", "PREPARE", "CREATE", "EXECUTE", "ALTER", "transaction", "COPY",
        "ANALYZE", "SET VARIABLE", "CREATE FUNCTION", "DROP", "EXPORT", "PRAGMA", "VACUUM", "CALL", "SET", "LOAD", "relation",
        "extension", "logical plan", "ATTACH", "DETACH", "multiple", "COPY DATABASE", "UPDATE EXTENSIONS", "MERGE",
    };
    return type >= 0 && (size_t)type < sizeof names / sizeof *names ? names[type] : "unknown";
}

enum accept_effect accept_effect(const struct engine *e, const char *sql, size_t len)
{
    enum sql_effect words = sql_effect(sql, len);
    if (words == SQL_PROCESS)
        return ACCEPT_SPENT;
    /* EXPLAIN ANALYZE turns the connection's profiler on: not a state to hand on. */
    return words == SQL_PURE && !e->stored_effects && !sql_explain_inner(sql, len) ? ACCEPT_PURE : ACCEPT_FRESH;
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
                         "the engine would have to create a type for its columns; name them: PIVOT t ON column IN (value, ...) USING ...");
    return error_set(err, ERR_BAD_REQUEST, "exactly one statement is expected, these are %zu", seen > 1 ? seen : (size_t)count);
}

/* The text behind EXPLAIN alone: NULL when it is one SELECT, else the name of its kind, "" when the engine can't parse or bind it
 * (the whole text then fails the same way, and says where). */
static const char *explained_kind(struct engine *e, const char *sql, size_t len)
{
    const char *kind = sql_refused_kind(sql, len);
    if (kind)
        return kind;
    duckdb_extracted_statements all;
    duckdb_prepared_statement one = NULL;
    kind = "";
    if (duckdb_extract_statements(e->con, sql, &all) == 1
        && duckdb_prepare_extracted_statement(e->con, all, 0, &one) == DuckDBSuccess) {
        duckdb_statement_type type = duckdb_prepared_statement_type(one);
        kind = type == DUCKDB_STATEMENT_TYPE_SELECT ? NULL : kind_name((int)type);
    }
    if (one)
        duckdb_destroy_prepare(&one);
    duckdb_destroy_extracted(&all);
    return kind;
}

static int check_type(struct engine *e, const char *sql, size_t len, duckdb_prepared_statement statement, struct error *err)
{
    duckdb_statement_type type = duckdb_prepared_statement_type(statement);
    if (type == DUCKDB_STATEMENT_TYPE_SELECT)
        return 0;
    if (type != DUCKDB_STATEMENT_TYPE_EXPLAIN)
        return forbidden_kind(err, kind_name((int)type), "");
    size_t inner = sql_explain_inner(sql, len);
    const char *kind = inner ? explained_kind(e, sql + inner, len - inner) : "";
    if (!kind)
        return 0;
    return forbidden_kind(err, kind[0] ? kind : "unrecognised", "EXPLAIN of ");
}

static int prepare_one(struct engine *e, const char *sql, size_t len, duckdb_extracted_statements all,
                       duckdb_prepared_statement *ret_statement, struct error *err)
{
    duckdb_prepared_statement statement = NULL;
    int rc;
    if (duckdb_prepare_extracted_statement(e->con, all, 0, &statement) != DuckDBSuccess)
        rc = accept_engine_failed(e, duckdb_prepare_error(statement), len, err);
    else
        rc = check_type(e, sql, len, statement, err);
    if (rc == 0)
        *ret_statement = statement;
    else if (statement)
        duckdb_destroy_prepare(&statement);
    return rc;
}

int accept_prepare(struct engine *e, const char *sql, size_t len, duckdb_prepared_statement *ret_statement, struct error *err)
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
    if (kind)
        return forbidden_kind(err, kind, "EXPLAIN of ");

    duckdb_extracted_statements all;
    idx_t count = duckdb_extract_statements(e->con, sql, &all);
    int rc;
    if (count == 1) {
        rc = prepare_one(e, sql, len, all, ret_statement, err);
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
