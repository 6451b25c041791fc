/* The walk over a statement's tree, without the engine: trees as its parser writes them, and trees as nobody should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/policy_names.h"
#include "engine/policy_stored.h"
#include "engine/policy_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct policy_table *table;
static struct stored *objects;
static char asked_text[128]; /* the last text inside of a text */
static unsigned asked_depth;

static enum policy_verdict on_text(void *ctx, const char *sql, size_t len, unsigned depth, enum policy_effect *effect, struct error *err)
{
    (void)ctx;
    snprintf(asked_text, sizeof asked_text, "%.*s", (int)len, sql);
    asked_depth = depth;
    if (strcmp(sql, "unparsable") == 0)
        return POLICY_UNJUDGED;
    if (strcmp(sql, "bad") == 0) {
        policy_refuse(err, "function", (struct span){"inner", 5}, "no", NULL);
        return POLICY_REFUSED;
    }
    *effect = POLICY_FRESH;
    return POLICY_ALLOWED;
}

static int on_object(void *ctx, enum policy_object kind, const struct policy_name *name, bool *ret_known, enum policy_effect *effect,
                     struct error *err)
{
    (void)ctx;
    const struct stored_object *refused;
    *ret_known = stored_find(objects, kind, name, effect, &refused);
    return refused ? policy_refuse(err, stored_kind_text(refused->kind), (struct span){refused->name, strlen(refused->name)}, refused->why, NULL) : 0;
}

static int on_unknown(void *ctx, struct span name, struct error *err)
{
    (void)ctx;
    return span_is(name, "not_there") ? 0 : policy_refuse(err, "function", name, "unknown", NULL);
}

struct verdict {
    enum policy_verdict v;
    struct policy_walk w;
    struct error err;
};

static struct verdict walk_as(const char *json, bool macro)
{
    struct verdict r = {.w = {.table = table, .text = on_text, .object = on_object, .unknown = on_unknown, .stored = macro, .macro = macro}};
    asked_text[0] = 0;
    r.v = policy_walk(&r.w, json, strlen(json), &r.err);
    if (r.v == POLICY_REFUSED)
        assert_true(r.err.code == ERR_FORBIDDEN && r.err.what[0] && r.err.detail[0]);
    return r;
}

static struct verdict walk(const char *json) { return walk_as(json, false); }

/* A statement that selects these expressions from that table reference. */
static char *statement(const char *expressions, const char *from)
{
    char *json;
    assert_true(asprintf(&json,
                         "{\"error\":false,\"statements\":[{\"node\":{\"type\":\"SELECT_NODE\",\"select_list\":[%s],\"from_table\":%s,"
                         "\"aggregate_handling\":\"STANDARD_HANDLING\"}}]}",
                         expressions, from) > 0);
    return json;
}

#define EMPTY "{\"type\":\"EMPTY\"}"
#define TEXT(s) "{\"class\":\"CONSTANT\",\"type\":\"VALUE_CONSTANT\",\"value\":{\"type\":{\"id\":\"VARCHAR\"},\"is_null\":false,\"value\":\"" s "\"}}"
#define NUMBER "{\"class\":\"CONSTANT\",\"type\":\"VALUE_CONSTANT\",\"value\":{\"type\":{\"id\":\"INTEGER\"},\"is_null\":false,\"value\":1}}"
#define BLOB "{\"class\":\"CONSTANT\",\"type\":\"VALUE_CONSTANT\",\"value\":{\"type\":{\"id\":\"BLOB\"},\"is_null\":false,\"value\":\"x\"}}"
#define COLUMN(n) "{\"class\":\"COLUMN_REF\",\"type\":\"COLUMN_REF\",\"query_location\":9,\"column_names\":[" n "]}"
#define PARAMETER "{\"class\":\"PARAMETER\",\"type\":\"VALUE_PARAMETER\",\"identifier\":\"1\"}"
#define CALL(n, args) "{\"class\":\"FUNCTION\",\"type\":\"FUNCTION\",\"query_location\":7,\"function_name\":\"" n "\",\"children\":[" args "]}"
#define TABLE_CALL(n, args) "{\"type\":\"TABLE_FUNCTION\",\"query_location\":5,\"function\":" CALL(n, args) "}"
#define BASE(n) "{\"type\":\"BASE_TABLE\",\"query_location\":5,\"table_name\":\"" n "\"}"

