/* The engine's error messages as `struct error` (see the header). Runs in the worker. */
#include "engine/failure.h"
#include "core/utf8.h"

#include <duckdb.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 8192 /* bytes of a message that are looked at */

static void add(struct failure_hide *h, const char *text, const char *shown, bool anywhere)
{
    CHECK(h->count < FAILURE_HIDE_MAX); /* rather no worker than one that shows a secret */
    size_t len = strlen(text), at = 0;
    for (size_t i = 0; i < h->count; i++)
        if (strcmp(h->rows[i].text, text) == 0)
            return;
    while (at < h->count && strlen(h->rows[at].text) >= len)
        at++;
    memmove(&h->rows[at + 1], &h->rows[at], (h->count - at) * sizeof h->rows[0]);
    h->rows[at].text = strdup(text);
    h->rows[at].shown = strdup(shown);
    h->rows[at].anywhere = anywhere;
    CHECK(h->rows[at].text && h->rows[at].shown);
    h->count++;
}

void failure_hide_add(struct failure_hide *h, const char *text, const char *shown)
{
    if (text && strchr(text, '/') && strcmp(text, "/") != 0)
        add(h, text, shown, false);
}

void failure_hide_noise(struct failure_hide *h, const char *text) { add(h, text, "", true); }

#define SECRET_LEAST_BYTES 4

void failure_hide_secret(struct failure_hide *h, const char *secret)
{
    /* As it is; as a connection string would show it (a backslash before ' and \); as SQL would (quotes doubled). */
    static const char *const escapes[][2] = {{"", ""}, {"'\\", "\\"}, {"'", "'"}, {"\"", "\""}};
    char text[2 * 1024 + 8];
    if (!secret || strlen(secret) < SECRET_LEAST_BYTES || strlen(secret) > 1024)
        return;
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
        size_t n = 0;
        for (const char *c = secret; *c; c++) {
            if (escapes[i][0][0] && strchr(escapes[i][0], *c))
                text[n++] = escapes[i][1][0];
            text[n++] = *c;
        }
        text[n] = 0;
        add(h, text, "***", true);
    }
    explicit_bzero(text, sizeof text);
}

void failure_hide_path(struct failure_hide *h, const char *path, const char *shown)
{
    if (!path || !path[0])
        return;
    char *real = realpath(path, NULL);
    failure_hide_add(h, path, shown);
    failure_hide_add(h, real, shown);
    free(real);
}

void failure_hide_free(struct failure_hide *h)
{
    for (size_t i = 0; i < h->count; i++) {
        explicit_bzero(h->rows[i].text, strlen(h->rows[i].text));
        free(h->rows[i].text);
        free(h->rows[i].shown);
    }
    h->count = 0;
}

/* A path given as a bare name ("a") must not rewrite every word that holds it. */
static bool whole(const char *text, const char *at, size_t len)
{
    static const char edge[] = "\"'`()[]{}<>,;:= \t\n./";
    return (at == text || strchr(edge, at[-1])) && (!at[len] || strchr(edge, at[len]));
}

static void replace_all(char *text, size_t cap, const char *from, const char *to, bool anywhere)
{
    size_t from_len = strlen(from), to_len = strlen(to);
    for (char *at = strstr(text, from); at; at = strstr(at, from)) {
        if (!anywhere && !whole(text, at, from_len)) {
            at++;
            continue;
        }
        size_t before = (size_t)(at - text), tail = strlen(at + from_len);
        if (before + to_len >= cap) {
            *at = 0;
            return;
        }
        size_t room = cap - 1 - before - to_len;
        if (tail > room)
            tail = utf8_cut(at + from_len, room);
        memmove(at + to_len, at + from_len, tail);
        memcpy(at, to, to_len);
        at[to_len + tail] = 0;
        at += to_len;
    }
}

/* The extensions' paths hold the home directory of whoever runs the server: only their file names stay. */
static void cut_extension_paths(char *text)
{
    static const char suffix[] = ".duckdb_extension";
    char *end = strstr(text, suffix);
    while (end) {
        char *begin = end, *name = end;
        while (begin > text && !strchr("\"'\n ", begin[-1]))
            begin--;
        while (name > begin && name[-1] != '/')
            name--;
        size_t rest = strlen(name) + 1;
        bool path = *begin == '/';
        if (path)
            memmove(begin, name, rest);
        end = strstr((path ? end - (name - begin) : end) + sizeof suffix - 1, suffix);
    }
}

void failure_scrub(char *text, size_t cap, const struct failure_hide *hide)
{
    for (size_t i = 0; hide && i < hide->count; i++)
        replace_all(text, cap, hide->rows[i].text, hide->rows[i].shown, hide->rows[i].anywhere);
    cut_extension_paths(text);
}

struct parsed {
    char class[40];   /* "Parser", "Out of Memory"; "" unknown */
    const char *text; /* without the class; inside `json` or the message */
    int64_t position; /* byte + 1; 0 unknown */
    json_t *json;
};

static void class_set(struct parsed *p, const char *s, size_t len)
{
    if (len >= sizeof p->class)
        len = utf8_cut(s, sizeof p->class - 1);
    memcpy(p->class, s, len);
    p->class[len] = 0;
}

/* "Parser Error: text", the text behind it may be JSON as well. */
static void parse_plain(struct parsed *p, const char *message)
{
    const char *mark = strstr(message, " Error: ");
    const char *colon = strchr(message, ':');
    p->text = message;
    if (!mark || mark + 6 != colon)
        return;
    class_set(p, message, (size_t)(mark - message));
    p->text = mark + strlen(" Error: ");
}

