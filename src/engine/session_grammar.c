/* The little grammar (see the header). Runs in the worker. */
#include "engine/session_grammar.h"
#include "engine/quote.h"
#include "engine/sqltext.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_BYTES 256

struct parser {
    const char *sql;
    size_t len, pos;
    struct sql_token now;
    struct session_statement *s;
    struct error *err;
    const char *kind; /* for the refusal */
};

static int refuse(struct parser *p, const char *why)
{
    error_set(
        p->err, ERR_FORBIDDEN,
        "%s statement refused: %s. A session runs SELECT, CREATE [OR REPLACE] TEMP TABLE|VIEW name AS <select>, INSERT INTO temp.name <select>, "
        "DROP TABLE|VIEW temp.name, SET VARIABLE name = <value>, SET TimeZone = '..'",
        p->kind, why);
    snprintf(p->err->what, sizeof p->err->what, "%s statement", p->kind);
    return -1;
}

static void step(struct parser *p) { p->now = sql_next(p->sql, p->len, &p->pos); }

static bool is(const struct parser *p, const char *word) { return sql_token_is(p->sql, &p->now, word); }

static bool accept(struct parser *p, const char *word)
{
    if (!is(p, word))
        return false;
    step(p);
    return true;
}

static bool accept_sign(struct parser *p, char sign)
{
    if (p->now.kind != SQL_OTHER || p->sql[p->now.begin] != sign)
        return false;
    step(p);
    return true;
}

/* At the end, but for semicolons. */
static bool at_end(struct parser *p)
{
    while (accept_sign(p, ';'))
        ;
    return p->now.kind == SQL_END;
}

/* An identifier, its quotes taken off. */
static bool name(struct parser *p, char ret[NAME_MAX_BYTES])
{
    const char *t = p->sql + p->now.begin;
    size_t n = p->now.end - p->now.begin, out = 0;
    bool quoted = p->now.kind == SQL_QUOTED && t[0] == '"';
    if (!quoted && p->now.kind != SQL_WORD)
        return false;
    if (quoted && (n < 3 || t[n - 1] != '"'))
        return false;
    for (size_t i = quoted; i < n - quoted; i++) {
        if (quoted && t[i] == '"')
            i++; /* doubled: sql_next saw to that */
        if (out == NAME_MAX_BYTES - 1 || i >= n - quoted)
            return false;
        ret[out++] = t[i];
    }
    ret[out] = 0;
    step(p);
    return out > 0;
}

/* [temp.]name */
static bool own_name(struct parser *p, char ret[NAME_MAX_BYTES])
{
    if (!name(p, ret))
        return false;
    if (!accept_sign(p, '.'))
        return true;
    return strcasecmp(ret, "temp") == 0 && name(p, ret) && !(p->now.kind == SQL_OTHER && p->sql[p->now.begin] == '.');
}

static void put(struct buf *b, const char *text) { CHECK(buf_puts(b, text)); }

static bool put_name(struct buf *b, const char *text) { return quote_name(b, text, strlen(text)); }

/* The rest of the client's text is the select. */
static int take_rest(struct parser *p, const char *before_select, const char *behind)
{
    struct session_statement *s = p->s;
    if (p->now.kind == SQL_END)
        return refuse(p, "there is no SELECT in it");
    s->from = p->now.begin;
    s->len = p->len - s->from;
    s->text_at = s->text.len;
    put(&s->select, before_select);
    s->select_at = s->select.len;
    CHECK(buf_append(&s->text, p->sql + s->from, s->len) && buf_append(&s->select, p->sql + s->from, s->len));
    put(&s->text, behind);
    put(&s->select, behind);
    return 0;
}

static int create(struct parser *p)
{
    char what[NAME_MAX_BYTES];
    bool replace = false;
    if (accept(p, "or")) {
        if (!accept(p, "replace"))
            return refuse(p, "behind OR stands REPLACE");
        replace = true;
    }
    if (!accept(p, "temp") && !accept(p, "temporary"))
        return refuse(p, "what it makes must be TEMP");
    bool view = is(p, "view");
    if (!accept(p, "view") && !accept(p, "table"))
        return refuse(p, "only a TABLE or a VIEW can be made");
    bool if_not_exists = false;
    if (is(p, "if")) {
        step(p);
        if (!accept(p, "not") || !accept(p, "exists"))
            return refuse(p, "behind IF stands NOT EXISTS");
        if_not_exists = true;
    }
    if (!own_name(p, what))
        return refuse(p, "its name is a plain one, or temp.name");
    if (!accept(p, "as"))
        return refuse(p, "behind the name stands AS and a SELECT");
    struct buf *b = &p->s->text;
    put(b, replace ? "CREATE OR REPLACE TEMP " : "CREATE TEMP ");
    put(b, view ? "VIEW " : "TABLE ");
    put(b, if_not_exists ? "IF NOT EXISTS " : "");
    if (!put_name(b, what))
        return refuse(p, "its name is no text");
    put(b, " AS ");
    p->s->verb = SESSION_CREATE;
    return take_rest(p, "", "");
}

/* (a, b): a list of columns, not a SELECT in brackets. */
static bool is_column_list(const struct parser *p)
{
    struct parser look = *p;
    char ignored[NAME_MAX_BYTES];
    if (!accept_sign(&look, '('))
        return false;
    return !is(&look, "select") && !is(&look, "with") && !is(&look, "values") && !is(&look, "from") && name(&look, ignored);
}

