/* A configuration file's text, line by line, through inih. inih by itself takes lines of 200 bytes, cuts values at " ;", joins indented lines to
 * the one before and forgets quotes; so each line's form is checked here, as strictly as a wrong line deserves, and inih is handed
 * only what it can hold: section headers and key names, from which it tells which key of which section it is. The value waits
 * here meanwhile. Knows no key. Runs in every process. */
#include "core/config_load.h"
#include "core/config_name.h"
#include "core/config_value.h"
#include "core/errors.h"
#include "core/utf8.h"

#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES (2 * CONFIG_VALUE_MAX + 512) /* the longest value with each byte escaped, its key, some blanks */
#define COMMENT_RULE "comments stand on lines of their own; a value with \" ;\" or \" #\" stands in double quotes"
#define NO_FORM "neither [section] nor key = value nor a comment"

struct file {
    struct config_loading *l;
    const char *at, *end; /* what is not read yet */
    int line;             /* the one that was read last, from 1 */
    bool refused;
    char value[CONFIG_VALUE_MAX * 2 + 1]; /* of that line */
};

/* A part of the text; not NUL-terminated. */
struct span {
    const char *at;
    size_t len;
};

static bool blank(char c) { return c == ' ' || c == '\t'; }

static struct span trim(const char *begin, const char *end)
{
    while (begin < end && blank(*begin))
        begin++;
    while (end > begin && blank(end[-1]))
        end--;
    return (struct span){begin, (size_t)(end - begin)};
}

static int refuse(const struct file *f, const char *what) { return config_refuse(f->l, "%s: %s", f->l->place, what); }

/* The next line without its end and the blanks around it. False at the end of the text. */
static bool next_line(struct file *f, struct span *ret)
{
    if (f->at == f->end)
        return false;
    const char *newline = memchr(f->at, '\n', (size_t)(f->end - f->at)), *stop = newline ? newline : f->end;
    const char *begin = f->at;
    f->at = newline ? newline + 1 : f->end;
    f->line++;
    config_at_line(f->l, f->line);
    if (stop > begin && stop[-1] == '\r')
        stop--;
    *ret = trim(begin, stop);
    return true;
}

static int check_characters(const struct file *f, struct span s)
{
    if (s.len > LINE_MAX_BYTES)
        return refuse(f, "the line is too long");
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i], next = i + 1 < s.len ? (unsigned char)s.at[i + 1] : 0;
        if ((c < 0x20 && c != '\t') || c == 0x7F || (c == 0xC2 && next >= 0x80 && next < 0xA0))
            return refuse(f, "a control character");
    }
    return utf8_valid(s.at, s.len) ? 0 : refuse(f, "not UTF-8 text");
}

/* [name]: for inih into `out`. */
static int read_section(const struct file *f, struct span s, char *out, size_t cap)
{
    const char *close = memchr(s.at, ']', s.len);
    char name[CONFIG_NAME_MAX + 1];
    if (!close)
        return refuse(f, "a section header without its ]");
    if (close + 1 < s.at + s.len)
        return refuse(f, "text behind the ] of a section header (comments stand on lines of their own)");
    if (s.len - 2 > CONFIG_NAME_MAX)
        return refuse(f, "the section's name is too long");
    memcpy(name, s.at + 1, s.len - 2);
    name[s.len - 2] = 0;
    if (config_enter_section(f->l, name) < 0)
        return -1;
    snprintf(out, cap, "[%s]\n", name);
    return 0;
}

static int unquote(struct file *f, struct span s)
{
    size_t i = 1, n = 0;
    for (; i < s.len && s.at[i] != '"'; i++) {
        if (s.at[i] == '\\' && i + 1 < s.len) {
            i++;
            if (s.at[i] != '"' && s.at[i] != '\\')
                return refuse(f, "in double quotes a backslash stands only before \" or another backslash");
        }
        if (n == sizeof f->value - 1)
            return refuse(f, "the line is too long");
        f->value[n++] = s.at[i];
    }
    f->value[n] = 0;
    if (i == s.len)
        return refuse(f, "the value's closing double quote is missing");
    return i + 1 == s.len ? 0 : refuse(f, "text behind the value's closing double quote");
}

static int read_value(struct file *f, struct span s)
{
    if (s.len > 0 && s.at[0] == '"')
        return unquote(f, s);
    for (size_t i = 0; i < s.len; i++)
        if ((s.at[i] == ';' || s.at[i] == '#') && (i == 0 || blank(s.at[i - 1])))
            return refuse(f, COMMENT_RULE);
    if (s.len > sizeof f->value - 1)
        return refuse(f, "the line is too long");
    memcpy(f->value, s.at, s.len);
    f->value[s.len] = 0;
    return 0;
}

/* key = value: the key for inih into `out`, the value into f->value. */
static int read_key(struct file *f, struct span s, char *out, size_t cap)
{
    const char *equals = memchr(s.at, '=', s.len);
    struct span key = trim(s.at, equals ? equals : s.at);
    if (key.len == 0 || memchr(key.at, ':', key.len) || memchr(key.at, ';', key.len)) /* inih would end the name there */
        return refuse(f, NO_FORM);
    if (key.len > CONFIG_NAME_MAX)
        return refuse(f, "the key's name is too long");
    if (read_value(f, trim(equals + 1, s.at + s.len)) < 0)
        return -1;
    snprintf(out, cap, "%.*s =\n", (int)key.len, key.at);
    return 0;
}

/* inih's source of lines: NULL ends its work. */
static char *line_for_inih(char *out, int cap, void *stream)
{
    struct file *f = stream;
    struct span s;
    if (f->refused || !next_line(f, &s))
        return NULL;
    *out = 0;
    if (s.len == 0 || *s.at == ';' || *s.at == '#')
        return out;
    f->refused = check_characters(f, s) < 0 || (*s.at == '[' ? read_section(f, s, out, (size_t)cap) : read_key(f, s, out, (size_t)cap)) < 0;
    return f->refused ? NULL : out;
}

/* Returns 0 to inih for an error, as it wants it. */
static int value_from_inih(void *user, const char *section, const char *name, const char *value)
{
    (void)value;
    struct file *f = user;
    if (!name)
        return 1; /* some builds of inih report each section header too */
    f->refused = config_assign(f->l, section, name, f->value) < 0;
    return !f->refused;
}

int config_read_text(struct config_loading *l, const char *text, size_t len)
{
    static const char bom[] = "\xEF\xBB\xBF";
    struct file *f = calloc(1, sizeof *f);
    CHECK(f);
    *f = (struct file){.l = l, .at = text, .end = text + len};
    if (len >= 3 && !memcmp(text, bom, 3))
        f->at += 3;
    int wrong_line = ini_parse_stream(line_for_inih, f, value_from_inih, f);
    CHECK(wrong_line >= 0); /* -2: no memory */
    bool refused = f->refused;
    free(f);
    if (wrong_line > 0 && !refused) { /* a form that was let pass above, and that inih can't read */
        config_at_line(l, wrong_line);
        return config_refuse(l, "%s: %s", l->place, NO_FORM);
    }
    return refused ? -1 : 0;
}
