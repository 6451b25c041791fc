/* Opening and locking, and what the operator reads when a file can't be opened. On the real library. */
#include "unit/engine_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

static struct fixture f;

static int set_up(void **state)
{
    (void)state;
    fixture_open(&f);
    make_database(f.path, "CREATE TABLE t AS SELECT * FROM range(1000) r(i)");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static const char *in_dir(const char *name)
{
    static char path[4][160];
    static unsigned turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", f.dir, name);
    return p;
}

static void put(const char *path, const void *data, size_t len)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
}

static unsigned char *get(const char *path, size_t *ret_len)
{
    struct stat st;
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    assert_int_equal(fstat(fileno(in), &st), 0);
    unsigned char *data = malloc((size_t)st.st_size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)st.st_size, in), st.st_size);
    fclose(in);
    *ret_len = (size_t)st.st_size;
    return data;
}

static void refused(const char *path, const char *why)
{
    struct engine_options o = {.database_path = path, .memory_limit_bytes = 64 << 20, .threads = 1};
    struct error err = {0};
    char expected[400];
    struct engine *e = engine_open(&o, &err);
    assert_null(e);
    print_message("%s\n", err.detail);
    snprintf(expected, sizeof expected, "cannot open the database \"%s\": %s", path, why);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_memory_equal(err.detail, expected, strlen(expected));
    assert_null(strchr(err.detail, '{'));
}

static void bad_files_are_named_for_what_they_are(void **state)
{
    (void)state;
    char junk[20000];
    memset(junk, 'x', sizeof junk);
    refused(in_dir("missing.duckdb"), "the file does not exist");
    refused(in_dir("no/such/directory.duckdb"), "the file does not exist");
    refused(f.dir, "it is a directory");
    refused("/dev/null", "it is not a regular file");
    assert_int_equal(mkfifo(in_dir("pipe"), 0600), 0);
    refused(in_dir("pipe"), "it is not a regular file"); /* at once: nobody ever writes into it */
    put(in_dir("junk"), junk, sizeof junk);
    refused(in_dir("junk"), "it is not a DuckDB database file");
    put(in_dir("short"), junk, 10);
    refused(in_dir("short"), "it is not a DuckDB database file");
    put(in_dir("empty"), junk, 0);
    refused(in_dir("empty"), "the file is empty");
}

static void truncated_and_damaged_files(void **state)
{
    (void)state;
    size_t len;
    unsigned char *data = get(f.path, &len);
    assert_true(len > 250000);
    put(in_dir("cut1"), data, 5000);
    refused(in_dir("cut1"), "the file is truncated: ");
    put(in_dir("cut2"), data, 200000);
    refused(in_dir("cut2"), "the file is truncated: ");
    data[5000] ^= 0x55;
    put(in_dir("flipped"), data, len);
    refused(in_dir("flipped"), "the file is damaged: ");
    free(data);
}

/* The checksum of the file's first block, so that the library reads on to the version. */
static void seal_header(unsigned char *data)
{
    uint64_t sum = 5381, word;
    for (size_t i = 8; i < 4096; i += 8) {
        memcpy(&word, data + i, 8);
        sum ^= word * 0xbf58476d1ce4e5b9u;
    }
    memcpy(data, &sum, 8);
}

static void files_of_a_newer_version(void **state)
{
    (void)state;
    size_t len;
    unsigned char *data = get(f.path, &len);
    uint64_t version = 999;
    memcpy(data + 12, &version, 8);
    put(in_dir("newer"), data, len);
    refused(in_dir("newer"), "it was written by a newer version of DuckDB (storage version 999; this build reads up to 68)");
    /* The limit is the library's own: one more is refused by it, and the limit itself is not. */
    version = 69;
    memcpy(data + 12, &version, 8);
    seal_header(data);
    put(in_dir("newer1"), data, len);
    refused(in_dir("newer1"), "it was written by a newer version of DuckDB (storage version 69; ");
    version = 68;
    memcpy(data + 12, &version, 8);
    seal_header(data);
    put(in_dir("newest"), data, len);
    struct engine *e = open_engine(in_dir("newest"), 0);
    assert_answer(e, "SELECT count(*) FROM t", "1000\n");
    engine_close(e);
    free(data);
}

