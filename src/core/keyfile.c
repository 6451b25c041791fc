/* The key file's text. Runs in the supervisor, the front and the command line. */
#include "core/keyfile.h"
#include "core/buf.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/units.h"
#include "core/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LINE_MAX_BYTES 4096
#define HASH_PREFIX "sha256:"

enum field_type { HASH, ROLE, HINT, STAMP, TIME, INT, DURATION, SIZE, LIST };

struct field {
    const char *name;
    enum field_type type;
    int64_t min, max;
    size_t offset;
};

static const struct field fields[] = {
#define KEY_FIELD(field_, name_, type_, min_, max_, help_) {name_, type_, min_, max_, offsetof(struct key_entry, field_)},
#include "core/keyfile.def"
#undef KEY_FIELD
};
#define FIELDS (sizeof fields / sizeof fields[0])

const struct key_field_row *keyfile_fields(size_t *ret_count)
{
    static const struct key_field_row rows[] = {
#define KEY_FIELD(field_, name_, type_, min_, max_, help_) {name_, help_, type_ > STAMP},
#include "core/keyfile.def"
#undef KEY_FIELD
    };
    *ret_count = FIELDS;
    return rows;
}

static const char *const roles[ROLE_COUNT] = {"none", "reader", "analyst", "admin"};

const char *key_role_text(enum key_role role)
{
    CHECK((unsigned)role < ROLE_COUNT);
    return roles[role];
}

enum key_role key_role_parse(const char *text)
{
    for (int i = ROLE_READER; i < ROLE_COUNT; i++)
        if (!strcmp(roles[i], text))
            return (enum key_role)i;
    return ROLE_NONE;
}

static bool alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

bool key_name_valid(const char *name)
{
    size_t n = 0;
    for (; name[n]; n++)
        if (n == KEY_NAME_MAX || !(alnum(name[n]) || (n > 0 && strchr("_-.", name[n]))))
            return false;
    return n > 0;
}

