/* The table of the configuration and the struct's life: defaults, the end. Knows no file. Runs in every process. */
#include "core/config.h"
#include "core/config_load.h"
#include "core/config_value.h"
#include "core/errors.h"

#include <stdlib.h>
#include <string.h>

/* Units of the ranges in config.def. */
#define HOUR INT64_C(3600000)
#define DAY (24 * HOUR)
#define KB INT64_C(1000)
#define MB (1000 * KB)
#define TB (1000000 * MB)

static const struct config_key keys[CONFIG_KEY_COUNT] = {
#define SECTION(name)
#define KEY(section_, key_, field, type_, default_, unit_, min_, max_, auto_, when_, help_) \
    {.section = #section_,                                                                  \
     .key = #key_,                                                                          \
     .type = CONFIG_##type_,                                                                \
     .default_text = default_,                                                              \
     .unit = unit_,                                                                         \
     .min = min_,                                                                           \
     .max = max_,                                                                           \
     .auto_allowed = auto_,                                                                 \
     .when = CONFIG_##when_,                                                                \
     .help = help_,                                                                         \
     .offset = offsetof(struct config, section_.field)},
#define END(name)
#define SOURCE_KEY(...)
#include "core/config.def"
#undef KEY
#undef SOURCE_KEY
};

static const struct config_key source_keys[] = {
#define KEY(...)
#define SOURCE_KEY(key_, type_, default_, unit_, min_, max_, when_, help_) \
    {.section = "source.NAME",                                             \
     .key = #key_,                                                         \
     .type = CONFIG_##type_,                                               \
     .default_text = default_,                                             \
     .unit = unit_,                                                        \
     .min = min_,                                                          \
     .max = max_,                                                          \
     .when = CONFIG_##when_,                                               \
     .help = help_},
#include "core/config.def"
#undef SECTION
#undef KEY
#undef END
#undef SOURCE_KEY
};

const struct config_key *config_keys(size_t *ret_count)
{
    *ret_count = CONFIG_KEY_COUNT;
    return keys;
}

const struct config_key *config_source_key_rows(size_t *ret_count)
{
    *ret_count = sizeof source_keys / sizeof source_keys[0];
    return source_keys;
}

const char *config_type_text(enum config_type type)
{
    static const char *const texts[] = {[CONFIG_DURATION] = "duration", [CONFIG_SIZE] = "size", [CONFIG_INT] = "number", [CONFIG_BOOL] = "yes/no",
                                        [CONFIG_TEXT] = "text",         [CONFIG_LIST] = "list", [CONFIG_ENUM] = "choice"};
    CHECK((unsigned)type < sizeof texts / sizeof texts[0]);
    return texts[type];
}

const char *config_when_text(enum config_when when)
{
    static const char *const texts[] = {[CONFIG_LIVE] = "live", [CONFIG_WORKERS] = "workers", [CONFIG_RESTART] = "restart"};
    CHECK((unsigned)when < sizeof texts / sizeof texts[0]);
    return texts[when];
}

struct config *config_new(void)
{
    struct config *cfg = calloc(1, sizeof *cfg);
    char why[CONFIG_PHRASE_MAX];
    CHECK(cfg);
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
        CHECK(config_value_parse(&keys[i], keys[i].default_text, config_field(cfg, &keys[i]), why) == 0);
    return cfg;
}

static void free_source(struct config_source *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->values[i].text);
    free(s->values);
    free(s->name);
}

void config_free(struct config *cfg)
{
    if (!cfg)
        return;
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
        config_value_free(&keys[i], config_field(cfg, &keys[i]));
    for (size_t i = 0; i < cfg->source_count; i++)
        free_source(&cfg->sources[i]);
    free(cfg->sources);
    free(cfg);
}

const char *config_source_get(const struct config_source *source, const char *key)
{
    for (size_t i = 0; i < source->count; i++)
        if (!strcmp(source->values[i].key, key))
            return source->values[i].text;
    return NULL;
}