static void check(const char *expressions, const char *from, enum policy_verdict v, const char *what)
{
    char *json = statement(expressions, from);
    struct verdict r = walk(json);
    if (r.v != v || (what && strcmp(r.err.what, what) != 0))
        fail_msg("%s\n -> %d [%s] %s", json, r.v, r.v == POLICY_REFUSED ? r.err.what : "", r.v == POLICY_REFUSED ? r.err.detail : "");
    free(json);
}

static void functions_are_found_wherever_they_are(void **state)
{
    (void)state;
    check(CALL("sum", NUMBER), EMPTY, POLICY_ALLOWED, NULL);
    check(CALL("SUM", NUMBER), EMPTY, POLICY_ALLOWED, NULL);
    check(CALL("write_log", TEXT("x")), EMPTY, POLICY_REFUSED, "function write_log");
    check(CALL("Write_LOG", TEXT("x")), EMPTY, POLICY_REFUSED, "function write_log");
    check(NUMBER, TABLE_CALL("enable_logging", ""), POLICY_REFUSED, "table function enable_logging");
    check(CALL("sum", CALL("abs", CALL("write_log", NUMBER))), EMPTY, POLICY_REFUSED, "function write_log");
    /* Under keys nobody has heard of, in arrays of arrays, in types. */
    check("{\"class\":\"CASE\",\"type\":\"CASE_EXPR\",\"new_key\":[[[" CALL("write_log", "") "]]]}", EMPTY, POLICY_REFUSED, "function write_log");
    check("{\"class\":\"CAST\",\"type\":\"OPERATOR_CAST\",\"cast_type\":{\"id\":\"X\",\"type_info\":{\"type\":\"NEW_TYPE_INFO\",\"e\":" CALL(
              "write_log", "") "}}}",
          EMPTY, POLICY_REFUSED, "function write_log");
    check("{\"class\":\"WINDOW\",\"type\":\"WINDOW_AGGREGATE\",\"function_name\":\"sum\",\"start_expr\":" CALL("write_log", "") "}", EMPTY,
          POLICY_REFUSED, "function write_log");
    check("{\"class\":\"WINDOW\",\"type\":\"WINDOW_AGGREGATE\",\"function_name\":\"write_log\"}", EMPTY, POLICY_REFUSED, "function write_log");
    check(CALL("not_there", ""), EMPTY, POLICY_ALLOWED, NULL); /* the engine says that it does not exist */
    check(CALL("brand_new", ""), EMPTY, POLICY_REFUSED, "function brand_new");
    /* A name behind FROM and in an expression are two things. */
    check(CALL("histogram", PARAMETER), EMPTY, POLICY_ALLOWED, NULL);
    check(NUMBER, TABLE_CALL("histogram", PARAMETER), POLICY_REFUSED, "table function histogram");
    /* One that the table has for the other place only is judged by that. */
    check(CALL("enable_logging", ""), EMPTY, POLICY_REFUSED, "function enable_logging");
}

static void unknown_parts_are_refused(void **state)
{
    (void)state;
    check("{\"class\":\"TELEPATHY\",\"type\":\"X\"}", EMPTY, POLICY_REFUSED, "statement part TELEPATHY");
    check(NUMBER, "{\"type\":\"INSERT_NODE\"}", POLICY_REFUSED, "statement part INSERT_NODE");
    check(NUMBER, "{\"type\":\"_TYPE_INFO\"}", POLICY_REFUSED, "statement part _TYPE_INFO");
    check("{\"class\":\"FUNCTION\",\"type\":\"FUNCTION\"}", EMPTY, POLICY_REFUSED, NULL);
    check("{\"function_name\":\"sum\"}", EMPTY, POLICY_REFUSED, NULL);
}

