/* Scripts on a database that is open for writing, on the real library: what runs, what is refused, where an error is said to be. */
#include "unit/publish_fixture.h"

#include "engine/engine_write.h"

#include <pthread.h>

static struct fixture f;
static const char *read_paths[4];

static int set_up(void **state)
{
    (void)state;
    fixture_open(&f);
    memset(read_paths, 0, sizeof read_paths);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static struct engine_options options(bool write)
{
    return (struct engine_options){.database_path = f.path, .memory_limit_bytes = 256 << 20, .threads = 2, .write = write, .read_paths = read_paths};
}

static struct engine *open_writer(void)
{
    struct engine_options o = options(true);
    struct error err;
    struct engine *e = engine_open(&o, &err);
    if (!e)
        fail_msg("engine_open: %s", err.detail);
    assert_int_equal(engine_lock(e, &err), 0);
    return e;
}

struct last {
    int64_t rows;
    char first[64];
};

static int take_rows(void *ctx, struct stream *s, struct error *err)
{
    struct last *l = ctx;
    uint32_t count;
    const struct column *c = stream_columns(s, &count);
    int64_t n;
    while ((n = stream_next(s, err)) > 0)
        l->rows += n;
    snprintf(l->first, sizeof l->first, "%s", count ? c[0].name : "");
    return n < 0 ? -1 : 0;
}

/* Runs a script, and checkpoints and closes when it worked. */
static int run_with(const char *sql, const char *params, bool one_transaction, struct last *last, struct error *err)
{
    struct engine *e = open_writer();
    uint32_t statements = 0;
    struct script s = {.sql = sql,
                       .len = strlen(sql),
                       .params = params,
                       .params_len = params ? strlen(params) : 0,
                       .one_transaction = one_transaction,
                       .rows = last ? take_rows : NULL,
                       .ctx = last};
    memset(err, 0, sizeof *err);
    int rc = engine_script(e, &s, &statements, err);
    if (rc == 0) {
        struct table_counts counts;
        struct engine_options o = options(true);
        assert_int_equal(engine_count_tables(e, &counts, err), 0);
        assert_int_equal(engine_checkpoint(e, err), 0);
        engine_close(e);
        if (engine_verify(&o, &counts, err) < 0)
            fail_msg("engine_verify: %s", err->detail);
        table_counts_free(&counts);
    } else {
        engine_close(e);
    }
    return rc == 0 ? (int)statements : -1;
}

static int run(const char *sql)
{
    struct error err;
    int n = run_with(sql, NULL, false, NULL, &err);
    if (n < 0)
        fail_msg("%s", err.detail);
    return n;
}

static void fails(const char *sql, enum error_code code, const char *part)
{
    struct error err;
    assert_int_equal(run_with(sql, NULL, false, NULL, &err), -1);
    assert_int_equal(err.code, code);
    if (!strstr(err.detail, part))
        fail_msg("'%s' is not in '%s'", part, err.detail);
}

static void a_script_runs_statement_by_statement(void **state)
{
    (void)state;
    assert_int_equal(run("CREATE TABLE t(i INTEGER, s VARCHAR); -- one; not two\n"
                         "INSERT INTO t VALUES (1, ';'), (2, 'a''b;');\n;;\n"
                         "INSERT INTO t SELECT 3, $$x;y$$; /* nor; here */ CREATE VIEW v AS SELECT count(*) AS n FROM t"),
                     4);
    assert_string_equal(reads(f.path, "SELECT string_agg(s, '|' ORDER BY i) FROM t"), ";|a'b;|x;y\n");
    assert_false(exists(path_of(&f, "data.duckdb.wal")));
    assert_int_equal(run(""), 0);
    assert_int_equal(run(" ; -- nothing\n"), 0);
    assert_int_equal(run("BEGIN; DELETE FROM t WHERE i = 1; COMMIT"), 3);
    assert_string_equal(reads(f.path, "FROM v"), "2\n");
    assert_int_equal(run("PIVOT t ON s USING count(*); SET TimeZone = 'Asia/Tokyo'; SET preserve_insertion_order = false"), 3);
}

static void the_last_statement_answers(void **state)
{
    (void)state;
    struct error err;
    struct last last = {0};
    assert_int_equal(run_with("CREATE TABLE t(i INTEGER); INSERT INTO t SELECT * FROM range(5000); SELECT i AS a FROM t", NULL, false, &last, &err),
                     3);
    assert_int_equal(last.rows, 5000);
    assert_string_equal(last.first, "a");
    last = (struct last){0};
    assert_int_equal(run_with("INSERT INTO t VALUES (?) RETURNING i AS back", "[7]", false, &last, &err), 1);
    assert_int_equal(last.rows, 1);
    assert_string_equal(last.first, "back");
    assert_int_equal(run_with("INSERT INTO t VALUES ($1); SELECT 1", "[7]", false, &last, &err), -1);
    assert_int_equal(err.code, ERR_BAD_REQUEST);
    assert_string_equal(reads(f.path, "SELECT count(*) FROM t WHERE i = 7"), "2\n");
    last = (struct last){0};
    assert_int_equal(run_with("CREATE VIEW v AS SELECT 1 AS x", NULL, false, &last, &err), 1);
}

static void an_error_says_where_it_is(void **state)
{
    (void)state;
    struct error err;
    run("CREATE TABLE t(i INTEGER)");
    const char *sql = "INSERT INTO t VALUES (1);\n\nINSERT INTO t VALUES (2);\nINSERT INTO t SELEC 3";
    assert_int_equal(run_with(sql, NULL, false, NULL, &err), -1);
    assert_int_equal(err.code, ERR_SQL);
    assert_non_null(strstr(err.detail, "statement 3, line 4: Parser Error"));
    assert_int_equal(err.position, strstr(sql, "SELEC") - sql + 1);
    /* It was found before anything ran. */
    assert_string_equal(reads(f.path, "SELECT count(*) FROM t"), "0\n");
    fails("SELECT 1;\nSELECT *\nFROM nowhere", ERR_SQL, "statement 2, line 3: Catalog Error");
    fails("INSERT INTO t VALUES ('x')", ERR_SQL, "Conversion Error");
    assert_int_equal(run_with("SELECT nix", NULL, false, NULL, &err), -1);
    assert_null(strstr(err.detail, "statement 1"));
    assert_int_equal(err.position, 8);
    fails("BEGIN; INSERT INTO t VALUES (5)", ERR_SQL, "a COMMIT is missing");
}

static void in_place_a_script_is_one_transaction(void **state)
{
    (void)state;
    struct error err;
    run("CREATE TABLE t(i INTEGER PRIMARY KEY)");
    assert_int_equal(run_with("INSERT INTO t VALUES (1); CREATE TABLE u(i INTEGER); INSERT INTO t VALUES (1)", NULL, true, NULL, &err), -1);
    assert_non_null(strstr(err.detail, "statement 3"));
    assert_string_equal(reads(f.path, "SELECT (SELECT count(*) FROM t) || '/' || (SELECT count(*) FROM duckdb_tables())"), "0/1\n");
    static const char *const refused[] = {"BEGIN",      "COMMIT", "rollback", "CHECKPOINT", "FORCE CHECKPOINT", "ATTACH ':memory:' AS m",
                                          "USE memory", "VACUUM"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char sql[100];
        snprintf(sql, sizeof sql, "INSERT INTO t VALUES (9); %s", refused[i]);
        assert_int_equal(run_with(sql, NULL, true, NULL, &err), -1);
        assert_int_equal(err.code, ERR_FORBIDDEN);
    }
    assert_int_equal(run_with("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", NULL, true, NULL, &err), 2);
    assert_string_equal(reads(f.path, "SELECT count(*) FROM t"), "2\n");
}

static void only_declared_files_are_read(void **state)
{
    (void)state;
    char sql[600];
    const char *csv = path_of(&f, "in.csv");
    spill(csv, "a,b\n1,x\n2,y\n", 12);
    snprintf(sql, sizeof sql, "CREATE TABLE c AS SELECT * FROM read_csv('%s')", csv);
    fails(sql, ERR_SQL, "Permission Error");
    read_paths[0] = csv;
    assert_int_equal(run(sql), 1);
    snprintf(sql, sizeof sql, "COPY c TO '%s'", path_of(&f, "out.csv"));
    fails(sql, ERR_SQL, "Permission Error");
    char directory[256];
    snprintf(directory, sizeof directory, "%s/", f.dir);
    read_paths[0] = directory;
    snprintf(sql, sizeof sql, "CREATE TABLE d AS FROM '%s/*.csv'", f.dir);
    assert_int_equal(run(sql), 1);
    fails("FROM read_text('/etc/passwd')", ERR_SQL, "Permission Error");
    fails("ATTACH '/var/tmp/other.duckdb'", ERR_SQL, "Permission Error");
    fails("INSTALL httpfs", ERR_SQL, "");
    fails("SET memory_limit = '1TB'", ERR_SQL, "locked");
    fails("SET enable_external_access = true", ERR_SQL, "");
}

static void a_bad_row_is_named_with_its_line_and_reason(void **state)
{
    (void)state;
    char sql[600];
    const char *csv = path_of(&f, "bad.csv");
    run("CREATE TABLE t(a INTEGER, b VARCHAR)");
    spill(csv, "a,b\n1,x\nnot a number,y\n3,z\n", 27);
    read_paths[0] = csv;
    snprintf(sql, sizeof sql, "INSERT INTO t SELECT * FROM read_csv('%s', types = {'a': 'INTEGER'})", csv);
    fails(sql, ERR_SQL, "Line: 3");
    fails(sql, ERR_SQL, "not a number");
    assert_string_equal(reads(f.path, "SELECT count(*) FROM t"), "0\n");
}

static void counts_tell_what_is_missing(void **state)
{
    (void)state;
    struct table_counts a, b;
    struct error err;
    run("CREATE TABLE t AS SELECT * FROM range(3); CREATE SCHEMA \"o\"\"dd\"; CREATE TABLE \"o\"\"dd\".\"ta;ble\" AS SELECT 1 AS i; CREATE TEMP "
        "TABLE x(i INTEGER)");
    struct engine *e = open_writer();
    assert_int_equal(engine_count_tables(e, &a, &err), 0);
    assert_int_equal(a.count, 2);
    assert_string_equal(a.tables[1].name, "ta;ble");
    assert_int_equal(engine_count_tables(e, &b, &err), 0);
    engine_close(e);
    assert_int_equal(table_counts_compare(&a, &b, &err), 0);
    b.tables[0].rows--;
    assert_int_equal(table_counts_compare(&a, &b, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.detail, "main.t was written with 3 rows"));
    struct engine_options o = options(true);
    assert_int_equal(engine_verify(&o, &b, &err), -1);
    table_counts_free(&a);
    table_counts_free(&b);
}

struct stopper {
    struct engine *e;
    pthread_t thread;
};

static void *stop_soon(void *arg)
{
    struct stopper *s = arg;
    usleep(100000);
    engine_interrupt(s->e);
    return NULL;
}

static void an_interrupt_ends_a_script(void **state)
{
    (void)state;
    struct error err = {0};
    uint32_t n;
    run("CREATE TABLE t(i HUGEINT)");
    struct stopper st = {.e = open_writer()};
    const char *sql = "INSERT INTO t VALUES (1); INSERT INTO t SELECT sum(a.i * b.i % 7) FROM range(10000000) a(i), range(10000000) b(i)";
    struct script s = {.sql = sql, .len = strlen(sql)};
    assert_int_equal(pthread_create(&st.thread, NULL, stop_soon, &st), 0);
    assert_int_equal(engine_script(st.e, &s, &n, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    pthread_join(st.thread, NULL);
    engine_close(st.e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_script_runs_statement_by_statement, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_statement_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_error_says_where_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_place_a_script_is_one_transaction, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_declared_files_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_row_is_named_with_its_line_and_reason, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counts_tell_what_is_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_interrupt_ends_a_script, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
