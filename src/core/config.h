/* The configuration: one struct made from the table in config.def, read from a file, the environment and --set. Knows names, types, ranges and
 * what contradicts what; opens nothing but the file itself, and does not know the machine (sizing.h resolves CONFIG_AUTO). Runs in
 * every process: the children read the effective text that the supervisor hands them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct error;

#define CONFIG_TEXT_MAX ((size_t)1 << 20) /* bytes of a file, and of the effective text */
#define CONFIG_AUTO INT64_C(-1)           /* in numeric fields whose key allows auto */

enum config_type { CONFIG_DURATION, CONFIG_SIZE, CONFIG_INT, CONFIG_BOOL, CONFIG_TEXT, CONFIG_LIST, CONFIG_ENUM };
enum config_when { CONFIG_LIVE, CONFIG_WORKERS, CONFIG_RESTART }; /* when a change takes effect after SIGHUP */

/* The enums of the ENUM keys; their order is that of the choices in config.def. [log] level and format: log.h. */
enum isolation { ISOLATION_SHARED, ISOLATION_KEY };
enum on_source_change { SOURCE_CHANGE_REATTACH, SOURCE_CHANGE_END };
enum log_sql { LOG_SQL_FULL, LOG_SQL_HASH, LOG_SQL_OFF };

struct text_list {
    char **items; /* one block with the texts behind it; NULL when there are none */
    size_t count;
};

/* The fields' types. Texts are never NULL. */
#define CONFIG_CTYPE_DURATION int64_t /* milliseconds */
#define CONFIG_CTYPE_SIZE int64_t     /* bytes */
#define CONFIG_CTYPE_INT int64_t
#define CONFIG_CTYPE_BOOL bool
#define CONFIG_CTYPE_TEXT char *
#define CONFIG_CTYPE_LIST struct text_list
#define CONFIG_CTYPE_ENUM int

struct config_source_value {
    const char *key; /* from the table */
    char *text;      /* as it was given; checked, not converted */
    int line;        /* in the file; 0: from --set */
};

struct config_source {
    char *name;                         /* NAME of [source.NAME] */
    struct config_source_value *values; /* only those that were given, in their order */
    size_t count;
};

struct config {
#define SECTION(name) struct {
#define KEY(section, key, field, type, default_text, unit, min, max, auto_allowed, when, help) CONFIG_CTYPE_##type field;
#define END(name) \
    }             \
    name;
#define SOURCE_KEY(...)
#include "core/config.def"
#undef SECTION
#undef KEY
#undef END
#undef SOURCE_KEY
    struct config_source *sources;
    size_t source_count;
};

/* A row of the table. All texts are constants. */
struct config_key {
    const char *section, *key;
    enum config_type type;
    const char *default_text;
    const char *unit; /* ENUM: the choices, "a, b, c" */
    int64_t min, max; /* of the value; TEXT: bytes; LIST: entries; 0, 0 for BOOL and ENUM */
    bool auto_allowed;
    enum config_when when;
    const char *help;
    size_t offset; /* of the field in struct config; 0 in the rows of the sources */
};

/* The rows of all keys in the table's order, those of a section together. */
const struct config_key *config_keys(size_t *ret_count);
/* The rows that each [source.NAME] has. */
const struct config_key *config_source_key_rows(size_t *ret_count);
const char *config_type_text(enum config_type type); /* "duration" */
const char *config_when_text(enum config_when when); /* "live", "workers", "restart" */

/* Reads the defaults, the file (NULL: none), `environ`-like variables (NULL: none) and the NULL-terminated list of "section.key=value" (NULL: none);
 * what comes later wins. 0, and *ret is the caller's (config_free). -1, and *ret is untouched; the detail says where, what and what to
 * write instead, without control characters. BULKHEAD_ variables that are neither a key nor close to one are somebody else's. */
int config_load(struct config **ret, const char *path, const char *const *sets, char *const *environment, struct error *err);
/* The same for text that is already there, without environment and --set. `name` stands in messages in the file's place. */
int config_load_text(struct config **ret, const char *text, size_t len, const char *name, struct error *err);
/* NULL is allowed. */
void config_free(struct config *cfg);

/* The value's text, the configuration's; NULL when it was not given. */
const char *config_source_get(const struct config_source *source, const char *key);

/* Appends the effective configuration, every key, as a file that config_load_text reads back to the same values. False when the buffer's maximum
 * is too small; CONFIG_TEXT_MAX is enough for every configuration that was loaded. */
bool config_to_text(const struct config *cfg, struct buf *b);

/* One call for each value that differs: "section.key" and both texts, "" where a source or a value of it is missing. */
typedef void config_change_fn(void *user, const char *name, const char *from, const char *to, enum config_when when);
void config_diff(const struct config *from, const struct config *to, config_change_fn *fn, void *user);