void key_time_format(int64_t unix_s, char out[KEY_TIME_BYTES])
{
    struct tm tm;
    time_t t = (time_t)unix_s;
    gmtime_r(&t, &tm);
    if (strftime(out, KEY_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        strcpy(out, "?");
}

/* The digits of a form such as "dddd-dd-dd" at their places; false when the text has another form. */
static bool matches(const char *text, const char *form)
{
    for (; *form; form++, text++)
        if (*form == 'd' ? *text < '0' || *text > '9' : *text != *form)
            return false;
    return !*text;
}

const char *key_time_parse(const char *text, int64_t *ret_unix_s)
{
    struct tm tm = {0};
    bool day = matches(text, "dddd-dd-dd");
    if (!day && !matches(text, "dddd-dd-ddTdd:dd:ddZ"))
        return "is no time: write 2026-01-31 or 2026-01-31T12:00:00Z (UTC)";
    (void)sscanf(text, "%d-%d-%dT%d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm same = tm;
    time_t t = timegm(&same);
    if (same.tm_mon != tm.tm_mon || same.tm_mday != tm.tm_mday || same.tm_hour != tm.tm_hour || same.tm_min != tm.tm_min ||
        same.tm_sec != tm.tm_sec || t <= 0)
        return "is a time that does not exist";
    *ret_unix_s = (int64_t)t;
    return NULL;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *parse_hash(const char *text, uint8_t out[SECRET_HASH_BYTES])
{
    static const char wrong[] = "is no hash: sha256: and 64 hexadecimal digits in lower case";
    size_t prefix = strlen(HASH_PREFIX);
    if (strncmp(text, HASH_PREFIX, prefix) != 0 || strlen(text) != prefix + 2 * SECRET_HASH_BYTES)
        return wrong;
    for (size_t i = 0; i < SECRET_HASH_BYTES; i++) {
        int hi = hex(text[prefix + 2 * i]), lo = hex(text[prefix + 2 * i + 1]);
        if (hi < 0 || lo < 0)
            return wrong;
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return NULL;
}

static const char *parse_hint(const char *text, char out[SECRET_HINT_CHARS + 1])
{
    size_t n = strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_");
    if (text[n] || n > SECRET_HINT_CHARS)
        return "is longer than what may be stored of a key";
    strcpy(out, text);
    return NULL;
}

static const char *parse_number(const struct field *f, const char *text, int64_t *out)
{
    int64_t v;
    const char *wrong = f->type == DURATION ? units_parse_duration(text, &v)
                        : f->type == SIZE   ? units_parse_size(text, &v)
                                            : units_parse_int(text, &v);
    if (wrong)
        return wrong;
    if (v < f->min)
        return "is too small";
    if (v > f->max)
        return "is too large";
    *out = v;
    return NULL;
}

/* "a, b" as "a,b". */
static const char *parse_list(const char *text, char **out)
{
    char *list = calloc(1, strlen(text) + 1), *to = list;
    CHECK(list);
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, ","), len = n;
        const char *item = p;
        for (; len && *item == ' '; len--)
            item++;
        while (len && item[len - 1] == ' ')
            len--;
        bool wrong = len == 0 || memchr(item, ' ', len);
        p += n + (p[n] == ',');
        if (wrong || (p[-1] == ',' && !*p)) {
            free(list);
            return "has an empty entry or a blank inside one";
        }
        if (to > list)
            *to++ = ',';
        memcpy(to, item, len);
        to += len;
    }
    free(*out);
    *out = list;
    return NULL;
}

static const char *parse_field(const struct field *f, const char *text, struct key_entry *e)
{
    void *at = (char *)e + f->offset;
    switch (f->type) {
    case HASH: return parse_hash(text, at);
    case ROLE: return (*(enum key_role *)at = key_role_parse(text)) ? NULL : "is no role: reader, analyst or admin";
    case STAMP:
    case TIME: return key_time_parse(text, at);
    case HINT: return parse_hint(text, at);
    case LIST: return parse_list(text, at);
    case INT:
    case DURATION:
    case SIZE: return parse_number(f, text, at);
    }
    return "";
}

static void entry_init(struct key_entry *e)
{
    *e = (struct key_entry){0};
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].type >= STAMP && fields[i].type != LIST)
            *(int64_t *)((char *)e + fields[i].offset) = KEYFILE_NONE;
}

static void entry_free(struct key_entry *e) { free(e->sources); }

void keyfile_free(struct keyfile *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->count; i++)
        entry_free(&k->keys[i]);
    free(k->keys);
    free(k);
}

const struct key_entry *keyfile_find(const struct keyfile *k, const char *name)
{
    for (size_t i = 0; i < k->count; i++)
        if (!strcmp(k->keys[i].name, name))
            return &k->keys[i];
    return NULL;
}

/* ---- reading ---- */

struct reading {
    struct keyfile *file;
    size_t cap;
    const char *name; /* of the file */
    int line;
    unsigned given; /* bits of the fields that the present key has */
    struct error *err;
};

_Static_assert(FIELDS <= 32, "bits of struct reading.given");

static int refuse(const struct reading *r, const char *what) { return error_set(r->err, ERR_BAD_REQUEST, "%s:%d: %s", r->name, r->line, what); }

/* The key whose section ends here must be whole. */
static int close_key(const struct reading *r)
{
    static const struct {
        const char *name;
    } required[] = {{"hash"}, {"role"}};
    if (r->file->count == 0)
        return 0;
    const struct key_entry *e = &r->file->keys[r->file->count - 1];
    for (size_t k = 0; k < sizeof required / sizeof required[0]; k++)
        for (size_t i = 0; i < FIELDS; i++)
            if (!strcmp(fields[i].name, required[k].name) && !(r->given & 1u << i))
                return error_set(r->err, ERR_BAD_REQUEST, "%s:%d: the key [%s] has no %s; is the file half-written?", r->name, e->line, e->name,
                                 required[k].name);
    return 0;
}

