/* Values of the configuration by type. Pure. Runs in every process. */
#include "core/config_value.h"
#include "core/errors.h"
#include "core/units.h"
#include "core/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int wrong(char why[CONFIG_PHRASE_MAX], const char *format, ...) __attribute__((format(printf, 2, 3)));

static int wrong(char why[CONFIG_PHRASE_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, CONFIG_PHRASE_MAX, format, args);
    va_end(args);
    return -1;
}

static bool blank(char c) { return c == ' ' || c == '\t'; }

/* A newline would break the effective text and the log; the other controls (C1 too) may end up on a terminal. */
static bool has_control(const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s; s++)
        if ((*s < 0x20 && *s != '\t') || *s == 0x7F || (*s == 0xC2 && s[1] >= 0x80 && s[1] < 0xA0))
            return true;
    return false;
}

static void number_text(const struct config_key *k, int64_t v, char out[UNITS_TEXT_MAX])
{
    if (k->type == CONFIG_DURATION)
        units_format_duration(v, out);
    else if (k->type == CONFIG_SIZE)
        units_format_size(v, out);
    else
        snprintf(out, UNITS_TEXT_MAX, "%" PRId64, v);
}

static int parse_number(const struct config_key *k, const char *text, int64_t *field, char *why)
{
    int64_t v = 0;
    if (k->auto_allowed && !strcmp(text, "auto")) {
        if (field)
            *field = CONFIG_AUTO;
        return 0;
    }
    const char *phrase = k->type == CONFIG_DURATION ? units_parse_duration(text, &v)
                         : k->type == CONFIG_SIZE   ? units_parse_size(text, &v)
                                                    : units_parse_int(text, &v);
    if (phrase)
        return wrong(why, "%s", phrase);
    if (v < k->min || v > k->max) {
        char lo[UNITS_TEXT_MAX], hi[UNITS_TEXT_MAX];
        number_text(k, k->min, lo);
        number_text(k, k->max, hi);
        return wrong(why, "is out of range: %s to %s%s", lo, hi, k->auto_allowed ? ", or auto" : "");
    }
    if (field)
        *field = v;
    return 0;
}

/* The choice at *at, its length, and *at behind it; 0 at the end. */
static size_t next_choice(const char **at, const char **ret)
{
    *at += strspn(*at, ", ");
    *ret = *at;
    size_t len = strcspn(*at, ",");
    *at += len;
    return len;
}

static int parse_enum(const struct config_key *k, const char *text, int *field, char *why)
{
    const char *at = k->unit, *choice;
    size_t len;
    for (int i = 0; (len = next_choice(&at, &choice)); i++) {
        if (strlen(text) != len || memcmp(text, choice, len) != 0)
            continue;
        if (field)
            *field = i;
        return 0;
    }
    return wrong(why, "is none of: %s", k->unit);
}

static int parse_bool(const char *text, bool *field, char *why)
{
    bool yes = !strcmp(text, "yes");
    if (!yes && strcmp(text, "no") != 0)
        return wrong(why, "is neither yes nor no");
    if (field)
        *field = yes;
    return 0;
}

static int parse_text(const struct config_key *k, const char *text, char **field, char *why)
{
    size_t len = strlen(text);
    if (len < (size_t)k->min)
        return wrong(why, "must not be empty");
    if (len > (size_t)k->max)
        return wrong(why, "is longer than %" PRId64 " bytes", k->max);
    if (field) {
        char *copy = strdup(text);
        CHECK(copy);
        free(*field);
        *field = copy;
    }
    return 0;
}

/* The next entry without the blanks around it, and *at behind its comma; *at is NULL after the last one. */
static size_t next_entry(const char **at, const char **ret)
{
    const char *begin = *at, *end = begin + strcspn(begin, ",");
    *at = *end ? end + 1 : NULL;
    while (begin < end && blank(*begin))
        begin++;
    while (end > begin && blank(end[-1]))
        end--;
    *ret = begin;
    return (size_t)(end - begin);
}

static void fill_list(const char *text, size_t count, struct text_list *field)
{
    size_t pointers = count * sizeof(char *);
    char **items = malloc(pointers + strlen(text) + 1); /* each entry's NUL takes the place of a comma */
    CHECK(items);
    char *to = (char *)items + pointers;
    const char *entry, *at = text;
    for (size_t i = 0; i < count; i++) {
        size_t len = next_entry(&at, &entry);
        items[i] = to;
        memcpy(to, entry, len);
        to[len] = 0;
        to += len + 1;
    }
    free(field->items);
    *field = (struct text_list){items, count};
}

