/* The table of functions against the library: every row of duckdb_functions(), of the engine and of each extension that was fetched, has
 * to be in it under its kind, and the engine's own views and macros must not show what it refuses. An upgrade that brings a function fails
 * here until somebody has said what it may do. */
#include "engine/policy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world {
    duckdb_database db;
    duckdb_connection con;
    struct policy_table *table;
    struct policy *policy;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct error err;
    assert_int_equal(duckdb_open(NULL, &w->db), DuckDBSuccess);
    assert_int_equal(duckdb_connect(w->db, &w->con), DuckDBSuccess);
    w->table = policy_table_new(NULL, NULL);
    w->policy = policy_new(w->db, &(struct policy_options){0}, &err);
    assert_non_null(w->policy);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    policy_free(w->policy);
    policy_table_free(w->table);
    duckdb_disconnect(&w->con);
    duckdb_close(&w->db);
    free(w);
    return 0;
}

/* Calls fn for each row: up to three texts. */
static size_t each_row(struct world *w, const char *sql, void (*fn)(struct world *w, char *const *texts))
{
    duckdb_result r;
    duckdb_data_chunk chunk;
    size_t rows = 0;
    if (duckdb_query(w->con, sql, &r) != DuckDBSuccess)
        fail_msg("%s: %s", sql, duckdb_result_error(&r));
    while ((chunk = duckdb_fetch_chunk(r)) != NULL) {
        for (idx_t i = 0; i < duckdb_data_chunk_get_size(chunk); i++, rows++) {
            char *texts[3] = {NULL};
            for (idx_t k = 0; k < duckdb_data_chunk_get_column_count(chunk); k++) {
                duckdb_string_t *s = (duckdb_string_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, k)) + i;
                texts[k] = strndup(duckdb_string_t_data(s), duckdb_string_t_length(*s));
            }
            fn(w, texts);
            for (size_t k = 0; k < 3; k++)
                free(texts[k]);
        }
        duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&r);
    return rows;
}

static unsigned missing;

static void is_in_the_table(struct world *w, char *const *t)
{
    bool from = strncmp(t[0], "table", 5) == 0, pragma = strcmp(t[0], "pragma") == 0;
    const struct policy_function *f = policy_table_find(w->table, t[1], strlen(t[1]), from);
    /* Judged for that place: ANY, or its own kind. A PRAGMA may share its name with a table function. */
    bool fits = f && (pragma || f->kind == POLICY_ANY || f->kind == (from ? POLICY_TABLE : POLICY_CALL));
    if (fits && pragma && f->kind == POLICY_PRAGMA)
        fits = policy_refuses(f->class);
    if (fits)
        return;
    print_message("policy_functions.def does not judge the %s %s\n", t[0], t[1]);
    missing++;
}

static const char all_functions[] = "SELECT DISTINCT function_type, function_name FROM duckdb_functions() ORDER BY ALL";

static void every_function_of_the_library_is_judged(void **state)
{
    missing = 0;
    assert_true(each_row(*state, all_functions, is_in_the_table) > 900);
    assert_int_equal(missing, 0);
}

/* Whether it answers, once its side effects are known, is for people to decide; that somebody did, the test sees. */
static void is_no_silent_effect(struct world *w, char *const *t)
{
    static const char *const looked_at[] = {"error", "gen_random_uuid", "random", "sleep_ms", "stats", "uuid", "uuidv4", "uuidv7"};
    const struct policy_function *f = policy_table_find(w->table, t[1], strlen(t[1]), false);
    assert_non_null(f);
    for (size_t i = 0; i < sizeof looked_at / sizeof *looked_at; i++)
        if (strcmp(t[1], looked_at[i]) == 0)
            return;
    if (policy_refuses(f->class) || f->effect != POLICY_KEEP)
        return;
    print_message("%s has side effects for the engine and none for the table\n", t[1]);
    missing++;
}

static void every_side_effect_was_looked_at(void **state)
{
    missing = 0;
    assert_true(each_row(*state, "SELECT DISTINCT function_type, function_name FROM duckdb_functions() WHERE has_side_effects", is_no_silent_effect) >
                10);
    assert_int_equal(missing, 0);
}

