/* SQL as plain text (see the header). Knows nothing of DuckDB's library. Runs in the worker. */
#include "engine/sqltext.h"

#include <string.h>
#include <strings.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))

static bool word_start(unsigned char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80; }

static bool word_part(unsigned char c) { return word_start(c) || (c >= '0' && c <= '9'); }

/* Bytes of the blank at s, 0 when it is none. Exactly those that the engine takes for spaces, neither more nor fewer
 * (test/unit/test_sqltext.c asks it about every character). */
static size_t blank(const char *s, size_t len)
{
    static const char *const unicode[] = {"\xC2\xA0", "\xE2\x81\x9F", "\xE2\x81\xA0", "\xE3\x80\x80", "\xEF\xBB\xBF", "\xE2\x80\xAF"};
    unsigned char c = (unsigned char)s[0];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r')
        return 1;
    if (c < 0x80)
        return 0;
    for (size_t i = 0; i < LENGTH(unicode); i++) {
        size_t n = strlen(unicode[i]);
        if (n <= len && memcmp(s, unicode[i], n) == 0)
            return n;
    }
    return len >= 3 && memcmp(s, "\xE2\x80", 2) == 0 && (unsigned char)s[2] <= 0x8B ? 3 : 0;
}

static size_t skip_comment(const char *sql, size_t len, size_t pos)
{
    if (sql[pos] == '-') {
        while (pos < len && sql[pos] != '\n' && sql[pos] != '\r')
            pos++;
        return pos;
    }
    size_t depth = 0;
    while (pos < len) {
        bool pair = len - pos >= 2;
        if (pair && sql[pos] == '/' && sql[pos + 1] == '*') {
            depth++;
            pos += 2;
        } else if (pair && sql[pos] == '*' && sql[pos + 1] == '/') {
            pos += 2;
            if (--depth == 0)
                return pos;
        } else {
            pos++;
        }
    }
    return len;
}

static size_t skip_blanks(const char *sql, size_t len, size_t pos)
{
    while (pos < len) {
        size_t n = blank(sql + pos, len - pos);
        bool pair = len - pos >= 2;
        if (n)
            pos += n;
        else if (pair && ((sql[pos] == '-' && sql[pos + 1] == '-') || (sql[pos] == '/' && sql[pos + 1] == '*')))
            pos = skip_comment(sql, len, pos);
        else
            break;
    }
    return pos;
}

/* Behind the closing quote; a doubled quote is part of the text, and with `escapes` a backslash takes the next byte along. */
static size_t skip_quoted(const char *sql, size_t len, size_t pos, bool escapes)
{
    char quote = sql[pos++];
    while (pos < len) {
        if (escapes && sql[pos] == '\\' && len - pos >= 2) {
            pos += 2;
        } else if (sql[pos] != quote) {
            pos++;
        } else if (len - pos >= 2 && sql[pos + 1] == quote) {
            pos += 2;
        } else {
            return pos + 1;
        }
    }
    return len;
}

/* Behind $tag$..$tag$, or `pos` when there is no such quote here. */
static size_t skip_dollar(const char *sql, size_t len, size_t pos)
{
    size_t tag_end = pos + 1;
    if (tag_end < len && word_start((unsigned char)sql[tag_end]))
        while (tag_end < len && word_part((unsigned char)sql[tag_end]))
            tag_end++;
    if (tag_end >= len || sql[tag_end] != '$')
        return pos;
    size_t tag_len = tag_end + 1 - pos;
    const char *close = memmem(sql + tag_end + 1, len - tag_end - 1, sql + pos, tag_len);
    return close ? (size_t)(close - sql) + tag_len : len;
}

struct sql_token sql_next(const char *sql, size_t len, size_t *pos)
{
    size_t at = skip_blanks(sql, len, *pos);
    struct sql_token t = {SQL_END, at, at};
    if (at < len) {
        char c = sql[at];
        bool escapes = (c == 'e' || c == 'E') && len - at >= 2 && sql[at + 1] == '\'';
        t.kind = SQL_QUOTED;
        if (c == '\'' || c == '"')
            t.end = skip_quoted(sql, len, at, false);
        else if (escapes)
            t.end = skip_quoted(sql, len, at + 1, true);
        else if (c == '$')
            t.end = skip_dollar(sql, len, at);
        if (t.end == at && word_start((unsigned char)c)) {
            t.kind = SQL_WORD;
            while (t.end < len && word_part((unsigned char)sql[t.end]) && !blank(sql + t.end, len - t.end))
                t.end++;
        } else if (t.end == at) {
            t.kind = SQL_OTHER;
            t.end = at + 1;
        }
    }
    *pos = t.end;
    return t;
}

bool sql_token_is(const char *sql, const struct sql_token *t, const char *word)
{
    size_t n = strlen(word);
    return t->kind == SQL_WORD && t->end - t->begin == n && strncasecmp(sql + t->begin, word, n) == 0;
}

size_t sql_count_statements(const char *sql, size_t len)
{
    size_t pos = 0, count = 0;
    bool open = false;
    for (struct sql_token t = sql_next(sql, len, &pos); t.kind != SQL_END; t = sql_next(sql, len, &pos)) {
        bool end = t.kind == SQL_OTHER && sql[t.begin] == ';';
        if (!end && !open)
            count++;
        open = !end;
    }
    return count;
}

