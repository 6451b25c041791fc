/* Why a worker can't start is for everybody, where the file lies is for the operator: the log has it in full, an answer has not.
 * Pure functions on text. Runs in the front. */
#include "front/public_text.h"
#include "core/buf.h"
#include "core/utf8.h"

#include <string.h>

#define PUBLIC_TEXT_MAX 8192

struct known {
    const char *path, *shown;
};

/* What may stand right before a path, and what ends one. */
static bool opens(char c) { return c == 0 || strchr(" \t\n\"'`([{<=:,;", c) != NULL; }
static bool closes(char c) { return c == 0 || strchr(" \t\n\"'`)]}>,;", c) != NULL; }

static bool stands_at(const char *at, const char *path)
{
    size_t n = strlen(path);
    return path[0] == '/' && n > 1 && strncmp(at, path, n) == 0 && (closes(at[n]) || strchr(":./", at[n]));
}

/* The longest of the known paths at this place; NULL: none. */
static const struct known *known_at(const struct known *all, size_t count, const char *at)
{
    const struct known *best = NULL;
    for (size_t i = 0; i < count; i++)
        if (stands_at(at, all[i].path) && (!best || strlen(all[i].path) > strlen(best->path)))
            best = &all[i];
    return best;
}

/* Where the path ends that begins here. A full stop or colon at its end is the sentence's. */
static size_t path_length(const char *at)
{
    size_t n = 0;
    while (!closes(at[n]))
        n++;
    while (n > 1 && (at[n - 1] == ':' || at[n - 1] == '.'))
        n--;
    return n;
}

static void put_last_name(struct buf *b, const char *path, size_t len)
{
    while (len > 1 && path[len - 1] == '/')
        len--;
    size_t from = len;
    while (from > 0 && path[from - 1] != '/')
        from--;
    (void)buf_append(b, path + from, len - from);
}

void public_text(const struct config *cfg, const char *text, char *ret, size_t cap)
{
    const struct known all[] = {{cfg->database.path, "<database>"},
                                {cfg->database.extension_directory, "<extensions>"},
                                {cfg->pool.scratch_directory[0] ? cfg->pool.scratch_directory : "/var/tmp", "<scratch>"}};
    char space[PUBLIC_TEXT_MAX];
    struct buf b = {.data = space, .cap = sizeof space, .max = sizeof space}; /* full: the rest is dropped */
    for (const char *at = text; *at;) {
        bool path = *at == '/' && opens(at == text ? 0 : at[-1]);
        const struct known *k = path ? known_at(all, sizeof all / sizeof all[0], at) : NULL;
        if (k) {
            (void)buf_puts(&b, k->shown);
            at += strlen(k->path);
        } else if (path && !closes(at[1])) {
            size_t n = path_length(at);
            put_last_name(&b, at, n);
            at += n;
        } else {
            (void)buf_append(&b, at++, 1);
        }
    }
    size_t n = b.len < cap ? b.len : utf8_cut(b.data, cap - 1);
    memcpy(ret, b.data, n);
    ret[n] = 0;
}
