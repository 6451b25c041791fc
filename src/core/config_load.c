/* Where a configuration comes from: defaults, file, environment, --set, each over the one before; then what the values must be of each
 * other. Knows no line's form (config_file.c). Opens only the file it is given. Runs in every process. */
#include "core/config_load.h"
#include "core/buf.h"
#include "core/config_name.h"
#include "core/config_value.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES_MAX 256
#define SHOWN_MAX 200 /* bytes of a value in a message */
/* What the effective text may grow by later: each `auto` becomes a number, and a reload keeps the old texts of RESTART keys (each at most
 * CONFIG_VALUE_MAX, doubled by quoting; one long list and a few paths). */
#define GROWTH_BYTES ((size_t)128 << 10)

/* The sentence goes to terminals and logs: every byte of what steers them, and of what is no UTF-8, becomes a '?'. */
static void make_printable(char *text)
{
    size_t len = strlen(text), n;
    for (size_t i = 0; i < len; i += n) {
        n = utf8_character(text + i, len - i);
        bool harmless = n && !utf8_is_control(utf8_code_point(text + i, n));
        n = n ? n : 1;
        if (!harmless)
            memset(text + i, '?', n);
    }
}

int config_refuse(const struct config_loading *l, const char *format, ...)
{
    char text[ERROR_DETAIL_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n >= (int)sizeof text)
        text[utf8_cut(text, sizeof text - 1)] = 0;
    make_printable(text);
    return error_set(l->err, ERR_BAD_REQUEST, "%s", text);
}

void config_at_line(struct config_loading *l, int line)
{
    l->now = (struct config_origin){ORIGIN_FILE, line};
    snprintf(l->place, sizeof l->place, "%.*s:%d", CONFIG_PLACE_MAX - 20, l->file, line);
}

static int refuse_value(const struct config_loading *l, const char *section, const char *key, const char *value, const char *why)
{
    size_t shown = utf8_cut(value, SHOWN_MAX);
    return config_refuse(l, "%s: [%s] %s: \"%.*s%s\" %s", l->place, section, key, (int)shown, value, value[shown] ? "..." : "", why);
}

/* The source of this name, a new one when there is none yet; NULL when there are too many. */
static struct config_source *source_of(struct config *cfg, const char *name)
{
    for (size_t i = 0; i < cfg->source_count; i++)
        if (!strcmp(cfg->sources[i].name, name))
            return &cfg->sources[i];
    if (cfg->source_count == SOURCES_MAX)
        return NULL;
    struct config_source *more = realloc(cfg->sources, (cfg->source_count + 1) * sizeof *more);
    CHECK(more);
    cfg->sources = more;
    more[cfg->source_count] = (struct config_source){.name = strdup(name)};
    CHECK(more[cfg->source_count].name);
    return &more[cfg->source_count++];
}

int config_enter_section(struct config_loading *l, const char *section)
{
    const char *name = config_name_of_source(section);
    if (!*section)
        return config_refuse(l, "%s: a key before the first [section]", l->place);
    if (name && !config_name_is_source_name(name))
        return config_refuse(l, "%s: [%s]: a source's name is 1 to 31 of a-z, 0-9 and _, a letter first", l->place, section);
    if (!name && !config_name_is_section(section))
        return config_refuse(l, "%s: unknown section [%s]; nearest known section: [%s]", l->place, section, config_name_nearest_section(section));
    if (name && !source_of(l->cfg, name))
        return config_refuse(l, "%s: [%s]: more than %d sources", l->place, section, SOURCES_MAX);
    return 0;
}

/* The place for this key's value, with no text when it is new. */
static struct config_source_value *source_value(struct config_source *s, const struct config_key *k)
{
    for (size_t i = 0; i < s->count; i++)
        if (!strcmp(s->values[i].key, k->key))
            return &s->values[i];
    struct config_source_value *more = realloc(s->values, (s->count + 1) * sizeof *more);
    CHECK(more);
    s->values = more;
    more[s->count] = (struct config_source_value){.key = k->key};
    return &more[s->count++];
}

static int refuse_twice(const struct config_loading *l, const char *section, const char *key, int line)
{
    return config_refuse(l, "%s: [%s] %s is given twice, first in line %d", l->place, section, key, line);
}

static int assign_source(struct config_loading *l, const char *section, const char *key, const char *value)
{
    char why[CONFIG_PHRASE_MAX];
    const struct config_key *k = config_name_find_source_key(key);
    if (!k)
        return config_refuse(l, "%s: [%s] has no key \"%s\"; nearest known key: %s", l->place, section, key,
                             config_name_nearest_source_key(key)->key);
    if (config_value_parse(k, value, NULL, why) < 0)
        return refuse_value(l, section, key, value, why);
    struct config_source *s = source_of(l->cfg, config_name_of_source(section));
    struct config_source_value *v = source_value(s, k);
    if (v->line && l->now.kind == ORIGIN_FILE)
        return refuse_twice(l, section, key, v->line);
    char *text = strdup(value);
    CHECK(text);
    free(v->text);
    v->text = text;
    v->line = l->now.line;
    return 0;
}