static int columns(struct parser *p)
{
    struct buf *b = &p->s->text;
    char column[NAME_MAX_BYTES];
    step(p);
    put(b, "(");
    for (bool first = true;; first = false) {
        if (!name(p, column))
            return refuse(p, "its columns are plain names");
        put(b, first ? "" : ", ");
        if (!put_name(b, column))
            return refuse(p, "a column's name is no text");
        if (accept_sign(p, ')'))
            break;
        if (!accept_sign(p, ','))
            return refuse(p, "its columns are plain names");
    }
    put(b, ") ");
    return 0;
}

static int insert(struct parser *p)
{
    char what[NAME_MAX_BYTES];
    struct buf *b = &p->s->text;
    if (!accept(p, "into") || !own_name(p, what))
        return refuse(p, "behind INSERT stands INTO and the name of a temporary table");
    put(b, "INSERT INTO temp.main.");
    if (!put_name(b, what))
        return refuse(p, "its name is no text");
    put(b, " ");
    if (is_column_list(p) && columns(p) < 0)
        return -1;
    p->s->verb = SESSION_INSERT;
    return take_rest(p, "", "");
}

static int drop(struct parser *p)
{
    char what[NAME_MAX_BYTES];
    struct buf *b = &p->s->text;
    bool view = is(p, "view"), if_exists = false;
    if (!accept(p, "view") && !accept(p, "table"))
        return refuse(p, "only a TABLE or a VIEW can be dropped");
    if (accept(p, "if")) {
        if (!accept(p, "exists"))
            return refuse(p, "behind IF stands EXISTS");
        if_exists = true;
    }
    if (!own_name(p, what) || !at_end(p))
        return refuse(p, "its name is that of something temporary, and the last word");
    put(b, view ? "DROP VIEW " : "DROP TABLE ");
    put(b, if_exists ? "IF EXISTS " : "");
    put(b, "temp.main.");
    if (!put_name(b, what))
        return refuse(p, "its name is no text");
    p->s->verb = SESSION_DROP;
    return 0;
}

static int set_variable(struct parser *p)
{
    char what[NAME_MAX_BYTES];
    struct buf *b = &p->s->text;
    if (!name(p, what) || !accept_sign(p, '='))
        return refuse(p, "behind VARIABLE stands a name, = and a value");
    put(b, "SET VARIABLE ");
    if (!put_name(b, what))
        return refuse(p, "its name is no text");
    put(b, " = (");
    p->s->verb = SESSION_SET_VARIABLE;
    /* A semicolon at the end would end up inside the brackets. */
    while (p->len > p->now.begin && strchr("; \t\r\n", p->sql[p->len - 1]))
        p->len--;
    return take_rest(p, "SELECT (", "\n)"); /* on a line of its own: the value may end with a comment */
}

/* 'text' without escapes. */
static int set_timezone(struct parser *p)
{
    const char *t = p->sql + p->now.begin;
    size_t n = p->now.end - p->now.begin;
    char zone[128];
    size_t out = 0;
    if (p->now.kind != SQL_QUOTED || t[0] != '\'' || n < 3 || t[n - 1] != '\'' || n > sizeof zone)
        return refuse(p, "a time zone is a text such as 'Europe/Berlin'");
    for (size_t i = 1; i < n - 1; i++) {
        if (t[i] == '\'')
            return refuse(p, "a time zone is a text such as 'Europe/Berlin'");
        zone[out++] = t[i];
    }
    step(p);
    if (!at_end(p))
        return refuse(p, "something stands behind the time zone");
    put(&p->s->text, "SET TimeZone = ");
    if (!quote_text(&p->s->text, zone, out))
        return refuse(p, "a time zone is a text such as 'Europe/Berlin'");
    p->s->verb = SESSION_SET_TIMEZONE;
    return 0;
}

static int set(struct parser *p)
{
    if (accept(p, "variable"))
        return set_variable(p);
    accept(p, "session");
    if (accept(p, "time")) {
        if (!accept(p, "zone"))
            return refuse(p, "behind TIME stands ZONE");
        return set_timezone(p);
    }
    if (accept(p, "timezone") && (accept_sign(p, '=') || accept(p, "to")))
        return set_timezone(p);
    return refuse(p, "only variables and the time zone can be set");
}

int session_parse(const char *sql, size_t len, struct session_statement *ret, struct error *err)
{
    static const struct {
        const char *word, *kind;
        int (*parse)(struct parser *p);
    } verbs[] = {{"create", "CREATE", create}, {"insert", "INSERT", insert}, {"drop", "DROP", drop}, {"set", "SET", set}};
    size_t most = 2 * len + 4096;
    struct session_statement s = {.text = BUF_INIT(most), .select = BUF_INIT(most)};
    struct parser p = {.sql = sql, .len = len, .s = &s, .err = err};
    int ok = 0;
    step(&p);
    while (accept_sign(&p, ';'))
        ;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (is(&p, verbs[i].word)) {
            p.kind = verbs[i].kind;
            step(&p);
            ok = verbs[i].parse(&p);
            break;
        }
    if (ok < 0)
        session_statement_free(&s);
    else
        *ret = s;
    return ok;
}

int64_t session_position(const struct session_statement *s, int64_t position, bool in_select)
{
    int64_t at = position - 1 - (int64_t)(in_select ? s->select_at : s->text_at);
    return position > 0 && at >= 0 && at <= (int64_t)s->len ? (int64_t)s->from + at + 1 : 0;
}

void session_statement_free(struct session_statement *s)
{
    buf_free(&s->text);
    buf_free(&s->select);
    s->verb = SESSION_NONE;
}
