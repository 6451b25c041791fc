/* SQL as plain text (see the header). Knows nothing of DuckDB's library. Runs in the worker. */
#include "engine/sqltext.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))
#define WORD_MAX 64 /* longer words are in none of the tables */

static bool word_start(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool word_part(unsigned char c) { return word_start(c) || (c >= '0' && c <= '9'); }

/* Bytes of the blank at s, 0 when it is none. The engine takes these Unicode blanks for spaces, so we must as well. */
static size_t blank(const char *s, size_t len)
{
    static const char *const unicode[] = {"\xC2\xA0", "\xE2\x81\x9F", "\xE3\x80\x80", "\xEF\xBB\xBF", "\xE2\x80\xAF", "\xE1\x9A\x80"};
    unsigned char c = (unsigned char)s[0];
    if (c == ' ' || (c >= '\t' && c <= '\r'))
        return 1;
    if (c < 0x80)
        return 0;
    for (size_t i = 0; i < LENGTH(unicode); i++) {
        size_t n = strlen(unicode[i]);
        if (n <= len && memcmp(s, unicode[i], n) == 0)
            return n;
    }
    return len >= 3 && memcmp(s, "\xE2\x80", 2) == 0 && (unsigned char)s[2] <= 0x8D ? 3 : 0;
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
    static const char *const kinds[] = {"ABORT", "ATTACH", "BEGIN", "CHECKPOINT", "COMMIT", "DETACH", "END", "FORCE", "ROLLBACK", "START", "USE", "VACUUM"};
    return first_word_of(sql, len, kinds, LENGTH(kinds));
}

const char *sql_refused_kind(const char *sql, size_t len)
{
    static const char *const kinds[] = {
        "ABORT", "ALTER", "ANALYZE", "ATTACH", "BEGIN", "CALL", "CHECKPOINT", "COMMENT", "COMMIT", "COPY", "CREATE", "DEALLOCATE",
        "DELETE", "DETACH", "DROP", "END", "EXECUTE", "EXPORT", "FORCE", "GRANT", "IMPORT", "INSERT", "INSTALL", "LOAD", "MERGE",
        "PRAGMA", "PREPARE", "REFRESH", "REINDEX", "RESET", "REVOKE", "ROLLBACK", "SET", "START", "TRUNCATE", "UPDATE", "USE", "VACUUM",
    };
    return first_word_of(sql, len, kinds, LENGTH(kinds));
}

/* The bracket at `open` holds EXPLAIN's options, not a SELECT: its first word is an option's name. */
static bool explain_options(const char *sql, size_t len, size_t open)
{
    size_t pos = open + 1;
    struct sql_token t = sql_next(sql, len, &pos);
    return sql_token_is(sql, &t, "analyze") || sql_token_is(sql, &t, "analyse") || sql_token_is(sql, &t, "format")
        || sql_token_is(sql, &t, "verbose");
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

/* Sorted: looked up by bisection. Every function of the engine with side effects, and every table function, is here or in the list of
 * harmless ones of test/unit/test_engine_effects.c, which fails when a new library brings one that is in neither. */
static const struct {
    const char *word;
    enum sql_effect effect;
} effects[] = {
    {"add_parquet_key", SQL_PROCESS},
    {"arrow_scan", SQL_PROCESS}, /* takes raw addresses */
    {"arrow_scan_dumb", SQL_PROCESS},
    {"checkpoint", SQL_NOT_PURE},
    {"copy_database", SQL_PROCESS},
    {"current_connection_id", SQL_NOT_PURE},
    {"current_localtime", SQL_NOT_PURE}, /* folded to a constant when the statement is prepared, with the next one as well */
    {"current_localtimestamp", SQL_NOT_PURE},
    {"current_query", SQL_NOT_PURE},
    {"current_query_id", SQL_NOT_PURE},
    {"current_transaction_id", SQL_NOT_PURE},
    {"currval", SQL_NOT_PURE},
    {"disable_checkpoint_on_shutdown", SQL_PROCESS},
    {"disable_logging", SQL_PROCESS},
    {"disable_object_cache", SQL_PROCESS},
    {"disable_optimizer", SQL_PROCESS},
    {"disable_peg_parser", SQL_PROCESS},
    {"disable_print_progress_bar", SQL_PROCESS},
    {"disable_profile", SQL_PROCESS},
    {"disable_profiling", SQL_PROCESS},
    {"disable_progress_bar", SQL_PROCESS},
    {"disable_verification", SQL_PROCESS},
    {"disable_verify_external", SQL_PROCESS},
    {"disable_verify_fetch_row", SQL_PROCESS},
    {"disable_verify_parallelism", SQL_PROCESS},
    {"disable_verify_serializer", SQL_PROCESS},
    {"enable_checkpoint_on_shutdown", SQL_PROCESS},
    {"enable_logging", SQL_PROCESS},
    {"enable_object_cache", SQL_PROCESS},
    {"enable_optimizer", SQL_PROCESS},
    {"enable_peg_parser", SQL_PROCESS},
    {"enable_print_progress_bar", SQL_PROCESS},
    {"enable_profile", SQL_PROCESS},
    {"enable_profiling", SQL_PROCESS},
    {"enable_progress_bar", SQL_PROCESS},
    {"enable_verification", SQL_PROCESS},
    {"force_checkpoint", SQL_NOT_PURE},
    {"getvariable", SQL_NOT_PURE},
    {"import_database", SQL_PROCESS},
    {"json_execute_serialized_sql", SQL_PROCESS}, /* hides any other name */
    {"localtime", SQL_NOT_PURE},
    {"localtimestamp", SQL_NOT_PURE},
    {"nextval", SQL_NOT_PURE},
    {"query", SQL_PROCESS}, /* with a text that is put together, hides any other name */
    {"query_table", SQL_NOT_PURE},
    {"sample", SQL_NOT_PURE}, /* the sample of a prepared statement is drawn once, for all its executions */
    {"seq_scan", SQL_NOT_PURE},
    {"setseed", SQL_NOT_PURE},
    {"tablesample", SQL_NOT_PURE},
    {"truncate_duckdb_logs", SQL_PROCESS},
    {"verify_external", SQL_PROCESS},
    {"verify_fetch_row", SQL_PROCESS},
    {"verify_parallelism", SQL_PROCESS},
    {"verify_serializer", SQL_PROCESS},
    {"write_log", SQL_PROCESS},
};

static int by_word(const void *key, const void *row)
{
    return strcmp(key, *(const char *const *)row);
}

static enum sql_effect word_effect(const char *s, size_t len)
{
    char low[WORD_MAX];
    if (len >= sizeof low)
        return SQL_PURE;
    for (size_t i = 0; i < len; i++)
        low[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] | 0x20) : s[i];
    low[len] = 0;
    const char *const *row = bsearch(low, effects, LENGTH(effects), sizeof *effects, by_word);
    return row ? effects[(size_t)((const char *)row - (const char *)effects) / sizeof *effects].effect : SQL_PURE;
}

/* The word that ends at `end` is called as a function. */
static bool is_called(const char *sql, size_t len, size_t end, size_t *ret_behind)
{
    if (end < len && sql[end] == '"')
        end++;
    end = skip_blanks(sql, len, end);
    *ret_behind = end + 1;
    return end < len && sql[end] == '(';
}

/* The argument list that starts at pos is one plain string: its words are in the text, and so are looked at like all others. */
static bool is_one_string(const char *sql, size_t len, size_t pos)
{
    struct sql_token t = sql_next(sql, len, &pos), close = sql_next(sql, len, &pos);
    return t.kind == SQL_QUOTED && sql[t.begin] == '\'' && close.kind == SQL_OTHER && sql[close.begin] == ')';
}

static enum sql_effect effect_at(const char *sql, size_t len, size_t begin, size_t end)
{
    enum sql_effect e = word_effect(sql + begin, end - begin);
    size_t behind;
    if (e != SQL_PROCESS)
        return e;
    if (!is_called(sql, len, end, &behind))
        return SQL_NOT_PURE; /* a column of that name, say; kept off the cache all the same */
    bool is_query = end - begin == 5; /* "query": the only name of that length */
    return is_query && is_one_string(sql, len, behind) ? SQL_NOT_PURE : SQL_PROCESS;
}

enum sql_effect sql_effect(const char *sql, size_t len)
{
    enum sql_effect worst = SQL_PURE;
    for (size_t i = 0; i < len;) {
        size_t begin = i;
        while (i < len && (unsigned char)sql[i] < 0x80 && word_part((unsigned char)sql[i]))
            i++;
        if (i > begin) {
            enum sql_effect e = effect_at(sql, len, begin, i);
            if (e > worst)
                worst = e;
        } else {
            i++;
        }
    }
    return worst;
}
