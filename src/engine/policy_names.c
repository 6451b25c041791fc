/* Names of tables (see the header). Runs in the worker. */
#include "engine/policy_names.h"

#include <string.h>
#include <strings.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))

/* What the engine and its extensions read as a table when a name ends with it, and how such files are packed. */
static const char *const endings[] = {
    "arrow", "avro",  "blob",   "csv",     "db",  "ddb",    "duckdb",  "feather", "geojson", "gpkg",   "gz",  "ipynb", "json",
    "jsonl", "lance", "ndjson", "parquet", "shp", "sqlite", "sqlite3", "tsv",     "txt",     "vortex", "xls", "xlsx",  "zst",
};

static bool is_ending(const char *s, size_t len)
{
    for (size_t i = 0; i < LENGTH(endings); i++)
        if (policy_name_is(s, len, endings[i]))
            return true;
    return false;
}

static bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

/* A dot and an ending, at the name's end or before something that is no part of a word ('x.csv?endpoint=..'). */
static bool has_ending(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        size_t from = i + 1, to = from;
        if (s.at[i] != '.')
            continue;
        while (to < s.len && is_word(s.at[to]))
            to++;
        if (is_ending(s.at + from, to - from))
            return true;
    }
    return false;
}

static bool has_slash(struct span s) { return s.len && memchr(s.at, '/', s.len); }
static bool is_path(struct span s) { return has_slash(s) || has_ending(s); }

bool policy_names_file(const struct policy_name *n)
{
    if (is_path(n->catalog) || is_path(n->schema) || is_path(n->name))
        return true;
    /* passwd.csv: the engine puts a name in two parts together again before it looks for a file. One in three parts as well, but there the
     * first part is a catalog that is attached or none, and the engine's own lock keeps files away. */
    return n->schema.len && !n->catalog.len && is_ending(n->name.at, n->name.len);
}

bool policy_names_of(const char *const *catalogs, const struct policy_name *n)
{
    struct span first = n->catalog.len ? n->catalog : n->schema;
    if (!first.len || has_slash(n->schema) || has_slash(n->name))
        return false;
    for (; catalogs && *catalogs; catalogs++)
        if (policy_name_is(first.at, first.len, *catalogs))
            return true;
    return false;
}

bool policy_names_split(const char *text, size_t len, struct policy_name *ret)
{
    struct span parts[3] = {{"", 0}, {"", 0}, {"", 0}};
    size_t count = 0, pos = 0;
    for (;;) {
        bool quoted = pos < len && text[pos] == '"';
        size_t from = pos + quoted;
        size_t to = from;
        while (to < len && (quoted ? text[to] != '"' : text[to] != '.' && text[to] != '"'))
            to++;
        if (to == from || count == LENGTH(parts) || (quoted && to == len))
            return false;
        parts[count++] = (struct span){text + from, to - from};
        pos = to + quoted;
        if (pos == len)
            break;
        if (text[pos] != '.') /* also a quote inside of a quoted name */
            return false;
        pos++;
    }
    *ret = (struct policy_name){.name = parts[count - 1]};
    if (count > 1)
        ret->schema = parts[count - 2];
    if (count > 2)
        ret->catalog = parts[0];
    return true;
}

/* What comes behind a prefix: no empty part, none that is `.` or `..`; of an address also nothing that is decoded or parted later. */
static bool stays_below(const char *s, size_t len, bool address)
{
    for (size_t from = 0; from <= len;) {
        size_t to = from;
        for (; to < len && s[to] != '/'; to++)
            if ((unsigned char)s[to] < ' ' || s[to] == '\\' || (address && strchr("?#%", s[to])))
                return false;
        struct span part = {s + from, to - from};
        if (span_is(part, ".") || span_is(part, "..") || (part.len == 0 && to < len))
            return false;
        from = to + 1;
    }
    return true;
}

bool policy_path_inside(const char *const *prefixes, struct span path)
{
    for (; prefixes && *prefixes; prefixes++) {
        size_t n = strlen(*prefixes);
        if (path.len > n && memcmp(path.at, *prefixes, n) == 0)
            return stays_below(path.at + n, path.len - n, strstr(*prefixes, "://") != NULL);
    }
    return false;
}

bool policy_names_database(struct span path)
{
    static const char *const databases[] = {"db", "ddb", "duckdb", "sqlite", "sqlite3"};
    const char *dot = path.len ? memrchr(path.at, '.', path.len) : NULL;
    for (size_t i = 0; dot && i < LENGTH(databases); i++)
        if (policy_name_is(dot + 1, path.len - (size_t)(dot + 1 - path.at), databases[i]))
            return true;
    return false;
}
