/* Structured log lines on stderr: one write for each line, never blocking. When nobody reads, lines are dropped, and the next one that goes out
 * says how many. Runs in supervisor, front and the command line. */
#pragma once
#include <stdint.h>

/* The order is that of the configuration key [log] level. */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_JSON, LOG_TEXT };

struct log {
    enum log_level level;
    enum log_format format;
    const char *role; /* "supervisor", "front" */
    uint64_t dropped; /* lines lost since the last that went out */
};

struct log_field {
    const char *key;
    const char *text; /* NULL: the number counts */
    int64_t number;
};
#define LOG_S(key_, text_) ((struct log_field){.key = (key_), .text = (text_)})
#define LOG_I(key_, number_) ((struct log_field){.key = (key_), .number = (number_)})

/* Writes ts, level, role, event and the fields, unless `level` is less urgent than the log's. Texts are copied, escaped, and cut when the line
 * would pass 4096 bytes (what a pipe takes whole). */
void log_fields(struct log *log, enum log_level level, const char *event, const struct log_field *fields, int count);
/* log_event(log, level, event, LOG_S(..), LOG_I(..), ...) */
#define log_event(log, level, event, ...)                                                                                                   \
    log_fields((log), (level), (event), (const struct log_field[]){{0}, ##__VA_ARGS__} + 1,                                                  \
               (int)(sizeof((const struct log_field[]){{0}, ##__VA_ARGS__}) / sizeof(struct log_field)) - 1)