static void no_statement_is_not_allowed(void **state)
{
    (void)state;
    static const char *const none[] = {"{}",
                                       "[]",
                                       "1",
                                       "\"x\"",
                                       "{\"error\":false}",
                                       "{\"error\":false,\"statements\":[]}",
                                       "{\"error\":true,\"error_type\":\"parser\"}",
                                       "{\"statements\":[{},{}]}",
                                       "[{\"statements\":[{}]}]",
                                       "{\"x\":{\"statements\":[{}]}}",
                                       "{\"error\":true,\"statements\":[{}]}"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(walk(none[i]).v, POLICY_UNJUDGED);
    static const char *const broken[] = {"", "{", "{\"statements\":[{\"a\":}]}", "x"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        assert_int_equal(walk(broken[i]).v, POLICY_REFUSED);
}

static void texts_are_plain_strings(void **state)
{
    (void)state;
    check(NUMBER, TABLE_CALL("query", TEXT("select 1")), POLICY_ALLOWED, NULL);
    assert_string_equal(asked_text, "select 1");
    assert_int_equal(asked_depth, 1);
    check(NUMBER, TABLE_CALL("query", TEXT("select \\\"a\\\" \\u0041")), POLICY_ALLOWED, NULL);
    assert_string_equal(asked_text, "select \"a\" A");
    check(NUMBER, TABLE_CALL("query", TEXT("bad")), POLICY_REFUSED, "function inner");
    check(NUMBER, TABLE_CALL("query", TEXT("unparsable")), POLICY_REFUSED, "table function query");
    check(NUMBER, TABLE_CALL("query", TEXT("a\\u0000b")), POLICY_REFUSED, "table function query");
    check(NUMBER, TABLE_CALL("query", TEXT("\\ud800")), POLICY_REFUSED, NULL);
    check(NUMBER, TABLE_CALL("query", NUMBER), POLICY_REFUSED, "table function query");
    check(NUMBER, TABLE_CALL("query", BLOB), POLICY_REFUSED, "table function query");
    check(NUMBER, TABLE_CALL("query", PARAMETER), POLICY_REFUSED, "table function query");
    check(NUMBER, TABLE_CALL("query", COLUMN("\"q\"")), POLICY_REFUSED, "table function query");
    check(NUMBER, TABLE_CALL("query", CALL("concat", TEXT("a"))), POLICY_REFUSED, "table function query");
    check(NUMBER, TABLE_CALL("query", CALL("||", TEXT("a") "," TEXT("b"))), POLICY_REFUSED, "table function query");
    check(NUMBER, TABLE_CALL("query", CALL("getvariable", TEXT("a"))), POLICY_REFUSED, "table function query");
    check(NUMBER, TABLE_CALL("query", CALL("list_value", TEXT("a"))), POLICY_REFUSED, "table function query");
    check(CALL("json_serialize_plan", PARAMETER), EMPTY, POLICY_REFUSED, "function json_serialize_plan");
    /* The text's effect is the statement's. */
    char *json = statement(NUMBER, TABLE_CALL("query", TEXT("select 1")));
    assert_int_equal(walk(json).w.effect, POLICY_FRESH);
    free(json);
}

static void depth_of_texts_is_bounded(void **state)
{
    (void)state;
    char *json = statement(NUMBER, TABLE_CALL("query", TEXT("select 1")));
    for (unsigned depth = 0; depth <= POLICY_TEXT_DEPTH_MAX; depth++) {
        struct policy_walk w = {.table = table, .text = on_text, .object = on_object, .unknown = on_unknown, .depth = depth};
        struct error err;
        assert_int_equal(policy_walk(&w, json, strlen(json), &err), depth < POLICY_TEXT_DEPTH_MAX ? POLICY_ALLOWED : POLICY_REFUSED);
    }
    free(json);
}

static void names_of_tables_in_arguments(void **state)
{
    (void)state;
    check(NUMBER, TABLE_CALL("query_table", TEXT("t")), POLICY_ALLOWED, NULL);
    check(NUMBER, TABLE_CALL("query_table", CALL("list_value", TEXT("t") "," TEXT("u"))), POLICY_ALLOWED, NULL);
    check(NUMBER, TABLE_CALL("query_table", CALL("list_value", TEXT("t") "," TEXT("x.csv"))), POLICY_REFUSED, "file x.csv");
    check(NUMBER, TABLE_CALL("query_table", CALL("list_value", TEXT("t") "," PARAMETER)), POLICY_REFUSED, "table function query_table");
    check(NUMBER, TABLE_CALL("query_table", CALL("list_value", CALL("list_value", TEXT("x.csv")))), POLICY_REFUSED, "table function query_table");
    check(NUMBER, TABLE_CALL("query_table", TEXT("main.pragma_database_list")), POLICY_REFUSED, "view pragma_database_list");
    check(NUMBER, TABLE_CALL("query_table", TEXT("\\\"refused view\\\"")), POLICY_REFUSED, "view refused view");
    check(NUMBER, TABLE_CALL("query_table", TEXT("a\\\"\\\"b")), POLICY_REFUSED, "table function query_table");
    check(NUMBER, TABLE_CALL("query_table", PARAMETER), POLICY_REFUSED, "table function query_table");
    check(NUMBER, TABLE_CALL("histogram", COLUMN("\"t\"") "," COLUMN("\"a\"")), POLICY_ALLOWED, NULL);
    check(NUMBER, TABLE_CALL("histogram", COLUMN("\"refused view\"") "," COLUMN("\"a\"")), POLICY_REFUSED, "view refused view");
    check(NUMBER, TABLE_CALL("histogram", COLUMN("\"main\",\"pg_settings\"")), POLICY_REFUSED, "view pg_settings");
    /* In a stored macro the column may be a parameter. */
    char *json = statement(NUMBER, TABLE_CALL("histogram", COLUMN("\"t\"")));
    assert_int_equal(walk_as(json, true).v, POLICY_REFUSED);
    free(json);
}

static void named_arguments_hide_no_table(void **state)
{
    (void)state;
#define NAMED(n, v) \
    "{\"class\":\"CONSTANT\",\"type\":\"VALUE_CONSTANT\",\"alias\":\"" n "\",\"value\":{\"type\":{\"id\":\"VARCHAR\"},\"value\":\"" v "\"}}"
    check(NUMBER, TABLE_CALL("histogram_values", TEXT("t") "," NAMED("Source", "x.csv")), POLICY_REFUSED, "file x.csv");
    check(NUMBER, TABLE_CALL("histogram_values", TEXT("t") "," NAMED("technique", "x.csv")), POLICY_ALLOWED, NULL);
    check(NUMBER, TABLE_CALL("histogram_values", NAMED("technique", "x.csv") "," NAMED("source", "t")), POLICY_REFUSED, "file x.csv");
}

static void settings(void **state)
{
    (void)state;
    check(CALL("current_setting", TEXT("TimeZone")), EMPTY, POLICY_ALLOWED, NULL);
    check(CALL("current_setting", TEXT("temp_directory")), EMPTY, POLICY_REFUSED, "setting temp_directory");
    check(CALL("current_setting", TEXT("s3_secret_access_key")), EMPTY, POLICY_REFUSED, "setting s3_secret_access_key");
    check(CALL("current_setting", PARAMETER), EMPTY, POLICY_REFUSED, "function current_setting");
}

static void filtered_functions_are_to_be_replaced(void **state)
{
    (void)state;
    char *json = statement(NUMBER, TABLE_CALL("duckdb_settings", ""));
    struct verdict r = walk(json);
    assert_int_equal(r.v, POLICY_ALLOWED);
    assert_int_equal(r.w.patch_count, 1);
    assert_int_equal(r.w.patches[0].at, 7);
    assert_string_equal(r.w.patches[0].function->name, "duckdb_settings");
    r = walk_as(json, true); /* a stored body stays as it is */
    assert_int_equal(r.v, POLICY_REFUSED);
    struct policy_walk inner = {.table = table, .text = on_text, .object = on_object, .unknown = on_unknown, .depth = 1};
    assert_int_equal(policy_walk(&inner, json, strlen(json), &r.err), POLICY_REFUSED);
    free(json);
    check(NUMBER, "{\"type\":\"TABLE_FUNCTION\",\"function\":{\"class\":\"FUNCTION\",\"function_name\":\"duckdb_settings\"}}", POLICY_REFUSED, NULL);
}

static void tables_and_files(void **state)
{
    (void)state;
    check(NUMBER, BASE("t"), POLICY_ALLOWED, NULL);
    check(NUMBER, BASE("x.csv"), POLICY_REFUSED, "file x.csv");
    check(NUMBER, BASE("/etc/passwd"), POLICY_REFUSED, "file /etc/passwd");
    check(NUMBER, BASE("odd.csv"), POLICY_ALLOWED, NULL); /* there is a table of that name */
    check(NUMBER, BASE("Refused View"), POLICY_REFUSED, "view refused view");
    check(NUMBER, BASE("PG_settings"), POLICY_REFUSED, "view PG_settings");
    check(NUMBER, BASE("a\\\"b"), POLICY_REFUSED, "view a\"b");
    check(NUMBER, "{\"type\":\"BASE_TABLE\",\"schema_name\":\"passwd\",\"table_name\":\"csv\"}", POLICY_REFUSED, "file passwd.csv");
    check(NUMBER, "{\"type\":\"SHOW_REF\",\"table_name\":\"\\\"databases\\\"\",\"show_type\":\"SHOW_UNQUALIFIED\"}", POLICY_ALLOWED, NULL);
    check(NUMBER, "{\"type\":\"SHOW_REF\",\"table_name\":\"\\\"pg_settings\\\"\"}", POLICY_REFUSED, "view pg_settings");
    check(NUMBER, "{\"type\":\"SHOW_REF\",\"query\":{\"type\":\"SELECT_NODE\",\"from_table\":" BASE("x.csv") "}}", POLICY_REFUSED, "file x.csv");
    check(CALL("bad_macro", ""), EMPTY, POLICY_REFUSED, "macro bad_macro");
    check(CALL("good_macro", ""), EMPTY, POLICY_ALLOWED, NULL);
    check(NUMBER, TABLE_CALL("bad_macro", ""), POLICY_REFUSED, "macro bad_macro");
}

static void effects(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum policy_effect effect;
    } rows[] = {
        {CALL("random", ""), POLICY_KEEP},
        {CALL("getvariable", TEXT("x")), POLICY_ONCE},
        {COLUMN("\"localtime\""), POLICY_ONCE},
        {COLUMN("\"t\",\"localtime\""), POLICY_KEEP},
        {CALL("abs", CALL("setseed", NUMBER) "," CALL("getvariable", TEXT("x"))), POLICY_FRESH},
        {CALL("drawing_macro", ""), POLICY_ONCE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *json = statement(rows[i].json, EMPTY);
        struct verdict r = walk(json);
        assert_int_equal(r.v, POLICY_ALLOWED);
        assert_int_equal(r.w.effect, rows[i].effect);
        free(json);
    }
    char *json = statement(NUMBER, "{\"type\":\"BASE_TABLE\",\"sample\":{\"sample_size\":{}},\"table_name\":\"t\"}");
    assert_int_equal(walk(json).w.effect, POLICY_ONCE);
    free(json);
}

static void positions_are_the_clients(void **state)
{
    (void)state;
    char *json = statement(CALL("write_log", ""), EMPTY);
    struct verdict r = walk(json);
    assert_int_equal(r.err.position, 8);
    struct policy_walk inner = {.table = table, .text = on_text, .object = on_object, .unknown = on_unknown, .depth = 1};
    assert_int_equal(policy_walk(&inner, json, strlen(json), &r.err), POLICY_REFUSED);
    assert_int_equal(r.err.position, 0);
    free(json);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    size_t n = SCAN_DEPTH_MAX;
    char *nested = malloc(2 * n + 1);
    assert_non_null(nested);
    memset(nested, '[', n);
    memset(nested + n, ']', n);
    nested[2 * n] = 0;
    char *json = statement(nested, EMPTY);
    struct verdict r = walk(json);
    assert_int_equal(r.v, POLICY_REFUSED);
    assert_non_null(strstr(r.err.detail, "nested too deeply"));
    free(json);
    free(nested);
}

static int set_up(void **state)
{
    (void)state;
    table = policy_table_new(NULL, NULL);
    objects = stored_new();
    stored_add(objects, STORED_TABLE, "db", "main", "odd.csv", NULL);
    stored_get(objects, stored_add(objects, STORED_VIEW, "db", "main", "refused view", NULL))->why = strdup("because");
    stored_get(objects, stored_add(objects, STORED_VIEW, "db", "main", "a\"b", NULL))->why = strdup("because");
    stored_get(objects, stored_add(objects, STORED_MACRO, "db", "main", "bad_macro", NULL))->why = strdup("because");
    stored_add(objects, STORED_MACRO, "db", "main", "good_macro", NULL);
    stored_get(objects, stored_add(objects, STORED_MACRO, "db", "main", "drawing_macro", NULL))->effect = POLICY_ONCE;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    policy_table_free(table);
    stored_free(objects);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_found_wherever_they_are),
        cmocka_unit_test(unknown_parts_are_refused),
        cmocka_unit_test(no_statement_is_not_allowed),
        cmocka_unit_test(texts_are_plain_strings),
        cmocka_unit_test(depth_of_texts_is_bounded),
        cmocka_unit_test(names_of_tables_in_arguments),
        cmocka_unit_test(named_arguments_hide_no_table),
        cmocka_unit_test(settings),
        cmocka_unit_test(filtered_functions_are_to_be_replaced),
        cmocka_unit_test(tables_and_files),
        cmocka_unit_test(effects),
        cmocka_unit_test(positions_are_the_clients),
        cmocka_unit_test(depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