/* The first token that is not a stray semicolon. */
static struct sql_token first_token(const char *sql, size_t len, size_t *pos)
{
    struct sql_token t = sql_next(sql, len, pos);
    while (t.kind == SQL_OTHER && sql[t.begin] == ';')
        t = sql_next(sql, len, pos);
    return t;
}

/* The first word, when it is one of these. */
static const char *first_word_of(const char *sql, size_t len, const char *const *kinds, size_t count)
{
    size_t pos = 0;
    struct sql_token t = first_token(sql, len, &pos);
    for (size_t i = 0; i < count; i++)
        if (t.kind == SQL_WORD && t.end - t.begin == strlen(kinds[i]) && strncasecmp(sql + t.begin, kinds[i], t.end - t.begin) == 0)
            return kinds[i];
    return NULL;
}

const char *sql_ends_transaction(const char *sql, size_t len)
{
    static const char *const kinds[] = {"ABORT", "ATTACH", "BEGIN",    "CHECKPOINT", "COMMIT", "DETACH",
                                        "END",   "FORCE",  "ROLLBACK", "START",      "USE",    "VACUUM"};
    return first_word_of(sql, len, kinds, LENGTH(kinds));
}

const char *sql_refused_kind(const char *sql, size_t len)
{
    static const char *const kinds[] = {
        "ABORT",  "ALTER",      "ANALYZE", "ATTACH", "BEGIN",    "CALL",   "CHECKPOINT", "COMMENT", "COMMIT",  "COPY",
        "CREATE", "DEALLOCATE", "DELETE",  "DETACH", "DROP",     "END",    "EXECUTE",    "EXPORT",  "FORCE",   "GRANT",
        "IMPORT", "INSERT",     "INSTALL", "LOAD",   "MERGE",    "PRAGMA", "PREPARE",    "REFRESH", "REINDEX", "RESET",
        "REVOKE", "ROLLBACK",   "SET",     "START",  "TRUNCATE", "UPDATE", "USE",        "VACUUM",
    };
    return first_word_of(sql, len, kinds, LENGTH(kinds));
}

/* The bracket at `open` holds EXPLAIN's options, not a SELECT: its first word is an option's name. */
static bool explain_options(const char *sql, size_t len, size_t open)
{
    size_t pos = open + 1;
    struct sql_token t = sql_next(sql, len, &pos);
    return sql_token_is(sql, &t, "analyze") || sql_token_is(sql, &t, "analyse") || sql_token_is(sql, &t, "format") ||
           sql_token_is(sql, &t, "verbose");
}

static size_t skip_brackets(const char *sql, size_t len, size_t open)
{
    size_t pos = open, depth = 0;
    for (struct sql_token t = sql_next(sql, len, &pos); t.kind != SQL_END; t = sql_next(sql, len, &pos)) {
        if (t.kind != SQL_OTHER)
            continue;
        if (sql[t.begin] == '(')
            depth++;
        else if (sql[t.begin] == ')' && --depth == 0)
            return pos;
    }
    return len;
}

size_t sql_explain_inner(const char *sql, size_t len)
{
    size_t pos = 0;
    struct sql_token t = first_token(sql, len, &pos);
    if (!sql_token_is(sql, &t, "explain"))
        return 0;
    size_t inner = pos;
    t = sql_next(sql, len, &pos);
    while (sql_token_is(sql, &t, "analyze") || sql_token_is(sql, &t, "analyse") || sql_token_is(sql, &t, "verbose")) {
        inner = pos;
        t = sql_next(sql, len, &pos);
    }
    if (t.kind == SQL_OTHER && sql[t.begin] == '(' && explain_options(sql, len, t.begin))
        inner = skip_brackets(sql, len, t.begin);
    return inner;
}

bool sql_explain_plain(char *sql, size_t inner, bool *ret_changed)
{
    size_t pos = 0, behind = 0;
    *ret_changed = false;
    for (struct sql_token t = sql_next(sql, inner, &pos);; t = sql_next(sql, inner, &pos)) {
        size_t to = t.kind == SQL_END ? inner : t.begin;
        for (; behind < to; behind++)
            if (sql[behind] != ' ') {
                sql[behind] = ' ';
                *ret_changed = true;
            }
        if (t.kind == SQL_END)
            return true;
        if (t.kind == SQL_OTHER && sql[t.begin] == ';') /* stray ones before it */
            continue;
        if (t.kind == SQL_QUOTED || (t.kind == SQL_OTHER && !strchr("(),", sql[t.begin])))
            return false;
        for (behind = t.begin; behind < t.end; behind++)
            if ((unsigned char)sql[behind] >= 0x80)
                return false;
    }
}

const char *sql_main_kind(const char *sql, size_t len)
{
    static const char *const kinds[] = {"INSERT", "UPDATE", "DELETE", "MERGE"};
    size_t pos = 0, depth = 0;
    for (struct sql_token t = first_token(sql, len, &pos); t.kind != SQL_END; t = sql_next(sql, len, &pos)) {
        if (t.kind == SQL_OTHER)
            depth += (size_t)(sql[t.begin] == '(') - (size_t)(sql[t.begin] == ')');
        for (size_t i = 0; i < LENGTH(kinds) && depth == 0; i++)
            if (sql_token_is(sql, &t, kinds[i]))
                return kinds[i];
        if (depth == 0 && sql_token_is(sql, &t, "pivot"))
            return "PIVOT";
    }
    return NULL;
}
