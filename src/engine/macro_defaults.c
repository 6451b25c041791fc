/* Default arguments of macros (see the header). Knows nothing of DuckDB's library. Runs in the worker (and in tests). */
#include "engine/macro_defaults.h"
#include "core/buf.h"
#include "core/errors.h"
#include "engine/sqltext.h"

#include <string.h>

#define SQL_MAX ((size_t)1 << 20)

/* "Macro NAME() does not support .. \nCandidate macros:\n\tNAME(a, b := 1)\n\tNAME(..)": the first one's line break, or NULL. */
static const char *candidates(const char *message, const char *name)
{
    static const char head[] = "Macro ", mark[] = "\nCandidate macros:";
    size_t n = sizeof head - 1;
    if (strncmp(message, head, n) != 0 || strncmp(message + n, name, strlen(name)) != 0)
        return NULL;
    const char *at = strstr(message + n + strlen(name), mark);
    return at ? at + sizeof mark - 1 : NULL;
}

bool macro_defaults_any(const char *message, const char *name)
{
    const char *at = candidates(message, name);
    return !at || strstr(at, ":=");
}

/* Whether nothing but blanks lies between two tokens: a comment would hide what the engine prints behind it. */
static bool only_blanks(const char *s, size_t from, size_t to) { return from + strspn(s + from, " \n") >= to; }

/* Copies one default from *pos to the comma or bracket that ends it, which is returned and passed over; 0: it has no such end. */
static char take_default(const char *s, size_t len, size_t *pos, struct buf *sql)
{
    size_t begin = *pos, depth = 0;
    for (;;) {
        size_t before = *pos;
        struct sql_token t = sql_next(s, len, pos);
        if (t.kind == SQL_END || !only_blanks(s, before, t.begin))
            return 0;
        char c = t.kind == SQL_OTHER ? s[t.begin] : ' ';
        if (depth == 0 && (c == ',' || c == ')')) {
            bool ok = buf_puts(sql, sql->len ? ", (" : "SELECT (") && buf_append(sql, s + begin, t.begin - begin) && buf_puts(sql, ")");
            return ok ? c : 0;
        }
        if (c && strchr("([{", c))
            depth++;
        else if (c && strchr(")]}", c))
            depth--;
    }
}

/* The parameters of one form, behind its bracket; *pos moves behind the one that closes it. */
static bool take_form(const char *s, size_t len, size_t *pos, struct buf *sql)
{
    for (size_t depth = 0; *pos < len; (*pos)++) {
        char c = s[*pos];
        if (c == ':' && s[*pos + 1] == '=') {
            *pos += 2;
            char end = depth == 0 ? take_default(s, len, pos, sql) : 0;
            if (end != ',')
                return end == ')';
            (*pos)--;
        } else if (c == '(') { /* of a type, as in DECIMAL(18,3) */
            depth++;
        } else if (c == ')' && depth-- == 0) {
            (*pos)++;
            return true;
        }
    }
    return false;
}

char *macro_defaults_sql(const char *message, const char *name)
{
    struct buf sql = BUF_INIT(SQL_MAX);
    const char *s = candidates(message, name);
    size_t len = s ? strlen(s) : 0, pos = 0, n = strlen(name);
    bool ok = s != NULL;
    while (ok && pos < len) {
        ok = strncmp(s + pos, "\n\t", 2) == 0 && strncmp(s + pos + 2, name, n) == 0 && s[pos + 2 + n] == '(';
        pos += 3 + n;
        ok = ok && take_form(s, len, &pos, &sql);
    }
    if (ok && sql.len > 0 && buf_append(&sql, "", 1))
        return sql.data;
    buf_free(&sql);
    return NULL;
}
