/* Scripts on a database that is open for writing (see the header). Runs in the worker. */
#include "engine/engine_write.h"
#include "core/fault.h"
#include "engine/engine_private.h"
#include "engine/sqltext.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A piece of the script: one statement, as the semicolons separate them. */
struct piece {
    size_t begin, end;
    uint32_t number; /* from 1 */
};

/* The next piece with a token in it at or after p->end. */
static bool next_piece(const struct script *s, struct piece *p)
{
    size_t pos = p->end;
    bool any = false;
    for (struct sql_token t = sql_next(s->sql, s->len, &pos); t.kind != SQL_END; t = sql_next(s->sql, s->len, &pos)) {
        bool semicolon = t.kind == SQL_OTHER && s->sql[t.begin] == ';';
        if (semicolon && any)
            break;
        if (!semicolon && !any) {
            p->begin = t.begin;
            any = true;
        }
        p->end = t.end;
    }
    p->number += any;
    return any;
}

static uint64_t line_of(const struct script *s, size_t at)
{
    uint64_t line = 1;
    for (size_t i = 0; i < at && i < s->len; i++)
        line += s->sql[i] == '\n';
    return line;
}

/* Says where in the script it happened, unless it is one statement on one line. Always -1. */
static int failed_at(const struct script *s, const struct piece *p, struct error *err)
{
    char detail[sizeof err->detail];
    struct piece after = *p;
    size_t at = p->begin + (err->position > 0 ? (size_t)err->position - 1 : 0);
    if (err->code == ERR_CANCELLED)
        return -1;
    if (p->number == 1 && !next_piece(s, &after) && line_of(s, s->len) == 1) {
        err->position = err->position > 0 ? (int64_t)at + 1 : 0;
        return -1;
    }
    memcpy(detail, err->detail, sizeof detail);
    struct error said = *err;
    error_set(err, said.code, "statement %" PRIu32 ", line %" PRIu64 ": %s", p->number, line_of(s, at), detail);
    memcpy(said.detail, err->detail, sizeof said.detail);
    *err = said;
    if (err->code == ERR_SQL)
        err->position = (int64_t)at + 1;
    return -1;
}

/* The statements of a piece's text: mostly one; PIVOT without IN makes more. The text must outlive them. */
static int parse(struct engine *e, const char *text, size_t len, duckdb_extracted_statements *ret, idx_t *ret_count, struct error *err)
{
    *ret_count = duckdb_extract_statements(e->con, text, ret);
    if (*ret_count > 0)
        return 0;
    const char *message = duckdb_extract_statements_error(*ret);
    struct failure_context ctx = e->failure;
    ctx.sql_len = len;
    if (message && message[0] && failure_from_message(err, message, 0, &ctx))
        e->spent = true;
    else if (!message || !message[0])
        error_set(err, ERR_SQL, "Parser Error: there is no statement here");
    duckdb_destroy_extracted(ret);
    return -1;
}

static char *piece_text(const struct script *s, const struct piece *p)
{
    char *text = strndup(s->sql + p->begin, p->end - p->begin);
    CHECK(text);
    return text;
}

/* Parses everything, runs nothing: an error in the last statement is found before the first one runs. */
static int parse_all(struct engine *e, const struct script *s, uint32_t *ret_statements, struct error *err)
{
    struct piece p = {0};
    while (next_piece(s, &p)) {
        duckdb_extracted_statements all;
        idx_t count;
        char *text = piece_text(s, &p);
        const char *kind = s->one_transaction ? sql_ends_transaction(text, p.end - p.begin) : NULL;
        int rc = 0;
        if (kind)
            rc = error_set(err, ERR_FORBIDDEN, "%s can't be used in place: the script is one transaction", kind);
        else if ((rc = parse(e, text, p.end - p.begin, &all, &count, err)) == 0)
            duckdb_destroy_extracted(&all);
        free(text);
        if (rc < 0)
            return failed_at(s, &p, err);
    }
    *ret_statements = p.number;
    if (s->params && p.number > 1)
        return error_set(err, ERR_BAD_REQUEST, "parameters go with a single statement, these are %" PRIu32, p.number);
    return 0;
}

static int drain(struct stream *st, struct error *err)
{
    int64_t n;
    while ((n = stream_next(st, err)) > 0)
        ;
    return n < 0 ? -1 : 0;
}

static int run_one(struct engine *e, const struct script *s, duckdb_prepared_statement prepared, size_t len, bool last, struct error *err)
{
    if ((s->params || duckdb_nparams(prepared) > 0) && params_bind(e, prepared, s->params, s->params_len, err) < 0)
        return -1;
    struct stream *st = engine_stream_prepared(e, prepared, len, err);
    if (!st)
        return -1;
    int rc = last && s->rows ? s->rows(s->ctx, st, err) : 0;
    if (rc == 0)
        rc = drain(st, err);
    stream_free(st);
    return rc;
}

