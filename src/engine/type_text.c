/* The grammar of type names (see the header). Runs in the worker. */
#include "engine/type_text.h"

#include <string.h>

struct cursor {
    const char *s;
    size_t len, pos;
};

static void blanks(struct cursor *c)
{
    while (c->pos < c->len && c->s[c->pos] == ' ')
        c->pos++;
}

static bool take(struct cursor *c, char want)
{
    blanks(c);
    if (c->pos >= c->len || c->s[c->pos] != want)
        return false;
    c->pos++;
    return true;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static bool take_word(struct cursor *c)
{
    blanks(c);
    size_t begin = c->pos;
    if (c->pos < c->len && is_letter(c->s[c->pos]))
        while (c->pos < c->len && (is_letter(c->s[c->pos]) || is_digit(c->s[c->pos])))
            c->pos++;
    /* A word right before a quote would be a prefix of it, as in E'..'. */
    bool prefix = c->pos < c->len && strchr("'\"", c->s[c->pos]);
    return c->pos > begin && !prefix;
}

static bool take_number(struct cursor *c)
{
    blanks(c);
    size_t begin = c->pos;
    while (c->pos < c->len && is_digit(c->s[c->pos]) && c->pos - begin < 9)
        c->pos++;
    return c->pos > begin;
}

/* '..' or "..", the quote doubled inside. */
static bool take_quoted(struct cursor *c, char quote)
{
    if (!take(c, quote))
        return false;
    while (c->pos < c->len) {
        if (!c->s[c->pos])
            return false;
        if (c->s[c->pos++] != quote)
            continue;
        if (c->pos >= c->len || c->s[c->pos] != quote)
            return true;
        c->pos++;
    }
    return false;
}

static bool take_type(struct cursor *c, int depth);

/* A number, a string, or [field] type. */
static bool take_argument(struct cursor *c, int depth) { return take_number(c) || take_quoted(c, '\'') || take_type(c, depth); }

static bool take_arguments(struct cursor *c, int depth)
{
    do {
        if (!take_argument(c, depth))
            return false;
    } while (take(c, ','));
    return take(c, ')');
}

/* Words and quoted names, dotted or in a row (a field's name comes before its type), then arguments, then any number of []. */
static bool take_type(struct cursor *c, int depth)
{
    if (depth > TYPE_DEPTH_MAX)
        return false;
    size_t names = 0;
    while (names < 8) {
        blanks(c);
        bool quoted = c->pos < c->len && c->s[c->pos] == '"';
        bool word = c->pos < c->len && is_letter(c->s[c->pos]);
        if (!quoted && !word)
            break;
        if (!(quoted ? take_quoted(c, '"') : take_word(c)))
            return false;
        names++;
        if (c->pos < c->len && c->s[c->pos] == '.')
            c->pos++;
    }
    if (names == 0 || c->s[c->pos - 1] == '.')
        return false;
    if (take(c, '(') && !take_arguments(c, depth + 1))
        return false;
    while (take(c, '[')) {
        take_number(c);
        if (!take(c, ']'))
            return false;
    }
    return true;
}

bool type_text_valid(const char *s, size_t len)
{
    struct cursor c = {s, len, 0};
    if (len == 0 || len > TYPE_TEXT_MAX || !take_type(&c, 0))
        return false;
    blanks(&c);
    return c.pos == len;
}