static int open_key(struct reading *r, const char *name, size_t begin)
{
    struct keyfile *k = r->file;
    if (close_key(r) < 0)
        return -1;
    if (!key_name_valid(name))
        return refuse(r, "a key's name is 1 to 40 letters, digits, '_', '-' and '.', with a letter or digit first");
    if (k->count == KEYFILE_KEYS_MAX)
        return refuse(r, "too many keys");
    if (k->count > 0)
        k->keys[k->count - 1].end = begin;
    if (k->count == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        struct key_entry *more = realloc(k->keys, r->cap * sizeof *more);
        CHECK(more);
        k->keys = more;
    }
    struct key_entry *e = &k->keys[k->count++];
    entry_init(e);
    strcpy(e->name, name);
    e->line = r->line;
    e->begin = begin;
    r->given = 0;
    return 0;
}

static int set_field(struct reading *r, const char *name, const char *value)
{
    if (r->file->count == 0)
        return refuse(r, "a field before the first [NAME]");
    struct key_entry *e = &r->file->keys[r->file->count - 1];
    for (size_t i = 0; i < FIELDS; i++) {
        if (strcmp(fields[i].name, name) != 0)
            continue;
        if (r->given & 1u << i)
            return error_set(r->err, ERR_BAD_REQUEST, "%s:%d: [%s] %s is given twice", r->name, r->line, e->name, name);
        r->given |= 1u << i;
        const char *wrong = parse_field(&fields[i], value, e);
        /* The value of a wrong hash is not shown: somebody may have put the key itself there. */
        if (wrong && fields[i].type == HASH)
            return error_set(r->err, ERR_BAD_REQUEST, "%s:%d: [%s] hash %s", r->name, r->line, e->name, wrong);
        return wrong ? error_set(r->err, ERR_BAD_REQUEST, "%s:%d: [%s] %s: \"%.60s\" %s", r->name, r->line, e->name, name, value, wrong) : 0;
    }
    return error_set(r->err, ERR_BAD_REQUEST, "%s:%d: [%s] has no field \"%.40s\"; `bulkhead key new --help` lists them", r->name, r->line, e->name,
                     name);
}

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t n = strlen(text);
    while (n && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    text[n] = 0;
    return text;
}

static int read_line(struct reading *r, char *line, size_t begin)
{
    for (const unsigned char *p = (const unsigned char *)line; *p; p++)
        if ((*p < 0x20 && *p != '\t') || *p == 0x7F || (*p == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0))
            return refuse(r, "a control character");
    if (!utf8_valid(line, strlen(line)))
        return refuse(r, "not UTF-8 text");
    char *text = trim(line);
    if (!*text || *text == '#' || *text == ';')
        return 0;
    if (*text == '[') {
        char *close = strchr(text, ']');
        if (!close || close[1])
            return refuse(r, close ? "text behind the ] of a key's name" : "a key's name without its ]; is the file half-written?");
        *close = 0;
        return open_key(r, text + 1, begin);
    }
    char *equals = strchr(text, '=');
    if (!equals)
        return refuse(r, "neither [NAME] nor field = value nor a comment; is the file half-written?");
    *equals = 0;
    return set_field(r, trim(text), trim(equals + 1));
}

static int by_hash(const void *a, const void *b)
{
    const struct key_entry *const *x = a, *const *y = b;
    return memcmp((*x)->hash, (*y)->hash, SECRET_HASH_BYTES);
}