static void no_permission(void **state)
{
    (void)state;
    if (geteuid() == 0) { /* root reads everything: look at it as somebody else */
        pid_t pid = fork();
        if (pid > 0) {
            int status;
            assert_int_equal(waitpid(pid, &status, 0), pid);
            assert_int_equal(status, 0);
            return;
        }
        if (chmod(f.dir, 0755) < 0 || chmod(f.path, 0600) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
            _exit(10);
        struct engine_options o = {.database_path = f.path, .memory_limit_bytes = 64 << 20};
        struct error err = {0};
        if (engine_open(&o, &err) || !strstr(err.detail, "permission denied"))
            _exit(11);
        _exit(0);
    }
    assert_int_equal(chmod(f.path, 0), 0);
    refused(f.path, "permission denied");
    assert_int_equal(chmod(f.path, 0600), 0);
}

static void a_writer_is_named(void **state)
{
    (void)state;
    int ready[2], hold[2], status;
    char byte, why[120];
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(hold), 0);
    pid_t pid = writer_start(f.path, "INSERT INTO t VALUES (-1)", ready[1], hold[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    snprintf(why, sizeof why, "another process has it open for writing and holds the lock (PID %d)", (int)pid);
    refused(f.path, why);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    /* Once the writer is gone the file opens again; its commit is in the log beside it. */
    struct engine *e = open_engine(f.path, 0);
    assert_answer(e, "SELECT min(i) FROM t", "-1\n");
    engine_close(e);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(hold[i]);
    }
}

/* After the test before: the log is the killed writer's. */
static void a_damaged_log_is_named(void **state)
{
    (void)state;
    size_t len;
    char wal[170];
    snprintf(wal, sizeof wal, "%s.wal", f.path);
    unsigned char *data = get(wal, &len);
    data[len / 2] ^= 0x55;
    put(wal, data, len);
    refused(f.path, "its write-ahead log cannot be replayed");
    free(data);
    assert_int_equal(unlink(wal), 0);
}

static void locked_down(void **state)
{
    (void)state;
    /* The policy stands before all this; what the engine itself refuses must hold without it. */
    const char *const allow[] = {"read_text", "duckdb_settings", NULL};
    struct engine *e = open_engine_allowing(f.path, 0, allow);
    assert_answer(e, "SELECT current_setting('TimeZone')", "UTC\n");
    assert_answer(e,
                  "SELECT name, value FROM duckdb_settings() WHERE name IN ('access_mode', 'threads', 'lock_configuration',"
                  " 'enable_external_access', 'allow_community_extensions', 'autoload_known_extensions',"
                  " 'autoinstall_known_extensions', 'allow_persistent_secrets', 'temp_directory',"
                  " 'enable_progress_bar', 'memory_limit') ORDER BY name",
                  "access_mode,read_only\nallow_community_extensions,false\nallow_persistent_secrets,false\n"
                  "autoinstall_known_extensions,false\nautoload_known_extensions,false\n"
                  "enable_external_access,false\nenable_progress_bar,false\n"
                  "lock_configuration,true\nmemory_limit,256.0 MiB\ntemp_directory,\"\"\nthreads,2\n");
    assert_answer(e, "SELECT TIMESTAMPTZ '2020-01-01 00:00:00+00'::VARCHAR", "2020-01-01 00:00:00+00\n");
    struct answer a = ask(e, "SELECT * FROM read_text('/etc/hostname')");
    assert_string_equal(a.err.detail, "Permission Error: File system LocalFileSystem has been disabled by configuration");
    engine_close(e);
}

static void in_memory_when_there_is_no_path(void **state)
{
    (void)state;
    const char *const allow[] = {"read_text", NULL};
    struct engine *e = open_engine_allowing("", 0, allow);
    assert_answer(e, "SELECT count(*) FROM duckdb_tables()", "0\n");
    assert_answer(e, "SELECT current_database()", "memory\n");
    assert_int_equal(ask(e, "CREATE TABLE x(i INT)").err.code, ERR_FORBIDDEN);
    assert_string_equal(ask(e, "SELECT * FROM read_text('/etc/hostname')").err.error_type, "Permission");
    engine_close(e);
    engine_close(NULL);
}

static void spills_only_into_its_scratch(void **state)
{
    (void)state;
    const char *const allow[] = {"read_text", NULL};
    char scratch[160];
    snprintf(scratch, sizeof scratch, "%s/scratch", f.dir);
    assert_int_equal(mkdir(scratch, 0700), 0);
    struct engine_options o = {.database_path = f.path,
                               .memory_limit_bytes = 64 << 20,
                               .threads = 1,
                               .scratch_directory = scratch,
                               .scratch_limit_bytes = 1 << 30,
                               .allow_functions = allow};
    static const char heavy[] = "SELECT count(DISTINCT (i, -i)) FROM range(3000000) r(i)";
    struct error err = {0};
    struct engine *e = engine_open(&o, &err);
    assert_non_null(e);
    assert_int_equal(engine_lock(e, &err), 0);
    struct answer a = ask(e, heavy);
    print_message("with scratch: %s%s\n", a.text, a.err.detail);
    assert_string_equal(a.text, "3000000\n");
    a = ask(e, "SELECT * FROM read_text('/etc/hostname')");
    assert_string_equal(a.err.error_type, "Permission");
    engine_close(e);
    o.scratch_limit_bytes = 0;
    e = engine_open(&o, &err);
    assert_non_null(e);
    assert_int_equal(engine_lock(e, &err), 0);
    a = ask(e, heavy);
    assert_int_equal(a.err.code, ERR_OUT_OF_MEMORY);
    assert_null(strstr(a.err.detail, scratch));
    engine_close(e);
}

static void a_missing_extension_is_named(void **state)
{
    (void)state;
    const char *const extensions[] = {"/nonexistent/o'dd.duckdb_extension", NULL};
    struct engine_options o = {.memory_limit_bytes = 64 << 20, .extensions = extensions};
    struct error err = {0};
    assert_null(engine_open(&o, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, "cannot load the extension \"/nonexistent/o'dd.duckdb_extension\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_named_for_what_they_are),
        cmocka_unit_test(no_permission),
        cmocka_unit_test(truncated_and_damaged_files),
        cmocka_unit_test(files_of_a_newer_version),
        cmocka_unit_test(a_writer_is_named),
        cmocka_unit_test(a_damaged_log_is_named),
        cmocka_unit_test(locked_down),
        cmocka_unit_test(in_memory_when_there_is_no_path),
        cmocka_unit_test(spills_only_into_its_scratch),
        cmocka_unit_test(a_missing_extension_is_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
