/*
 * make-sample: builds a database file from a SQL script, and publishes it whole or not at all.
 *
 *     make-sample OUT.duckdb SCRIPT.sql [--load EXTENSION]... [NAME=VALUE]...
 *
 * A build tool: a process of its own at build time, no part of the product. It knows the engine's C API and nothing of
 * src/. ${NAME} in the script becomes VALUE as a quoted SQL string. The work is done in OUT.duckdb.tmp, which gets its
 * final name only when it is checkpointed, closed, without a .wal and on disk.
 */
#include "duckdb.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sample {
    const char *out;
    const char *script;
    char **loads; /* paths of extensions */
    int n_loads;
    char **values; /* "NAME=VALUE" */
    int n_values;
    char tmp[PATH_MAX];
    char tmp_wal[PATH_MAX];
    char out_wal[PATH_MAX];
    duckdb_database db;
    duckdb_connection con;
};

__attribute__((format(printf, 1, 2))) static int fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("make-sample: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return -1;
}

static void put_quoted(FILE *f, const char *value, size_t length)
{
    fputc('\'', f);
    for (size_t i = 0; i < length; i++) {
        if (value[i] == '\'')
            fputc('\'', f);
        fputc(value[i], f);
    }
    fputc('\'', f);
}

static const char *value_of(const struct sample *s, const char *name, size_t length)
{
    for (int i = 0; i < s->n_values; i++)
        if (strncmp(s->values[i], name, length) == 0 && s->values[i][length] == '=')
            return s->values[i] + length + 1;
    return NULL;
}

/* The script with every ${NAME} filled in, to be freed by the caller; NULL after a message. */
static char *read_script(const struct sample *s)
{
    FILE *in = fopen(s->script, "re");
    if (!in) {
        fail("%s: %s", s->script, strerror(errno));
        return NULL;
    }
    char *text = NULL, *filled = NULL;
    size_t text_size = 0, filled_size = 0;
    if (getdelim(&text, &text_size, '\0', in) < 0)
        fail("%s: empty or unreadable", s->script);
    fclose(in);
    FILE *out = open_memstream(&filled, &filled_size);
    const char *p = text ? text : "";
    for (const char *mark; out && (mark = strstr(p, "${")) != NULL;) {
        const char *end = strchr(mark, '}');
        const char *value = end ? value_of(s, mark + 2, (size_t)(end - mark - 2)) : NULL;
        fwrite(p, 1, (size_t)(mark - p), out);
        if (value)
            put_quoted(out, value, strlen(value));
        else /* a syntax error for the engine, and the name is in its message */
            fwrite(mark, 1, end ? (size_t)(end - mark + 1) : 2, out);
        p = end ? end + 1 : mark + 2;
    }
    if (out) {
        fputs(p, out);
        fclose(out);
    }
    free(text);
    return filled;
}

static int run(struct sample *s, const char *sql)
{
    duckdb_result result;
    int rc = 0;
    if (duckdb_query(s->con, sql, &result) != DuckDBSuccess)
        rc = fail("%s: %s", s->script, duckdb_result_error(&result));
    duckdb_destroy_result(&result);
    return rc;
}

static int load_extensions(struct sample *s)
{
    for (int i = 0; i < s->n_loads; i++) {
        char *sql = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&sql, &size);
        if (!f)
            return fail("out of memory");
        fputs("LOAD ", f);
        put_quoted(f, s->loads[i], strlen(s->loads[i]));
        fclose(f);
        int rc = run(s, sql);
        free(sql);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void discard(const struct sample *s)
{
    unlink(s->tmp);
    unlink(s->tmp_wal);
}

static int fill(struct sample *s)
{
    char *message = NULL;
    if (duckdb_open_ext(s->tmp, &s->db, NULL, &message) != DuckDBSuccess) {
        fail("%s: %s", s->tmp, message ? message : "cannot be opened");
        duckdb_free(message);
        return -1;
    }
    if (duckdb_connect(s->db, &s->con) != DuckDBSuccess)
        return fail("%s: no connection", s->tmp);
    if (load_extensions(s) < 0)
        return -1;
    char *script = read_script(s);
    int rc = script ? run(s, script) : -1;
    free(script);
    return rc < 0 ? rc : run(s, "CHECKPOINT");
}

/* Data first, then the name, then the directory: after a power cut there is the old file or the new one. */
static int publish(const struct sample *s)
{
    if (access(s->tmp_wal, F_OK) == 0)
        return fail("%s is still there after the checkpoint: the file would not be whole", s->tmp_wal);
    int fd = open(s->tmp, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return fail("%s: %s", s->tmp, strerror(errno));
    close(fd);
    /* A write-ahead log of the file before would be replayed into this one. */
    if (unlink(s->out_wal) < 0 && errno != ENOENT)
        return fail("%s: %s", s->out_wal, strerror(errno));
    if (rename(s->tmp, s->out) < 0)
        return fail("%s: %s", s->out, strerror(errno));
    char dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", s->out);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[1] = '\0';
    fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return fail("%s: %s", slash ? dir : ".", strerror(errno));
    close(fd);
    return 0;
}

/* The exit code. */
static int make(struct sample *s, int argc, char **argv)
{
    s->out = argv[1];
    s->script = argv[2];
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--load") == 0 && i + 1 < argc)
            s->loads[s->n_loads++] = argv[++i];
        else if (argv[i][0] != '-' && strchr(argv[i], '='))
            s->values[s->n_values++] = argv[i];
        else
            return fail("%s: neither --load EXTENSION nor NAME=VALUE", argv[i]), 2;
    }
    if (strlen(s->out) > PATH_MAX - 16)
        return fail("%s: name too long", s->out), 2;
    snprintf(s->tmp, sizeof(s->tmp), "%s.tmp", s->out);
    snprintf(s->tmp_wal, sizeof(s->tmp_wal), "%s.tmp.wal", s->out);
    snprintf(s->out_wal, sizeof(s->out_wal), "%s.wal", s->out);

    discard(s); /* of a run that was killed */
    int rc = fill(s);
    duckdb_disconnect(&s->con);
    duckdb_close(&s->db);
    if (rc == 0)
        rc = publish(s);
    if (rc < 0)
        discard(s);
    return rc < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct sample s = {.loads = calloc((size_t)argc + 1, sizeof(char *)), .values = calloc((size_t)argc + 1, sizeof(char *))};
    int code = 2;
    if (s.loads && s.values && argc >= 3)
        code = make(&s, argc, argv);
    else
        fputs("usage: make-sample OUT.duckdb SCRIPT.sql [--load EXTENSION]... [NAME=VALUE]...\n", stderr);
    free(s.loads);
    free(s.values);
    return code;
}