static void every_function_of_the_extensions_is_judged(void **state)
{
    struct world *w = *state;
    glob_t g;
    missing = 0;
    int rc = glob(DEPS_DIR "/*/*.duckdb_extension", 0, NULL, &g);
    assert_int_equal(rc, 0); /* tpch at least is fetched with the engine */
    for (size_t i = 0; i < g.gl_pathc; i++) {
        char sql[4200];
        duckdb_result r;
        snprintf(sql, sizeof sql, "LOAD '%s'", g.gl_pathv[i]);
        if (duckdb_query(w->con, sql, &r) != DuckDBSuccess)
            fail_msg("%s: %s", sql, duckdb_result_error(&r));
        duckdb_destroy_result(&r);
        print_message("with %s\n", strrchr(g.gl_pathv[i], '/') + 1);
    }
    globfree(&g);
    each_row(w, all_functions, is_in_the_table);
    assert_int_equal(missing, 0);
}

static unsigned judged;

/* What the client may name must be made of what the client may call. */
static void is_open_inside(struct world *w, char *const *t)
{
    const char *way;
    enum policy_effect effect;
    bool renamed;
    struct error err;
    const char *select = strstr(t[1], " AS ");
    assert_non_null(select);
    if (policy_view_refused(t[0], strlen(t[0]), &way))
        return;
    char *body = strdup(select + strlen(" AS "));
    enum policy_verdict v = policy_judge(w->policy, body, strlen(body), &effect, &renamed, &err);
    if (v != POLICY_ALLOWED)
        fail_msg("the view %s: %s", t[0], err.detail);
    /* It is the engine's own function that runs in it: its paths must not be among the columns. */
    if (renamed)
        assert_string_equal(t[0], "pg_database");
    judged++;
    free(body);
}

static void the_engines_views_show_nothing_that_is_refused(void **state)
{
    judged = 0;
    each_row(*state, "SELECT view_name, sql FROM duckdb_views() WHERE internal", is_open_inside);
    assert_true(judged > 30);
    duckdb_result r;
    struct world *w = *state;
    assert_int_equal(duckdb_query(w->con, "SELECT path FROM pg_catalog.pg_database", &r), DuckDBError);
    duckdb_destroy_result(&r);
}

static void macro_is_open_inside(struct world *w, char *const *t)
{
    enum policy_effect effect;
    bool renamed;
    struct error err;
    const struct policy_function *f = policy_table_find(w->table, t[1], strlen(t[1]), strcmp(t[0], "table_macro") == 0);
    /* histogram and histogram_values hand a table's name on: that argument has a rule of its own. */
    if (policy_refuses(f->class) || f->class == POLICY_TABLE_NAME)
        return;
    char *body;
    assert_true(asprintf(&body, "%s%s", strcmp(t[0], "macro") == 0 ? "SELECT " : "", t[2]) > 0);
    enum policy_verdict v = policy_judge(w->policy, body, strlen(body), &effect, &renamed, &err);
    if (v != POLICY_ALLOWED || renamed || effect > (enum policy_effect)f->effect)
        fail_msg("the macro %s: %s (effect %d)", t[1], err.detail, effect);
    judged++;
    free(body);
}

static void the_engines_macros_do_nothing_that_is_refused(void **state)
{
    judged = 0;
    each_row(*state, "SELECT function_type, function_name, macro_definition FROM duckdb_functions() WHERE macro_definition IS NOT NULL",
             macro_is_open_inside);
    assert_true(judged > 100);
}

static void is_allowed(struct world *w, char *const *t)
{
    enum policy_effect effect;
    bool renamed;
    struct error err;
    char *sql = strdup(t[0]);
    if (policy_judge(w->policy, sql, strlen(sql), &effect, &renamed, &err) != POLICY_ALLOWED || effect != POLICY_KEEP)
        fail_msg("%s\n%s", t[0], err.detail);
    free(sql);
}

/* After the extensions were loaded. */
static void the_tpch_queries_are_allowed(void **state) { assert_int_equal(each_row(*state, "SELECT query FROM tpch_queries()", is_allowed), 22); }

static void shown_settings_exist(void **state)
{
    struct world *w = *state;
    size_t count;
    const char *const *names = policy_shown_settings(&count);
    for (size_t i = 0; i < count; i++) {
        char sql[200];
        duckdb_result r;
        snprintf(sql, sizeof sql, "SELECT current_setting('%s')", names[i]);
        if (duckdb_query(w->con, sql, &r) != DuckDBSuccess)
            fail_msg("%s", duckdb_result_error(&r));
        duckdb_destroy_result(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_of_the_library_is_judged),
        cmocka_unit_test(every_side_effect_was_looked_at),
        cmocka_unit_test(the_engines_views_show_nothing_that_is_refused),
        cmocka_unit_test(the_engines_macros_do_nothing_that_is_refused),
        cmocka_unit_test(shown_settings_exist),
        cmocka_unit_test(every_function_of_the_extensions_is_judged),
        cmocka_unit_test(the_tpch_queries_are_allowed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
