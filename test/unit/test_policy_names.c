/* The table of names, the operator's changes to it, names of tables and files, and verdicts carried between stored objects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/policy_names.h"
#include "engine/policy_stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct span span(const char *s) { return (struct span){s, strlen(s)}; }
static struct span maybe(const char *s) { return s ? span(s) : (struct span){"", 0}; }

static struct policy_name name(const char *catalog, const char *schema, const char *n)
{
    return (struct policy_name){maybe(catalog), maybe(schema), maybe(n)};
}

static enum policy_class class_of(const struct policy_table *t, const char *n, bool from)
{
    const struct policy_function *f = policy_table_find(t, n, strlen(n), from);
    return f ? f->class : 99;
}

static void the_table(void **state)
{
    (void)state;
    struct policy_table *t = policy_table_new(NULL, NULL);
    assert_int_equal(class_of(t, "sum", false), POLICY_OPEN);
    assert_int_equal(class_of(t, "Read_CSV", true), POLICY_PATH);
    assert_int_equal(class_of(t, "histogram", false), POLICY_OPEN);
    assert_int_equal(class_of(t, "histogram", true), POLICY_TABLE_NAME);
    assert_int_equal(class_of(t, "enable_profiling", true), POLICY_CHANGES);
    assert_int_equal(class_of(t, "disable_optimizer", true), POLICY_STATEMENT);
    assert_int_equal(class_of(t, "nobody", true), 99);
    assert_int_equal(class_of(t, "", true), 99);
    assert_int_equal(class_of(t, "su", false), 99);
    assert_int_equal(class_of(t, "sum ", false), 99);
    assert_true(policy_setting_shown("TIMEZONE", 8));
    assert_false(policy_setting_shown("temp_directory", 14));
    policy_table_free(t);
    policy_table_free(NULL);
}

static void the_operator_widens_and_narrows(void **state)
{
    (void)state;
    const char *const allow[] = {"read_csv", "ENABLE_LOGGING", "of_an_extension", "query", "sum", "both", "duckdb_settings", NULL};
    const char *const deny[] = {"List_Transform", "both", "unheard_of", "histogram", NULL};
    struct policy_table *t = policy_table_new(allow, deny);
    assert_int_equal(class_of(t, "read_csv", true), POLICY_PATH_TEXT);
    assert_int_equal(class_of(t, "enable_logging", true), POLICY_OPEN);
    assert_int_equal(policy_table_find(t, "enable_logging", 14, true)->effect, POLICY_SPENT);
    assert_int_equal(class_of(t, "of_an_extension", true), POLICY_OPEN);
    assert_int_equal(class_of(t, "of_an_extension", false), POLICY_OPEN);
    assert_int_equal(class_of(t, "query", true), POLICY_SQL_TEXT); /* what is put together stays refused */
    assert_int_equal(class_of(t, "duckdb_settings", true), POLICY_OPEN);
    assert_int_equal(class_of(t, "sum", false), POLICY_OPEN);
    assert_int_equal(class_of(t, "list_transform", false), POLICY_DENIED);
    assert_int_equal(class_of(t, "both", false), POLICY_DENIED);
    assert_int_equal(class_of(t, "unheard_of", false), POLICY_DENIED);
    assert_int_equal(class_of(t, "histogram", false), POLICY_DENIED);
    assert_int_equal(class_of(t, "histogram", true), POLICY_DENIED);
    assert_int_equal(class_of(t, "abs", false), POLICY_OPEN);
    policy_table_free(t);
}

static void names_that_would_be_files(void **state)
{
    (void)state;
    static const char *const files[] = {"a.csv",  "A.CSV", "a.csv.gz", "a.CsV?x=y",   "dir/a",   "/etc/passwd", "s3://b/k",       "x.parquet",
                                        "*.json", "a.db",  "~/x",      "data.duckdb", "a b.tsv", "x.json#y",    "http://x/y.csv", ".csv"};
    static const char *const tables[] = {"t", "csv", "a.b", "sales.2024", "csv.a", "acsv", "a.csvx", "a.csv_2", "x.jsonpath", "Ünïcode", ""};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct policy_name n = name(NULL, NULL, files[i]);
        if (!policy_names_file(&n))
            print_message("%s\n", files[i]);
        assert_true(policy_names_file(&n));
    }
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        struct policy_name n = name(NULL, NULL, tables[i]);
        bool odd = strcmp(tables[i], "csv.a") == 0 || strcmp(tables[i], "a.csv_2") == 0; /* an ending in the middle: better refused */
        if (policy_names_file(&n) && !odd)
            print_message("%s\n", tables[i]);
        assert_true(!policy_names_file(&n) || odd);
    }
    struct policy_name n = name(NULL, "passwd", "csv");
    assert_true(policy_names_file(&n));
    n = name("pg1", "public", "json"); /* a catalog is named: no file */
    assert_false(policy_names_file(&n));
    n = name("a.csv", "x", "y");
    assert_true(policy_names_file(&n));
}

