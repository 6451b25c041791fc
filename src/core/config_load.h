/* One loading of a configuration: what is read so far, and where each value came from, for messages and for duplicates. Only for config*.c.
 * Runs in every process. */
#pragma once
#include "core/config.h"

/* How many rows the table has. */
enum {
    CONFIG_KEY_COUNT = 0
#define SECTION(...)
#define KEY(...) +1
#define END(...)
#define SOURCE_KEY(...)
#include "core/config.def"
#undef SECTION
#undef KEY
#undef END
#undef SOURCE_KEY
};

enum origin_kind { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENVIRONMENT, ORIGIN_SET };

struct config_origin {
    enum origin_kind kind;
    int line; /* ORIGIN_FILE */
};

#define CONFIG_PLACE_MAX 320

struct config_loading {
    struct config *cfg;
    const char *file; /* its name, for messages */
    struct config_origin origin[CONFIG_KEY_COUNT];
    struct config_origin now;     /* of what is being read */
    char place[CONFIG_PLACE_MAX]; /* the same as text: "b.ini:2", "--set limits.timeout" */
    struct error *err;            /* filled when something is refused */
};

/* config.c: the defaults, the caller's. */
struct config *config_new(void);

/* config_load.c. All: 0; -1, refused, with the sentence in l->err, control characters and broken UTF-8 in it made '?'. */
int config_refuse(const struct config_loading *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
void config_at_line(struct config_loading *l, int line);
int config_enter_section(struct config_loading *l, const char *section);
int config_assign(struct config_loading *l, const char *section, const char *key, const char *value);

/* config_file.c: a file's text into l->cfg. */
int config_read_text(struct config_loading *l, const char *text, size_t len);

/* config_check.c: what values must be true of each other. */
int config_check(const struct config_loading *l);