int config_assign(struct config_loading *l, const char *section, const char *key, const char *value)
{
    char why[CONFIG_PHRASE_MAX];
    if (config_enter_section(l, section) < 0)
        return -1;
    if (config_name_of_source(section))
        return assign_source(l, section, key, value);
    size_t count;
    const struct config_key *k = config_name_find(section, key);
    if (!k) {
        const struct config_key *near = config_name_nearest(section, key);
        return config_refuse(l, "%s: [%s] has no key \"%s\"; nearest known key: [%s] %s", l->place, section, key, near->section, near->key);
    }
    struct config_origin *origin = &l->origin[k - config_keys(&count)];
    if (origin->kind == ORIGIN_FILE && l->now.kind == ORIGIN_FILE)
        return refuse_twice(l, section, key, origin->line);
    if (config_value_parse(k, value, config_field(l->cfg, k), why) < 0)
        return refuse_value(l, section, key, value, why);
    *origin = l->now;
    return 0;
}

static int read_variable(struct config_loading *l, const char *variable)
{
    const char *equals = strchr(variable, '=');
    if (!equals || strncmp(variable, "BULKHEAD_", strlen("BULKHEAD_")) != 0)
        return 0;
    size_t len = (size_t)(equals - variable);
    l->now = (struct config_origin){ORIGIN_ENVIRONMENT, 0};
    snprintf(l->place, sizeof l->place, "environment variable %.*s", (int)(len < 128 ? len : 128), variable);
    const struct config_key *k = config_name_find_variable(variable, len);
    if (k)
        return config_assign(l, k->section, k->key, equals + 1);
    if (!strncmp(variable, "BULKHEAD_SOURCE_", strlen("BULKHEAD_SOURCE_")))
        return config_refuse(l, "%s: sources are configured in the file or by --set, not here", l->place);
    const struct config_key *near = config_name_nearest_variable(variable, len);
    if (!near)
        return 0;
    char known[128];
    config_name_variable(near, known);
    return config_refuse(l, "%s: no such key; nearest known: %s", l->place, known);
}

static int read_set(struct config_loading *l, const char *set)
{
    char section[CONFIG_NAME_MAX + 1], key[CONFIG_NAME_MAX + 1];
    const char *equals = strchr(set, '=');
    const char *dot = equals ? memrchr(set, '.', (size_t)(equals - set)) : NULL; /* the last: a source's section has one of its own */
    size_t section_len = dot ? (size_t)(dot - set) : 0, key_len = dot ? (size_t)(equals - dot - 1) : 0;
    if (section_len == 0 || key_len == 0)
        return config_refuse(l, "--set %.*s: not of the form section.key=value", SHOWN_MAX, set);
    l->now = (struct config_origin){ORIGIN_SET, 0};
    snprintf(l->place, sizeof l->place, "--set %.*s", (int)(equals - set < SHOWN_MAX ? equals - set : SHOWN_MAX), set);
    if (section_len > CONFIG_NAME_MAX || key_len > CONFIG_NAME_MAX)
        return config_refuse(l, "%s: no such key, the name is too long", l->place);
    memcpy(section, set, section_len);
    section[section_len] = 0;
    memcpy(key, dot + 1, key_len);
    key[key_len] = 0;
    return config_assign(l, section, key, equals + 1);
}

static int read_file(struct config_loading *l, const char *path)
{
    char *text;
    size_t len;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fd_read_all(fd, CONFIG_TEXT_MAX, &text, &len) < 0)
        return config_refuse(l, "%s: the configuration file can't be read: %s", path, strerror(errno));
    int r = config_read_text(l, text, len);
    free(text);
    return r;
}

/* The effective text goes to the children, who read no more than CONFIG_TEXT_MAX; quotes and defaults can make it longer than the file. */
static int check_size(const struct config_loading *l, size_t max)
{
    struct buf b = BUF_INIT(max);
    bool fits = config_to_text(l->cfg, &b);
    buf_free(&b);
    return fits ? 0 : config_refuse(l, "%s: the configuration is too large: more than %zu bytes with its defaults", l->file, max);
}

/* The end of both ways: the configuration to the caller, or nothing. */
static int finish(struct config_loading *l, int r, size_t max, struct config **ret)
{
    if (r == 0 && config_check(l) == 0 && check_size(l, max) == 0) {
        *ret = l->cfg;
        return 0;
    }
    config_free(l->cfg);
    return -1;
}

int config_load(struct config **ret, const char *path, const char *const *sets, char *const *environment, struct error *err)
{
    struct config_loading l = {.cfg = config_new(), .file = path ? path : "configuration", .err = err};
    int r = path ? read_file(&l, path) : 0;
    for (; r == 0 && environment && *environment; environment++)
        r = read_variable(&l, *environment);
    for (; r == 0 && sets && *sets; sets++)
        r = read_set(&l, *sets);
    return finish(&l, r, CONFIG_TEXT_MAX - GROWTH_BYTES, ret);
}

int config_load_text(struct config **ret, const char *text, size_t len, const char *name, struct error *err)
{
    struct config_loading l = {.cfg = config_new(), .file = name, .err = err};
    return finish(&l, config_read_text(&l, text, len), CONFIG_TEXT_MAX, ret);
}
