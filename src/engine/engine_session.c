/* A session's statements (see the header). Runs in the worker. */
#include "engine/engine_session.h"
#include "engine/engine_accept.h"
#include "engine/session_grammar.h"

/* What the engine must take our own text for. */
static duckdb_statement_type type_of(enum session_verb verb)
{
    switch (verb) {
    case SESSION_CREATE: return DUCKDB_STATEMENT_TYPE_CREATE;
    case SESSION_INSERT: return DUCKDB_STATEMENT_TYPE_INSERT;
    case SESSION_DROP: return DUCKDB_STATEMENT_TYPE_DROP;
    default: return DUCKDB_STATEMENT_TYPE_SET;
    }
}

/* The select alone: the engine parses, binds and judges it as if it came by itself. */
static int check_select(struct engine *e, struct session_statement *s, struct error *err)
{
    duckdb_prepared_statement alone = NULL;
    if (s->select.len == 0)
        return 0;
    size_t len = s->select.len;
    CHECK(buf_append(&s->select, "", 1));
    if (accept_prepare(e, s->select.data, len, &alone, err) < 0) {
        err->position = session_position(s, err->position, true);
        return -1;
    }
    duckdb_destroy_prepare(&alone);
    return 0;
}

static int prepare_own(struct engine *e, struct session_statement *s, duckdb_prepared_statement *ret_statement, struct error *err)
{
    duckdb_extracted_statements all = NULL;
    duckdb_prepared_statement one = NULL;
    size_t len = s->text.len;
    CHECK(buf_append(&s->text, "", 1));
    idx_t count = duckdb_extract_statements(e->con, s->text.data, &all);
    int rc = 0;
    if (count != 1) {
        const char *message = duckdb_extract_statements_error(all);
        if (message && message[0])
            rc = accept_engine_failed(e, message, len, err);
        else
            rc = error_set(err, ERR_BAD_REQUEST, "exactly one statement is expected");
    } else if (duckdb_prepare_extracted_statement(e->con, all, 0, &one) != DuckDBSuccess) {
        rc = accept_engine_failed(e, duckdb_prepare_error(one), len, err);
    } else if (duckdb_prepared_statement_type(one) != type_of(s->verb)) {
        rc = error_set(err, ERR_FORBIDDEN, "the engine takes this statement for another one than it looks like");
    }
    duckdb_destroy_extracted(&all);
    if (rc == 0)
        *ret_statement = one;
    else if (one)
        duckdb_destroy_prepare(&one);
    err->position = rc < 0 ? session_position(s, err->position, false) : 0;
    return rc;
}

int session_prepare(struct engine *e, const char *sql, size_t len, duckdb_prepared_statement *ret_statement, struct error *err)
{
    struct session_statement s;
    if (session_parse(sql, len, &s, err) < 0)
        return -1;
    if (s.verb == SESSION_NONE) {
        session_statement_free(&s);
        return accept_prepare(e, sql, len, ret_statement, err);
    }
    int rc = check_select(e, &s, err);
    if (rc == 0)
        rc = prepare_own(e, &s, ret_statement, err);
    session_statement_free(&s);
    return rc;
}
