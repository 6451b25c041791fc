/* Names inside of quotes (see the header). Knows nothing of DuckDB's library. Runs in the worker (and in tests). */
#include "engine/hidden_names.h"
#include "engine/sqltext.h"

#include <string.h>
#include <strings.h>

static bool word_part(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is(struct span s, const char *word) { return s.len == strlen(word) && strncasecmp(s.at, word, s.len) == 0; }

/* The next name at or after *pos, a word or what stands in double quotes; *pos moves behind it. Length 0: there is none. */
static struct span next_name(const char *s, size_t end, size_t *pos, bool *ret_quoted)
{
    while (*pos < end && !word_part(s[*pos]) && s[*pos] != '"')
        (*pos)++;
    *ret_quoted = *pos < end && s[*pos] == '"';
    size_t begin = *pos += *ret_quoted;
    while (*pos < end && (*ret_quoted ? s[*pos] != '"' : word_part(s[*pos])))
        (*pos)++;
    struct span name = {s + begin, *pos - begin};
    *pos += *ret_quoted && *pos < end;
    return name;
}

static void inside(const char *s, size_t pos, size_t end, hidden_name_fn *fn, void *ctx)
{
    bool quoted, table = false;
    while (pos < end) {
        struct span name = next_name(s, end, &pos, &quoted);
        bool dotted = pos < end && s[pos] == '.';
        if (name.len == 0 && !quoted)
            return;
        if (quoted) /* what stands in double quotes may be a text as well, whose quote was opened by a name */
            inside(s, (size_t)(name.at - s), (size_t)(name.at - s) + name.len, fn, ctx);
        if (pos < end && s[pos] == '(')
            fn(ctx, true, quoted, name);
        else if (table)
            fn(ctx, false, quoted, name);
        table = (table && dotted) || (!quoted && (is(name, "from") || is(name, "join")));
    }
}

/* Between tokens the engine prints blanks only. */
static bool is_comment(const char *s, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (s[i] == '-' || s[i] == '/')
            return true;
    return false;
}

bool hidden_names(const char *sql, size_t len, hidden_name_fn *fn, void *ctx)
{
    for (size_t pos = 0, before = 0;; before = pos) {
        struct sql_token t = sql_next(sql, len, &pos);
        if (is_comment(sql, before, t.begin))
            return false;
        if (t.kind == SQL_END)
            return true;
        if (t.kind == SQL_QUOTED)
            inside(sql, t.begin + 1, t.end, fn, ctx);
    }
}
