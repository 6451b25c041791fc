/* What an import reads (see the header). Runs in the command line. */
#include "cli/import_source.h"
#include "core/fd.h"
#include "core/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define SQL_MAX ((size_t)16 << 20) /* a statement with very many file names */

static int unreadable(const char *path, int code, struct error *err)
{
    return error_set(err, ERR_UNAVAILABLE, "cannot read \"%s\": %s", path, strerror(code));
}

/* Allows a path: real, absolute, a directory with its slash. */
static int add_path(struct import_source *s, const char *path, struct error *err)
{
    char real[PATH_MAX];
    struct stat st;
    char *text = NULL;
    if (!realpath(path, real) || stat(real, &st) < 0)
        return unreadable(path, errno, err);
    if (access(real, R_OK) < 0)
        return unreadable(path, errno, err);
    CHECK(asprintf(&text, "%s%s", real, S_ISDIR(st.st_mode) && strcmp(real, "/") != 0 ? "/" : "") > 0);
    s->paths[s->path_count++] = text;
    return 0;
}

/* The engine compares names, not files: what a script calls by another name (a symbolic link) is allowed by that one as well. */
static int add_both(struct import_source *s, const char *path, struct error *err)
{
    if (add_path(s, path, err) < 0)
        return -1;
    const char *real = s->paths[s->path_count - 1];
    size_t len = strlen(path);
    bool slash = real[strlen(real) - 1] == '/' && path[len - 1] != '/';
    char *text = NULL;
    if (path[0] != '/' || strncmp(path, real, len) == 0)
        return 0;
    CHECK(asprintf(&text, "%s%s", path, slash ? "/" : "") > 0);
    s->paths[s->path_count++] = text;
    return 0;
}

static int take_script(struct import_source *s, char *text, size_t len, const char *name, struct error *err)
{
    bool ok = buf_append(&s->sql, text, len);
    free(text);
    if (!ok)
        return error_set(err, ERR_BAD_REQUEST, "the script is too long");
    const char *sql = s->sql.len ? s->sql.data : "";
    if (!utf8_valid(sql, s->sql.len))
        return error_set(err, ERR_BAD_REQUEST, "the script \"%s\" is not valid UTF-8", name);
    if (memchr(sql, 0, s->sql.len))
        return error_set(err, ERR_BAD_REQUEST, "the script \"%s\" holds a NUL byte", name);
    return 0;
}

static int read_script(const struct import_args *a, struct import_source *s, struct error *err)
{
    char *text, directory[PATH_MAX];
    size_t len;
    bool from_stdin = strcmp(a->script, "-") == 0;
    auto_close int fd = from_stdin ? dup(STDIN_FILENO) : open(a->script, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fd_read_all(fd, IMPORT_SCRIPT_MAX, &text, &len) < 0)
        return unreadable(from_stdin ? "standard input" : a->script, errno, err);
    if (take_script(s, text, len, a->script, err) < 0)
        return -1;
    /* Files are mostly named relative to the script, or lie beside it. */
    const char *slash = strrchr(a->script, '/');
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - a->script) + 1 : 1, slash ? a->script : ".");
    if (!from_stdin && add_both(s, directory, err) < 0)
        return -1;
    for (size_t i = 0; i < a->read_count; i++)
        if (add_both(s, a->reads[i], err) < 0)
            return -1;
    return 0;
}

static bool ends_in(const char *name, size_t len, const char *ending)
{
    size_t n = strlen(ending);
    return len > n && strncasecmp(name + len - n, ending, n) == 0;
}

static enum import_kind kind_of(const char *name)
{
    static const struct {
        const char *ending;
        enum import_kind kind;
    } endings[] = {{".csv", IMPORT_CSV},     {".tsv", IMPORT_CSV},    {".txt", IMPORT_CSV},         {".json", IMPORT_JSON},
                   {".ndjson", IMPORT_JSON}, {".jsonl", IMPORT_JSON}, {".parquet", IMPORT_PARQUET}, {".pq", IMPORT_PARQUET}};
    size_t len = strlen(name);
    if (ends_in(name, len, ".gz"))
        len -= strlen(".gz");
    else if (ends_in(name, len, ".zst"))
        len -= strlen(".zst");
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (ends_in(name, len, endings[i].ending))
            return endings[i].kind;
    return IMPORT_BY_ENDING;
}

