/* SQL as plain text: words, comments, quotes, statement ends. A lexer, not a parser: it only has to be right about where words and
 * quoted parts begin and end; what a statement is, the engine's own parser says. Knows nothing of DuckDB's library.
 * Runs in the worker (and in tests). */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum sql_token_kind { SQL_END, SQL_WORD, SQL_QUOTED, SQL_OTHER };

struct sql_token {
    enum sql_token_kind kind;
    size_t begin, end; /* byte offsets; OTHER is one byte */
};

/* The next token at or after *pos; *pos moves behind it. Blanks and comments are skipped. Quoted: '..', "..", E'..', $tag$..$tag$;
 * one that never ends runs to the end of the text. */
struct sql_token sql_next(const char *sql, size_t len, size_t *pos);

bool sql_token_is(const char *sql, const struct sql_token *t, const char *word); /* in any case */

/* Statements that hold at least one token, as the semicolons separate them. */
size_t sql_count_statements(const char *sql, size_t len);

/* The kind of statement that the first word announces, when that kind is never a SELECT: "COPY", "PRAGMA"... NULL: may be one. */
const char *sql_refused_kind(const char *sql, size_t len);

/* The kind that the first word announces, when a statement of that kind begins or ends a transaction, or acts beside it; else NULL. */
const char *sql_ends_transaction(const char *sql, size_t len);

/* Offset of the statement inside EXPLAIN [ANALYZE] [(options)], or 0 when the text does not start with EXPLAIN. */
size_t sql_explain_inner(const char *sql, size_t len);

/* Leaves of what stands before the inner statement its words, commas and brackets, everything else becomes spaces: so that the engine can't read
 * it in another way than sql_explain_inner did. False: it holds something else, and the statement is not to be run. */
bool sql_explain_plain(char *sql, size_t inner, bool *ret_changed);

/* The kind of a statement whose first word does not tell it, of those that are no SELECT: WITH .. INSERT, UPDATE, DELETE, MERGE, and PIVOT.
 * NULL: none of these. */
const char *sql_main_kind(const char *sql, size_t len);
