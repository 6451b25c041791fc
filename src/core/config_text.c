/* The effective configuration as text, and the difference of two. Knows the form that config_file.c reads. Pure. Runs in the supervisor; in the
 * other processes only while they load one. */
#include "core/config_name.h"
#include "core/config_value.h"
#include "core/errors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value that the file's rules would cut, trim or refuse when it stands bare. */
static bool needs_quotes(const char *value, size_t len)
{
    if (len == 0)
        return false;
    if (strchr(" \t\"", value[0]) || strchr(" \t", value[len - 1]))
        return true;
    for (size_t i = 0; i < len; i++)
        if ((value[i] == ';' || value[i] == '#') && (i == 0 || value[i - 1] == ' ' || value[i - 1] == '\t'))
            return true;
    return false;
}

static bool put_line(struct buf *b, const char *key, const char *value, size_t len)
{
    bool ok = buf_puts(b, key) && buf_puts(b, " = ");
    if (!needs_quotes(value, len))
        return ok && buf_append(b, value, len) && buf_puts(b, "\n");
    ok = ok && buf_puts(b, "\"");
    for (size_t i = 0; ok && i < len; i++)
        ok = (!strchr("\"\\", value[i]) || buf_puts(b, "\\")) && buf_append(b, &value[i], 1);
    return ok && buf_puts(b, "\"\n");
}

static bool put_section(struct buf *b, const char *before, const char *section)
{
    return !strcmp(before, section) || buf_printf(b, "[%s]\n", section);
}

bool config_to_text(const struct config *cfg, struct buf *b)
{
    size_t count, before = b->len;
    const struct config_key *keys = config_keys(&count);
    struct buf value = BUF_INIT(2 * CONFIG_VALUE_MAX);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        value.len = 0;
        CHECK(config_value_format(&keys[i], config_field(cfg, &keys[i]), &value));
        ok = put_section(b, i ? keys[i - 1].section : "", keys[i].section) && put_line(b, keys[i].key, value.data, value.len);
    }
    buf_free(&value);
    for (size_t i = 0; ok && i < cfg->source_count; i++) {
        const struct config_source *s = &cfg->sources[i];
        ok = buf_printf(b, "[source.%s]\n", s->name);
        for (size_t j = 0; ok && j < s->count; j++)
            ok = put_line(b, s->values[j].key, s->values[j].text, strlen(s->values[j].text));
    }
    if (!ok)
        b->len = before; /* half a configuration is none */
    return ok;
}

static char *value_text(const struct config *cfg, const struct config_key *k)
{
    struct buf b = BUF_INIT(2 * CONFIG_VALUE_MAX);
    CHECK(config_value_format(k, config_field(cfg, k), &b) && buf_append(&b, "", 1));
    return b.data;
}

static void diff_keys(const struct config *from, const struct config *to, config_change_fn *fn, void *user)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        char name[128];
        if (config_value_equal(&keys[i], config_field(from, &keys[i]), config_field(to, &keys[i])))
            continue;
        char *a = value_text(from, &keys[i]), *b = value_text(to, &keys[i]);
        snprintf(name, sizeof name, "%s.%s", keys[i].section, keys[i].key);
        fn(user, name, a, b, keys[i].when);
        free(a);
        free(b);
    }
}

static const struct config_source *find_source(const struct config *cfg, const char *name)
{
    for (size_t i = 0; i < cfg->source_count; i++)
        if (!strcmp(cfg->sources[i].name, name))
            return &cfg->sources[i];
    return NULL;
}

/* The values of one source; either side may be missing. */
static void diff_source(const char *source, const struct config_source *from, const struct config_source *to, config_change_fn *fn, void *user)
{
    size_t count;
    const struct config_key *keys = config_source_key_rows(&count);
    for (size_t i = 0; i < count; i++) {
        char name[128];
        const char *a = from ? config_source_get(from, keys[i].key) : NULL, *b = to ? config_source_get(to, keys[i].key) : NULL;
        a = a ? a : "";
        b = b ? b : "";
        if (!strcmp(a, b))
            continue;
        snprintf(name, sizeof name, "source.%s.%s", source, keys[i].key);
        fn(user, name, a, b, keys[i].when);
    }
}

void config_diff(const struct config *from, const struct config *to, config_change_fn *fn, void *user)
{
    diff_keys(from, to, fn, user);
    for (size_t i = 0; i < from->source_count; i++)
        diff_source(from->sources[i].name, &from->sources[i], find_source(to, from->sources[i].name), fn, user);
    for (size_t i = 0; i < to->source_count; i++)
        if (!find_source(from, to->sources[i].name))
            diff_source(to->sources[i].name, NULL, &to->sources[i], fn, user);
}
