/* A session's statements (see the header). Runs in the worker. */
#include "engine/engine_session.h"
#include "engine/engine_accept.h"
#include "engine/session_grammar.h"

#include <string.h>

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

/* The select alone: the engine parses, judges and binds it as if it came by itself. Names that were replaced in it are in the statement too. */
static int check_select(struct engine *e, struct session_statement *s, enum policy_effect *ret_effect, struct error *err)
{
    struct accepted alone;
    if (s->select.len == 0)
        return 0;
    size_t len = s->select.len;
    CHECK(buf_append(&s->select, "", 1));
    if (accept_statement(e, s->select.data, len, &alone, err) < 0) {
        err->position = session_position(s, err->position, true);
        return -1;
    }
    duckdb_destroy_prepare(&alone.prepared);
    memcpy(s->text.data + s->text_at, s->select.data + s->select_at, s->len);
    *ret_effect = alone.effect;
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
        rc = error_forbid(err, "statement", "the engine takes this statement for another one than it looks like");
    }
    duckdb_destroy_extracted(&all);
    if (rc == 0)
        *ret_statement = one;
    else if (one)
        duckdb_destroy_prepare(&one);
    err->position = rc < 0 ? session_position(s, err->position, false) : 0;
    return rc;
}

int session_prepare(struct engine *e, char *sql, size_t len, struct accepted *ret, struct error *err)
{
    struct session_statement s;
    if (session_parse(sql, len, &s, err) < 0)
        return -1;
    if (s.verb == SESSION_NONE) {
        session_statement_free(&s);
        return accept_statement(e, sql, len, ret, err);
    }
    *ret = (struct accepted){.effect = POLICY_ONCE, .renamed = true}; /* what is prepared is our own text: no verdict on the client's to be kept */
    int rc = check_select(e, &s, &ret->effect, err);
    if (rc == 0)
        rc = prepare_own(e, &s, &ret->prepared, err);
    session_statement_free(&s);
    return rc;
}