static void names_behind_a_catalog_of_a_source(void **state)
{
    (void)state;
    static const char *const catalogs[] = {"pg1", "my1", NULL};
    const struct policy_name inside[] = {name("pg1", "public", "x.csv"), name(NULL, "MY1", "x.csv"), name(NULL, "my1", "json"),
                                         name("my1", "a.csv", "t")};
    const struct policy_name outside[] = {name(NULL, NULL, "x.csv"),   name(NULL, "public", "x.csv"),    name("db", "pg1", "x.csv"),
                                          name("pg1", "a/b", "x.csv"), name("pg1", "public", "a/x.csv"), name(NULL, "pg1", "/etc/passwd"),
                                          name(NULL, "pg", "x.csv"),   name(NULL, NULL, "pg1")};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        assert_true(policy_names_of(catalogs, &inside[i]));
        assert_false(policy_names_of(NULL, &inside[i]));
    }
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        assert_false(policy_names_of(catalogs, &outside[i]));
}

static void names_in_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *catalog, *schema, *name; /* name NULL: not taken */
    } rows[] = {
        {"t", "", "", "t"},
        {"s.t", "", "s", "t"},
        {"c.s.t", "c", "s", "t"},
        {"\"a b\".t", "", "a b", "t"},
        {"\"x.csv\"", "", "", "x.csv"},
        {"s.\"x.y\"", "", "s", "x.y"},
        {"", NULL, NULL, NULL},
        {".", NULL, NULL, NULL},
        {"a.", NULL, NULL, NULL},
        {".a", NULL, NULL, NULL},
        {"a.b.c.d", NULL, NULL, NULL},
        {"\"a", NULL, NULL, NULL},
        {"\"a\"b", NULL, NULL, NULL},
        {"\"a\"\"b\"", NULL, NULL, NULL},
        {"a\"b", NULL, NULL, NULL},
        {"\"\"", NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct policy_name n;
        bool ok = policy_names_split(rows[i].text, strlen(rows[i].text), &n);
        if (ok != (rows[i].name != NULL))
            print_message("%s\n", rows[i].text);
        assert_int_equal(ok, rows[i].name != NULL);
        if (!ok)
            continue;
        assert_true(span_is(n.catalog, rows[i].catalog) && span_is(n.schema, rows[i].schema) && span_is(n.name, rows[i].name));
    }
}

static void paths_below_a_prefix(void **state)
{
    (void)state;
    const char *const prefixes[] = {"s3://lake/pub/", "/srv/files/", NULL};
    static const char *const inside[] = {"s3://lake/pub/a.csv", "s3://lake/pub/y=1/*.parquet", "/srv/files/a.csv", "/srv/files/d/e f?.csv",
                                         "/srv/files/..a",      "/srv/files/a..b/c",           "/srv/files/d/",    "/srv/files/[a-c]*.csv"};
    static const char *const outside[] = {
        "s3://lake/pub/",        "s3://lake/pub",
        "s3://lake/other/a.csv", "s3://lake/pub/../other/a.csv",
        "s3://lake/pub/a/..",    "s3://lake/pub/./a",
        "s3://lake/pub//a",      "s3://lake/pub/a.csv?s3_endpoint=attacker",
        "s3://lake/pub/a#b",     "s3://lake/pub/%2e%2e/a",
        "S3://lake/pub/a.csv",   "s3://lake2/pub/a.csv",
        "http://lake/pub/a.csv", "/srv/files",
        "/srv/filesx/a.csv",     "/srv/files/../secret",
        "/srv/files/a/../../b",  "/srv/files/..",
        "/srv/files/a\\b",       "/srv/files/a\nb",
        "srv/files/a.csv",       "",
        "//srv/files/a.csv",     "/srv/./files/a.csv",
        "/srv/files//a.csv",     "file:///srv/files/a.csv",
    };
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        if (!policy_path_inside(prefixes, span(inside[i])))
            print_message("%s\n", inside[i]);
        assert_true(policy_path_inside(prefixes, span(inside[i])));
        assert_false(policy_path_inside(NULL, span(inside[i])));
    }
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        if (policy_path_inside(prefixes, span(outside[i])))
            print_message("%s\n", outside[i]);
        assert_false(policy_path_inside(prefixes, span(outside[i])));
    }
    assert_true(policy_names_database(span("/srv/files/x.DuckDB")));
    assert_false(policy_names_database(span("/srv/files/x.csv")));
    assert_false(policy_names_database(span("")));
}

