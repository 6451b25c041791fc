/* What the tests of the write path share: databases whose writer was killed, files read and changed, what a database answers. */
#pragma once
#include "unit/engine_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

/* A writer that commits and dies without closing the file: its log stays. */
static inline void killed_writer(const char *path, const char *sql)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        duckdb_database db;
        duckdb_connection con;
        duckdb_result r;
        if (duckdb_open(path, &db) != DuckDBSuccess || duckdb_connect(db, &con) != DuckDBSuccess)
            _exit(2);
        if (duckdb_query(con, sql, &r) != DuckDBSuccess) {
            fprintf(stderr, "%s\n", duckdb_result_error(&r));
            _exit(3);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* What a fresh reader answers, as text: "11\n"; "ERROR: ..." when the database can't be opened. In the caller's static buffer. */
static inline const char *reads(const char *path, const char *sql)
{
    static char text[2048];
    struct engine_options o = {.database_path = path, .memory_limit_bytes = 256 << 20, .threads = 1};
    struct error err = {0};
    struct engine *e = engine_open(&o, &err);
    if (!e) {
        snprintf(text, sizeof text, "ERROR: %s", err.detail);
        return text;
    }
    assert_int_equal(engine_lock(e, &err), 0);
    struct answer a = ask(e, sql);
    snprintf(text, sizeof text, "%s%.900s", a.err.detail, a.text);
    engine_close(e);
    return text;
}

static inline const char *path_of(const struct fixture *f, const char *name)
{
    static char path[4][256];
    static unsigned turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", f->dir, name);
    return p;
}

static inline bool exists(const char *path) { return access(path, F_OK) == 0; }

static inline unsigned char *slurp(const char *path, size_t *ret_len)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    unsigned char *data = malloc((size_t)st.st_size + 1);
    assert_non_null(data);
    assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_len = (size_t)st.st_size;
    return data;
}

static inline void spill(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    close(fd);
}

static inline void copy_path(const char *from, const char *to)
{
    size_t len;
    unsigned char *data = slurp(from, &len);
    spill(to, data, len);
    free(data);
}