static int by_name(const void *a, const void *b)
{
    const struct key_entry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* A name or a hash that comes twice. */
static int check_duplicates(const struct reading *r)
{
    const struct keyfile *k = r->file;
    if (k->count < 2)
        return 0;
    const struct key_entry **sorted = calloc(k->count, sizeof *sorted);
    CHECK(sorted);
    int (*const orders[])(const void *, const void *) = {by_name, by_hash};
    int result = 0;
    for (int o = 0; o < 2 && result == 0; o++) {
        for (size_t i = 0; i < k->count; i++)
            sorted[i] = &k->keys[i];
        qsort(sorted, k->count, sizeof *sorted, orders[o]);
        for (size_t i = 1; i < k->count && result == 0; i++) {
            if (orders[o](&sorted[i - 1], &sorted[i]) != 0)
                continue;
            int a = sorted[i - 1]->line, b = sorted[i]->line;
            result = error_set(r->err, ERR_BAD_REQUEST,
                               o == 0 ? "%s:%d: the key [%s] is there twice, first in line %d"
                                      : "%s:%d: the key [%s] has the same hash as the one in line %d",
                               r->name, a > b ? a : b, sorted[i]->name, a > b ? b : a);
        }
    }
    free(sorted);
    return result;
}

static int read_text(struct reading *r, const char *text, size_t len)
{
    char line[LINE_MAX_BYTES + 1];
    r->line = 1;
    if (len == 0)
        return refuse(r, "the file is empty; is it half-written? (a file without keys has at least a comment)");
    if (text[len - 1] != '\n') {
        for (size_t i = 0; i < len; i++)
            r->line += text[i] == '\n';
        return refuse(r, "the last line has no end; is the file half-written?");
    }
    for (size_t at = 0; at < len; r->line++) {
        size_t n = (size_t)((const char *)memchr(text + at, '\n', len - at) - (text + at)), bytes = n;
        if (bytes && text[at + bytes - 1] == '\r')
            bytes--;
        if (bytes > LINE_MAX_BYTES)
            return refuse(r, "the line is too long");
        if (memchr(text + at, 0, bytes))
            return refuse(r, "a control character");
        memcpy(line, text + at, bytes);
        line[bytes] = 0;
        if (read_line(r, line, at) < 0)
            return -1;
        at += n + 1;
    }
    if (r->file->count > 0)
        r->file->keys[r->file->count - 1].end = len;
    return close_key(r) < 0 || check_duplicates(r) < 0 ? -1 : 0;
}

int keyfile_parse(struct keyfile **ret, const char *text, size_t len, const char *name, struct error *err)
{
    struct reading r = {.file = calloc(1, sizeof(struct keyfile)), .name = name, .err = err};
    CHECK(r.file);
    if (read_text(&r, text, len) < 0) {
        keyfile_free(r.file);
        return -1;
    }
    *ret = r.file;
    return 0;
}

/* ---- the file ---- */

int keyfile_read(const char *path, char **ret_text, size_t *ret_len, struct stat *ret_stat, struct error *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, ret_stat) < 0)
        return error_set(err, ERR_UNAVAILABLE, "%s: the key file can't be read: %s", path, strerror(errno));
    if (!S_ISREG(ret_stat->st_mode))
        return error_set(err, ERR_BAD_REQUEST, "%s: the key file is no plain file", path);
    if (ret_stat->st_mode & (S_IRWXO | S_IWGRP))
        return error_set(err, ERR_BAD_REQUEST, "%s: the key file has mode %04o: %s; chmod 600 (or 640) it", path, (unsigned)ret_stat->st_mode & 07777,
                         ret_stat->st_mode & S_IRWXO ? "everybody may use it" : "its group may write it");
    if (fd_read_all(fd, KEYFILE_TEXT_MAX, ret_text, ret_len) < 0)
        return error_set(err, ERR_UNAVAILABLE, "%s: the key file can't be read: %s", path, strerror(errno));
    return 0;
}

int keyfile_put_field(struct buf *b, const char *field, const char *value, struct error *err)
{
    struct key_entry scratch;
    for (size_t i = 0; i < FIELDS; i++) {
        if (strcmp(fields[i].name, field) != 0)
            continue;
        entry_init(&scratch);
        const char *wrong = parse_field(&fields[i], value, &scratch);
        entry_free(&scratch);
        if (!wrong && strpbrk(value, "\r\n"))
            wrong = "has a line end in it";
        if (wrong)
            return error_set(err, ERR_BAD_REQUEST, "%s: \"%.60s\" %s", field, value, wrong);
        CHECK(buf_printf(b, "%s = %s\n", field, value));
        return 0;
    }
    return error_set(err, ERR_BAD_REQUEST, "a key has no field \"%.40s\"", field);
}