static const char *why(const struct stored *s, enum policy_object kind, struct policy_name n, enum policy_effect *effect)
{
    const struct stored_object *refused;
    *effect = POLICY_KEEP;
    if (!stored_find(s, kind, &n, effect, &refused))
        return "not there";
    return refused ? refused->why : NULL;
}

static void verdicts_reach_every_user(void **state)
{
    (void)state;
    enum policy_effect effect;
    struct stored *s = stored_new();
    /* v0 <- v1 <- .. <- v99; the first is refused. In an order in which each comes before what it uses. */
    enum { N = 100 };
    char n[16];
    for (int i = N - 1; i >= 0; i--) {
        snprintf(n, sizeof n, "v%d", i);
        uint32_t o = stored_add(s, STORED_VIEW, "db", "main", n, "SELECT");
        if (i == 0)
            stored_get(s, o)->why = strdup("it is bad");
    }
    for (uint32_t i = 0; i + 1 < N; i++) {
        snprintf(n, sizeof n, "V%d", (int)(N - 2 - i));
        struct policy_name used = name(NULL, NULL, n);
        assert_true(stored_use(s, i, POLICY_TABLE_OBJECT, &used));
    }
    uint32_t alone = stored_add(s, STORED_VIEW, "db", "other", "v0", "SELECT"), user = stored_add(s, STORED_VIEW, "db", "other", "w", "SELECT");
    stored_get(s, alone)->effect = POLICY_ONCE;
    struct policy_name qualified = name(NULL, "other", "v0"), nobody = name(NULL, "third", "v0"), full = name("db", "other", "v0");
    assert_true(stored_use(s, user, POLICY_TABLE_OBJECT, &qualified));
    assert_true(stored_use(s, user, POLICY_TABLE_OBJECT, &full));
    assert_false(stored_use(s, user, POLICY_TABLE_OBJECT, &nobody));
    assert_false(stored_use(s, user, POLICY_FUNCTION_OBJECT, &qualified));
    stored_settle(s);
    assert_non_null(strstr(why(s, POLICY_TABLE_OBJECT, name(NULL, NULL, "v99"), &effect), "it uses view main.v98: it uses view main.v97"));
    assert_string_equal(why(s, POLICY_TABLE_OBJECT, name(NULL, "main", "v0"), &effect), "it is bad");
    /* The other schema's view of the same name is another view. */
    assert_null(why(s, POLICY_TABLE_OBJECT, name(NULL, "other", "w"), &effect));
    assert_int_equal(effect, POLICY_ONCE);
    assert_null(why(s, POLICY_TABLE_OBJECT, name("db", "other", "v0"), &effect));
    /* Without a schema it may be either. */
    assert_string_equal(why(s, POLICY_TABLE_OBJECT, name(NULL, NULL, "v0"), &effect), "it is bad");
    assert_string_equal(why(s, POLICY_TABLE_OBJECT, name(NULL, "db", "v1"), &effect), "it uses view main.v0: it is bad");
    assert_string_equal(why(s, POLICY_FUNCTION_OBJECT, name(NULL, NULL, "v0"), &effect), "not there");
    stored_free(s);
}

static void circles_end(void **state)
{
    (void)state;
    enum policy_effect effect;
    struct stored *s = stored_new();
    uint32_t a = stored_add(s, STORED_MACRO, "db", "main", "a", "SELECT"), b = stored_add(s, STORED_MACRO, "db", "main", "b", "SELECT");
    struct policy_name na = name(NULL, NULL, "a"), nb = name(NULL, "column", "b");
    assert_true(stored_use(s, a, POLICY_FUNCTION_OBJECT, &nb)); /* column.b(): what stands before may be a value */
    assert_true(stored_use(s, b, POLICY_FUNCTION_OBJECT, &na));
    assert_true(stored_use(s, a, POLICY_FUNCTION_OBJECT, &na));
    stored_get(s, b)->why = strdup("bad");
    stored_get(s, a)->effect = POLICY_FRESH;
    stored_settle(s);
    assert_string_equal(why(s, POLICY_FUNCTION_OBJECT, na, &effect), "it uses macro main.b: bad");
    why(s, POLICY_FUNCTION_OBJECT, nb, &effect);
    assert_int_equal(effect, POLICY_FRESH);
    stored_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table),
        cmocka_unit_test(the_operator_widens_and_narrows),
        cmocka_unit_test(names_that_would_be_files),
        cmocka_unit_test(names_behind_a_catalog_of_a_source),
        cmocka_unit_test(names_in_texts),
        cmocka_unit_test(paths_below_a_prefix),
        cmocka_unit_test(verdicts_reach_every_user),
        cmocka_unit_test(circles_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