static int run_piece(struct engine *e, const struct script *s, const struct piece *p, bool last, struct error *err)
{
    duckdb_extracted_statements all;
    idx_t count;
    size_t len = p->end - p->begin;
    char *text = piece_text(s, p);
    int rc = parse(e, text, len, &all, &count, err);
    for (idx_t i = 0; rc == 0 && i < count; i++) {
        duckdb_prepared_statement prepared = NULL;
        if (duckdb_prepare_extracted_statement(e->con, all, i, &prepared) == DuckDBSuccess) {
            rc = run_one(e, s, prepared, len, last && i + 1 == count, err);
        } else {
            struct failure_context ctx = e->failure;
            ctx.sql_len = len;
            if (failure_from_message(err, duckdb_prepare_error(prepared), 0, &ctx))
                e->spent = true;
            rc = -1;
        }
        duckdb_destroy_prepare(&prepared);
        if (i + 1 == count || rc < 0)
            duckdb_destroy_extracted(&all);
    }
    free(text);
    return rc < 0 ? failed_at(s, p, err) : 0;
}

static int own(struct engine *e, const char *sql, struct error *err)
{
    duckdb_result r;
    duckdb_state state = duckdb_query(e->con, sql, &r);
    if (state != DuckDBSuccess && failure_from_message(err, duckdb_result_error(&r), (int)duckdb_result_error_type(&r), &e->failure))
        e->spent = true;
    duckdb_destroy_result(&r);
    return state == DuckDBSuccess ? 0 : -1;
}

/* A transaction that the script leaves open would be lost with the connection, without a word. */
static int check_committed(struct engine *e, struct error *err)
{
    if (own(e, "BEGIN TRANSACTION", err) < 0)
        return error_set(err, ERR_SQL, "the script leaves a transaction open: a COMMIT is missing");
    return own(e, "COMMIT", err);
}

static int run_all(struct engine *e, const struct script *s, uint32_t statements, struct error *err)
{
    struct piece p = {0};
    while (next_piece(s, &p)) {
        fault_point("import:statement");
        if (run_piece(e, s, &p, p.number == statements, err) < 0)
            return -1;
    }
    return 0;
}

static int script(struct engine *e, const struct script *s, uint32_t *ret_statements, struct error *err)
{
    if (parse_all(e, s, ret_statements, err) < 0)
        return -1;
    if (s->one_transaction && own(e, "BEGIN TRANSACTION", err) < 0)
        return -1;
    if (run_all(e, s, *ret_statements, err) < 0)
        return -1;
    return s->one_transaction ? own(e, "COMMIT", err) : check_committed(e, err);
}

int engine_script(struct engine *e, const struct script *s, uint32_t *ret_statements, struct error *err)
{
    engine_begin(e);
    e->script = true; /* no stream's end is the end: an interrupt between two statements counts */
    int rc = script(e, s, ret_statements, err);
    e->script = false;
    return rc;
}

/* What the engine says of a prepared statement. EXPLAIN ANALYZE runs what it explains. */
static bool only_reads(duckdb_prepared_statement prepared, const char *text, size_t len)
{
    size_t inner = sql_explain_inner(text, len);
    duckdb_statement_type type = duckdb_prepared_statement_type(prepared);
    return type == DUCKDB_STATEMENT_TYPE_SELECT || (type == DUCKDB_STATEMENT_TYPE_EXPLAIN && inner && !sql_refused_kind(text + inner, len - inner) &&
                                                    !sql_main_kind(text + inner, len - inner));
}

static int piece_reads(struct engine *e, const struct script *s, const struct piece *p, struct error *err)
{
    duckdb_extracted_statements all;
    idx_t count;
    size_t len = p->end - p->begin;
    char *text = piece_text(s, p);
    int rc = parse(e, text, len, &all, &count, err);
    if (rc == 0) {
        rc = 1;
        for (idx_t i = 0; rc == 1 && i < count; i++) {
            duckdb_prepared_statement prepared = NULL;
            /* One that can't be prepared fails in the same words when it runs. */
            if (duckdb_prepare_extracted_statement(e->con, all, i, &prepared) == DuckDBSuccess && !only_reads(prepared, text, len))
                rc = 0;
            duckdb_destroy_prepare(&prepared);
        }
        duckdb_destroy_extracted(&all);
    }
    free(text);
    return rc < 0 ? failed_at(s, p, err) : rc;
}

int engine_script_reads(struct engine *e, const char *sql, size_t len, struct error *err)
{
    const struct script s = {.sql = sql, .len = len};
    struct piece p = {0};
    uint32_t statements = 0;
    int rc = parse_all(e, &s, &statements, err) < 0 ? -1 : 1;
    if (rc == 1 && statements == 0)
        return error_set(err, ERR_SQL, "Parser Error: there is no statement here");
    while (rc == 1 && next_piece(&s, &p))
        rc = piece_reads(e, &s, &p, err);
    return rc;
}

bool engine_failed_for_reading_only(const struct error *err) { return err->code == ERR_SQL && strstr(err->detail, "read-only mode"); }

int engine_checkpoint(struct engine *e, struct error *err) { return own(e, "CHECKPOINT", err); }

int engine_verify(const struct engine_options *opts, const struct table_counts *expected, struct error *err)
{
    struct engine_options reader = *opts;
    struct table_counts seen = {0};
    reader.write = false;
    reader.read_paths = NULL;
    struct engine *e = engine_open(&reader, err);
    int rc = !e || engine_lock(e, err) < 0 ? -1 : engine_count_tables(e, &seen, err);
    if (rc == 0)
        rc = table_counts_compare(expected, &seen, err);
    table_counts_free(&seen);
    engine_close(e);
    return rc;
}