/* What a source's server said may stand there as it came, and the parser of JSON takes no byte that is not UTF-8. The caller's. */
static char *in_utf8(const char *text)
{
    size_t len = strlen(text);
    char *copy = strdup(text);
    CHECK(copy);
    for (size_t i = 0, n; i < len; i += n ? n : 1) {
        n = utf8_character(text + i, len - i);
        if (n == 0)
            copy[i] = '?';
    }
    return copy;
}

static void parse_json(struct parsed *p)
{
    if (p->text[0] != '{')
        return;
    char *text_of_json = in_utf8(p->text);
    json_t *json = json_loads(text_of_json, JSON_REJECT_DUPLICATES, NULL);
    free(text_of_json);
    const char *class = json_string_value(json_object_get(json, "exception_type"));
    const char *text = json_string_value(json_object_get(json, "exception_message"));
    if (!class || !text) {
        json_decref(json);
        return;
    }
    const char *position = json_string_value(json_object_get(json, "position"));
    if (position)
        p->position = strtoll(position, NULL, 10) + 1;
    class_set(p, class, strlen(class));
    p->text = text;
    p->json = json;
}

/* An error that came late is told once more inside of another: the inner one counts. True: there was one; *ret_outer has to live as long as *p. */
static bool unwrap(struct parsed *p, json_t **ret_outer)
{
    static const char wrapper[] = "Attempting to execute an unsuccessful or closed pending query result\nError: ";
    if (strncmp(p->text, wrapper, sizeof wrapper - 1) != 0)
        return false;
    const char *inner = p->text + sizeof wrapper - 1;
    *ret_outer = p->json;
    *p = (struct parsed){.text = ""};
    parse_plain(p, inner);
    parse_json(p);
    return true;
}

static duckdb_error_type type_of_class(const char *class)
{
    if (strcmp(class, "INTERNAL") == 0)
        return DUCKDB_ERROR_INTERNAL;
    if (strcmp(class, "FATAL") == 0)
        return DUCKDB_ERROR_FATAL;
    if (strcmp(class, "INTERRUPT") == 0)
        return DUCKDB_ERROR_INTERRUPT;
    return strcmp(class, "Out of Memory") == 0 ? DUCKDB_ERROR_OUT_OF_MEMORY : DUCKDB_ERROR_INVALID;
}

/* "INTERNAL Error: ..." messages carry a stack trace, with addresses and library paths, and advice for who develops the engine. */
static int text_len(const char *text)
{
    static const char *const tails[] = {"\n\nStack Trace:", "\nThis error signals an assertion failure within DuckDB."};
    size_t len = strlen(text);
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        const char *tail = strstr(text, tails[i]);
        if (tail && (size_t)(tail - text) < len)
            len = (size_t)(tail - text);
    }
    while (len > 0 && text[len - 1] == '\n')
        len--;
    return len < TEXT_MAX ? (int)len : (int)utf8_cut(text, TEXT_MAX);
}

/* Whether the process got no memory, and not the engine's own count said no. */
static bool is_bad_alloc(const char *text)
{
    return strstr(text, "bad_alloc") || strstr(text, "bad allocation") || strcmp(text, "Allocation failure") == 0;
}

static bool fill(struct error *err, const struct parsed *p, duckdb_error_type type, const struct failure_context *ctx)
{
    if (type == DUCKDB_ERROR_INTERRUPT) {
        error_set(err, ERR_CANCELLED, "the query was cancelled");
        return false;
    }
    if (type == DUCKDB_ERROR_OUT_OF_MEMORY || strstr(p->text, "bad_alloc")) {
        error_set(err, ERR_OUT_OF_MEMORY, "%s", p->text);
        err->limit_bytes = ctx->memory_limit_bytes;
        if (ctx->data_limit_bytes > 0 && is_bad_alloc(p->text)) {
            err->limit_bytes = ctx->data_limit_bytes;
            err->stopped_by = STOP_KILL; /* the kernel's limit, though nobody was killed */
        }
        return true;
    }
    if (type == DUCKDB_ERROR_INTERNAL || type == DUCKDB_ERROR_FATAL || strstr(p->text, "database has been invalidated")) {
        error_set(err, ERR_INTERNAL, "engine internal error: %s", p->text);
        return true;
    }
    error_set(err, ERR_SQL, "%s%s%s", p->class, p->class[0] ? " Error: " : "", p->text);
    snprintf(err->error_type, sizeof err->error_type, "%s", p->class[0] ? p->class : "Unknown");
    if (p->position > 0 && (uint64_t)p->position <= ctx->sql_len + 1 && ctx->sql_len > 0)
        err->position = p->position;
    return false;
}

char *failure_words(const char *message)
{
    struct parsed p = {.text = ""};
    parse_plain(&p, message);
    parse_json(&p);
    char *words = strdup(p.text);
    CHECK(words);
    json_decref(p.json);
    return words;
}

bool failure_from_message(struct error *err, const char *message, int type, const struct failure_context *ctx)
{
    struct parsed p = {.text = ""};
    parse_plain(&p, message && message[0] ? message : "the engine failed without a message");
    parse_json(&p);
    json_t *outer = NULL;
    bool wrapped = unwrap(&p, &outer);
    duckdb_error_type said = type_of_class(p.class);
    char text[2 * TEXT_MAX]; /* scrubbed before it is cut to the size of `detail`: half a path would not be recognised */
    snprintf(text, sizeof text, "%.*s", text_len(p.text), p.text);
    failure_scrub(text, sizeof text, ctx->hide);
    p.text = text;
    bool spent = fill(err, &p, type && !wrapped ? (duckdb_error_type)type : said, ctx);
    json_decref(p.json);
    json_decref(outer);
    return spent;
}