static int find_kind(const struct import_args *a, enum import_kind *ret, struct error *err)
{
    *ret = a->kind;
    for (size_t i = 0; a->kind == IMPORT_BY_ENDING && i < a->file_count; i++) {
        enum import_kind k = kind_of(a->files[i]);
        if (k == IMPORT_BY_ENDING)
            return error_set(err, ERR_BAD_REQUEST, "the format of \"%s\" can't be told from its ending; --format csv, json or parquet says it",
                             a->files[i]);
        if (*ret != IMPORT_BY_ENDING && k != *ret)
            return error_set(err, ERR_BAD_REQUEST, "the files of one table must have one format, \"%s\" has another", a->files[i]);
        *ret = k;
    }
    return 0;
}

static bool put_quoted(struct buf *b, char quote, const char *text, size_t len)
{
    bool ok = buf_append(b, &quote, 1);
    for (size_t i = 0; ok && i < len; i++)
        ok = buf_append(b, &text[i], 1) && (text[i] != quote || buf_append(b, &quote, 1));
    return ok && buf_append(b, &quote, 1);
}

/* NAME or SCHEMA.NAME. */
static int put_table(struct buf *b, const char *name, struct error *err)
{
    const char *dot = strchr(name, '.');
    bool ok;
    if (dot && (dot == name || !dot[1] || strchr(dot + 1, '.')))
        return error_set(err, ERR_BAD_REQUEST, "--table: '%s' is neither NAME nor SCHEMA.NAME", name);
    if (dot)
        ok = put_quoted(b, '"', name, (size_t)(dot - name)) && buf_puts(b, ".") && put_quoted(b, '"', dot + 1, strlen(dot + 1));
    else
        ok = put_quoted(b, '"', name, strlen(name));
    return ok ? 0 : error_set(err, ERR_BAD_REQUEST, "--table: the name is too long");
}

static bool put_reader(struct buf *b, enum import_kind kind, const struct import_source *s)
{
    static const char *const readers[] = {[IMPORT_CSV] = "read_csv", [IMPORT_JSON] = "read_json", [IMPORT_PARQUET] = "read_parquet"};
    bool ok = buf_printf(b, "SELECT * FROM %s([", readers[kind]);
    for (size_t i = 0; ok && i < s->path_count; i++)
        ok = (i == 0 || buf_puts(b, ",")) && put_quoted(b, '\'', s->paths[i], strlen(s->paths[i]));
    return ok && buf_puts(b, "])");
}

static int make_table_sql(const struct import_args *a, struct import_source *s, struct error *err)
{
    static const char *const verbs[] = {
        [IMPORT_CREATE] = "CREATE TABLE ", [IMPORT_REPLACE] = "CREATE OR REPLACE TABLE ", [IMPORT_APPEND] = "INSERT INTO "};
    enum import_kind kind;
    if (find_kind(a, &kind, err) < 0)
        return -1;
    for (size_t i = 0; i < a->file_count; i++) {
        if (add_path(s, a->files[i], err) < 0)
            return -1;
        size_t len = strlen(s->paths[i]);
        if (s->paths[i][len - 1] == '/')
            return error_set(err, ERR_BAD_REQUEST, "\"%s\" is a directory; name its files", a->files[i]);
    }
    (void)buf_puts(&s->sql, verbs[a->how]);
    if (put_table(&s->sql, a->table, err) < 0)
        return -1;
    if (!buf_puts(&s->sql, a->how == IMPORT_APPEND ? " BY NAME " : " AS ") || !put_reader(&s->sql, kind, s))
        return error_set(err, ERR_BAD_REQUEST, "the names of the files are too long together");
    return 0;
}

bool import_source_describe(const struct import_args *a, const struct import_source *s, struct buf *b)
{
    enum import_kind kind;
    struct error ignored; /* it was checked when the source was made */
    return find_kind(a, &kind, &ignored) == 0 && buf_puts(b, "DESCRIBE ") && put_reader(b, kind, s);
}

int import_source_make(const struct import_args *a, struct import_source *s, struct error *err)
{
    *s = (struct import_source){.sql = BUF_INIT(a->table ? SQL_MAX : IMPORT_SCRIPT_MAX),
                                .paths = calloc(2 * (a->file_count + a->read_count) + 3, sizeof *s->paths)};
    CHECK(s->paths);
    return a->table ? make_table_sql(a, s, err) : read_script(a, s, err);
}

void import_source_free(struct import_source *s)
{
    for (size_t i = 0; i < s->path_count; i++)
        free(s->paths[i]);
    free(s->paths);
    buf_free(&s->sql);
}