static int parse_list(const struct config_key *k, const char *text, struct text_list *field, char *why)
{
    size_t count = 0;
    const char *entry, *at = text[strspn(text, " \t")] ? text : NULL;
    for (; at; count++)
        if (next_entry(&at, &entry) == 0)
            return wrong(why, "has an empty entry between its commas");
    if (count > (size_t)k->max)
        return wrong(why, "has more than %" PRId64 " entries", k->max);
    if (field && count > 0)
        fill_list(text, count, field);
    else if (field)
        config_value_free(k, field);
    return 0;
}

int config_value_parse(const struct config_key *k, const char *text, void *field, char why[CONFIG_PHRASE_MAX])
{
    if (has_control(text))
        return wrong(why, "has a control character");
    if (!utf8_valid(text, strlen(text)))
        return wrong(why, "is not UTF-8 text");
    if (strlen(text) > CONFIG_VALUE_MAX)
        return wrong(why, "is longer than %d bytes", CONFIG_VALUE_MAX);
    switch (k->type) {
    case CONFIG_DURATION:
    case CONFIG_SIZE:
    case CONFIG_INT: return parse_number(k, text, field, why);
    case CONFIG_BOOL: return parse_bool(text, field, why);
    case CONFIG_TEXT: return parse_text(k, text, field, why);
    case CONFIG_LIST: return parse_list(k, text, field, why);
    case CONFIG_ENUM: return parse_enum(k, text, field, why);
    }
    CHECK(!"a type without a parser");
    return -1;
}

static bool format_list(const struct text_list *l, struct buf *b)
{
    bool ok = true;
    /* Without a blank behind the comma: the longest list that was read must not grow past what can be read. */
    for (size_t i = 0; ok && i < l->count; i++)
        ok = (i == 0 || buf_puts(b, ",")) && buf_puts(b, l->items[i]);
    return ok;
}

static bool format_enum(const struct config_key *k, int value, struct buf *b)
{
    const char *at = k->unit, *choice;
    size_t len;
    while ((len = next_choice(&at, &choice)) && value > 0)
        value--;
    CHECK(len > 0);
    return buf_append(b, choice, len);
}

bool config_value_format(const struct config_key *k, const void *field, struct buf *b)
{
    switch (k->type) {
    case CONFIG_DURATION:
    case CONFIG_SIZE:
    case CONFIG_INT: {
        char text[UNITS_TEXT_MAX];
        int64_t v = *(const int64_t *)field;
        if (v == CONFIG_AUTO)
            return buf_puts(b, "auto");
        number_text(k, v, text);
        return buf_puts(b, text);
    }
    case CONFIG_BOOL: return buf_puts(b, *(const bool *)field ? "yes" : "no");
    case CONFIG_TEXT: return buf_puts(b, *(char *const *)field);
    case CONFIG_LIST: return format_list(field, b);
    case CONFIG_ENUM: return format_enum(k, *(const int *)field, b);
    }
    return false;
}

static bool same_list(const struct text_list *a, const struct text_list *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = !strcmp(a->items[i], b->items[i]);
    return same;
}

bool config_value_equal(const struct config_key *k, const void *a, const void *b)
{
    switch (k->type) {
    case CONFIG_DURATION:
    case CONFIG_SIZE:
    case CONFIG_INT: return *(const int64_t *)a == *(const int64_t *)b;
    case CONFIG_BOOL: return *(const bool *)a == *(const bool *)b;
    case CONFIG_TEXT: return !strcmp(*(char *const *)a, *(char *const *)b);
    case CONFIG_LIST: return same_list(a, b);
    case CONFIG_ENUM: return *(const int *)a == *(const int *)b;
    }
    return false;
}

void config_value_free(const struct config_key *k, void *field)
{
    if (k->type == CONFIG_TEXT) {
        free(*(char **)field);
        *(char **)field = NULL;
    } else if (k->type == CONFIG_LIST) {
        free(((struct text_list *)field)->items);
        *(struct text_list *)field = (struct text_list){0};
    }
}
