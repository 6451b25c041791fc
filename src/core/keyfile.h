/* The key file: a section [NAME] for each API key, with the hash of the key, its role and its limits (keyfile.def). Knows the text, not
 * who reads it or what a limit does; never sees a key itself. Pure, but for keyfile_read. Runs in the supervisor (which reads the file),
 * the front (which gets the text) and the command line (which writes it). */
#pragma once
#include "core/config.h"
#include "core/secret.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct error;
struct stat;

#define KEY_NAME_MAX 40 /* characters */
#define KEYFILE_TEXT_MAX ((size_t)8 << 20)
#define KEYFILE_KEYS_MAX 20000
#define KEYFILE_NONE INT64_C(-1) /* of a field that is not given */

/* In their order: each may do what the ones before it may. */
enum key_role { ROLE_NONE, ROLE_READER, ROLE_ANALYST, ROLE_ADMIN, ROLE_COUNT };
const char *key_role_text(enum key_role role);
/* ROLE_NONE when it is none. */
enum key_role key_role_parse(const char *text);

struct key_entry {
    char name[KEY_NAME_MAX + 1];
    char hint[SECRET_HINT_CHARS + 1];
    enum key_role role;
    uint8_t hash[SECRET_HASH_BYTES];
    int64_t created_s, expires_s; /* Unix time */
    int64_t concurrency, queue, share, rate, burst, timeout_max_ms, memory_bytes;
    char *sources;     /* "a,b"; NULL: not given */
    int line;          /* of its header */
    size_t begin, end; /* its bytes in the text: header to the next header */
};

struct keyfile {
    struct key_entry *keys; /* in the file's order */
    size_t count;
};

struct key_field_row {
    const char *name; /* "timeout_max" */
    const char *help;
    bool settable; /* `bulkhead key new` takes it as an option */
};
const struct key_field_row *keyfile_fields(size_t *ret_count);

/* Letters, digits, '_', '-' and '.', a letter or digit first, at most KEY_NAME_MAX. */
bool key_name_valid(const char *name);

/* Checks the whole text. `name` stands in messages in the file's place. 0, and *ret is the caller's (keyfile_free); -1 with *err (bad_request:
 * line, what, what to do) and *ret untouched. Refused: unknown fields, fields or names given twice, one hash for two names, a key without hash
 * or role, a last line without its end (half-written). No key at all is fine as long as there is a line. */
int keyfile_parse(struct keyfile **ret, const char *text, size_t len, const char *name, struct error *err);
void keyfile_free(struct keyfile *k);
const struct key_entry *keyfile_find(const struct keyfile *k, const char *name);

/* Opens and reads the file. Refuses what is no plain file, and one that others than owner and group may read, or others than the owner may
 * write. 0, *ret_text malloc'd, *ret_stat what it was; -1 with *err. */
int keyfile_read(const char *path, char **ret_text, size_t *ret_len, struct stat *ret_stat, struct error *err);

/* Appends one field's line for keyfile_parse to read; the value is checked. 0; -1 with *err. */
int keyfile_put_field(struct buf *b, const char *field, const char *value, struct error *err);
/* "2026-01-31T12:00:00Z" */
#define KEY_TIME_BYTES 24
void key_time_format(int64_t unix_s, char out[KEY_TIME_BYTES]);
/* NULL and the time; or what is wrong, a phrase behind the text. */
const char *key_time_parse(const char *text, int64_t *ret_unix_s);
