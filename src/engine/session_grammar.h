/* The statements that a session may run besides SELECT, and nothing else of SQL:
 *     CREATE [OR REPLACE] TEMP TABLE|VIEW [IF NOT EXISTS] [temp.]name AS <select>
 *     INSERT INTO [temp.]name [(column, ..)] <select>
 *     DROP TABLE|VIEW [IF EXISTS] [temp.]name
 *     SET VARIABLE name = <expression>           SET TimeZone = '..'   (also TO, and SET TIME ZONE)
 * What is recognised is written anew, with names and texts quoted by us: nothing but the inner select comes from the client's text, and that is
 * checked like any other. Knows nothing of DuckDB's library. Runs in the worker (and in tests). */
#pragma once
#include "core/buf.h"
#include "core/errors.h"
#include <stdbool.h>
#include <stddef.h>

enum session_verb { SESSION_NONE, SESSION_CREATE, SESSION_INSERT, SESSION_DROP, SESSION_SET_VARIABLE, SESSION_SET_TIMEZONE };

struct session_statement {
    enum session_verb verb;
    struct buf text;   /* what is to be run; buf_free it */
    struct buf select; /* the select in it, to be checked; empty when there is none */
    size_t from;       /* where the client's part begins in the client's text, */
    size_t text_at;    /* in `text`, */
    size_t select_at;  /* in `select`, */
    size_t len;        /* and how long it is */
};

/* 0: verb is NONE for a text that begins with none of these words (it may be a SELECT), else the statement. -1 with *err (forbidden): it begins
 * like one, and is none of them. Nothing to free then. */
int session_parse(const char *sql, size_t len, struct session_statement *ret, struct error *err);
/* A position in `text` or `select` (from 1) as one in the client's text; 0 when it is in what we wrote. */
int64_t session_position(const struct session_statement *s, int64_t position, bool in_select);
void session_statement_free(struct session_statement *s);
