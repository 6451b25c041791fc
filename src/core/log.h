/* Log lines on stderr: one JSON object, or text for people, for each event. Knows the standard error descriptor; must not know who reads it: a full
 * pipe, or one that nobody reads, loses lines (and says so in the next that gets through), and never blocks. Lines of several
 * processes on one pipe do not mix. Runs in supervisor, front and the command line. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The order is that of the configuration key [log] level. */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_JSON, LOG_TEXT };
/* What stderr is: decides how lines leave without blocking. */
enum log_kind { LOG_TO_OTHER, LOG_TO_PIPE, LOG_TO_FILE, LOG_TO_SOCKET };

/* Zeroed but for level, format and role it is ready for use. */
struct log {
    enum log_level level;
    enum log_format format;
    const char *role; /* "supervisor", "front" */
    uint64_t dropped; /* lines lost since the last that went out */
    /* log.c's own. */
    bool opened;
    int fd; /* a description of stderr of our own, that does not block; or stderr itself */
    enum log_kind kind;
    bool torn;  /* the last that a file took ends within a line */
    char *held; /* lines that wait for log_flush; NULL: none ever do */
    size_t held_bytes;
    uint64_t told; /* dropped lines that a line tells of, which begins at told_at in held; 0: none does */
    size_t told_at;
    int64_t second; /* of the time's text */
    char second_text[24];
};

struct log_field {
    const char *key;  /* a literal */
    const char *text; /* NULL: the number counts */
    int64_t number;
    uint32_t key_len;
    bool thousandths; /* of the number: 1234 is written as 1.234 */
};
#define LOG_KEY(key_) .key = (key_), .key_len = sizeof(key_ "") - 1
#define LOG_S(key_, text_) ((struct log_field){LOG_KEY(key_), .text = (text_)})
#define LOG_I(key_, number_) ((struct log_field){LOG_KEY(key_), .number = (number_)})
/* Microseconds as milliseconds. */
#define LOG_US(key_, us_) ((struct log_field){LOG_KEY(key_), .number = (us_), .thousandths = true})

/* From now on lines of level info and debug are held until log_flush, a more urgent line, or until they are many; a line of a query is then
 * a copy and no system call. Whoever asks for this calls log_flush soon after each line, and before the process ends. */
void log_hold(struct log *log);
/* True when lines are held. */
static inline bool log_is_holding(const struct log *log) { return log->held_bytes > 0; }
void log_flush(struct log *log);

/* Writes ts, level, role, event and the fields, unless `level` is less urgent than the log's. Texts are copied, escaped, and cut when the line
 * would pass 4096 bytes (what a pipe takes whole). */
void log_fields(struct log *log, enum log_level level, const char *event, const struct log_field *fields, int count);
/* The same whatever the log's level: for what must be on record. */
void log_audit(struct log *log, const char *event, const struct log_field *fields, int count);
/* log_event(log, level, event, LOG_S(..), LOG_I(..), ...) */
#define log_event(log, level, event, ...)                                                   \
    log_fields((log), (level), (event), (const struct log_field[]){{0}, ##__VA_ARGS__} + 1, \
               (int)(sizeof((const struct log_field[]){{0}, ##__VA_ARGS__}) / sizeof(struct log_field)) - 1)
